//! Who waits, in which order, and what becomes due when. An index over the rows; nothing here but how the queues
//! flow is stored, all else is made again from the rows at load.
//!
//! ```text
//!   queues that have something to run, the least served first   (fair share, by weight)
//!     └─ lines of a queue, one for each `requires`, by their first   (what fits nowhere is passed over)
//!          └─ strands of a line, one for each concurrency key, by their first   (parked at their limit)
//!               └─ jobs by priority and age
//! ```
//!
//! Whatever can't start a job for a reason of its own (a queue that is paused, at its limit or its rate, a key
//! at its limit) is out of the index above it until that reason ends, so that placement meets only what a free
//! slot would start. Each step is O(log n).
//!
//! ## Fair share
//! Start-time fair queueing: a queue has a *pass*, which a start moves on by the slots of the job over the
//! queue's weight; the queue with the lowest is served next. One that comes to have something to run begins where
//! the others are, so that nobody saves up time in which it wanted nothing. While only one queue has anything to
//! run, nothing is counted: there is nobody to share with, and no row to write.

mod crowd;
mod line;
mod queue;
mod strand;
mod tally;

pub(super) use queue::Queue;
pub(super) use strand::{Turn, came_at};

use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, JobState, StateName};
use relais_protocol::queue::{PASS_OF_A_SLOT, QueueFlow, QueueRow};
use relais_protocol::spec::{Concurrency, QueueName, Requires};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tally::Tally;

/// All queues with their lines, due times, and what runs under concurrency keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    queues: BTreeMap<QueueName, Queue>,
    /// Those that have something to run, by their pass.
    ready: BTreeSet<(u64, QueueName)>,
    /// Those of them that have nothing that fits, while placement goes on.
    aside: Vec<QueueName>,
    /// The pass of the queue that was last served beside others.
    reached: u64,
    /// Queues whose rate is used up.
    closed: BTreeSet<(UnixMs, QueueName)>,
    tally: Tally,
    due: BTreeSet<(UnixMs, JobId)>,
    ends: BTreeSet<(UnixMs, JobId)>,
    aging_ms: u64,
    /// Queues that flowed on since that was last written.
    flowed: BTreeSet<QueueName>,
}

/// When a job expires, in the state that it is in.
fn expiry(job: &Job) -> Option<UnixMs> {
    let waits = matches!(
        job.state,
        JobState::Blocked | JobState::Scheduled { .. } | JobState::Queued | JobState::Retrying { .. }
    );
    job.spec.options().expires_at.filter(|_| waits)
}

impl Lines {
    /// None yet.
    pub(super) fn with_aging(aging_ms: u64) -> Self {
        Self { aging_ms, ..Self::default() }
    }

    fn queue_mut(&mut self, name: &QueueName) -> &mut Queue {
        if !self.queues.contains_key(name) {
            self.queues.insert(name.clone(), Queue::default());
        }
        self.queues.get_mut(name).expect("it was put there")
    }

    /// Takes a job in, by its state.
    pub(super) fn enter(&mut self, job: &Job) {
        match job.state {
            JobState::Scheduled { at } | JobState::Retrying { at } => {
                self.due.insert((at, job.id));
                self.queue_mut(&job.spec.queue).wait_later(job.id);
            }
            JobState::Blocked => self.queue_mut(&job.spec.queue).wait_later(job.id),
            JobState::Queued => self.join(job),
            JobState::Running { .. } => self.start(job),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Expired => {}
        }
        self.ends.extend(expiry(job).map(|at| (at, job.id)));
    }

    /// Takes it out again, before its state changes.
    pub(super) fn exit(&mut self, job: &Job) {
        match job.state {
            JobState::Scheduled { at } | JobState::Retrying { at } => {
                self.due.remove(&(at, job.id));
                self.queue_mut(&job.spec.queue).wait_no_more(job.id);
            }
            JobState::Blocked => self.queue_mut(&job.spec.queue).wait_no_more(job.id),
            JobState::Queued => self.leave(job),
            JobState::Running { .. } => self.stop(job),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Expired => {}
        }
        expiry(job).map(|at| self.ends.remove(&(at, job.id)));
    }

    /// Puts a job in line.
    fn join(&mut self, job: &Job) {
        let name = &job.spec.queue;
        let key = job.spec.options().concurrency.as_ref();
        let (aging_ms, is_at_limit) = (self.aging_ms, key.is_some_and(|key| self.tally.is_at_limit(key)));
        let new_strand = self.queue_mut(name).join(job, is_at_limit, aging_ms);
        if let (Some(key), Some(line)) = (key, new_strand) {
            self.tally.strand_began(key, name, line);
        }
        self.refresh(name);
    }

    /// Takes a job out of its line.
    fn leave(&mut self, job: &Job) {
        let name = &job.spec.queue;
        let Some(queue) = self.queues.get_mut(name) else { return };
        let over = queue.leave(job, self.aging_ms);
        if let (Some(key), Some(line)) = (&job.spec.options().concurrency, over) {
            self.tally.strand_ended(key, name, line);
        }
        self.refresh(name);
    }

    /// An attempt of `job` runs: it counts for its queue and its key.
    fn start(&mut self, job: &Job) {
        self.queue_mut(&job.spec.queue).running += 1;
        if let Some(key) = &job.spec.options().concurrency {
            for (queue, line, key) in self.tally.started(key) {
                self.park(&queue, &line, &key, true);
            }
        }
        self.refresh(&job.spec.queue);
    }

    /// It runs no more.
    fn stop(&mut self, job: &Job) {
        if let Some(queue) = self.queues.get_mut(&job.spec.queue) {
            queue.running = queue.running.saturating_sub(1);
        }
        if let Some(key) = &job.spec.options().concurrency {
            for (queue, line, key) in self.tally.stopped(key) {
                self.park(&queue, &line, &key, false);
            }
        }
        self.refresh(&job.spec.queue);
    }

    fn park(&mut self, name: &QueueName, line: &Requires, key: &Concurrency, parked: bool) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.park(line, key, parked, self.aging_ms);
        }
        self.refresh(name);
    }

    /// Takes a queue among those that have something to run, or out of them, as it is now.
    fn refresh(&mut self, name: &QueueName) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let is_ready = queue.can_start() && !queue.is_aside;
        match queue.ready_at {
            None if !is_ready => return,
            Some(pass) if is_ready && pass == queue.flow.pass => return,
            Some(pass) => drop(self.ready.remove(&(pass, name.clone()))),
            // It begins where the others are.
            None if queue.flow.pass < self.reached => {
                queue.flow.pass = self.reached;
                self.flowed.insert(name.clone());
            }
            None => {}
        }
        queue.ready_at = is_ready.then_some(queue.flow.pass);
        if is_ready {
            self.ready.insert((queue.flow.pass, name.clone()));
        }
    }

    /// The queue that is to be served next.
    pub(super) fn next_queue(&self) -> Option<QueueName> {
        self.ready.first().map(|(_, name)| name.clone())
    }

    /// The same of some queues; of all, when none is named.
    pub(super) fn next_queue_of(&self, names: &[QueueName]) -> Option<QueueName> {
        if names.is_empty() {
            return self.next_queue();
        }
        let ready = names.iter().filter_map(|name| Some((self.queues.get(name)?.ready_at?, name)));
        ready.min().map(|(_, name)| name.clone())
    }

    /// Jobs in the lines that `takes` takes, of those queues that can start one; `most` at most.
    pub(super) fn count_heads(&self, names: &[QueueName], most: usize, takes: impl Fn(&Requires) -> bool) -> usize {
        let named = names.iter().filter(|name| self.queues.get(name).is_some_and(Queue::can_start));
        let ready = self.ready.iter().map(|(_, name)| name).filter(|_| names.is_empty());
        let queues = named.chain(ready).filter_map(|name| self.queues.get(name));
        queues.flat_map(|queue| queue.jobs_taken_by(&takes)).take(most).count()
    }

    /// The first job after `after` that is first in a line of this queue, and what the line asks of a node.
    pub(super) fn head_after(&self, name: &QueueName, after: Option<Turn>) -> Option<(Turn, Arc<Requires>)> {
        self.queues.get(name)?.head_after(after)
    }

    /// Nothing of this queue fits a node: passed over until [`Lines::take_back`].
    pub(super) fn set_aside(&mut self, name: &QueueName) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        queue.is_aside = true;
        self.aside.push(name.clone());
        self.refresh(name);
    }

    /// Ends what [`Lines::set_aside`] began.
    pub(super) fn take_back(&mut self) {
        for name in std::mem::take(&mut self.aside) {
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            queue.is_aside = false;
            if queue.can_start() {
                queue.ready_at = Some(queue.flow.pass);
                self.ready.insert((queue.flow.pass, name));
            }
        }
    }

    /// A job of this queue that takes so many slots starts at `now`.
    pub(super) fn serve(&mut self, name: &QueueName, slots: u32, now: UnixMs) {
        let is_shared = self.ready.len() + self.aside.len() > 1;
        let Some(queue) = self.queues.get_mut(name) else { return };
        let rate = queue.config().rate;
        if is_shared {
            self.reached = self.reached.max(queue.flow.pass);
            let step = PASS_OF_A_SLOT * u64::from(slots) / u64::from(queue.config().weight.max(1));
            queue.flow.pass = self.reached.saturating_add(step);
        }
        if let Some(rate) = rate {
            queue.flow.note_start(now, rate);
            self.close(name, now);
        }
        if is_shared || rate.is_some() {
            self.flowed.insert(name.clone());
            self.refresh(name);
        }
    }

    /// Closes a queue whose rate is used up, or opens it.
    fn close(&mut self, name: &QueueName, now: UnixMs) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let until = queue.config().rate.and_then(|rate| queue.flow.closed_until(now, rate));
        let before = std::mem::replace(&mut queue.closed_until, until);
        if before != until {
            before.map(|at| self.closed.remove(&(at, name.clone())));
            self.closed.extend(until.map(|at| (at, name.clone())));
        }
    }

    /// Opens the queues whose rate allows it again.
    pub(super) fn reopen(&mut self, now: UnixMs) {
        while let Some((_, name)) = self.closed.first().filter(|(at, _)| *at <= now).cloned() {
            self.close(&name, now);
            self.refresh(&name);
        }
    }

    /// Somebody has set something of a queue.
    pub(super) fn set_row(&mut self, row: QueueRow, now: UnixMs) {
        let name = row.name.clone();
        let queue = self.queue_mut(&name);
        let has_rate = row.config.rate.is_some();
        queue.row = Some(Box::new(row));
        if !has_rate && !queue.flow.starts.is_empty() {
            queue.flow.starts.clear();
            self.flowed.insert(name.clone());
        }
        self.close(&name, now);
        self.refresh(&name);
    }

    /// Another aging orders all lines anew.
    pub(super) fn set_aging(&mut self, aging_ms: u64) {
        if self.aging_ms != aging_ms {
            self.aging_ms = aging_ms;
            self.queues.values_mut().for_each(|queue| queue.settle_all(aging_ms));
        }
    }

    /// How the queues flow, as it was written, once all else is loaded.
    pub(super) fn restore(&mut self, flows: Vec<(QueueName, QueueFlow)>, reached: u64, now: UnixMs) {
        self.reached = reached;
        for (name, flow) in flows {
            self.queue_mut(&name).flow = flow;
            self.close(&name, now);
        }
        self.ready.clear();
        for (name, queue) in &mut self.queues {
            queue.ready_at = queue.can_start().then_some(queue.flow.pass);
            self.ready.extend(queue.ready_at.map(|pass| (pass, name.clone())));
        }
        self.flowed.clear();
    }

    /// The flow of each queue that flowed on since this was last asked, to be written.
    pub(super) fn take_flows(&mut self) -> Vec<(QueueName, QueueFlow)> {
        let flow = |name| (self.queues.get(&name).map(|queue| queue.flow.clone()).unwrap_or_default(), name);
        std::mem::take(&mut self.flowed).into_iter().map(flow).map(|(flow, name)| (name, flow)).collect()
    }

    /// Forgets how queues flowed that have no jobs any more, once it makes no difference.
    pub(super) fn forget_idle(&mut self) {
        let reached = self.reached;
        self.queues.retain(|name, queue| {
            let is_needed = queue.is_known() || queue.flow.pass > reached;
            if !is_needed {
                self.flowed.insert(name.clone());
            }
            is_needed
        });
    }

    /// The pass of the queue that was last served beside others.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// Takes out the next job that is due at `now`.
    pub(super) fn take_due(&mut self, now: UnixMs) -> Option<JobId> {
        let first = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&first);
        Some(first.1)
    }

    /// Takes out the next job that expires at `now`.
    pub(super) fn take_ended(&mut self, now: UnixMs) -> Option<JobId> {
        let first = *self.ends.first().filter(|(at, _)| *at <= now)?;
        self.ends.remove(&first);
        Some(first.1)
    }

    /// The next time at which anything becomes due.
    pub(super) fn next_due(&self) -> Option<UnixMs> {
        let first = |set: &BTreeSet<(UnixMs, JobId)>| set.first().map(|(at, _)| *at);
        let opens = self.closed.first().map(|(at, _)| *at);
        first(&self.due).into_iter().chain(first(&self.ends)).chain(opens).min()
    }

    /// Jobs of a queue by state.
    pub(super) fn counts_of(&self, name: &QueueName) -> Option<[u64; StateName::ALL.len()]> {
        self.queues.get(name).map(|queue| queue.counts)
    }

    /// Counts a job of `queue` going from one state to another.
    pub(super) fn count(&mut self, name: &QueueName, from: Option<StateName>, to: Option<StateName>) {
        let queue = self.queue_mut(name);
        if let Some(from) = from {
            queue.counts[from as usize] = queue.counts[from as usize].saturating_sub(1);
        }
        if let Some(to) = to {
            queue.counts[to as usize] += 1;
        } else if queue.is_void() {
            self.queues.remove(name);
        }
    }

    /// All queues that have jobs, or of which something was set.
    pub(super) fn queues(&self) -> impl Iterator<Item = (&QueueName, &Queue)> {
        self.queues.iter()
    }

    /// One of them.
    pub(super) fn queue(&self, name: &QueueName) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// How many jobs in line of its queue have their turn before `job`.
    pub(super) fn ahead(&self, job: &Job) -> usize {
        self.queues.get(&job.spec.queue).map_or(0, |queue| queue.before(job, self.aging_ms))
    }

    /// How many jobs with this key run.
    pub(super) fn running_with(&self, key: &str) -> u32 {
        self.tally.running(key)
    }

    /// The planted bug of a limit that does not outlive the process.
    pub(super) fn forget_running(&mut self) {
        self.queues.values_mut().for_each(|queue| queue.running = 0);
        self.tally.forget_running();
    }
}
