//! Queues: what is set of them, purging them, how they flow, and what they look like.

use super::lines::{Lines, Queue, came_at};
use super::merge::join_queues;
use super::{Ledger, LoadError, keys};
use crate::rows::Rows;
use relais_protocol::codec;
use relais_protocol::job::{Cancel, Job, JobState, Place, StateName};
use relais_protocol::lease::EXTERNAL;
use relais_protocol::merge::Merged;
use relais_protocol::queue::{PURGE_JOBS_MAX, Purged, QueueAct, QueueChange, QueueConfig, QueueFlow, QueueRow};
use relais_protocol::record::Outcome;
use relais_protocol::spec::QueueName;
use relais_protocol::time::UnixMs;

/// A queue, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Jobs by state, in the order of [`StateName::ALL`].
    pub counts: [u64; StateName::ALL.len()],
    /// Since when the oldest in line could have run, but for its turn.
    pub oldest: Option<UnixMs>,
    /// What is set of it.
    pub config: QueueConfig,
    /// Whether none of its jobs is to start.
    pub paused: bool,
    /// What keeps all of its jobs from starting, if anything does.
    pub held: Option<Hold>,
    /// Jobs that started within the period of its rate, if it has one.
    pub started_within_rate: Option<u64>,
}

/// What keeps a job from being looked at for a free slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its queue is paused.
    Paused,
    /// So many jobs of its queue run, which is its limit.
    QueueLimit(u32),
    /// The rate of its queue is used up until then.
    Rate(UnixMs),
    /// So many jobs with its concurrency key run, and its limit is no higher.
    KeyLimit {
        /// The key.
        key: String,
        /// Its limit.
        limit: u32,
        /// Jobs that run with it.
        running: u32,
    },
}

/// Why a queued job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What holds it, if its turn alone does not.
    pub held: Option<Hold>,
    /// How many in line of its queue have their turn before it.
    pub ahead: usize,
    /// Whether any node could run it, were all slots free.
    pub fits: bool,
}

fn held(queue: &Queue) -> Option<Hold> {
    if queue.is_paused() {
        return Some(Hold::Paused);
    }
    let limit = queue.config().concurrency.filter(|_| queue.is_at_limit());
    limit.map(Hold::QueueLimit).or_else(|| queue.closed_until.map(Hold::Rate))
}

impl Ledger {
    pub(super) fn change_queue(&mut self, place: Place, change: QueueChange) -> Outcome {
        let name = change.queue;
        match change.act {
            QueueAct::Set(config) => self.set_queue(&name, |row| row.config = config),
            QueueAct::Pause(on) => self.set_queue(&name, |row| row.paused = on),
            QueueAct::Purge { upto } => Outcome::Purged(self.purge(&name, upto.unwrap_or(place))),
        }
    }

    fn set_queue(&mut self, name: &QueueName, set: impl FnOnce(&mut QueueRow)) -> Outcome {
        let known = self.lines.queue(name).and_then(|queue| queue.row.as_deref().cloned());
        let mut row = known.unwrap_or_else(|| QueueRow {
            name: name.clone(),
            config: QueueConfig::default(),
            paused: false,
            changed: self.stamp(),
        });
        set(&mut row);
        row.changed = self.stamp();
        self.keep_queue(row);
        Outcome::Done
    }

    fn keep_queue(&mut self, row: QueueRow) {
        let key = keys::key(keys::QUEUE, row.name.as_str().as_bytes());
        self.sheet.write(key, Some(codec::encode(codec::FORMAT, &row)));
        self.lines.set_row(row, self.head.now);
    }

    /// Cancels what has not started and was submitted up to `upto`, a part of it at a time.
    fn purge(&mut self, name: &QueueName, upto: Place) -> Purged {
        let mut purged = Purged { jobs: 0, upto, more: false };
        let Some(queue) = self.lines.queue(name) else { return purged };
        let waiting: Vec<_> = queue.waiting().collect();
        for id in waiting {
            let Some(mut job) = self.jobs.take(&self.sheet, id) else { continue };
            if job.place > upto {
                self.jobs.put_back(job);
                continue;
            }
            if purged.jobs as usize == PURGE_JOBS_MAX {
                self.jobs.put_back(job);
                purged.more = true;
                break;
            }
            purged.jobs += 1;
            job.cancel.get_or_insert(Cancel { at: self.head.now, reason: format!("queue `{name}` was purged") });
            self.end_cancelled(job);
        }
        purged
    }

    pub(super) fn merge_queue(&mut self, row: QueueRow, since: relais_protocol::history::Stamp, merged: &mut Merged) {
        let Some(own) = self.lines.queue(&row.name).and_then(|queue| queue.row.as_deref()) else {
            self.keep_queue(QueueRow { changed: self.stamp(), ..row });
            return;
        };
        let is_same = (&own.config, own.paused) == (&row.config, row.paused);
        if is_same || own.changed == row.changed {
            return;
        }
        let joined = join_queues(own, &row);
        merged.conflicts += u32::from(own.changed > since);
        if joined != *own {
            self.keep_queue(QueueRow { changed: self.stamp(), ..joined });
        }
    }

    pub(super) fn load_queues(&mut self, rows: &dyn Rows) -> Result<(), LoadError> {
        let now = self.head.now;
        keys::each_row(rows, keys::QUEUE, |row: QueueRow| self.lines.set_row(row, now))
    }

    /// Once the jobs are loaded: how the queues flowed goes before what follows from loading them.
    pub(super) fn load_flows(&mut self, rows: &dyn Rows) -> Result<(), LoadError> {
        let mut flows: Vec<(QueueName, QueueFlow)> = Vec::new();
        keys::each_row(rows, keys::FLOW, |flow| flows.push(flow))?;
        let reached = match rows.read(keys::REACHED) {
            Some(row) => keys::decode_row(keys::REACHED, &row)?,
            None => 0,
        };
        if crate::planted::is_planted("limit-in-memory") {
            self.lines.forget_running();
        }
        if crate::planted::is_planted("rate-in-memory") {
            flows.iter_mut().for_each(|(_, flow)| flow.starts.clear());
        }
        self.lines.restore(flows, reached, self.head.now);
        Ok(())
    }

    /// Writes how the queues flowed in this entry.
    pub(super) fn write_flows(&mut self) {
        let flows = self.lines.take_flows();
        if flows.is_empty() {
            return;
        }
        for flow in flows {
            let row = (flow.1 != QueueFlow::default()).then(|| codec::encode(codec::FORMAT, &flow));
            self.sheet.write(keys::key(keys::FLOW, flow.0.as_str().as_bytes()), row);
        }
        let reached = self.lines.reached();
        self.sheet.write(keys::REACHED.to_vec(), Some(codec::encode(codec::FORMAT, &reached)));
    }

    /// What is set of queues, by name.
    pub(super) fn queue_rows(&self) -> impl Iterator<Item = &QueueRow> {
        self.lines.queues().filter_map(|(_, queue)| queue.row.as_deref())
    }

    /// All queues that have jobs, or of which something was set, by name.
    pub fn queues(&self) -> impl Iterator<Item = QueueView> {
        self.lines.queues().filter(|(_, queue)| queue.is_known()).map(|(name, queue)| self.view(name, queue))
    }

    /// One of them.
    #[must_use]
    pub fn queue(&self, name: &QueueName) -> Option<QueueView> {
        let queue = self.lines.queue(name).filter(|queue| queue.is_known())?;
        Some(self.view(name, queue))
    }

    fn view(&self, name: &QueueName, queue: &Queue) -> QueueView {
        let config = queue.config().clone();
        QueueView {
            name: name.to_string(),
            counts: queue.counts,
            oldest: queue.oldest(),
            started_within_rate: config.rate.map(|rate| queue.flow.started_within(self.head.now, rate.per_ms)),
            config,
            paused: queue.is_paused(),
            held: held(queue),
        }
    }

    /// Why a job waits; `None` unless it is queued.
    #[must_use]
    pub fn waiting(&self, job: &Job) -> Option<Waiting> {
        if job.state != JobState::Queued {
            return None;
        }
        let options = job.spec.options();
        let key = options.concurrency.as_ref().and_then(|own| {
            let running = self.lines.running_with(&own.key);
            let hold = || Hold::KeyLimit { key: own.key.clone(), limit: own.limit, running };
            (running >= own.limit).then(hold)
        });
        Some(Waiting {
            held: self.lines.queue(&job.spec.queue).and_then(held).or(key),
            ahead: self.lines.ahead(job),
            fits: self.never_fits(&options.requires).is_none(),
        })
    }

    /// The latest time at which `job` has its turn in its queue, however many others come.
    #[must_use]
    pub fn turn_of(&self, job: &Job) -> UnixMs {
        let patience = u64::from(100u8.saturating_sub(job.spec.priority));
        came_at(job).plus(patience.saturating_mul(self.typed_settings.priority_aging_ms))
    }

    /// Why a queued job still waits, in words.
    #[must_use]
    pub fn why_it_waits(&self, job: &Job) -> String {
        if self.unmade(job.id).is_some() {
            return "other members of its group are in line before it; it is put in line when they have started"
                .to_owned();
        }
        let Some(waiting) = self.waiting(job) else { return "it does not wait".to_owned() };
        let queue = &job.spec.queue;
        let ahead = match waiting.ahead {
            0 => "it is next".to_owned(),
            1 => format!("1 job is ahead of it in queue `{queue}`"),
            n => format!("{n} jobs are ahead of it in queue `{queue}`"),
        };
        let requires = &job.spec.options().requires;
        let is_external = requires.kind.as_deref() == Some(EXTERNAL);
        if let Some(never) = self.never_fits(requires).filter(|_| !is_external) {
            return format!("{never}; {ahead}");
        }
        match waiting.held {
            Some(Hold::Paused) => format!("queue `{queue}` is paused; {ahead}"),
            Some(Hold::QueueLimit(limit)) => format!("queue `{queue}` is at its limit of {limit}; {ahead}"),
            Some(Hold::Rate(until)) => format!("the rate of queue `{queue}` is used up until {until}; {ahead}"),
            Some(Hold::KeyLimit { key, limit, .. }) => {
                format!("concurrency key `{key}` is at its limit of {limit}; {ahead}")
            }
            None if is_external => {
                format!("{ahead}; it waits for an external worker to ask for it (POST /v1/leases)")
            }
            None => format!("{ahead}; {}", self.lacks(requires)),
        }
    }

    /// The lines as they follow from the rows, for checks.
    pub(super) fn lines_of_rows(&self) -> Lines {
        let mut lines = Lines::with_aging(self.typed_settings.priority_aging_ms);
        for row in self.queue_rows() {
            lines.set_row(row.clone(), self.head.now);
        }
        self.each_job(|job| {
            lines.count(&job.spec.queue, None, Some(job.state.name()));
            lines.enter(job);
        });
        let mut flows = Vec::new();
        self.sheet.scan(&[keys::FLOW], &[keys::FLOW + 1], false, |key, row| {
            flows.extend(keys::decode_row::<(QueueName, QueueFlow)>(key, row).ok());
            true
        });
        let reached = self.sheet.read(keys::REACHED).and_then(|row| keys::decode_row(keys::REACHED, &row).ok());
        lines.restore(flows, reached.unwrap_or(0), self.head.now);
        lines
    }
}
