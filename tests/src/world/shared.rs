//! What jobs share with others: a queue with a limit, concurrency keys, unique keys. Some jobs of each client do.

use super::World;
use super::bench::work_ms;
use super::dice::Dice;
use super::operator::bulk;
use super::room::{ZONE, zone};
use crate::history::Shared;
use relais_protocol::ids::{Index, NodeId};
use relais_protocol::queue::{QueueAct, QueueChange, QueueConfig};
use relais_protocol::record::{Outcome, Record, Submit};
use relais_protocol::spec::{Concurrency, JobSpec, OnConflict, QueueName, Unique};
use std::collections::BTreeMap;

/// Work that one client wants done in one queue, or under one key, that lets one job run at a time, in ms: all
/// clients together leave time for what comes last.
const WORK_MS: u64 = 2_500;

/// The queue that has a limit.
fn few() -> QueueName {
    QueueName::parse("few").unwrap_or_default()
}

/// What is set of it before anything else: at most two jobs run.
pub(super) fn limit_of_few() -> Record {
    let act = QueueAct::Set(QueueConfig { concurrency: Some(2), ..QueueConfig::default() });
    Record::Queue(Box::new(QueueChange { queue: few(), act }))
}

/// How much a client has asked for under each limit.
#[derive(Default)]
pub(super) struct Budget {
    asked_ms: BTreeMap<&'static str, u64>,
    has_begun: bool,
}

impl Budget {
    /// Whether this is asked for the first time.
    pub(super) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.has_begun, true)
    }

    /// Whether there is time for `ms` more of work of which `limit` jobs run at a time.
    pub(super) fn has_time(&mut self, name: &'static str, limit: u64, ms: u64) -> bool {
        let asked = self.asked_ms.entry(name).or_default();
        let has = *asked + ms <= WORK_MS * limit;
        *asked += if has { ms } else { 0 };
        has
    }

    /// Lets a job share something, by chance and as long as there is time for it.
    pub(super) fn share(&mut self, mut spec: JobSpec, dice: &mut Dice, is_wide: bool) -> JobSpec {
        let ms = work_ms(&spec);
        let mut has_time = |name, limit| self.has_time(name, limit, ms);
        let mut options = spec.options().clone();
        match dice.range(0, 9) {
            0..=2 if has_time("few", 2) => spec.queue = few(),
            3..=5 => {
                let limit = dice.range(1, 2) as u32;
                let key = if dice.chance(50) { "tenant-1" } else { "tenant-2" };
                if has_time(key, 1) {
                    options.concurrency = Some(Concurrency { key: key.to_owned(), limit });
                }
            }
            6 => {
                let conflicts = [
                    ("once-1", OnConflict::Return, None),
                    ("once-2", OnConflict::Return, None),
                    ("once-1", OnConflict::Reject, None),
                    ("newest", OnConflict::Replace, None),
                    ("while-1", OnConflict::Return, Some(3_000)),
                    ("while-2", OnConflict::Reject, Some(20_000)),
                ];
                let (key, on_conflict, for_ms) = dice.pick(&conflicts).unwrap_or(conflicts[0]);
                options.unique = Some(Unique { key: key.to_owned(), for_ms, on_conflict });
            }
            7 => spec.queue = bulk(),
            _ => {}
        }
        match dice.range(0, 19) {
            // The rest of what it asks for fits anywhere.
            0 | 1 if is_wide && has_time("wide", 1) => options.requires.slots = 2,
            2 | 3 if has_time(ZONE, 1) => {
                options.requires.labels.insert(ZONE.to_owned(), zone(NodeId(1)).to_owned());
            }
            _ => {}
        }
        spec.with_options(options)
    }
}

impl World {
    /// Writes down what a committed record says of limits and keys.
    pub(super) fn note_shared(&mut self, index: u64, record: &Record, outcome: &Outcome) {
        match (record, outcome) {
            (Record::Queue(change), Outcome::Done) => {
                if let QueueAct::Set(config) = &change.act {
                    let limit = (Index(index), change.queue.clone(), config.concurrency);
                    self.history.queue_limits.push(limit);
                }
            }
            (Record::Submit(submit), Outcome::Submitted { deduplicated: false, .. }) => {
                self.history.shared.push(shared(submit));
            }
            _ => {}
        }
    }
}

fn shared(submit: &Submit) -> Shared {
    let options = submit.spec.options();
    let unique =
        options.unique.as_ref().filter(|unique| unique.on_conflict != OnConflict::Replace && unique.for_ms.is_none());
    Shared {
        job: submit.id,
        queue: submit.spec.queue.clone(),
        concurrency: options.concurrency.clone(),
        unique: unique.map(|unique| unique.key.clone()),
    }
}
