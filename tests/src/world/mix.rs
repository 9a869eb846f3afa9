//! What a world made use of: every feature of the job model has a name here, and is counted each time that it comes
//! about in the record. A sweep in which one never does proves nothing of it.
//!
//! Beside that, what observers write down of each entry that is not seen in the events alone.

mod record;

use super::World;
use crate::history::{Every, JobFacts, Keeping, KeepingKind};
use relais_dispatcher::ledger::{Effects, Event as LedgerEvent, Ledger};
use relais_protocol::group::{GroupId, GroupSize, GroupSubmit, Origin};
use relais_protocol::ids::{Index, JobId, NodeId};
use relais_protocol::job::{ErrorKind, Job, StateName};
use relais_protocol::node::NodeRow;
use relais_protocol::queue::{QueueAct, QueueChange};
use relais_protocol::record::{Batch, Outcome, Record, Standing};
use relais_protocol::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// Every feature that a sweep is to make use of.
pub const FEATURES: [&str; 82] = [
    "retry: failed and tried again",
    "retry: timed out",
    "retry: non_retryable",
    "retry: ended as non_retryable",
    "retry: lost",
    "retry: on_lost fail",
    "retry: lost too often",
    "retry: by wish",
    "retry: in bulk",
    "time: run_at",
    "time: delay",
    "time: expires_at",
    "time: expired",
    "time: timeout",
    "cancel: at once",
    "cancel: of what runs",
    "cancel: in bulk",
    "cancel: purge",
    "priority: aging set",
    "queue: limit",
    "queue: weight",
    "queue: rate",
    "queue: paused",
    "queue: resumed",
    "queue: retention",
    "key: concurrency",
    "key: idempotency",
    "key: repeat known",
    "unique: asked for",
    "unique: for a while",
    "unique: returned",
    "unique: rejected",
    "unique: replaced",
    "schedule: missed skip",
    "schedule: missed once",
    "schedule: missed all",
    "schedule: overlap allow",
    "schedule: overlap forbid",
    "schedule: overlap replace",
    "schedule: fired",
    "schedule: slots missed",
    "schedule: skipped",
    "schedule: paused",
    "schedule: resumed",
    "schedule: triggered",
    "depends_on: succeeded",
    "depends_on: finished",
    "depends_on: failed",
    "depends_on: several",
    "depends_on: never met",
    "array: count",
    "array: inputs",
    "array: cancelled",
    "array: aborted",
    "array: every node",
    "array: no node matched",
    "array: max_failures",
    "on_complete: of a group",
    "on_complete: of a job",
    "placement: labels",
    "placement: several slots",
    "placement: cpu",
    "placement: memory",
    "placement: spread",
    "placement: pack",
    "node: slots set",
    "node: labels set",
    "node: drained",
    "progress",
    "result",
    "retention: forgotten by age",
    "retention: forgotten by count",
    "webhook: wanted",
    "webhook: told",
    "lease: granted",
    "lease: renewed",
    "lease: completed",
    "lease: failed",
    "lease: released",
    "lease: over",
    "setting: lease",
    "setting: retention",
];

/// How often each came.
pub(super) type Mix = BTreeMap<&'static str, u32>;

impl World {
    /// A feature came about.
    pub(super) fn uses(&mut self, feature: &'static str) {
        *self.mix.entry(feature).or_default() += 1;
    }

    fn uses_all(&mut self, features: impl IntoIterator<Item = &'static str>) {
        for feature in features {
            self.uses(feature);
        }
    }

    /// Writes down what an entry came to, beside its events.
    pub(super) fn note_entry(&mut self, id: NodeId, index: u64, batch: &Batch, applied: &Effects) {
        let Some(life) = self.nodes[id.0 as usize - 1].life.as_deref() else { return };
        self.history.stamps.push((Index(index), life.ledger.now()));
        for (record, outcome) in batch.records.iter().zip(&applied.outcomes.each) {
            self.done(record, outcome);
            self.note_wanted(record, outcome);
            self.note_queue(index, record, outcome);
            self.note_pauses(id, record, outcome);
            self.note_keeping(index, record, outcome);
            if let (Record::SubmitGroup(submit), Outcome::Grouped { count, deduplicated: false, .. }) =
                (record, outcome)
            {
                self.note_every(id, submit, *count as usize, applied);
            }
            self.uses_all(record::features_of(record, outcome));
        }
    }

    fn note_queue(&mut self, index: u64, record: &Record, outcome: &Outcome) {
        let (Record::Queue(change), Outcome::Done) = (record, outcome) else { return };
        let QueueChange { queue, act } = &**change;
        match act {
            QueueAct::Set(config) => {
                self.history.queue_rates.push((Index(index), queue.clone(), config.rate));
                let (age_ms, count) = (config.retention.age_ms, config.retention.count);
                self.keep(index, KeepingKind::Set { queue: Some(queue.clone()), age_ms, count });
            }
            QueueAct::Pause(on) => self.history.queue_pauses.push((Index(index), queue.clone(), *on)),
            QueueAct::Purge { .. } => {}
        }
    }

    fn note_keeping(&mut self, index: u64, record: &Record, outcome: &Outcome) {
        match (record, outcome) {
            (Record::Setting { key, .. }, Outcome::Done) if key.starts_with("retention") => {
                let set = self.retention_set();
                self.keep(index, set);
            }
            (Record::Noticed(noticed), Outcome::Done) => self.keep(index, KeepingKind::Told(noticed.job)),
            _ => {}
        }
    }

    /// What the ledger that applied the most has set of retention.
    fn retention_set(&self) -> KeepingKind {
        let lives = self.nodes.iter().filter_map(|node| node.life.as_deref());
        let newest = lives.max_by_key(|life| life.ledger.applied());
        let set = newest.map_or_else(Settings::default, |life| life.ledger.settings().clone());
        KeepingKind::Set { queue: None, age_ms: Some(set.retention_ms), count: Some(set.retention_count) }
    }

    fn keep(&mut self, index: u64, what: KeepingKind) {
        let (at, steps) = (crate::history::At(self.now), self.history.steps.len());
        self.history.keeping.push(Keeping { index: Index(index), at, steps, what });
    }

    /// A group of one job for each node: which nodes match, by the rows as they are after its entry.
    fn note_every(&mut self, id: NodeId, submit: &GroupSubmit, count: usize, applied: &Effects) {
        let Some(life) = self.nodes[id.0 as usize - 1].life.as_deref() else { return };
        if submit.size != GroupSize::EveryNode {
            return;
        }
        let moved = applied.events.iter().any(|event| matches!(event, LedgerEvent::Node(_)));
        let matching = life.ledger.nodes().filter(|row| matches(row, submit)).map(|row| row.id);
        let nodes = (!moved).then(|| matching.collect());
        self.history.every.push(Every { group: submit.id.as_job(), count, nodes, halted: false });
    }

    /// Writes down what an event says of a job beside its state.
    pub(super) fn note_event(&mut self, id: NodeId, index: u64, batch: &Batch, event: &LedgerEvent) {
        let Some(life) = self.nodes[id.0 as usize - 1].life.as_deref() else { return };
        match event {
            LedgerEvent::State { job, state } => {
                if !self.history.facts.contains_key(job)
                    && let Some(job) = life.ledger.job(*job)
                {
                    self.uses_all(origin_of(&job));
                    self.history.facts.insert(job.id, facts(&job));
                }
                match state {
                    StateName::Expired => self.uses("time: expired"),
                    StateName::Retrying => self.uses("retry: failed and tried again"),
                    _ => {}
                }
            }
            LedgerEvent::AttemptLost { .. } => self.uses("retry: lost"),
            LedgerEvent::Forgotten(job) => self.note_forgotten(index, batch, *job),
            LedgerEvent::Group(group) => {
                let Some(row) = life.ledger.group(*group).map(|view| view.row) else { return };
                let own = self.history.every.iter_mut().find(|every| every.group == group.as_job());
                own.into_iter().for_each(|every| every.halted |= row.halt.is_some());
                if row.ended.is_some() {
                    self.keep(index, KeepingKind::GroupEnded(group.as_job()));
                }
                if row.halt.is_some_and(|halt| halt.aborted) {
                    self.uses("array: aborted");
                }
            }
            _ => {}
        }
    }

    /// One more job was forgotten; those of one entry go together.
    fn note_forgotten(&mut self, index: u64, batch: &Batch, job: JobId) {
        let wishes = batch.records.iter().filter_map(|record| match record {
            Record::Forget { before, surplus, .. } => Some((*before, *surplus)),
            _ => None,
        });
        let Some((before, surplus)) = wishes.max() else { return };
        self.uses(if surplus > 0 { "retention: forgotten by count" } else { "retention: forgotten by age" });
        if let Some(Keeping { index: at, what: KeepingKind::Forgotten { jobs, .. }, .. }) =
            self.history.keeping.last_mut()
            && *at == Index(index)
        {
            jobs.insert(job);
            return;
        }
        self.keep(index, KeepingKind::Forgotten { jobs: BTreeSet::from([job]), before });
    }

    /// What is seen in the record at the end only.
    pub(super) fn ends_of(ledger: &Ledger, jobs: &[Job]) -> Mix {
        let mut mix = Mix::new();
        let mut count = |feature, times: usize| *mix.entry(feature).or_default() += times as u32;
        let with =
            |kind: ErrorKind| jobs.iter().filter(|job| job.error.as_ref().is_some_and(|e| e.kind == kind)).count();
        count("retry: lost too often", with(ErrorKind::LostTooOften));
        count("depends_on: never met", with(ErrorKind::Dependency));
        count("unique: replaced", jobs.iter().filter(|job| job.replaced_by.is_some()).count());
        count("schedule: skipped", ledger.schedules().map(|(_, log)| log.counts.skipped as usize).sum());
        mix
    }
}

fn matches(row: &NodeRow, submit: &GroupSubmit) -> bool {
    let asked = &submit.spec.options().requires;
    row.standing == Standing::Online
        && !row.draining
        && row.slots() >= asked.slots
        && row.facts.cpu_millis >= asked.cpu_millis
        && row.facts.memory_bytes >= asked.memory_bytes
        && asked.labels.iter().all(|(key, value)| row.labels().get(key) == Some(value))
}

fn facts(job: &Job) -> JobFacts {
    let options = job.spec.options();
    let unique = options.unique.as_ref().and_then(|unique| Some((unique.key.clone(), unique.for_ms?)));
    let is_member = matches!(options.origin, Some(Origin::Member { .. }));
    JobFacts {
        queue: job.spec.queue.clone(),
        created_at: job.created_at,
        keyed: options.idempotency_key.is_some(),
        unique_for: unique,
        parents: options.depends_on.iter().map(|one| one.job).collect(),
        group: is_member.then(|| GroupId::of(job.id).as_job()),
        node: options.requires.node,
        notified: options.notify.is_some(),
        by: job.submitted_by.clone(),
    }
}

/// What a new job makes use of by how it came about.
fn origin_of(job: &Job) -> Option<&'static str> {
    match job.spec.options().origin {
        Some(Origin::Completion { of, .. }) if GroupId::of(of).as_job() == of => Some("on_complete: of a group"),
        Some(Origin::Completion { .. }) => Some("on_complete: of a job"),
        _ => None,
    }
}
