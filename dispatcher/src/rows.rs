//! The ledger's rows: what is kept on disk, what has changed since, and the two read as one.
//!
//! A [`Sheet`] lays the changes since the last checkpoint over the checkpointed rows. It writes nothing:
//! the store takes the changes by [`Sheet::drain`] and says when they are kept.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Read access to the checkpointed rows.
pub trait Rows: Send + Sync {
    /// The row under `key`.
    fn read(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Visits rows with `from <= key < to` in order (or in reverse) until `visit` says `false`.
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool);
}

/// Changed rows by their keys: the bytes of each, or `None` when it is gone.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows held in memory alone: for tests, the simulator, and a ledger without a store.
#[derive(Default)]
pub struct MemoryRows(parking_lot::RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryRows {
    /// Keeps `changes`.
    pub fn keep(&self, changes: &Changes) {
        let mut rows = self.0.write();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
    }
}

impl Rows for MemoryRows {
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.read().get(key).cloned()
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let rows = self.0.read();
        let range = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let _ = if reverse {
            range.rev().try_for_each(|(k, v)| visit(k, v).then_some(()))
        } else {
            let mut range = range;
            range.try_for_each(|(k, v)| visit(k, v).then_some(()))
        };
    }
}

/// Changes over checkpointed rows.
pub struct Sheet {
    base: Arc<dyn Rows>,
    /// Handed to the store, which perhaps does not answer with it yet; oldest first.
    in_flight: Vec<Arc<Changes>>,
    changed: Changes,
    changed_bytes: usize,
}

impl Sheet {
    /// No change over `base`.
    #[must_use]
    pub fn new(base: Arc<dyn Rows>) -> Self {
        Self { base, in_flight: Vec::new(), changed: Changes::new(), changed_bytes: 0 }
    }

    /// The row under `key` as it is now.
    #[must_use]
    pub fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        let in_flight = || self.in_flight.iter().rev().find_map(|changes| changes.get(key));
        if let Some(row) = self.changed.get(key).or_else(in_flight) {
            return row.clone();
        }
        self.base.read(key)
    }

    /// Sets or removes a row.
    pub fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changed_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.changed.insert(key, value);
    }

    /// Rough bytes of change waiting to be drained.
    #[must_use]
    pub fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// Hands over all changes. They stay readable here until [`Sheet::kept`].
    pub fn drain(&mut self) -> Arc<Changes> {
        self.changed_bytes = 0;
        let drained = Arc::new(std::mem::take(&mut self.changed));
        self.in_flight.push(drained.clone());
        drained
    }

    /// The checkpointed rows answer with all that was drained now.
    pub fn kept(&mut self) {
        self.in_flight.clear();
    }

    /// Visits all rows with `from <= key < to` as they are now, in order or in reverse, until `visit`
    /// says `false`.
    pub fn scan(&self, from: &[u8], to: &[u8], reverse: bool, mut visit: impl FnMut(&[u8], &[u8]) -> bool) {
        let range = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        let mut over: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for layer in self.in_flight.iter().map(Arc::as_ref).chain([&self.changed]) {
            over.extend(layer.range(range.clone()).map(|(k, v)| (k.as_slice(), v.as_deref())));
        }
        let mut over: Vec<(&[u8], Option<&[u8]>)> = over.into_iter().collect();
        if !reverse {
            over.reverse();
        }
        // `over` is popped from its end, in the order of the scan.
        let mut going = true;
        self.base.scan(from, to, reverse, &mut |key, value| {
            while let Some((over_key, over_value)) = over.last().copied() {
                let over_first = if reverse { over_key > key } else { over_key < key };
                if !over_first && over_key != key {
                    break;
                }
                over.pop();
                if let Some(v) = over_value {
                    going = visit(over_key, v);
                }
                if !going || over_key == key {
                    return going;
                }
            }
            going = visit(key, value);
            going
        });
        while going && let Some((key, value)) = over.pop() {
            if let Some(value) = value {
                going = visit(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sheet_reads_as_one_map(
            steps in proptest::collection::vec((0u8..40, proptest::option::of(0u8..9), 0u8..10), 1..80),
            from in 0u8..40, to in 0u8..41, reverse: bool, take in 0usize..50,
        ) {
            let base = Arc::new(MemoryRows::default());
            let mut sheet = Sheet::new(base.clone());
            let mut model = BTreeMap::new();
            for (key, value, step) in steps {
                sheet.write(vec![key], value.map(|v| vec![v]));
                match value {
                    Some(v) => { model.insert(vec![key], vec![v]); }
                    None => { model.remove(&vec![key]); }
                }
                if step < 2 {
                    base.keep(&sheet.drain());
                }
                if step == 0 {
                    sheet.kept();
                }
            }
            for key in 0..40u8 {
                prop_assert_eq!(sheet.read(&[key]), model.get(&vec![key]).cloned());
            }
            let mut expected: Vec<_> = model.range(vec![from.min(to)]..vec![to]).map(|(k, v)| (k.clone(), v.clone())).collect();
            if reverse { expected.reverse(); }
            expected.truncate(take.max(1));
            let mut seen = Vec::new();
            sheet.scan(&[from.min(to)], &[to], reverse, |k, v| {
                seen.push((k.to_vec(), v.to_vec()));
                seen.len() < take.max(1)
            });
            prop_assert_eq!(seen, expected);
        }
    }
}
