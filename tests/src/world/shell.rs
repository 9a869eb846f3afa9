//! The shells of election and journal, as in a node: beats, the confirm round, standing, and the way of an
//! entry from the log into the ledger and from there to the cores.

use super::World;
use super::event::{Event, Inside, Message, Timer};
use super::node::Hearing;
use super::raft::{RaftEffect, RaftMessage};
use crate::history::{At, Began, DeedKind, Digest, Stand, Step};
use relais_dispatcher::core::Input as CoreInput;
use relais_dispatcher::election::{Effect, Input};
use relais_dispatcher::ledger::{Effects, Event as LedgerEvent};
use relais_protocol::ids::{Incarnation, Index, NodeId, Reign};
use relais_protocol::message::Beat;
use relais_protocol::record::{Batch, Committed, Outcome, Record};
use relais_worker::core::Input as WorkerInput;

/// Silence after which a dispatcher is believed dead, in ms.
const LEASE_MS: u64 = 400;
/// The longest time from a voter's yes to the stand that it leads to, in ms: a round, and the wait for the
/// votes' own lease.
const YES_TO_STAND_MS: u64 = 300;
/// A dispatcher that does not get on for this long says no more that it is one.
const TURNING_MS: u64 = 1_000;
/// How long nobody knows of a lost leadership what became of the flight, at most.
const GRACE_MS: u64 = 500;
/// Who is not the dispatcher sends one of so many beats.
const QUIET_BEATS: u64 = 4;
/// Every so many entries a replica's rows are hashed.
const DIGEST_EVERY: u64 = 8;

impl World {
    /// Steps the election of a node.
    pub(super) fn elect(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        if matches!(input, Input::Gone(_)) {
            self.unhear(id);
        }
        let handed_over = matches!(input, Input::StandNow);
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let led = life.election.leads();
        let effects = life.election.handle(life.mono(now), input);
        for effect in effects {
            match effect {
                Effect::Ask(others, question) => {
                    for other in others {
                        self.send(id, other, Message::Ask(question.clone()));
                    }
                }
                Effect::Answer(to, answer) => self.send(id, to, Message::Answer(answer)),
                Effect::Probe(of) => self.probe(id, of),
                Effect::Stand => self.stand(id, handed_over),
                Effect::Promote => self.promote(id),
                // The heir asks again by itself, and wins once it has caught up.
                Effect::HandOn(_) => {}
                Effect::Resign(why) => {
                    self.trace.say(now, id.0.into(), || format!("resigns: {why}"));
                    self.dispatch(id, CoreInput::Majority(false));
                    self.dispatch(id, CoreInput::Deposed);
                }
            }
        }
        let leads = self.node(id).life.as_deref().is_some_and(|life| life.election.leads());
        if leads && !led {
            self.dispatch(id, CoreInput::Majority(true));
            self.beat(id);
        }
    }

    fn promote(&mut self, id: NodeId) {
        let now = self.now;
        let wall = self.node(id).wall(now);
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let run = life.run;
        life.core.explain_reign(life.election.cause().0.as_str(), wall, None);
        self.dispatch(id, CoreInput::Promote(id, run));
    }

    fn probe(&mut self, id: NodeId, of: NodeId) {
        let is_cut = self.net.way(id, of).cuts > 0 || self.net.way(of, id).cuts > 0;
        if self.node(of).life.is_none() && !is_cut {
            let delay = self.net_dice.range(1, 5);
            self.inside(id, delay, Inside::Closed(of));
        }
    }

    pub(super) fn on_closed(&mut self, id: NodeId, of: NodeId) {
        self.elect(id, Input::Gone(of));
        self.dispatch(id, CoreInput::Gone(of));
    }

    fn stand(&mut self, id: NodeId, handed_over: bool) {
        self.trace.say(self.now, id.0.into(), || "stands".to_owned());
        if !handed_over {
            self.note_stand(id);
        }
        let mut out = Vec::new();
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.raft.stand(&mut out);
        }
        self.after_log(id, out);
    }

    /// Writes down who hears whom when somebody stands.
    fn note_stand(&mut self, id: NodeId) {
        let now = self.now;
        let Some(against) = self.dispatcher().filter(|against| *against != id) else { return };
        let steady = |hearing: &Hearing| {
            let fresh = now - hearing.last < LEASE_MS;
            hearing.whom == against && fresh && now - hearing.since >= LEASE_MS + YES_TO_STAND_MS
        };
        let others = self.nodes.iter().filter(|node| node.turns() && node.id != against);
        let hearing = others.filter(|node| node.life.as_deref().and_then(|l| l.hearing.as_ref()).is_some_and(steady));
        let (heard_by, voters) = (hearing.count() + 1, self.voters.len());
        self.history.stands.push(Stand { at: At(now), node: id, against, heard_by, voters });
    }

    fn beat(&mut self, id: NodeId) {
        let now = self.now;
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        life.beats += 1;
        let mono = life.mono(now);
        let turning = now - life.desk.progress_at < TURNING_MS;
        let leads = life.election.leads();
        if leads && !turning || !leads && !life.beats.is_multiple_of(QUIET_BEATS) {
            return;
        }
        let beat = Beat {
            from: id,
            incarnation: life.run,
            reign: life.election.reign(),
            dispatcher: leads,
            goodbye: false,
            voter: true,
            ready: true,
            last_log: life.raft.last(),
            hears: life.election.heard_dispatcher(mono),
        };
        let mut out = Vec::new();
        if leads {
            life.raft.heartbeat(now, &mut out);
        }
        for to in self.voters.clone() {
            if to != id {
                self.send(id, to, Message::Beat(beat.clone()));
            }
        }
        self.after_log(id, out);
    }

    pub(super) fn on_beat(&mut self, id: NodeId, beat: Beat) {
        let now = self.now;
        if let Some(life) = self.node(id).life.as_deref_mut()
            && beat.dispatcher
            && beat.reign >= life.election.reign()
        {
            let unbroken = life.hearing.filter(|h| h.whom == beat.from && now - h.last < LEASE_MS);
            life.hearing = Some(Hearing { whom: beat.from, since: unbroken.map_or(now, |h| h.since), last: now });
        }
        self.elect(id, Input::Beat(beat));
    }

    /// The worker hears of each change of dispatcher.
    fn tell_worker(&mut self, id: NodeId) {
        let now = self.now;
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let heard = life.election.heard_dispatcher(life.mono(now)).map(|node| (node, life.election.reign()));
        if let Some((node, reign)) = heard
            && life.told_worker != heard
        {
            life.told_worker = heard;
            self.work(id, WorkerInput::Heard(reign, node), None);
        }
    }

    fn unhear(&mut self, id: NodeId) {
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.hearing = None;
        }
    }

    pub(super) fn on_election_tick(&mut self, id: NodeId) {
        self.elect(id, Input::Tick);
        self.tell_worker(id);
        let (now, mut out) = (self.now, Vec::new());
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.raft.send_again(now, &mut out);
        }
        if !out.is_empty() {
            self.after_log(id, out);
        }
    }

    pub(super) fn on_raft(&mut self, id: NodeId, from: NodeId, message: RaftMessage) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.raft.handle(now, from, message, &mut out);
        }
        self.after_log(id, out);
    }

    pub(super) fn on_synced(&mut self, id: NodeId, upto: u64) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.raft.synced(upto, now, &mut out);
        }
        self.after_log(id, out);
    }

    /// Does what the log wishes, tells the election what changed, and applies what was committed.
    pub(super) fn after_log(&mut self, id: NodeId, out: Vec<RaftEffect>) {
        for effect in out {
            match effect {
                RaftEffect::Send(to, message) => self.send(id, to, Message::Raft(message)),
                RaftEffect::Sync(upto) => self.sync(id, upto),
            }
        }
        let voters = self.voters.clone();
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let view = life.journal_view(&voters);
        if view != life.view {
            let led = life.view.leads;
            life.view = view.clone();
            if led && !view.leads {
                self.orphan_flight(id, GRACE_MS);
            }
            self.elect(id, Input::Journal(view));
        }
        self.apply(id);
    }

    fn sync(&mut self, id: NodeId, upto: u64) {
        let (now, (short, long)) = (self.now, self.node(id).sync_ms);
        let takes = self.dice.range(short, long);
        let node = self.node(id);
        node.sync_free_at = node.sync_free_at.max(now) + takes;
        let delay = node.sync_free_at - now;
        self.inside(id, delay, Inside::Synced(upto));
    }

    /// Applies all that is committed, then tells the cores: they may find the ledger ahead of their news.
    fn apply(&mut self, id: NodeId) {
        let mut news = Vec::new();
        let mut landed = None;
        while let Some(life) = self.node(id).life.as_deref_mut() {
            let index = life.applied + 1;
            let Some(entry) = life.raft.entry(index).filter(|_| index <= life.raft.commit).cloned() else { break };
            life.applied = index;
            let flight = life.desk.flight.filter(|flight| flight.index == index && index > 0);
            let before = life.ledger.reign();
            let Some(batch) = entry.batch else {
                landed = landed.or(flight.map(|_| CoreInput::Failed(relais_dispatcher::core::Rejection::Unknown)));
                continue;
            };
            let applied = life.ledger.apply_batch(Index(index), (*batch).clone());
            self.watch(id, index, &batch, before, &applied);
            news.extend(applied.events);
            if let Some(flight) = flight {
                landed = Some(if flight.term == entry.term {
                    CoreInput::Committed(Committed { index: Index(index), outcomes: applied.outcomes })
                } else {
                    CoreInput::Failed(relais_dispatcher::core::Rejection::Unknown)
                });
            }
            self.checkpoint(id);
        }
        let promotions = news.iter().filter_map(|event| match event {
            LedgerEvent::Promoted { reign, node, incarnation, .. } => Some((*reign, *node, *incarnation)),
            _ => None,
        });
        let promotions: Vec<_> = promotions.collect();
        if !news.is_empty() {
            self.dispatch(id, CoreInput::Applied(news));
        }
        for (reign, node, incarnation) in promotions {
            self.tell_promoted(id, reign, node, incarnation);
        }
        if let Some(input) = landed {
            self.land(id, input);
        }
    }

    pub(super) fn tell_promoted(&mut self, id: NodeId, reign: Reign, node: NodeId, incarnation: Incarnation) {
        let run = self.node(id).life.as_deref().map(|life| life.run);
        let ours = node == id && run == Some(incarnation);
        self.elect(id, Input::Promoted { reign, node, ours });
    }

    fn checkpoint(&mut self, id: NodeId) {
        let every = self.plan.checkpoint_every;
        let node = self.node(id);
        let Some(life) = node.life.as_deref_mut() else { return };
        if life.applied - node.disk.checkpoint >= every {
            // What was drained before is kept by now.
            life.ledger.kept();
            node.disk.rows.keep(life.ledger.drain_changes());
            node.disk.checkpoint = life.applied;
        }
    }

    /// Writes down what applying an entry came to, and checks the ledger's own invariant.
    fn watch(&mut self, id: NodeId, index: u64, batch: &Batch, before: Reign, applied: &Effects) {
        let proposed = Reign { generation: batch.generation, epoch: batch.epoch };
        if (index + u64::from(id.0)).is_multiple_of(DIGEST_EVERY / 2) {
            let life = self.node(id).life.as_deref();
            if let Some(Err(broken)) = life.map(|life| life.ledger.check_invariants()) {
                self.broken("ledger-invariant", format!("node {id} at index {index}: {}", broken.0));
            }
        }
        if index.is_multiple_of(DIGEST_EVERY) {
            self.digest(id);
        }
        if index <= self.watched {
            return;
        }
        self.watched = index;
        for (record, outcome) in batch.records.iter().zip(&applied.outcomes.each) {
            let begins = matches!(record, Record::Promote { .. } | Record::Found { .. });
            if !begins && !matches!(outcome, Outcome::Refused(_)) && proposed != before {
                self.deed(id, DeedKind::TookEffect { proposed, in_force: before });
            }
            if let (Record::Retry { job }, Outcome::Done) = (record, outcome) {
                self.history.reopened.push((Index(index), *job));
            }
        }
        for event in &applied.events {
            self.trace.say(self.now, 0, || format!("#{index} {event:?}"));
            match *event {
                LedgerEvent::State { job, state } => {
                    self.history.steps.push(Step { index: Index(index), job, state });
                }
                LedgerEvent::Promoted { reign, node, incarnation, .. } => {
                    self.history.reigns.push(Began { index: Index(index), reign, node, incarnation });
                }
                _ => {}
            }
        }
    }

    /// Writes down the digest of a node's ledger as it is now.
    pub(super) fn digest(&mut self, id: NodeId) {
        if let Some(life) = self.node(id).life.as_deref_mut() {
            let (index, digest) = (Index(life.applied), life.ledger.digest());
            self.trace.mark(digest as u64);
            self.history.digests.push(Digest { node: id, index, digest });
        }
    }

    pub(super) fn tick(&mut self, id: NodeId, timer: Timer) {
        match timer {
            Timer::Beat => self.beat(id),
            Timer::Election => self.on_election_tick(id),
            Timer::Core => self.on_core_tick(id),
            Timer::Worker => self.on_worker_tick(id),
        }
        let Some(run) = self.node(id).life.as_deref().map(|life| life.run) else { return };
        self.at(timer.every_ms(), Event::Inside(id, run, Inside::Tick(timer)));
    }
}
