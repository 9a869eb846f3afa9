//! What one side of a split gives to the other: every row that changed since they were the same.

use super::keys;
use super::{Ledger, graves};
use relais_protocol::group::{GroupInputs, GroupSpec};
use relais_protocol::history::Stamp;
use relais_protocol::ids::{Epoch, JobId, NodeId};
use relais_protocol::merge::{KeyRow, MERGE_BYTES_MAX, MERGE_ROWS_MAX, MergeChunk, MergeCursor, MergeRow};
use std::ops::Bound::{Excluded, Unbounded};

/// The order of an export: nodes before what runs on them, tombstones and keys before jobs, so that no job
/// is placed that is to stay deleted or is an alias; groups before their members.
const TABLES: [u8; 12] = [
    keys::NODE,
    keys::SETTING,
    keys::QUEUE,
    keys::TOKEN,
    keys::FAILOVER,
    keys::GONE,
    keys::KEY,
    keys::GROUP_SPEC,
    keys::GROUP_INPUTS,
    keys::GROUP,
    keys::JOB,
    keys::SCHEDULE,
];

/// A chunk being filled.
#[derive(Default)]
struct Filling {
    rows: Vec<MergeRow>,
    bytes: usize,
    /// The key of the last row taken.
    last: Vec<u8>,
}

impl Filling {
    /// Takes the row at `key` unless the chunk is full.
    fn take(&mut self, key: Vec<u8>, row: MergeRow) -> bool {
        let bytes = self.bytes + row.rough_bytes();
        let is_full = self.rows.len() >= MERGE_ROWS_MAX || bytes > MERGE_BYTES_MAX;
        if is_full && !self.rows.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.last = key;
        self.rows.push(row);
        true
    }
}

fn number<const N: usize>(after: Option<&[u8]>) -> Option<[u8; N]> {
    after?.try_into().ok()
}

impl Ledger {
    /// All rows changed after `since`, a chunk at a time: give back each chunk's `next` until there is none.
    /// The rows come in the order in which they are to be merged. The ledger must not change meanwhile.
    #[must_use]
    pub fn export_since(&self, since: Stamp, from: Option<&MergeCursor>) -> MergeChunk {
        let mut filling = Filling::default();
        let first = from.map_or(0, |from| usize::from(from.table));
        for (number, table) in TABLES.iter().enumerate().skip(first) {
            let after = from.filter(|from| usize::from(from.table) == number && !from.after.is_empty());
            filling.last = after.map_or_else(Vec::new, |from| from.after.clone());
            if !self.export_table(*table, since, after.map(|from| from.after.as_slice()), &mut filling) {
                let next = MergeCursor { table: number as u8, after: filling.last };
                return MergeChunk { rows: filling.rows, next: Some(next) };
            }
        }
        MergeChunk { rows: filling.rows, next: None }
    }

    /// Whether all rows of `table` after `after` found room.
    fn export_table(&self, table: u8, since: Stamp, after: Option<&[u8]>, filling: &mut Filling) -> bool {
        match table {
            keys::NODE => {
                let after = number(after).map(|bytes| NodeId(u32::from_be_bytes(bytes)));
                let rows = self.nodes.rows().filter(|row| Some(row.id) > after && row.changed > since);
                rows.into_iter()
                    .all(|row| filling.take(row.id.0.to_be_bytes().to_vec(), MergeRow::Node(Box::new(row.clone()))))
            }
            keys::SETTING => {
                let rows =
                    self.settings.iter().filter(|(key, row)| Some(key.as_bytes()) > after && row.changed > since);
                rows.into_iter().all(|(key, row)| filling.take(key.as_bytes().to_vec(), MergeRow::Setting(row.clone())))
            }
            keys::QUEUE => {
                let mut rows = self.queue_rows().filter(|row| Some(row.name.as_str().as_bytes()) > after);
                rows.all(|row| {
                    row.changed <= since
                        || filling.take(row.name.as_str().as_bytes().to_vec(), MergeRow::Queue(Box::new(row.clone())))
                })
            }
            keys::TOKEN => {
                let from = number(after).map_or(Unbounded, |bytes| Excluded(u64::from_be_bytes(bytes)));
                let rows = self.tokens.range((from, Unbounded)).filter(|(_, row)| row.changed > since);
                rows.into_iter().all(|(id, row)| filling.take(id.to_be_bytes().to_vec(), MergeRow::Token(row.clone())))
            }
            keys::FAILOVER => {
                let from = number(after).map_or(Unbounded, |bytes| Excluded(Epoch(u64::from_be_bytes(bytes))));
                let mut rows = self.failovers.range((from, Unbounded));
                rows.all(|(epoch, row)| {
                    filling.take(epoch.0.to_be_bytes().to_vec(), MergeRow::Failover(Box::new(row.clone())))
                })
            }
            keys::GONE => {
                let mut rows =
                    self.graves.after(after.and_then(graves::plot_of)).filter(|(_, gone)| gone.changed > since);
                rows.all(|(plot, gone)| filling.take(graves::plot_bytes(plot), MergeRow::Gone(*gone)))
            }
            keys::KEY => self.export_keys(since, after, filling),
            keys::SCHEDULE => self.export_schedules(since, after, filling),
            keys::GROUP | keys::GROUP_SPEC | keys::GROUP_INPUTS => self.export_groups(table, since, after, filling),
            _ => self.export_jobs(since, after, filling),
        }
    }

    fn export_schedules(&self, since: Stamp, after: Option<&[u8]>, filling: &mut Filling) -> bool {
        let rest = self.schedules.all().filter(|(row, _)| Some(row.schedule.name.as_str().as_bytes()) > after);
        let mut rows = rest.filter(|(row, log)| row.changed > since || log.changed > since);
        rows.all(|(row, log)| {
            let key = row.schedule.name.as_str().as_bytes().to_vec();
            filling.take(key, MergeRow::Schedule(Box::new(row.clone()), Box::new(log.clone())))
        })
    }

    fn export_groups(&self, table: u8, since: Stamp, after: Option<&[u8]>, filling: &mut Filling) -> bool {
        let mut whole = true;
        let mut from = keys::key(table, after.unwrap_or_default());
        if after.is_some() {
            from.push(0);
        }
        let mut take = |key: &[u8], row: Option<MergeRow>| {
            whole = row.is_none_or(|row| filling.take(key.to_vec(), row));
            whole
        };
        if table == keys::GROUP {
            // As they are now: the stored rows may be older.
            let rows = self.groups.rows().filter(|row| row.changed > since);
            for row in rows {
                let key = row.id.as_job().0.to_be_bytes();
                let is_next = after.is_none_or(|after| key.as_slice() > after);
                if is_next && !take(&key, Some(MergeRow::Group(Box::new(row.clone())))) {
                    break;
                }
            }
            return whole;
        }
        self.sheet.scan(&from, &[table + 1], false, |full, row| {
            let row = if table == keys::GROUP_SPEC {
                let row = keys::decode_row::<GroupSpec>(full, row).ok().filter(|row| row.born > since);
                row.map(|row| MergeRow::GroupSpec(Box::new(row)))
            } else {
                let row = keys::decode_row::<GroupInputs>(full, row).ok().filter(|row| row.born > since);
                row.map(MergeRow::GroupInputs)
            };
            take(&full[1..], row)
        });
        whole
    }

    fn export_keys(&self, since: Stamp, after: Option<&[u8]>, filling: &mut Filling) -> bool {
        let mut whole = true;
        let mut from = keys::key(keys::KEY, after.unwrap_or_default());
        if after.is_some() {
            from.push(0);
        }
        self.sheet.scan(&from, &[keys::KEY + 1], false, |full, row| {
            let Ok(row) = keys::decode_row::<KeyRow>(full, row) else { return true };
            let Ok(key) = std::str::from_utf8(&full[1..]) else { return true };
            if row.changed > since && row.ends_at > self.head.now {
                whole = filling.take(full[1..].to_vec(), MergeRow::Key(key.to_owned(), row));
            }
            whole
        });
        whole
    }

    fn export_jobs(&self, since: Stamp, after: Option<&[u8]>, filling: &mut Filling) -> bool {
        let mut whole = true;
        // Newest first: the table is read so.
        let to = match number(after).map(u128::from_be_bytes) {
            Some(0) => return true,
            Some(last) => JobId(last - 1),
            None => JobId(u128::MAX),
        };
        self.jobs.newest_first(&self.sheet, JobId(0), to, |job| {
            if job.changed > since {
                whole = filling.take(job.id.0.to_be_bytes().to_vec(), MergeRow::Job(Box::new(job.clone())));
            }
            whole
        });
        whole
    }
}
