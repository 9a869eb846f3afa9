//! Clients: they submit, with keys and without, cancel and retry what they submitted, and ask another node
//! when one does not answer.

use super::World;
use super::bench::{FLAKY, Script, any_script, work_ms};
use super::dice::Dice;
use super::event::Event;
use super::outside::external;
use super::room;
use super::shared::{Budget, limit_of_few};
use crate::history::{At, Submitted};
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::record::{Committed, Outcome, Record, Submit};
use relais_protocol::spec::{
    Condition, Dependency, Jitter, JobOptions, JobSpec, OnDisconnect, OnLost, QueueName, RetryPolicy, StartTime,
};

/// A client gives up waiting for a node after this, in ms.
const PATIENCE_MS: u64 = 6_000;
/// Work that clients want done, in ms for each slot: a cluster with more to do than its slots can, in the time
/// that it has, would say nothing of what becomes of its jobs. This leaves room for one job that comes last,
/// fails each time and waits between its attempts.
const WORK_MS: u64 = 20_000;
/// Of its turns, in how many a client also reads.
const READS_PERCENT: u64 = 60;

/// A client.
pub(super) struct Client {
    dice: Dice,
    to_submit: u32,
    jobs: Vec<JobId>,
    request: Option<Request>,
    budget: Budget,
}

#[derive(Clone, Debug)]
struct Request {
    records: Vec<Record>,
    /// For each submit in it, its place in the history.
    submits: Vec<usize>,
    /// Whether it may be sent again.
    again: bool,
    /// The call under way, and since when.
    call: Option<(u64, u64)>,
}

impl Client {
    pub(super) fn new(dice: Dice, to_submit: u32) -> Self {
        Self { dice, to_submit, jobs: Vec::new(), request: None, budget: Budget::default() }
    }

    /// Lets a job wait for an earlier one, now and then.
    fn follow_another(&mut self, spec: JobSpec) -> JobSpec {
        let Some(job) = self.dice.pick(&self.jobs).filter(|_| self.dice.chance(12)) else { return spec };
        let on = self.dice.pick(&[Condition::Succeeded, Condition::Finished, Condition::Failed]).unwrap_or_default();
        let mut options = spec.options().clone();
        options.depends_on = vec![Dependency { job, on }];
        let more = if self.dice.chance(40) { self.dice.range(1, 3) } else { 0 };
        for _ in 0..more {
            let other = self.dice.pick(&self.jobs).unwrap_or(job);
            if options.depends_on.iter().all(|known| known.job != other) {
                options.depends_on.push(Dependency { job: other, on: Condition::Finished });
            }
        }
        spec.with_options(options)
    }

    /// The job that it thinks of, and now and then others with it: as when all that fit a filter are asked for.
    fn some_of(&mut self, job: JobId) -> Vec<JobId> {
        let more = if self.dice.chance(25) { self.dice.range(1, 5) } else { 0 };
        let mut some = vec![job];
        for _ in 0..more {
            some.extend(self.dice.pick(&self.jobs).filter(|other| !some.contains(other)));
        }
        some
    }

    /// Whether it has nothing more to say.
    pub(super) fn is_done(&self) -> bool {
        self.request.is_none() && self.to_submit == 0
    }
}

impl World {
    /// A client's turn.
    pub(super) fn on_client(&mut self, number: usize) {
        let pace = self.plan.pace_ms;
        if self.clients[number].is_done() {
            return;
        }
        let mut dice = self.clients[number].dice.part();
        if dice.chance(READS_PERCENT) {
            self.read_somewhere(&mut dice);
        }
        let lost = self.clients[number].request.as_ref().and_then(|request| request.call);
        match lost {
            Some((_, since)) if self.now - since < PATIENCE_MS => {}
            Some((call, _)) => self.on_told(number, call, None),
            None => {
                if self.clients[number].request.is_none() {
                    self.think(number);
                }
                self.ask(number);
            }
        }
        let wait = self.clients[number].dice.range(pace / 2, pace * 2);
        self.at(wait, Event::Client(number));
    }

    /// Makes up what a client wants next.
    fn think(&mut self, number: usize) {
        let is_pair = self.pair.is_some();
        let mut dice = self.clients[number].dice.part();
        let wish = self.set_some_node(&mut dice).filter(|_| dice.chance(4));
        let client = &mut self.clients[number];
        let known = client.dice.pick(&client.jobs);
        let request = match (client.dice.range(0, 99), known) {
            _ if number == 0 && !is_pair && client.budget.begins() => Some(single(limit_of_few())),
            (90.., _) if wish.is_some() => wish.map(single),
            (0..12, Some(job)) => Some(bulk(client.some_of(job), |job| Record::Cancel { job, reason: String::new() })),
            (12..22, Some(job)) => Some(bulk(client.some_of(job), |job| Record::Retry { job })),
            (22..40, Some(job)) if is_pair => Some(single(Record::Delete { job })),
            _ => {
                let count = if client.dice.chance(20) { client.dice.range(2, 6) } else { 1 };
                client.to_submit -= 1;
                self.think_of_jobs(number, count)
            }
        };
        self.clients[number].request = request;
    }

    /// Jobs to submit; none any more once there is enough to do.
    fn think_of_jobs(&mut self, number: usize, count: u64) -> Option<Request> {
        let keyed = self.clients[number].dice.chance(75);
        let first = self.history.submits.len();
        let wall = self.node_wall();
        let mut records = Vec::new();
        for n in 0..count {
            let shared = self.shared_key(number).filter(|_| keyed);
            let key = shared.or_else(|| keyed.then(|| format!("c{number}-{first}-{n}")));
            let (long_jobs, is_pair) = (self.plan.long_jobs, self.pair.is_some());
            let is_wide = self.plan.slots.iter().any(|slots| *slots > 1);
            let client = &mut self.clients[number];
            let mut spec = any_spec(&mut client.dice, wall, long_jobs);
            if !is_pair {
                // Two sides of a split keep no limit between them, and which job waits for which is each one's own.
                spec = client.budget.share(spec, &mut client.dice, is_wide);
                spec = client.follow_another(spec);
                // Each external worker has about as much time as a slot.
                let workers = 2 * self.plan.outside as u64;
                if workers > 0 && client.dice.chance(50) && client.budget.has_time("outside", workers, work_ms(&spec)) {
                    spec = external(spec);
                }
            }
            if !self.is_to_be_done(&spec) {
                break;
            }
            let mut options = spec.options().clone();
            options.idempotency_key.clone_from(&key);
            spec = spec.with_options(options);
            self.history.submits.push(Submitted { key, sent_as: Vec::new(), acked: Vec::new() });
            let submit = Submit { id: JobId(0), spec, body_hash: 1, submitted_by: format!("c{number}") };
            records.push(Record::Submit(Box::new(submit)));
        }
        let submits = (first..first + records.len()).collect();
        (!records.is_empty()).then_some(Request { records, submits, again: keyed, call: None })
    }

    /// Whether there is time left for one more job; if not, no client wants any more.
    fn is_to_be_done(&mut self, spec: &JobSpec) -> bool {
        let slots: u64 = self.plan.slots.iter().map(|slots| u64::from(*slots)).sum();
        self.work_ms += work_ms(spec);
        let is_room = self.work_ms <= slots * WORK_MS;
        if !is_room {
            self.clients.iter_mut().for_each(|client| client.to_submit = 0);
        }
        is_room
    }

    /// Sends what a client wants to some node; one that is down refuses, and another is tried later.
    fn ask(&mut self, number: usize) {
        let (now, ids, call) = (self.now, self.ids.clone(), self.new_call());
        let client = &mut self.clients[number];
        let Some(node) = client.dice.pick(&ids) else { return };
        let Some(request) = client.request.as_mut() else { return };
        if self.nodes[node.0 as usize - 1].life.is_none() {
            return;
        }
        request.call = Some((call, now));
        let (records, submits) = (request.records.clone(), request.submits.clone());
        let ids = self.on_request(node, number, call, records);
        for (submit, id) in submits.into_iter().zip(ids) {
            self.history.submits[submit].sent_as.push(id);
        }
    }

    /// A client is answered, or told that nobody will.
    pub(super) fn on_told(&mut self, number: usize, call: u64, answer: Option<Committed>) {
        let client = &mut self.clients[number];
        let Some(request) = client.request.as_mut().filter(|r| r.call.is_some_and(|(own, _)| own == call)) else {
            return;
        };
        request.call = None;
        let Some(committed) = answer else {
            if !request.again {
                client.request = None;
            }
            return;
        };
        self.history.answers.push((At(self.now), committed.index));
        let bulk = match request.records.as_slice() {
            [Record::Cancel { .. }, _, ..] => Some("cancel: in bulk"),
            [Record::Retry { .. }, _, ..] => Some("retry: in bulk"),
            _ => None,
        };
        let submits = std::mem::take(&mut request.submits);
        client.request = None;
        bulk.into_iter().for_each(|feature| self.uses(feature));
        for (submit, outcome) in submits.into_iter().zip(&committed.outcomes.each) {
            // Another outcome is a refusal: another job has its unique key.
            if let Outcome::Submitted { id, .. } = outcome {
                self.history.submits[submit].acked.push((At(self.now), *id));
                self.clients[number].jobs.push(*id);
            }
        }
    }

    /// Somebody else's request, asked once, at any node that turns.
    pub(super) fn ask_somewhere(&mut self, records: Vec<Record>) {
        let node: Option<NodeId> = self.nodes.iter().find(|node| node.turns()).map(|node| node.id);
        if let Some(node) = node {
            let call = self.new_call();
            self.on_request(node, usize::MAX, call, records);
        }
    }
}

impl World {
    /// In a pair, a key that other clients use as well, perhaps at the other node.
    fn shared_key(&mut self, number: usize) -> Option<String> {
        let (now, is_pair) = (self.now, self.pair.is_some());
        let dice = &mut self.clients[number].dice;
        (is_pair && dice.chance(40)).then(|| format!("s{}-{}", now / 1_500, dice.range(0, 3)))
    }
}

fn single(record: Record) -> Request {
    Request { records: vec![record], submits: Vec::new(), again: true, call: None }
}

fn bulk(jobs: Vec<JobId>, record: impl Fn(JobId) -> Record) -> Request {
    Request { records: jobs.into_iter().map(record).collect(), submits: Vec::new(), again: true, call: None }
}

/// Ends that are not to be tried again, of those that come.
fn any_rules(dice: &mut Dice) -> Vec<String> {
    let rule = dice.pick(&["exit:3", "timeout", FLAKY]).filter(|_| dice.chance(20));
    rule.into_iter().map(str::to_owned).collect()
}

fn any_spec(dice: &mut Dice, wall: relais_protocol::time::UnixMs, long: bool) -> JobSpec {
    let mut script = any_script(dice);
    if long {
        script = Script { ms: dice.range(4_000, 9_000), fails: 0, ..script };
    }
    let retry = RetryPolicy {
        max_attempts: dice.range(1, 4) as u16,
        initial_interval_ms: dice.range(50, 800),
        maximum_interval_ms: 3_000,
        jitter: if dice.chance(50) { Jitter::Full } else { Jitter::None },
        on_lost: if dice.chance(10) { OnLost::Fail } else { OnLost::Retry },
        max_lost: dice.range(1, 4) as u16,
        non_retryable: any_rules(dice),
        ..RetryPolicy::default()
    };
    let start = match dice.range(0, 9) {
        0 => StartTime::After(dice.range(10, 3_000)),
        1 => StartTime::At(wall.plus(dice.range(0, 2_000))),
        _ => StartTime::Now,
    };
    let mut options = JobOptions {
        start,
        expires_at: dice.chance(5).then(|| wall.plus(dice.range(500, 10_000))),
        timeout_ms: dice.chance(15).then(|| dice.range(200, 3_000)),
        retry,
        on_disconnect: if dice.chance(20) { OnDisconnect::Continue } else { OnDisconnect::Stop },
        notify: super::courier::webhook(script.ms),
        ..JobOptions::default()
    };
    room::ask(&mut options, dice);
    let spec = JobSpec {
        kind: "noop".into(),
        queue: QueueName::default(),
        priority: dice.range(0, 100) as u8,
        name: String::new(),
        payload: script.payload(),
        options: None,
    };
    spec.with_options(options)
}
