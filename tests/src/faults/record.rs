//! Makes the history that the checkers read out of what clients, jobs, bystanders and logs of real
//! processes saw.

use super::marks::Marks;
use crate::cluster::Cluster;
use crate::cluster::job::{Attempt, Job};
use crate::history::{At, Began, Digest, Execution, Final, History, Recovery, Step, Submitted};
use crate::load::{Hit, Sent};
use relais_protocol::ids::{Epoch, Generation, Incarnation, Index, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, StateName};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::time::Instant;

/// A worker's lease outside a pair, in ms. It counts from the last heartbeat that was sent: a node that was
/// hit at some time has no right to run anything so much later.
const LEASE_MS: u64 = 3_000;

/// What a scene has gathered.
pub(super) struct Gathered<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) began: Instant,
    pub(super) began_unix: UnixMs,
    pub(super) sent: &'a [Sent],
    pub(super) jobs: &'a [Job],
    pub(super) hits: &'a [Hit],
    pub(super) marks: &'a Marks,
    pub(super) terminals: &'a BTreeMap<JobId, Vec<StateName>>,
    pub(super) recovery: Option<Recovery>,
}

/// The number of a node by its name: `n1` is 1.
fn node_id(name: &str) -> Option<NodeId> {
    name.strip_prefix('n')?.parse().ok().map(NodeId)
}

fn job_id(text: &str) -> JobId {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

impl Gathered<'_> {
    pub(super) fn history(self) -> History {
        History {
            submits: self.submits(),
            steps: self.steps(),
            executions: self.executions(),
            reigns: reigns(self.cluster),
            finals: self.jobs.iter().map(last).collect(),
            digests: digests(self.cluster),
            recovery: self.recovery,
            ..History::default()
        }
    }

    fn submits(&self) -> Vec<Submitted> {
        let mut by_key: BTreeMap<&str, Vec<JobId>> = BTreeMap::new();
        for job in self.jobs {
            by_key.entry(job.key.as_deref().unwrap_or_default()).or_default().push(job_id(&job.id));
        }
        let submitted = |sent: &Sent| {
            let acked = sent.acked.as_ref().map(|(when, id, _)| (self.at(*when), job_id(id)));
            // Which ids a node tried is not known to its client: what has its key is taken for it.
            let mut sent_as = by_key.get(sent.key.as_str()).cloned().unwrap_or_default();
            sent_as.extend(acked.map(|(_, id)| id).filter(|id| !sent_as.contains(id)));
            Submitted { key: Some(sent.key.clone()), sent_as, acked: acked.into_iter().collect() }
        };
        self.sent.iter().map(submitted).collect()
    }

    fn at(&self, when: Instant) -> At {
        At(u64::try_from((when - self.began).as_millis()).unwrap_or(u64::MAX))
    }

    /// Of what bystanders saw only ends are kept: they may have missed any other state.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (job, states) in self.terminals {
            let all = std::iter::once(StateName::Queued).chain(states.iter().copied());
            steps.extend(all.enumerate().map(|(n, state)| Step { index: Index(n as u64), job: *job, state }));
        }
        steps
    }

    fn executions(&self) -> Vec<Execution> {
        let mut executions = self.marks.executions(node_id);
        for execution in &mut executions {
            let of = |hit: &&Hit| node_id(&hit.node) == Some(execution.node);
            let over = |hit: &Hit| hit.from.since(self.began_unix) + LEASE_MS;
            let hits = self.hits.iter().filter(of).map(over);
            // The first blow that came after it began, or up to a lease before that.
            execution.lease_over = hits.filter(|over| *over >= execution.began.0).min().map(At);
        }
        executions
    }
}

/// Which node said that it reigns, and in which reign.
fn reigns(cluster: &Cluster) -> Vec<Began> {
    let mut found = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        for line in node.log().lines().filter(|line| line.contains("this node is the dispatcher reign=")) {
            let text = line.rsplit("reign=").next().unwrap_or_default();
            let Some((generation, epoch)) = text.trim().split_once('.') else { continue };
            let (Ok(generation), Ok(epoch)) = (generation.parse::<u64>(), epoch.parse::<u64>()) else { continue };
            let reign = Reign { generation: Generation(generation), epoch: Epoch(epoch) };
            // Where its record is in the journal is not told; that nobody else has this reign is what counts.
            let index = Index(generation << 32 | epoch);
            found.push(Began { index, reign, node: NodeId(number as u32 + 1), incarnation: Incarnation(0) });
        }
    }
    found
}

/// What each running node's own copy of the record amounts to, once it has applied as much as the others.
fn digests(cluster: &Cluster) -> Vec<Digest> {
    let index = |number: &usize| cluster.nodes[*number].figure("relais_applied_index");
    let running = cluster.running();
    let most = running.iter().filter_map(index).max().unwrap_or_default();
    let digest = |number: &usize| {
        cluster.until("a copy of the record to be complete", |_| index(number).filter(|index| *index >= most));
        let mut jobs = cluster.nodes[*number].own_jobs();
        jobs.sort_by(|one, other| one.id.cmp(&other.id));
        let mut hasher = DefaultHasher::new();
        jobs.hash(&mut hasher);
        // Nothing changes any more: the jobs are those of one and the same index.
        Digest { node: NodeId(*number as u32 + 1), index: Index(most), digest: u128::from(hasher.finish()) }
    };
    running.iter().map(digest).collect()
}

fn outcome(attempt: &Attempt) -> Option<AttemptOutcome> {
    use AttemptOutcome::{Cancelled, Failed, Lost, Succeeded, TimedOut};
    let named = attempt.outcome.as_deref()?;
    [Succeeded, Failed, TimedOut, Cancelled, Lost].into_iter().find(|known| known.as_str() == named)
}

fn last(job: &Job) -> Final {
    Final {
        id: job_id(&job.id),
        state: StateName::parse(&job.state).expect("a state of the API"),
        key: job.key.clone(),
        attempts: job.attempts.iter().map(|attempt| (attempt.fence, outcome(attempt))).collect(),
        failures_max: job.failures_max,
        losses_max: job.losses_max,
        fatal: BTreeSet::new(),
    }
}
