//! The worker's actor: a thin shell around the [`Worker`] core. It takes what has gathered, steps the core
//! and performs the effects: starts executors, stops them, sends reports.
//!
//! As with the dispatcher, orders and ends gather in an intake; the mailbox only carries "there is
//! something".

mod progress;
mod remembered;
mod ticks;

use crate::core::{Effect, Input, Worker, WorkerCounts};
use crate::executor::{Ended, ErrorType, Executors, Outcome, Stop, Task, origin};
use crate::output::Output;
use crate::spawner::Spawner;
use actix::prelude::*;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use progress::Progress;
use relais_protocol::ids::{Fence, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, ErrorKind, JobError};
use relais_protocol::message::{Orders, OrdersAnswer, Report, ReportAnswer, StartOrder};
use relais_protocol::record::Finish;
use relais_protocol::spec::OnDisconnect;
use relais_protocol::time::Mono;
use remembered::Remembered;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{oneshot, watch};

/// Ends that are still unsettled after so many ticks are kept in a file.
const KEPT_AFTER_TICKS: u32 = 4;

/// What the worker needs of its node.
pub trait Outlet: Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Mono;
    /// Sends a report to the dispatcher; `None` when no answer came.
    fn report(&self, to: NodeId, report: Report) -> BoxFuture<'static, Option<ReportAnswer>>;
    /// Has the highest reign kept; completes once it is on stable storage. It never blocks.
    fn remember(&self, reign: Reign) -> BoxFuture<'static, ()>;
    /// Has these ends kept in a file, or forgotten when there are none. It never blocks.
    fn keep(&self, unsettled: &[Finish]);
    /// Goodbye has been said.
    fn left(&self);
}

enum Item {
    Orders(Orders, oneshot::Sender<OrdersAnswer>),
    Input(Input),
}

#[derive(Default)]
struct Intake {
    items: Mutex<Vec<Item>>,
    woken: AtomicBool,
}

/// What the worker says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct BenchState {
    /// Attempts that run.
    pub running: usize,
    /// Ends that nobody has written down yet.
    pub unsettled: usize,
    /// When the actor last had its turn, by the monotonic clock.
    pub turned_at: Mono,
    /// Counts for people who watch.
    pub counts: WorkerCounts,
}

/// The way to the worker: cheap to clone.
#[derive(Clone)]
pub struct Bench {
    intake: Arc<Intake>,
    addr: Arc<RwLock<Option<Addr<WorkerActor>>>>,
    state: Arc<Mutex<BenchState>>,
    progress: Progress,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            intake: Arc::default(),
            addr: Arc::new(RwLock::new(None)),
            state: Arc::default(),
            progress: Progress::default(),
        }
    }
}

impl Bench {
    /// Hands in orders.
    pub async fn order(&self, orders: Orders) -> Option<OrdersAnswer> {
        let (tx, rx) = oneshot::channel();
        self.put(Item::Orders(orders, tx));
        rx.await.ok()
    }

    /// Hands in anything else.
    pub fn input(&self, input: Input) {
        self.put(Item::Input(input));
    }

    /// What the worker says of itself.
    #[must_use]
    pub fn state(&self) -> BenchState {
        *self.state.lock()
    }

    /// What an attempt that runs here last said of its progress.
    #[must_use]
    pub fn progress(&self, job: JobId, fence: Fence) -> Option<String> {
        self.progress.read((job, fence))
    }

    /// What has gathered for the worker and was not taken yet.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.intake.items.lock().len()
    }

    fn put(&self, item: Item) {
        self.intake.items.lock().push(item);
        if !self.intake.woken.swap(true, Ordering::AcqRel)
            && let Some(addr) = &*self.addr.read()
        {
            // A full mailbox holds a wake already.
            let _ = addr.try_send(Wake);
        }
    }
}

/// What the actor is made of.
pub struct WorkerParts {
    /// The core.
    pub core: Worker,
    /// This node.
    pub me: NodeId,
    /// Its name, for the jobs' environment.
    pub name: String,
    /// What runs jobs.
    pub executors: Executors,
    /// The process that starts jobs' processes, to be told of leases; none where nothing is ever run.
    pub spawner: Option<Spawner>,
    /// Where output goes.
    pub output: Output,
    /// Where private folders are made.
    pub work_dir: PathBuf,
    /// Where executors run.
    pub runtime: tokio::runtime::Handle,
    /// The node.
    pub outlet: Arc<dyn Outlet>,
}

/// The actor. Start it with [`start`].
pub struct WorkerActor {
    parts: WorkerParts,
    bench: Bench,
    running: BTreeMap<(JobId, Fence), watch::Sender<Option<Stop>>>,
    asked: Option<oneshot::Sender<OrdersAnswer>>,
    remembered: Remembered,
    unsettled_ticks: u32,
    kept: usize,
    _ward: Box<dyn Send>,
}

/// Starts the actor on the current arbiter, behind `bench`. `ward` is dropped when it ends, however it ends.
pub fn start(parts: WorkerParts, bench: &Bench, ward: Box<dyn Send>) {
    let remembered = Remembered::of(parts.core.reign());
    let actor = WorkerActor {
        parts,
        remembered,
        bench: bench.clone(),
        running: BTreeMap::new(),
        asked: None,
        unsettled_ticks: 0,
        kept: 0,
        _ward: ward,
    };
    let addr = WorkerActor::create(|ctx| {
        ctx.set_mailbox_capacity(4);
        actor
    });
    *bench.addr.write() = Some(addr);
}

struct Wake;

impl Message for Wake {
    type Result = ();
}

impl Actor for WorkerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick_later(ctx);
        ctx.notify(Wake);
    }
}

impl Handler<Wake> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.turn(ctx);
    }
}

impl WorkerActor {
    /// Takes all that has gathered, also meanwhile. Ends come first, so that one report carries them all.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        self.take_gathered(ctx);
        self.take_gathered(ctx);
        *self.bench.state.lock() = BenchState {
            running: self.parts.core.running(),
            unsettled: self.parts.core.unsettled().len(),
            counts: self.parts.core.counts(),
            turned_at: self.parts.outlet.now(),
        };
    }

    fn take_gathered(&mut self, ctx: &mut Context<Self>) {
        self.bench.intake.woken.store(false, Ordering::Release);
        let items = std::mem::take(&mut *self.bench.intake.items.lock());
        let (mut ended, mut rest) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Input(Input::Ended(finish)) => ended.push(*finish),
                item => rest.push(item),
            }
        }
        if !ended.is_empty() {
            self.step(Input::AllEnded(ended), ctx);
        }
        for item in rest {
            match item {
                Item::Orders(orders, tx) => self.take_orders(orders, tx, ctx),
                Item::Input(input) => self.step(input, ctx),
            }
        }
    }

    /// Orders of a reign that is not on disk yet wait: once obeyed, no lower one may be, not even after a crash.
    fn take_orders(&mut self, orders: Orders, tx: oneshot::Sender<OrdersAnswer>, ctx: &mut Context<Self>) {
        if self.remembered.covers(orders.reign) {
            self.asked = Some(tx);
            self.step(Input::Orders(orders), ctx);
        } else {
            self.remember(orders.reign, ctx);
            self.remembered.hold(orders, tx);
        }
    }

    fn remember(&mut self, reign: Reign, ctx: &mut Context<Self>) {
        if self.remembered.begin(reign) {
            let kept = self.parts.outlet.remember(reign);
            ctx.spawn(kept.into_actor(self).map(move |(), actor, ctx| {
                for (orders, tx) in actor.remembered.kept(reign) {
                    actor.take_orders(orders, tx, ctx);
                }
            }));
        }
    }

    fn step(&mut self, input: Input, ctx: &mut Context<Self>) {
        if let Input::AllEnded(finishes) = &input {
            for finish in finishes {
                self.running.remove(&(finish.job, finish.fence));
            }
        }
        let now = self.parts.outlet.now();
        let answered = matches!(input, Input::Answered(..));
        let effects = self.parts.core.handle(now, input);
        let left = self.parts.core.lease_left_ms(now);
        if let Some(spawner) = self.parts.spawner.as_ref().filter(|_| answered && left > 0) {
            // What is left of it, not all of it: it counts from when the report was sent.
            spawner.lease(left);
        }
        for effect in effects {
            self.perform(effect, ctx);
        }
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Start(order) => self.run(*order),
            Effect::Stop { job, fence, kill } => {
                if let Some(stop) = self.running.get(&(job, fence)) {
                    stop.send_replace(Some(if kill { Stop::Fenced } else { Stop::Cancel }));
                }
            }
            Effect::Report(to, number, report) => {
                let sent = self.parts.outlet.report(to, *report);
                ctx.spawn(sent.into_actor(self).map(move |answer, actor, ctx| {
                    actor.turn(ctx);
                    let input = answer.map_or(Input::Unanswered(number), |answer| Input::Answered(number, answer));
                    actor.step(input, ctx);
                }));
            }
            Effect::Answer(answer) => {
                if let Some(tx) = self.asked.take() {
                    let _ = tx.send(answer);
                }
            }
            Effect::Remember(reign) => self.remember(reign, ctx),
            Effect::Left => self.parts.outlet.left(),
        }
    }

    fn run(&mut self, order: StartOrder) {
        if let Some(ended) = self.parts.executors.at_once(&order.kind, &order.payload, order.fence.number()) {
            let end = finish(order.job, order.fence, self.parts.me, ended);
            self.bench.input(Input::Ended(Box::new(end)));
            return;
        }
        let (stop, stopped) = watch::channel(None);
        self.running.insert((order.job, order.fence), stop);
        let payload = serde_json::from_str(&order.payload);
        let task = Task {
            job: order.job,
            fence: order.fence,
            attempt: order.fence.number(),
            kind: order.kind,
            payload: payload.unwrap_or(serde_json::Value::Null),
            timeout_ms: order.timeout_ms,
            node_name: self.parts.name.clone(),
            extra_env: origin::variables(order.job, order.origin.as_ref(), order.traced.as_deref()),
            work_dir: self.parts.work_dir.clone(),
            leased: order.on_disconnect == OnDisconnect::Stop,
            output: self.parts.output.capture(order.job, order.fence.number()),
            progress: Some(self.bench.progress.begin((order.job, order.fence))),
        };
        let (executors, bench, me) = (self.parts.executors.clone(), self.bench.clone(), self.parts.me);
        self.parts.runtime.spawn(async move {
            let ended = executors.run(task, stopped).await;
            bench.progress.end((order.job, order.fence));
            bench.input(Input::Ended(Box::new(finish(order.job, order.fence, me, ended))));
        });
    }

    /// Ends that stay unsettled are kept in a file, so that a crash of this process does not forget them.
    fn keep_unsettled(&mut self) {
        let unsettled = self.parts.core.unsettled().len();
        self.unsettled_ticks = if unsettled == 0 { 0 } else { self.unsettled_ticks + 1 };
        let keep = self.unsettled_ticks >= KEPT_AFTER_TICKS && unsettled != self.kept;
        if keep || unsettled == 0 && self.kept > 0 {
            let all: Vec<Finish> = self.parts.core.unsettled().cloned().collect();
            self.parts.outlet.keep(&all);
            self.kept = unsettled;
        }
    }
}

fn finish(job: JobId, fence: Fence, node: NodeId, ended: Ended) -> Finish {
    let outcome = match ended.outcome {
        Outcome::Succeeded => AttemptOutcome::Succeeded,
        Outcome::Failed => AttemptOutcome::Failed,
        Outcome::TimedOut => AttemptOutcome::TimedOut,
        Outcome::Cancelled => AttemptOutcome::Cancelled,
        Outcome::GivenBack => AttemptOutcome::Lost,
    };
    let error = ended.error.map(|(kind, message)| JobError { kind: error_kind(kind), message });
    Finish {
        job,
        fence,
        node,
        outcome,
        exit_code: ended.exit_code,
        signal: ended.signal,
        error,
        result: ended.result,
        progress: ended.progress.map(progress::bounded),
        output_tail: ended.output.tail,
    }
}

fn error_kind(kind: ErrorType) -> ErrorKind {
    match kind {
        ErrorType::Exit => ErrorKind::Exit,
        ErrorType::Signal => ErrorKind::Signal,
        ErrorType::Timeout => ErrorKind::Timeout,
        ErrorType::Spawn => ErrorKind::Spawn,
        ErrorType::Http => ErrorKind::Http,
        ErrorType::Cancelled => ErrorKind::Cancelled,
        ErrorType::Worker => ErrorKind::Worker,
        ErrorType::WorkerFinal => ErrorKind::WorkerFinal,
    }
}

#[cfg(test)]
mod tests;
