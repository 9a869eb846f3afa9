//! The pulse's thread: takes inputs, ticks, beats, and performs what the election wishes.

use super::{JOURNAL_HEARD_MS, Pulse, Told, journal_view, last_log};
use crate::hub::Hub;
use crate::net::{ClosedPortProbe, Probe, Purpose};
use bytes::Bytes;
use relais_dispatcher::core::Input as DeskInput;
use relais_dispatcher::election::{Effect, Election, ElectionConfig, Input, JournalView};
use relais_protocol::codec;
use relais_protocol::ids::{NodeId, Reign};
use relais_protocol::message::{Beat, CONTROL_BYTES_MAX, Confirm, ConfirmAnswer, Control, ControlAnswer, Datagram};
use relais_protocol::time::{Mono, UnixMs};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often time is an input.
const TICK_MS: u64 = 5;
/// The same where no decision waits for it: a node that does not vote only says that it lives.
const ONLOOKER_TICK_MS: u64 = 200;
/// How often the dispatcher beats.
const BEAT_MS: u64 = 25;
/// Who is not the dispatcher beats every so many of those; who does not vote at every so many of its ticks.
const QUIET_BEATS: u64 = 4;
const ONLOOKER_BEATS: u64 = 3;
/// Nodes that do not vote hear every so many beats of the dispatcher.
const WORKER_BEATS: u64 = 4;
/// The same when there are more of them than this: still twice within the time for which they wait.
const MANY_WORKERS: usize = 16;
const MANY_WORKERS_BEATS: u64 = 20;
/// A new dispatcher's first beats are for everybody.
const FIRST_BEATS: u64 = 3;
/// With work waiting and no progress for so long, the dispatcher is not turning.
const TURNING_MS: u64 = 1_000;
/// How long a port is probed.
const PROBE_LIMIT: Duration = Duration::from_millis(30);
/// How long a question may take.
const ASK_LIMIT: Duration = Duration::from_millis(150);

pub(super) struct PulseThread {
    pulse: Pulse,
    hub: Weak<Hub>,
    election: Election,
    journal: JournalView,
    heard_at: BTreeMap<NodeId, Mono>,
    asked: BTreeMap<(NodeId, u64), oneshot::Sender<ConfirmAnswer>>,
    beaten_at: Mono,
    beats: u64,
    goodbye: bool,
    told_worker: Option<(NodeId, Reign)>,
    overtaken: bool,
    heartbeat_under_way: Arc<AtomicBool>,
    hand_on_under_way: Arc<AtomicBool>,
    witness: bool,
}

impl PulseThread {
    pub(super) fn new(pulse: Pulse, hub: Weak<Hub>, seed: u64) -> Self {
        let witness = hub.upgrade().is_some_and(|hub| hub.facts.read().witness);
        let config = ElectionConfig { witness, ..ElectionConfig::default() };
        let election = Election::new(config, pulse.me, seed, pulse.clock.mono());
        Self {
            pulse,
            hub,
            election,
            journal: JournalView::default(),
            heard_at: BTreeMap::new(),
            asked: BTreeMap::new(),
            beaten_at: Mono(0),
            beats: 0,
            goodbye: false,
            told_worker: None,
            overtaken: false,
            heartbeat_under_way: Arc::default(),
            hand_on_under_way: Arc::default(),
            witness,
        }
    }

    /// Runs until the node is gone.
    pub(super) fn run(mut self, told: &Receiver<Told>) {
        let mut tick_at = Mono(0);
        loop {
            let now = self.pulse.clock.mono();
            let tick_ms = if self.looks_on() { ONLOOKER_TICK_MS } else { TICK_MS };
            let wait = tick_at.since(now).min(tick_ms);
            let next = if wait == 0 {
                told.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            } else {
                told.recv_timeout(Duration::from_millis(wait))
            };
            let Some(hub) = self.hub.upgrade() else { return };
            match next {
                Ok(next) => {
                    self.pulse.depth.fetch_sub(1, Ordering::Relaxed);
                    self.look_at_journal(&hub);
                    self.take(&hub, next);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.pulse.clock.mono();
                    if now >= tick_at {
                        tick_at = now.plus(tick_ms);
                        self.pulse.turned_ms.store(now.0, Ordering::Relaxed);
                        self.look_at_journal(&hub);
                        self.compare_history(&hub);
                        self.step(&hub, Input::Tick);
                        self.beat(&hub, now);
                        self.show(&hub, now);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether others vote, and this node does not.
    fn looks_on(&self) -> bool {
        !self.journal.voters.is_empty() && !self.journal.voters.contains(&self.pulse.me)
    }

    /// How long the log is. It grows with each entry, and to be woken for each would cost more than the entry:
    /// it is looked at before each decision.
    fn look_at_journal(&mut self, hub: &Arc<Hub>) {
        let Some(journal) = hub.journal().filter(|_| !self.journal.voters.is_empty()) else { return };
        let status = journal.status();
        let status = status.borrow();
        if last_log(&status) != self.journal.last_log {
            self.journal = journal_view(&hub.status_to_go_by(&status));
            drop(status);
            self.step(hub, Input::Journal(self.journal.clone()));
        }
    }

    fn take(&mut self, hub: &Arc<Hub>, told: Told) {
        match told {
            Told::Input(input) => {
                if let Input::Beat(beat) = &input {
                    self.heard_at.insert(beat.from, self.pulse.clock.mono());
                }
                if let Input::Journal(view) = &input {
                    self.journal = view.clone();
                }
                let urgent = !matches!(input, Input::Beat(_));
                self.step(hub, input);
                self.compare_history(hub);
                if urgent {
                    self.show(hub, self.pulse.clock.mono());
                }
            }
            Told::Asked(question, reply) => {
                self.asked.retain(|_, waiting| !waiting.is_closed());
                self.asked.insert((question.candidate, question.round), reply);
                self.step(hub, Input::Asked(question));
            }
            Told::Goodbye => {
                self.goodbye = true;
                self.beaten_at = Mono(0);
                self.beat(hub, self.pulse.clock.mono());
            }
        }
    }

    fn step(&mut self, hub: &Arc<Hub>, input: Input) {
        let led = self.election.leads();
        let heard = self.pulse.journal_heard.load(Ordering::Relaxed);
        self.election.journal_heard(NodeId((heard >> 40) as u32), Mono(heard & JOURNAL_HEARD_MS));
        let effects = self.election.handle(self.pulse.clock.mono(), input);
        for effect in effects {
            self.perform(hub, effect);
        }
        if self.election.leads() && !led {
            tracing::info!(reign = %self.election.reign(), "this node is the dispatcher");
            let now = self.pulse.clock.mono();
            self.pulse.change(|view| view.led_since = now);
            hub.desk.input(DeskInput::Majority(true));
            (self.beaten_at, self.beats) = (Mono(0), 0);
            self.beat(hub, self.pulse.clock.mono());
        }
    }

    /// Whether the journal here follows the highest history that is heard of: else its reigns are over.
    fn compare_history(&mut self, hub: &Arc<Hub>) {
        let overtaken = hub.history.is_overtaken(self.election.reign().generation);
        if std::mem::replace(&mut self.overtaken, overtaken) != overtaken {
            self.step(hub, Input::Overtaken(overtaken));
        }
    }

    fn perform(&mut self, hub: &Arc<Hub>, effect: Effect) {
        match effect {
            Effect::Ask(others, question) => self.ask(hub, &others, &question),
            Effect::Answer(to, answer) => {
                if let Some(reply) = self.asked.remove(&(to, answer.round)) {
                    // Who asked may have given up.
                    let _ = reply.send(answer);
                }
            }
            // Who only looks on hears too seldom for a silence to mean anything, and elects nobody.
            Effect::Probe(node) if !self.looks_on() => probe(hub, node),
            Effect::Probe(_) => {}
            Effect::Stand => {
                self.pulse.change(|view| view.stands += 1);
                tracing::info!("stands for election");
                let journal = hub.journal();
                hub.engine.spawn(async move {
                    if let Some(journal) = journal {
                        // A stopped journal ends the process by another way.
                        let _ = journal.stand().await;
                    }
                });
            }
            Effect::Promote => {
                let (cause, suspected_at) = self.election.cause();
                let now = self.pulse.clock.mono();
                let unix = self.pulse.clock.unix();
                let by_wall = |at: Mono| UnixMs(unix.0.saturating_sub(now.since(at)));
                let confirmed_at = self.election.confirmed_at().map(by_wall);
                hub.desk.explain_reign(cause.as_str(), suspected_at.map_or(unix, by_wall), confirmed_at);
                let begins = match hub.history_to_begin() {
                    Some(takeover) => DeskInput::TakeOver(Box::new(takeover), self.pulse.incarnation),
                    None => DeskInput::Promote(self.pulse.me, self.pulse.incarnation),
                };
                hub.desk.input(begins);
            }
            Effect::Resign(reason) => {
                tracing::warn!(reason, "this node is the dispatcher no more");
                self.pulse.change(|view| view.resignations += 1);
                hub.desk.input(DeskInput::Majority(false));
                hub.desk.input(DeskInput::Deposed(self.election.reign()));
            }
            Effect::HandOn(heir) => self.hand_on(hub, heir),
        }
    }

    /// One try at a time: each waits for the heir to catch up.
    fn hand_on(&self, hub: &Arc<Hub>, heir: NodeId) {
        if self.hand_on_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let (hub, under_way) = (hub.clone(), self.hand_on_under_way.clone());
        hub.engine.clone().spawn(async move {
            match hub.hand_on(heir).await {
                Ok(()) => tracing::info!(%heir, "caught it up and handed on"),
                Err(reason) => tracing::info!(%heir, reason, "leads the journal without the role, to hand on"),
            }
            under_way.store(false, Ordering::Release);
        });
    }

    fn ask(&self, hub: &Arc<Hub>, others: &[NodeId], question: &Confirm) {
        let Some(net) = hub.net() else { return };
        let request = Bytes::from(codec::encode(codec::FORMAT, &Control::Confirm(question.clone())));
        for other in others {
            let asked = net.call(*other, Purpose::Election, request.clone(), ASK_LIMIT);
            let pulse = self.pulse.clone();
            hub.engine.spawn(async move {
                let Ok(answer) = asked.await else { return };
                if let Ok(ControlAnswer::Confirm(answer)) = codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX) {
                    pulse.input(Input::Answered(answer));
                }
            });
        }
    }

    /// Whether the dispatcher's actor and journal still turn.
    fn is_turning(&self, hub: &Hub, now: Mono) -> bool {
        let progress = hub.desk.state().progress_ms.load(Ordering::Acquire);
        // What waits for room is not stuck.
        now.since(Mono(progress)) < TURNING_MS || hub.limits.majority_is_full()
    }

    fn beat(&mut self, hub: &Arc<Hub>, now: Mono) {
        if now.since(self.beaten_at) < BEAT_MS {
            return;
        }
        self.beaten_at = now;
        self.beats += 1;
        let leads = self.election.leads();
        let turning = self.is_turning(hub, now);
        if leads && turning {
            self.heartbeat(hub);
        }
        let quiet_beats = if self.looks_on() { ONLOOKER_BEATS } else { QUIET_BEATS };
        if !leads && !self.goodbye && self.beats % quiet_beats != 0 || leads && !turning {
            return;
        }
        let Some(net) = hub.net() else { return };
        let is_voter = self.journal.voters.contains(&self.pulse.me);
        let beat = Datagram::Beat(Beat {
            from: self.pulse.me,
            incarnation: self.pulse.incarnation,
            reign: self.election.reign(),
            dispatcher: leads,
            goodbye: self.goodbye,
            voter: is_voter,
            ready: hub.limited.read().is_none() && !self.goodbye && !self.witness,
            last_log: self.journal.last_log,
            hears: self.election.heard_dispatcher(now),
        });
        let bytes = Bytes::from(codec::encode(codec::FORMAT, &beat));
        let connected = net.connected();
        let worker_beats = if connected.len() > MANY_WORKERS { MANY_WORKERS_BEATS } else { WORKER_BEATS };
        let to_workers = leads && (self.beats % worker_beats == 0 || self.beats <= FIRST_BEATS || self.goodbye);
        // Of who only works the dispatcher alone wants to hear; while there is none, whoever may become it.
        let hears = self.election.heard_dispatcher(now).filter(|_| self.looks_on() && !self.goodbye);
        for node in connected {
            if to_workers || self.journal.voters.contains(&node) && hears.is_none_or(|only| only == node) {
                net.send_datagram(node, bytes.clone());
            }
        }
    }

    /// The journal's own heartbeat: it carries what is committed to followers.
    fn heartbeat(&self, hub: &Arc<Hub>) {
        let Some(journal) = hub.journal() else { return };
        if self.heartbeat_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let under_way = self.heartbeat_under_way.clone();
        hub.engine.spawn(async move {
            let _ = journal.heartbeat().await;
            under_way.store(false, Ordering::Release);
        });
    }

    fn show(&mut self, hub: &Arc<Hub>, now: Mono) {
        let dispatcher = self.election.heard_dispatcher(now);
        let reign = self.election.reign();
        let lease = ElectionConfig::default().lease_ms;
        let heard = |node: &&NodeId| self.heard_at.get(node).is_some_and(|at| now.since(*at) < lease);
        let succession = self.election.succession(now);
        self.pulse.change(|view| {
            view.leads = self.election.leads();
            view.dispatcher = dispatcher;
            view.reign = reign;
            view.is_voter = self.journal.voters.contains(&self.pulse.me);
            view.heard_voters = self.journal.voters.iter().filter(heard).count();
            view.voters.clone_from(&self.journal.voters);
            view.heard_at.clone_from(&self.heard_at);
            view.succession = succession;
        });
        self.pulse
            .dispatcher
            .send_if_modified(|told| std::mem::replace(told, (dispatcher, reign)) != (dispatcher, reign));
        // The worker stays with the old history until the new one knows of what it runs.
        if let Some(node) = dispatcher.filter(|_| !self.overtaken)
            && self.told_worker != Some((node, reign))
        {
            self.told_worker = Some((node, reign));
            hub.bench.input(relais_worker::core::Input::Heard(reign, node));
        }
    }
}

fn probe(hub: &Arc<Hub>, node: NodeId) {
    let Some(addr) = hub.address_of(node) else { return };
    let hub = hub.clone();
    let engine = hub.engine.clone();
    engine.spawn(async move {
        if ClosedPortProbe::new(PROBE_LIMIT).probe(addr).await == Probe::Refused {
            hub.pulse.gone(node);
            hub.desk.input(DeskInput::Gone(node));
        }
    });
}
