//! The worker's shell and the processes of its jobs. The processes are the machine's, not the node's: they
//! run on while the node's process is stopped, until the spawner sees their lease end, and die with it.

use super::World;
use super::dice::Dice;
use super::event::{Event, Inside, Message};
use crate::history::{At, DeedKind, Execution};
use relais_protocol::ids::{Fence, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, ErrorKind, JobError};
use relais_protocol::message::{Orders, OrdersAnswer, Report, ReportAnswer, StartOrder};
use relais_protocol::record::Finish;
use relais_protocol::spec::{JobSpec, OnDisconnect};
use relais_worker::core::{Effect, Input};
use std::collections::BTreeMap;

/// How long the dispatcher has to answer a report, in ms.
const REPORT_ANSWERED_MS: u64 = 2_000;
/// How a policy names the way in which external workers fail.
pub(super) const FLAKY: &str = "worker:Flaky";
/// Ends that are unsettled after so many ticks are kept in a file.
const KEPT_AFTER_TICKS: u32 = 4;

/// What a machine's worker holds beside its core.
#[derive(Default)]
pub(super) struct Bench {
    processes: BTreeMap<(JobId, Fence), Process>,
    /// When the lease that the spawner knows is over.
    lease_until: u64,
    unsettled_ticks: u32,
    /// Ended while nobody could be told.
    ends: BTreeMap<(JobId, Fence), Finish>,
    /// Calls that carry a report not yet answered, and its number.
    reported: BTreeMap<u64, u64>,
}

/// What a job does when it runs: `ms` long, failing its first `fails` attempts with exit code `code`, `lag` ms deaf to
/// a TERM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Script {
    pub(super) ms: u64,
    pub(super) fails: u64,
    pub(super) lag: u64,
    pub(super) code: u64,
}

impl Script {
    pub(super) fn payload(self) -> String {
        format!("[{},{},{},{}]", self.ms, self.fails, self.lag, self.code)
    }

    pub(super) fn parse(payload: &str) -> Self {
        let mut numbers = payload.trim_matches(['[', ']']).split(',').map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { ms: next(), fails: next(), lag: next(), code: next() }
    }
}

struct Process {
    /// Its place in the history.
    execution: usize,
    /// Which of its plans to end is in force.
    version: u32,
    outcome: AttemptOutcome,
    leased: bool,
    lag: u64,
    code: u64,
    killed: bool,
}

impl Bench {
    pub(super) fn is_idle(&self) -> bool {
        self.processes.is_empty()
    }
}

impl World {
    /// Steps the worker's core of a node.
    pub(super) fn work(&mut self, id: NodeId, input: Input, orders: Option<(NodeId, u64, Reign)>) {
        let now = self.now;
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let effects = life.worker.handle(life.mono(now), input);
        for effect in effects {
            match effect {
                Effect::Start(order) => self.start_process(id, &order),
                Effect::Stop { job, fence, kill } => self.stop_process(id, (job, fence), kill),
                Effect::Report(to, number, report) => self.send_report(id, to, number, report),
                Effect::Answer(answer) => self.answer_orders(id, answer, orders),
                // No planted bug forgets it: nobody would see. An order names the run of the process that it is
                // for, and the lease that it needs is given to a run only once its `NodeUp` is committed. Who
                // reigned before a later reign was obeyed commits nothing any more after it, so neither comes to
                // a run that started since, whatever that one remembers; and of two sides of a pair a worker
                // follows the other only when its own journal is no side any more. The memory guards a second
                // time. That it does is shown by the model of fencing, whose orders name no run.
                Effect::Remember(reign) => self.node(id).disk.reign = reign,
                Effect::Left => self.on_left(id),
            }
        }
    }

    pub(super) fn on_orders(&mut self, id: NodeId, from: NodeId, call: u64, orders: Orders) {
        let reign = orders.reign;
        self.work(id, Input::Orders(orders), Some((from, call, reign)));
    }

    fn answer_orders(&mut self, id: NodeId, answer: OrdersAnswer, orders: Option<(NodeId, u64, Reign)>) {
        let Some((from, call, reign)) = orders else { return };
        match answer {
            OrdersAnswer::Accepted => self.deed(id, DeedKind::Obeyed(reign)),
            OrdersAnswer::StaleReign(_) => self.refused.orders += 1,
            _ => {}
        }
        self.send(id, from, Message::OrdersAnswer(call, answer));
    }

    fn send_report(&mut self, id: NodeId, to: NodeId, number: u64, report: Box<Report>) {
        let call = self.new_call();
        self.node(id).bench.reported.insert(call, number);
        self.inside(id, REPORT_ANSWERED_MS, Inside::Late(call));
        self.send(id, to, Message::Report(call, report));
    }

    pub(super) fn on_report_answer(&mut self, id: NodeId, call: u64, answer: Option<ReportAnswer>) {
        let Some(number) = self.node(id).bench.reported.remove(&call) else { return };
        let input = answer.map_or(Input::Unanswered(number), |answer| Input::Answered(number, answer));
        self.work(id, input, None);
        self.renew_spawner(id);
    }

    /// The spawner is told of the lease that the worker has now.
    fn renew_spawner(&mut self, id: NodeId) {
        let now = self.now;
        let Some(life) = self.node(id).life.as_deref() else { return };
        let left = life.worker.lease_left_ms(life.mono(now));
        let until = now + left;
        if left > 0 && until > self.node(id).bench.lease_until {
            self.node(id).bench.lease_until = until;
            self.at(left, Event::SpawnerLease(id, until));
        }
    }

    pub(super) fn on_spawner_lease(&mut self, id: NodeId, until: u64) {
        if self.node(id).bench.lease_until == until {
            let leased = |process: &Process| process.leased;
            self.kill_processes(id, leased);
        }
    }

    pub(super) fn on_worker_tick(&mut self, id: NodeId) {
        self.work(id, Input::Tick, None);
        let node = self.node(id);
        let Some(life) = node.life.as_deref() else { return };
        let unsettled = life.worker.unsettled().len();
        node.bench.unsettled_ticks = if unsettled == 0 { 0 } else { node.bench.unsettled_ticks + 1 };
        if node.bench.unsettled_ticks >= KEPT_AFTER_TICKS || unsettled == 0 && !node.disk.unsettled.is_empty() {
            node.disk.unsettled = life.worker.unsettled().cloned().collect();
        }
    }

    fn start_process(&mut self, id: NodeId, order: &StartOrder) {
        let script = Script::parse(&order.payload);
        let fails = u64::from(order.fence.number()) <= script.fails;
        let late = order.timeout_ms.filter(|timeout| *timeout < script.ms);
        let outcome = match (late, fails) {
            (Some(_), _) => AttemptOutcome::TimedOut,
            (_, true) => AttemptOutcome::Failed,
            _ => AttemptOutcome::Succeeded,
        };
        let (job, fence, began) = (order.job, order.fence, At(self.now));
        let execution = self.history.executions.len();
        self.history.executions.push(Execution {
            job,
            fence,
            node: id,
            began,
            ended: None,
            lease_over: None,
            outcome: None,
        });
        let leased = order.on_disconnect == OnDisconnect::Stop;
        let process =
            Process { execution, version: 0, outcome, leased, lag: script.lag, code: script.code, killed: false };
        self.node(id).bench.processes.insert((job, fence), process);
        self.trace.say(self.now, id.0.into(), || format!("starts {job} fence {fence}"));
        self.at(late.unwrap_or(script.ms), Event::ProcessEnds(id, job, fence, 0));
    }

    fn stop_process(&mut self, id: NodeId, key: (JobId, Fence), kill: bool) {
        let Some(process) = self.node(id).bench.processes.get_mut(&key) else { return };
        if process.killed {
            return;
        }
        let lag = if kill { 0 } else { process.lag };
        process.killed = kill;
        process.version += 1;
        process.outcome = AttemptOutcome::Cancelled;
        let version = process.version;
        let delay = lag + self.dice.range(0, 3);
        self.at(delay, Event::ProcessEnds(id, key.0, key.1, version));
    }

    fn kill_processes(&mut self, id: NodeId, which: impl Fn(&Process) -> bool) {
        let all = self.node(id).bench.processes.iter().filter(|(_, process)| which(process));
        for key in all.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.stop_process(id, key, true);
        }
    }

    /// The node's process is gone: its spawner kills all of its jobs, and nobody hears of their ends.
    pub(super) fn orphan_processes(&mut self, id: NodeId) {
        self.kill_processes(id, |_| true);
        let bench = &mut self.node(id).bench;
        bench.ends.clear();
        bench.reported.clear();
        bench.unsettled_ticks = 0;
    }

    pub(super) fn on_process_ends(&mut self, id: NodeId, job: JobId, fence: Fence, version: u32) {
        let now = self.now;
        let node = self.node(id);
        if node.bench.processes.get(&(job, fence)).is_none_or(|process| process.version != version) {
            return;
        }
        let Some(process) = node.bench.processes.remove(&(job, fence)) else { return };
        let over = node.bench.lease_until;
        node.bench.ends.insert((job, fence), finish(id, (job, fence), process.outcome, process.code));
        self.trace.say(now, id.0.into(), || format!("ends {job} fence {fence}: {:?}", process.outcome));
        let execution = &mut self.history.executions[process.execution];
        execution.ended = Some(At(now));
        execution.outcome = Some(process.outcome);
        execution.lease_over = (process.leased && over < now).then_some(At(over));
        self.inside(id, 0, Inside::Ended(job, fence));
    }

    /// The executor tells the worker.
    pub(super) fn on_ended(&mut self, id: NodeId, job: JobId, fence: Fence) {
        if let Some(finish) = self.node(id).bench.ends.remove(&(job, fence)) {
            self.work(id, Input::Ended(Box::new(finish)), None);
        }
    }
}

/// What an attempt that succeeded says; some say nothing.
pub(super) fn result_of(job: JobId, fence: Fence) -> Option<String> {
    (!fence.0.is_multiple_of(3)).then(|| format!("{{\"by\":\"{job}/{fence}\"}}"))
}

/// The attempt of this end is one of those that its job's policy does not try again.
pub(super) fn is_fatal(spec: &JobSpec, outside: bool, outcome: AttemptOutcome) -> bool {
    let has = |rule: &str| spec.options().retry.non_retryable.iter().any(|own| own == rule);
    match outcome {
        AttemptOutcome::TimedOut => has("timeout"),
        AttemptOutcome::Failed if outside => has(FLAKY),
        AttemptOutcome::Failed => has(&format!("exit:{}", Script::parse(&spec.payload).code)),
        _ => false,
    }
}

fn finish(node: NodeId, (job, fence): (JobId, Fence), outcome: AttemptOutcome, code: u64) -> Finish {
    let error = match outcome {
        AttemptOutcome::Succeeded => None,
        AttemptOutcome::TimedOut => Some(ErrorKind::Timeout),
        AttemptOutcome::Cancelled => Some(ErrorKind::Cancelled),
        _ => Some(ErrorKind::Exit),
    };
    let error = error.map(|kind| JobError { kind, message: String::new() });
    Finish {
        job,
        fence,
        node,
        outcome,
        exit_code: (outcome == AttemptOutcome::Failed).then_some(code as i32),
        signal: None,
        error,
        result: result_of(job, fence).filter(|_| outcome == AttemptOutcome::Succeeded),
        progress: result_of(job, fence),
        output_tail: Vec::new(),
    }
}

/// How long a job keeps its slots, all attempts together, if none is lost and nobody cancels it.
pub(super) fn work_ms(spec: &JobSpec) -> u64 {
    let (script, options) = (Script::parse(&spec.payload), spec.options());
    let attempts = u64::from(options.retry.max_attempts);
    match options.timeout_ms.filter(|timeout| *timeout < script.ms) {
        Some(timeout) => timeout * attempts,
        None => script.ms * attempts.min(script.fails + 1),
    }
}

/// A script by chance.
pub(super) fn any_script(dice: &mut Dice) -> Script {
    let ms = if dice.chance(20) { dice.range(1_000, 5_000) } else { dice.range(1, 900) };
    let fails = if dice.chance(25) { dice.range(1, 3) } else { 0 };
    Script { ms, fails, lag: if dice.chance(30) { dice.range(1, 2_000) } else { 5 }, code: 1 + ms % 4 }
}
