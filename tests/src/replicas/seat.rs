//! The shells of election and dispatcher, as in a node: one task owns both cores of a process, takes what
//! it is told in order, and performs what they wish. See [`super::desk`] for the dispatcher's part.

use super::Trial;
use super::desk::Desk;
use super::life::Life;
use relais_dispatcher::core::{Core, CoreConfig, Input as CoreInput, Rejection};
use relais_dispatcher::election::{Effect, Election, ElectionConfig, Input, JournalView};
use relais_dispatcher::journal::{Journal, JournalStatus, ProposeError, Role};
use relais_dispatcher::ledger::Event;
use relais_protocol::ids::{Index, NodeId, Reign};
use relais_protocol::message::{Beat, Confirm, ConfirmAnswer, LogPosition};
use relais_protocol::record::{Committed, Outcomes, Record};
use relais_protocol::time::{Mono, UnixMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often time is an input.
const TICK: Duration = Duration::from_millis(5);
/// Ticks between two beats of the dispatcher.
const BEAT_TICKS: u64 = 5;
/// Ticks between two looks of the dispatcher's core at the clock.
const CORE_TICKS: u64 = 4;
/// Who is not the dispatcher beats every so many of those.
const QUIET_BEATS: u64 = 4;
/// A dispatcher that does not get on for this long says no more that it is one, in ms.
const TURNING_MS: u64 = 1_000;
/// How often ledgers are compared, in ms.
const AUDIT_MS: u64 = 400;
/// The wall clock when a run begins.
const WALL_MS: u64 = 1_760_000_000_000;

/// What a seat is told.
pub(super) enum Told {
    Beat(Beat),
    Gone(NodeId),
    Asked(Confirm),
    Answered(ConfirmAnswer),
    StandNow,
    Journal(JournalStatus),
    Applied(Vec<Event>),
    /// The reign that the ledger knew at the start, and whose.
    Reigned(Reign, NodeId),
    Landed(Result<(Index, Outcomes), ProposeError>),
    Propose(Vec<Record>, oneshot::Sender<Result<Committed, Rejection>>),
    /// Hold what comes, hand over once nothing is in flight.
    HandOver,
    Unhold,
}

/// What a seat shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeatView {
    /// Whether it is the dispatcher, and its core has the reign.
    pub(super) dispatches: bool,
    /// Whom it hears as the dispatcher.
    pub(super) hears: Option<NodeId>,
}

/// Both cores of one process.
pub(super) struct Seat {
    pub(super) trial: Arc<Trial>,
    pub(super) life: Arc<Life>,
    pub(super) core: Core,
    pub(super) desk: Desk,
    me: NodeId,
    election: Election,
    journal: JournalView,
    ticks: u64,
    beats: u64,
    heartbeat_under_way: Arc<AtomicBool>,
}

impl Seat {
    pub(super) fn new(trial: Arc<Trial>, life: Arc<Life>, seed: u64) -> Self {
        let (me, now) = (life.id.node(), Mono(trial.watch.now().0));
        let config = CoreConfig { audit_every_ms: AUDIT_MS, ..CoreConfig::default() };
        Self {
            core: Core::new(config, me, life.run),
            desk: Desk::new(now),
            election: Election::new(ElectionConfig::default(), me, seed, now),
            journal: JournalView::default(),
            ticks: 0,
            beats: 0,
            heartbeat_under_way: Arc::default(),
            trial,
            life,
            me,
        }
    }

    /// Sits until the process ends.
    pub(super) async fn sit(mut self, mut told: mpsc::UnboundedReceiver<Told>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.life.is_alive() {
            tokio::select! {
                biased;
                Some(told) = told.recv() => self.take(told),
                _ = tick.tick() => self.tick(),
            }
            let dispatches = self.election.leads() && self.core.reign().is_some();
            let hears = self.election.heard_dispatcher(self.now());
            *self.life.view.lock() = SeatView { dispatches, hears };
        }
    }

    pub(super) fn now(&self) -> Mono {
        Mono(self.trial.watch.now().0)
    }

    pub(super) fn wall(&self) -> UnixMs {
        UnixMs(WALL_MS + self.now().0)
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Beat(beat) => self.elect(Input::Beat(beat)),
            Told::Gone(node) => {
                self.elect(Input::Gone(node));
                self.dispatch(CoreInput::Gone(node));
            }
            Told::Asked(question) => self.elect(Input::Asked(question)),
            Told::Answered(answer) => self.elect(Input::Answered(answer)),
            Told::StandNow => self.elect(Input::StandNow),
            Told::Journal(status) => {
                self.journal = view(&status);
                self.elect(Input::Journal(self.journal.clone()));
            }
            Told::Applied(events) => self.applied(events),
            Told::Reigned(reign, node) => self.elect(Input::Promoted { reign, node, ours: false }),
            Told::Landed(result) => self.landed(result),
            Told::Propose(records, tx) => self.propose(records, tx),
            Told::HandOver => self.dispatch(CoreInput::Hold(true)),
            Told::Unhold => self.dispatch(CoreInput::Hold(false)),
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.elect(Input::Tick);
        if self.ticks.is_multiple_of(CORE_TICKS) {
            self.dispatch(CoreInput::Tick);
            if !self.core.has_work() {
                self.desk.progress_at = self.now();
            }
        }
        if self.ticks.is_multiple_of(BEAT_TICKS) {
            self.beat();
        }
    }

    /// Steps the election.
    pub(super) fn elect(&mut self, input: Input) {
        let led = self.election.leads();
        if let Some((node, at)) = self.life.last_heard() {
            self.election.journal_heard(node, at);
        }
        for effect in self.election.handle(self.now(), input) {
            self.perform(effect);
        }
        if self.election.leads() && !led {
            self.dispatch(CoreInput::Majority(true));
            self.beat();
        }
    }

    fn perform(&mut self, effect: Effect) {
        let (me, wire) = (self.me, self.trial.wire.clone());
        self.trial.watch.say(me, || format!("{effect:?}"));
        match effect {
            Effect::Ask(others, question) => {
                for other in others {
                    let question = question.clone();
                    wire.send(me, other, move || Told::Asked(question.clone()));
                }
            }
            Effect::Answer(to, answer) => wire.send(me, to, move || Told::Answered(answer.clone())),
            Effect::Probe(of) => self.probe(of),
            // Every host here is fit to reign, so nobody has to lead for another.
            Effect::HandOn(heir) => self.trial.watch.broken("progress", format!("{me} leads only for {heir}")),
            Effect::Stand => {
                let journal = self.life.journal.clone();
                tokio::spawn(async move { journal.stand().await });
            }
            Effect::Promote => {
                self.core.explain_reign(self.election.cause().0.as_str(), self.wall(), None);
                self.dispatch(CoreInput::Promote(me, self.life.run));
            }
            Effect::Resign(_) => {
                self.dispatch(CoreInput::Majority(false));
                let over = self.election.reign();
                self.dispatch(CoreInput::Deposed(over));
            }
        }
    }

    /// The port of a dead process is closed, and its kernel says so, unless the way is cut.
    fn probe(&self, of: NodeId) {
        let wire = self.trial.wire.clone();
        let is_cut = wire.is_cut(self.me, of) || wire.is_cut(of, self.me);
        if wire.life(of).is_none() && !is_cut {
            let life = self.life.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(2)).await;
                if life.trial().wire.life(of).is_none() {
                    life.tell(Told::Gone(of));
                }
            });
        }
    }

    fn beat(&mut self) {
        self.beats += 1;
        let (leads, now) = (self.election.leads(), self.now());
        let turning = now.since(self.desk.progress_at) < TURNING_MS;
        if leads && turning {
            self.heartbeat();
        }
        if leads && !turning || !leads && !self.beats.is_multiple_of(QUIET_BEATS) {
            return;
        }
        let beat = Beat {
            from: self.me,
            incarnation: self.life.run,
            reign: self.election.reign(),
            dispatcher: leads,
            goodbye: false,
            voter: self.journal.voters.contains(&self.me),
            ready: true,
            last_log: self.journal.last_log,
            hears: self.election.heard_dispatcher(now),
        };
        for host in self.trial.hosts.iter().filter(|host| host.node != self.me) {
            let beat = beat.clone();
            self.trial.wire.send(self.me, host.node, move || Told::Beat(beat.clone()));
        }
    }

    fn heartbeat(&self) {
        if self.heartbeat_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let (journal, under_way) = (self.life.journal.clone(), self.heartbeat_under_way.clone());
        tokio::spawn(async move {
            // A journal that has stopped shows elsewhere.
            let _ = journal.heartbeat().await;
            under_way.store(false, Ordering::Release);
        });
    }

    fn applied(&mut self, events: Vec<Event>) {
        let promotions: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Promoted { reign, node, incarnation, .. } => Some((*reign, *node, *incarnation)),
                _ => None,
            })
            .collect();
        self.dispatch(CoreInput::Applied(events));
        for (reign, node, incarnation) in promotions {
            let ours = node == self.me && incarnation == self.life.run;
            self.note_reign(reign, node, incarnation);
            self.elect(Input::Promoted { reign, node, ours });
        }
    }

    fn note_reign(&self, reign: Reign, node: NodeId, incarnation: relais_protocol::ids::Incarnation) {
        // The order of epochs is that of the journal; its index is not told here.
        let began = crate::history::Began { index: Index(reign.epoch.0), reign, node, incarnation };
        self.trial.watch.history(|history| {
            if !history.reigns.contains(&began) {
                history.reigns.push(began);
            }
        });
    }
}

fn view(status: &JournalStatus) -> JournalView {
    let last = status.last_log.map(|at| LogPosition { term: at.term, index: at.index });
    JournalView {
        leads: status.role == Role::Leader,
        term: status.term,
        last_log: last.unwrap_or_default(),
        voters: status.voting_nodes(),
        sets: status.voting_sets(),
        id: status.id,
        journals: status.voters.clone(),
        history: status.history.unwrap_or_default(),
    }
}
