//! Reading the ledger: jobs by id, by filter, by count; queues, nodes, tokens, failovers; orders.

use super::{Ledger, Load};
use relais_protocol::failover::FailoverTale;
use relais_protocol::group::GroupId;
use relais_protocol::ids::{Epoch, Fence, JobId, NodeId};
use relais_protocol::job::{Job, JobState, StateName};
use relais_protocol::message::StartOrder;
use relais_protocol::node::NodeRow;
use relais_protocol::record::{Failover, Token};
use relais_protocol::schedule::{FiringLog, ScheduleName, ScheduleRow};
use relais_protocol::settings::Settings;
use relais_protocol::time::UnixMs;

/// Which jobs to list. Empty fields let everything pass.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// In one of these states.
    pub states: Vec<StateName>,
    /// In this queue.
    pub queue: Option<String>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// With a name that contains this.
    pub name: Option<String>,
    /// Whose last attempt is or was on this node.
    pub node: Option<NodeId>,
    /// Created at or after this.
    pub since: Option<UnixMs>,
    /// Created before this.
    pub until: Option<UnixMs>,
    /// In this group.
    pub group: Option<GroupId>,
}

impl JobFilter {
    /// Whether `job` passes.
    #[must_use]
    pub fn passes(&self, job: &Job) -> bool {
        let options = job.spec.options();
        (self.states.is_empty() || self.states.contains(&job.state.name()))
            && self.queue.as_ref().is_none_or(|queue| queue == job.spec.queue.as_str())
            && self.labels.iter().all(|(key, value)| options.labels.get(key) == Some(value))
            && self.name.as_ref().is_none_or(|name| job.spec.name.contains(name.as_str()))
            && self.node.is_none_or(|node| job.attempts.last().is_some_and(|a| a.node == node))
            && self.since.is_none_or(|since| job.created_at >= since)
            && self.until.is_none_or(|until| job.created_at < until)
    }
}

impl Ledger {
    /// The job with this id; of a member of a group that was not made yet, what it is to be.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<Job> {
        self.jobs.read(&self.sheet, id).or_else(|| self.unmade(id))
    }

    /// Jobs whose id is in the range, newest first, `limit` at most.
    #[must_use]
    pub fn jobs_between(&self, from: JobId, to: JobId, limit: usize) -> Vec<Job> {
        let mut found = Vec::new();
        self.jobs.newest_first(&self.sheet, from, to, |job| {
            found.push(job.clone());
            found.len() < limit
        });
        found
    }

    /// Jobs that pass `filter`, newest first, older than `before`, `limit` at most, looking at
    /// `looked_at_max` rows at most; and, when there may be more, the id to go on before.
    #[must_use]
    pub fn list(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
        looked_at_max: usize,
    ) -> (Vec<Job>, Option<JobId>) {
        let (from, last) = match filter.group {
            Some(group) => (group.as_job(), group.last()),
            None => (JobId(0), JobId(u128::MAX)),
        };
        let to = before.map_or(last, |before| last.min(JobId(before.0.saturating_sub(1))));
        let (mut found, mut looked_at, mut last, mut more) = (Vec::new(), 0, None, false);
        self.jobs.newest_first(&self.sheet, from, to, |job| {
            if found.len() == limit || looked_at == looked_at_max {
                more = true;
                return false;
            }
            looked_at += 1;
            last = Some(job.id);
            if filter.passes(job) {
                found.push(job.clone());
            }
            true
        });
        (found, last.filter(|_| more))
    }

    /// Jobs by state, in the order of [`StateName::ALL`].
    #[must_use]
    pub fn counts(&self) -> [u64; StateName::ALL.len()] {
        let mut sum = [0; StateName::ALL.len()];
        for (_, queue) in self.lines.queues() {
            for (total, count) in sum.iter_mut().zip(queue.counts) {
                *total += count;
            }
        }
        sum
    }

    /// All nodes ever admitted, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.rows()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes.row(id)
    }

    /// What runs on a node.
    pub fn running_on(&self, node: NodeId) -> impl Iterator<Item = (JobId, Fence)> {
        self.nodes.running(node).map(|(job, attempt)| (job, attempt.fence))
    }

    /// What running attempts ask of a node, added up.
    #[must_use]
    pub fn in_use(&self, node: NodeId) -> Load {
        self.nodes.used(node)
    }

    /// All tokens that have not been revoked.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values().map(|row| &row.token)
    }

    /// All schedules with what became of their slots, by name.
    pub fn schedules(&self) -> impl Iterator<Item = (&ScheduleRow, &FiringLog)> {
        self.schedules.all()
    }

    /// A schedule.
    #[must_use]
    pub fn schedule(&self, name: &ScheduleName) -> Option<(&ScheduleRow, &FiringLog)> {
        self.schedules.find(name)
    }

    /// The settings of the cluster.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.typed_settings
    }

    /// Failovers, oldest first.
    pub fn failovers(&self) -> impl DoubleEndedIterator<Item = &Failover> {
        self.failovers.values()
    }

    /// A failover in full; only the newest are kept so.
    #[must_use]
    pub fn failover_tale(&self, epoch: Epoch) -> Option<&FailoverTale> {
        self.tales.get(&epoch)
    }

    /// The order to run the attempt that is running now; `None` if it is another or none.
    #[must_use]
    pub fn start_order(&self, id: JobId, fence: Fence) -> Option<StartOrder> {
        // What runs is in memory.
        let job = self.jobs.in_motion(id)?;
        if !matches!(job.state, JobState::Running { fence: current, .. } if current == fence) {
            return None;
        }
        let options = job.spec.options();
        Some(StartOrder {
            job: id,
            fence,
            timeout_ms: options.timeout_ms,
            on_disconnect: options.on_disconnect,
            slots: options.requires.slots,
            kind: job.spec.kind.clone(),
            payload: job.spec.payload.clone(),
            origin: options.origin.clone(),
            traced: options.metadata.contains("\"traceparent\"").then(|| options.metadata.clone()),
        })
    }

    /// Whether a running job is to be cancelled.
    #[must_use]
    pub fn cancel_wanted(&self, id: JobId) -> bool {
        self.jobs.in_motion(id).is_some_and(|job| job.cancel.is_some())
    }

    /// An order-free digest of all rows as they are now: equal journals make equal digests. Reads every
    /// row; meant for tests, the store keeps its own as it goes.
    #[must_use]
    pub fn digest(&mut self) -> u128 {
        self.jobs.write_changed(&mut self.sheet);
        self.nodes.write_changed(&mut self.sheet);
        self.schedules.write_changed(&mut self.sheet);
        self.groups.write_changed(&mut self.sheet);
        let mut digest = 0u128;
        self.sheet.scan(&[0], &[0xff], false, |key, row| {
            let mut whole = key.to_vec();
            whole.extend_from_slice(row);
            digest = digest.wrapping_add(xxhash_rust::xxh3::xxh3_128(&whole));
            true
        });
        digest
    }

    pub(super) fn each_job(&self, mut visit: impl FnMut(&Job)) {
        self.jobs.newest_first(&self.sheet, JobId(0), JobId(u128::MAX), |job| {
            visit(job);
            true
        });
    }
}
