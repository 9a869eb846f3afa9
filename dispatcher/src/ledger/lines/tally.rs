//! How many jobs run under each concurrency key, and which strands wait under it.

use relais_protocol::spec::{Concurrency, QueueName, Requires};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A strand: its queue and its line.
type Strand = (QueueName, Arc<Requires>);
/// A strand that is to be parked or let back in.
type Parking = (QueueName, Arc<Requires>, Concurrency);

/// One key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Uses {
    running: u32,
    /// By limit: a count that goes up or down by one meets the strands of one limit.
    strands: BTreeMap<u32, BTreeSet<Strand>>,
}

/// All keys that are in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(BTreeMap<String, Uses>);

impl Tally {
    pub(super) fn running(&self, key: &str) -> u32 {
        self.0.get(key).map_or(0, |uses| uses.running)
    }

    pub(super) fn is_at_limit(&self, key: &Concurrency) -> bool {
        self.running(&key.key) >= key.limit
    }

    pub(super) fn strand_began(&mut self, key: &Concurrency, queue: &QueueName, line: Arc<Requires>) {
        let uses = self.0.entry(key.key.clone()).or_default();
        uses.strands.entry(key.limit).or_default().insert((queue.clone(), line));
    }

    pub(super) fn strand_ended(&mut self, key: &Concurrency, queue: &QueueName, line: Arc<Requires>) {
        let Some(uses) = self.0.get_mut(&key.key) else { return };
        if let Some(strands) = uses.strands.get_mut(&key.limit) {
            strands.remove(&(queue.clone(), line));
            if strands.is_empty() {
                uses.strands.remove(&key.limit);
            }
        }
        self.drop_unused(&key.key);
    }

    /// A job with this key runs: the strands that are at their limit by it.
    pub(super) fn started(&mut self, key: &Concurrency) -> Vec<Parking> {
        let uses = self.0.entry(key.key.clone()).or_default();
        uses.running += 1;
        uses.with_limit(uses.running, &key.key)
    }

    /// It runs no more: the strands that are below their limit by it.
    pub(super) fn stopped(&mut self, key: &Concurrency) -> Vec<Parking> {
        let Some(uses) = self.0.get_mut(&key.key) else { return Vec::new() };
        let before = uses.running;
        uses.running = before.saturating_sub(1);
        let strands = uses.with_limit(before, &key.key);
        self.drop_unused(&key.key);
        strands
    }

    fn drop_unused(&mut self, key: &str) {
        if self.0.get(key).is_some_and(|uses| uses.running == 0 && uses.strands.is_empty()) {
            self.0.remove(key);
        }
    }

    pub(super) fn forget_running(&mut self) {
        self.0.values_mut().for_each(|uses| uses.running = 0);
    }
}

impl Uses {
    fn with_limit(&self, limit: u32, key: &str) -> Vec<Parking> {
        let parking =
            |(queue, line): &Strand| (queue.clone(), line.clone(), Concurrency { key: key.to_owned(), limit });
        self.strands.get(&limit).into_iter().flatten().map(parking).collect()
    }
}
