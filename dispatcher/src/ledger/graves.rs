//! Tombstones: that a job, a token or a schedule was deleted, told from its never having been there.
//!
//! A side of a split that still has the row would bring it back at the merge. So a tombstone stays as long
//! as there can be such a side: while this history has left another one behind that was not merged yet, and
//! in a whole history for a day more, by the ledger's own time. In a whole history any entry that old was
//! committed by every voter that could ever begin a history of its own.

use super::keys;
use super::{Ledger, LoadError};
use crate::rows::Rows;
use relais_protocol::codec;
use relais_protocol::history::Stamp;
use relais_protocol::ids::JobId;
use relais_protocol::merge::{Gone, GoneId};
use relais_protocol::schedule::ScheduleName;
use std::collections::BTreeMap;

/// How long a tombstone is kept in a whole history, in ms.
const KEPT_MS: u64 = 24 * 3_600_000;

/// The table that the row was in, and its id.
pub(super) type Plot = (u8, u128);

/// All tombstones.
#[derive(Default)]
pub(super) struct Graves(BTreeMap<Plot, Gone>);

fn plot(id: GoneId) -> Plot {
    match id {
        GoneId::Job { job, .. } => (keys::JOB, job.0),
        GoneId::Token(id) => (keys::TOKEN, u128::from(id)),
        GoneId::Schedule { number, .. } => (keys::SCHEDULE, number),
    }
}

/// As bytes, in the same order.
pub(super) fn plot_bytes((table, id): Plot) -> Vec<u8> {
    let mut bytes = vec![table];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes
}

/// From bytes.
pub(super) fn plot_of(bytes: &[u8]) -> Option<Plot> {
    let (table, id) = bytes.split_first()?;
    Some((*table, u128::from_be_bytes(id.try_into().ok()?)))
}

fn row_key(plot: Plot) -> Vec<u8> {
    keys::key(keys::GONE, &plot_bytes(plot))
}

impl Graves {
    pub(super) fn load(rows: &dyn Rows) -> Result<Self, LoadError> {
        keys::load_table(rows, keys::GONE, |gone: &Gone| plot(gone.id)).map(Self)
    }

    /// All, in the order of their rows; those after `after`.
    pub(super) fn after(&self, after: Option<Plot>) -> impl Iterator<Item = (Plot, &Gone)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.0.range((from, Unbounded)).map(|(plot, gone)| (*plot, gone))
    }

    /// Whether this life of the job was deleted.
    pub(super) fn has_job(&self, job: JobId, life: u16) -> bool {
        let gone = self.0.get(&(keys::JOB, job.0)).map(|gone| gone.id);
        matches!(gone, Some(GoneId::Job { life: last, .. }) if life <= last)
    }

    /// Whether the token was revoked.
    pub(super) fn has_token(&self, id: u64) -> bool {
        self.0.contains_key(&(keys::TOKEN, u128::from(id)))
    }

    /// Whether this definition of a schedule was removed.
    pub(super) fn has_schedule(&self, name: &ScheduleName, defined: Stamp) -> bool {
        let gone = self.0.get(&(keys::SCHEDULE, name.number())).map(|gone| gone.id);
        matches!(gone, Some(GoneId::Schedule { up_to, .. }) if defined <= up_to)
    }

    /// The first life of a job that is submitted: after those that were deleted.
    pub(super) fn life_after(&self, job: JobId) -> u16 {
        match self.0.get(&(keys::JOB, job.0)).map(|gone| gone.id) {
            Some(GoneId::Job { life, .. }) => life.saturating_add(1),
            _ => 0,
        }
    }
}

impl Ledger {
    /// Remembers that `id` is deleted here and now.
    pub(super) fn bury(&mut self, id: GoneId) {
        let gone = Gone { id, at: self.head.now, changed: self.stamp() };
        self.keep_grave(gone);
    }

    /// Keeps a tombstone, unless there is one of a later life. Whether it is news.
    pub(super) fn keep_grave(&mut self, gone: Gone) -> bool {
        let plot = plot(gone.id);
        if self.graves.0.get(&plot).is_some_and(|known| known.id >= gone.id) {
            return false;
        }
        self.sheet.write(row_key(plot), Some(codec::encode(codec::FORMAT, &gone)));
        self.graves.0.insert(plot, gone);
        true
    }

    /// Forgets what nobody can bring back any more.
    pub(super) fn forget_graves(&mut self) {
        if self.head.unhealed {
            return;
        }
        let now = self.head.now;
        let old: Vec<Plot> =
            self.graves.0.iter().filter(|(_, gone)| now.since(gone.at) > KEPT_MS).map(|(plot, _)| *plot).collect();
        for plot in old {
            self.graves.0.remove(&plot);
            self.sheet.write(row_key(plot), None);
        }
    }
}
