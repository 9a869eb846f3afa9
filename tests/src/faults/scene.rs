//! The stage of most faults: a cluster, the usual load, bystanders; and the judgement at the end.

use super::marks::Marks;
use super::record::Gathered;
use super::run::Run;
use super::watch::Watch;
use crate::checkers::{Violation, check_all};
use crate::cluster::job::Job;
use crate::cluster::wait::{look_for, until};
use crate::cluster::{Cluster, Node, Options};
use crate::history::{At, Execution, Recovery};
use crate::load::{Hit, Load, Plan, Sent, Verdict};
use relais_protocol::time::UnixMs;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long acknowledgements may be awaited: the longest silence that any fault is allowed.
const ACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(60);
/// How long the last jobs may run, once nothing is wrong any more.
const ENDED_LIMIT: Duration = Duration::from_secs(60);

/// A cluster under load, and what is known of it.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// Its clients.
    pub load: Load,
    marks: Marks,
    watch: Watch,
    hits: Vec<Hit>,
    began: Instant,
    began_unix: UnixMs,
    healed: Option<Instant>,
    earlier: Vec<Sent>,
    expected_failed: Vec<String>,
}

/// Harm that was done to a node.
#[derive(Clone, Debug)]
pub struct Blow {
    /// The node's number.
    pub node: usize,
    /// When, by the wall clock of the test.
    pub from: UnixMs,
    /// When.
    pub at: Instant,
}

/// What is left of a scene when it is over.
pub struct Closed {
    /// The cluster, still running.
    pub cluster: Cluster,
    /// What the clients remember.
    pub sent: Vec<Sent>,
    /// The record.
    pub jobs: Vec<Job>,
    /// How they compare.
    pub verdict: Verdict,
    /// The executions that left marks.
    pub executions: Vec<Execution>,
}

impl Scene {
    /// A cluster of `count` nodes, whole and under the usual load.
    #[must_use]
    pub fn start(count: usize, options: Options) -> Self {
        let scene = Self::of(Cluster::start(count, options));
        scene.await_acknowledged(50);
        scene
    }

    /// Puts a cluster under the usual load: clients that submit jobs which do nothing, at all nodes, and one
    /// that submits jobs of a second which leave marks.
    #[must_use]
    pub fn of(cluster: Cluster) -> Self {
        Self::with(cluster, 8, 40.0)
    }

    /// As [`Scene::of`], with so many clients of the first kind, each with so many submits in a second.
    #[must_use]
    pub fn with(cluster: Cluster, clients: usize, per_second: f64) -> Self {
        let marks = Marks::new(cluster.folder());
        let quick = json!({"kind": "noop", "payload": {}, "retry": {"max_lost": 100}});
        let plans = [
            Plan { clients, per_second, prefix: "quick", spec: quick },
            Plan { clients: 1, per_second: 4.0, prefix: "marked", spec: marks.spec(1) },
        ];
        let (began, began_unix) = (Instant::now(), cluster.now());
        let load = Load::start(&cluster, &plans);
        let watch = Watch::of(&cluster);
        Self {
            cluster,
            load,
            marks,
            watch,
            hits: Vec::new(),
            began,
            began_unix,
            healed: None,
            earlier: Vec::new(),
            expected_failed: Vec::new(),
        }
    }

    /// Waits until so many more jobs are acknowledged.
    pub fn await_acknowledged(&self, more: usize) {
        let before = self.load.acknowledged();
        let what = format!("{more} more acknowledged jobs");
        until(&what, ACKNOWLEDGED_LIMIT, || (self.load.acknowledged() >= before + more).then_some(()));
    }

    /// Waits until jobs run on all nodes.
    pub fn await_work_everywhere(&self) {
        self.cluster.until("jobs that run on all nodes", |cluster| {
            let runs = |node: &Node| node.figure("relais_attempts_running").unwrap_or(0) > 0;
            cluster.nodes.iter().all(runs).then_some(())
        });
    }

    /// Lets the load go on for a time.
    pub fn go_on(&self, time: Duration) {
        let end = Instant::now() + time;
        until("time", time * 2, || (Instant::now() >= end).then_some(()));
    }

    /// Does harm to a node.
    pub fn blow(&mut self, node: usize, harm: impl FnOnce(&mut Node)) -> Blow {
        let blow = Blow { node, from: self.cluster.now(), at: Instant::now() };
        harm(&mut self.cluster.nodes[node]);
        blow
    }

    /// Declares that a node was not well from a blow until now: attempts on it may have been lost.
    pub fn hit(&mut self, blow: &Blow) {
        let node = self.cluster.nodes[blow.node].name.clone();
        self.hits.push(Hit { node, from: blow.from, until: self.cluster.now() });
    }

    /// Declares that all nodes were not well from `from` until now.
    pub fn hit_all(&mut self, from: UnixMs) {
        let until = self.cluster.now();
        let hit = |node: &Node| Hit { node: node.name.clone(), from, until };
        self.hits.extend(self.cluster.nodes.iter().map(hit));
    }

    /// Declares that nothing is wrong from now on: a dispatcher must be there within 5 s.
    pub fn heal(&mut self) {
        self.healed = Some(Instant::now());
    }

    /// A time as the history has it.
    #[must_use]
    pub fn at(&self, when: Instant) -> At {
        At(u64::try_from((when - self.began).as_millis()).unwrap_or(u64::MAX))
    }

    /// How long it took, from a blow on, until a job sent after it was acknowledged.
    #[must_use]
    pub fn gap(&self, blow: &Blow) -> Duration {
        let first = until("an acknowledgement after the blow", ACKNOWLEDGED_LIMIT, || {
            self.load.first_acknowledged_of_those_sent_after(blow.at)
        });
        first - blow.at
    }

    /// Submits one more job at a node, to be judged with the others; its id.
    ///
    /// # Panics
    /// When it is not acknowledged.
    pub fn submit(&mut self, node: usize, spec: &Value) -> String {
        let mut spec = spec.clone();
        let key = format!("single-{}", self.earlier.len());
        spec["idempotency_key"] = Value::from(key.as_str());
        let at = Instant::now();
        let id = self.cluster.nodes[node].submit(&spec);
        let acked = Some((Instant::now(), id.clone(), node));
        self.earlier.push(Sent { key, at, acked, tries: 1, troubles: Vec::new() });
        id
    }

    /// A job of so many seconds that leaves marks of its executions.
    #[must_use]
    pub fn marked(&self, seconds: u32) -> Value {
        self.marks.spec(seconds)
    }

    /// This job is expected to fail.
    pub fn expect_failed(&mut self, id: &str) {
        self.expected_failed.push(id.to_owned());
    }

    /// Jobs that were sent to this cluster by other loads, to be judged with the others.
    pub fn also_sent(&mut self, sent: Vec<Sent>) {
        self.earlier.extend(sent);
    }

    /// Ends it: all jobs must be over in time, all checkers content, every job succeeded, none started anew
    /// on a node that was well. Fills the run's tally first.
    ///
    /// # Panics
    /// With what is wrong.
    pub fn close(self, run: &mut Run) -> Closed {
        let (closed, violations) = self.judge(run);
        assert!(violations.is_empty(), "{} violations, like {}", violations.len(), violations[0]);
        closed.verdict.assert_flawless();
        closed
    }

    /// As [`Scene::close`], without the assertions: for faults whose expected end is another one.
    ///
    /// # Panics
    /// When jobs are not over in time.
    pub fn judge(mut self, run: &mut Run) -> (Closed, Vec<Violation>) {
        let recovery = self.healed.map(|healed| self.recovery(healed));
        let mut sent = self.load.finish();
        run.tally.unavailable = run.tally.unavailable.max(longest_silence(&sent));
        sent.append(&mut self.earlier);
        let acknowledged = sent.iter().filter(|sent| sent.acked.is_some()).count();
        run.tally.acknowledged += acknowledged;
        let reader = self.cluster.running().first().copied().expect("a node that runs");
        self.cluster.await_all_ended(reader, ENDED_LIMIT);
        let jobs = self.cluster.nodes[reader].jobs();
        let mut verdict = Verdict::of(&sent, &jobs, &self.hits);
        verdict.failed.retain(|text| !self.expected_failed.iter().any(|id| text.contains(id.as_str())));
        let terminals = self.watch.end();
        let gathered = Gathered {
            cluster: &self.cluster,
            began: self.began,
            began_unix: self.began_unix,
            sent: &sent,
            jobs: &jobs,
            hits: &self.hits,
            marks: &self.marks,
            terminals: &terminals,
            recovery,
        };
        let history = gathered.history();
        let violations = check_all(&history);
        let executions = history.executions;
        let twice = violations.iter().filter(|violation| violation.property == "one-terminal").count();
        run.tally.lost += verdict.lost.len();
        run.tally.duplicates += verdict.duplicates.len() + twice;
        violations.iter().take(5).for_each(|violation| println!("  {violation}"));
        println!(
            "  {verdict}; {} jobs seen over by bystanders, {} executions left marks",
            terminals.len(),
            executions.len()
        );
        (Closed { cluster: self.cluster, sent, jobs, verdict, executions }, violations)
    }

    fn recovery(&self, healed: Instant) -> Recovery {
        let running = self.cluster.running();
        let seen = look_for(ACKNOWLEDGED_LIMIT, || self.cluster.agreed(&running));
        let dispatcher = seen.map(|_| self.at(Instant::now()));
        Recovery { healed: self.at(healed), dispatcher, ..Recovery::default() }
    }
}

/// The longest time between two acknowledgements.
fn longest_silence(sent: &[Sent]) -> Duration {
    let mut times: Vec<Instant> = sent.iter().filter_map(|sent| sent.acked.as_ref().map(|(at, ..)| *at)).collect();
    times.sort();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
