//! The shell of the election, as in a node: beats, the confirm round, standing, and the timers.

use super::World;
use super::event::{Event, Inside, Message, Timer};
use super::node::Hearing;
use crate::history::{At, Stand};
use relais_dispatcher::core::Input as CoreInput;
use relais_dispatcher::election::{Effect, Input};
use relais_protocol::ids::NodeId;
use relais_protocol::message::Beat;
use relais_worker::core::Input as WorkerInput;

/// Silence after which a dispatcher is believed dead, in ms.
const LEASE_MS: u64 = 400;
/// The longest time from a voter's yes to the stand that it leads to, in ms: a round, and the wait for the
/// votes' own lease.
const YES_TO_STAND_MS: u64 = 300;
/// A dispatcher that does not get on for this long says no more that it is one.
const TURNING_MS: u64 = 1_000;
/// Who is not the dispatcher sends one of so many beats.
const QUIET_BEATS: u64 = 4;
/// The dispatcher sends one of so many beats to those who don't vote.
const WORKER_BEATS: u64 = 4;

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
        let reign = life.election.reign();
        for effect in effects {
            match effect {
                Effect::Ask(others, question) => {
                    self.trace.say(now, id.0.into(), || format!("asks {others:?}: {:?}", question.last_log));
                    for other in others {
                        self.send(id, other, Message::Ask(question.clone()));
                    }
                }
                Effect::Answer(to, answer) => {
                    self.trace.say(now, id.0.into(), || format!("answers n{to}: {:?}", answer.verdict));
                    self.send(id, to, Message::Answer(answer));
                }
                Effect::Probe(of) => self.probe(id, of),
                Effect::Stand => self.stand(id, handed_over),
                Effect::Promote => self.promote(id),
                Effect::HandOn(heir) => self.hand_on(id, heir),
                Effect::Resign(why) => {
                    self.trace.say(now, id.0.into(), || format!("resigns: {why}"));
                    self.dispatch(id, CoreInput::Majority(false));
                    self.dispatch(id, CoreInput::Deposed(reign));
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
        let begins = match self.history_to_begin(id) {
            Some(takeover) => CoreInput::TakeOver(Box::new(takeover), run),
            None => CoreInput::Promote(id, run),
        };
        self.dispatch(id, begins);
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
        let now = self.now;
        self.trace.say(now, id.0.into(), || "stands".to_owned());
        if !handed_over {
            self.note_stand(id);
        }
        let mut out = Vec::new();
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.raft.stand(now, &mut out);
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
        let voters = self.node(id).members().voters();
        let votes = |node: NodeId| voters.iter().any(|raft| raft.node() == node);
        let others = self.nodes.iter().filter(|node| node.turns() && node.id != against && votes(node.id));
        let hearing = others.filter(|node| node.life.as_deref().and_then(|l| l.hearing.as_ref()).is_some_and(steady));
        let (heard_by, voters) = (hearing.count() + 1, voters.len());
        self.history.stands.push(Stand { at: At(now), node: id, against, heard_by, voters });
    }

    pub(super) fn beat(&mut self, id: NodeId) {
        let now = self.now;
        let node_limited = self.node(id).limited;
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        life.beats += 1;
        let mono = life.mono(now);
        let turning = now - life.desk.progress_at < TURNING_MS;
        let leads = life.election.leads();
        let quiet = life.leaving || !life.beats.is_multiple_of(QUIET_BEATS);
        if leads && !turning || !leads && quiet {
            return;
        }
        let to_all = leads && (life.leaving || life.beats.is_multiple_of(WORKER_BEATS));
        let beat = Beat {
            from: id,
            incarnation: life.run,
            reign: life.election.reign(),
            dispatcher: leads,
            goodbye: life.leaving,
            voter: life.raft.is_voter(),
            ready: !node_limited && !life.leaving,
            last_log: life.raft.last(),
            hears: life.election.heard_dispatcher(mono),
        };
        let mut out = Vec::new();
        if leads {
            life.raft.heartbeat(now, &mut out);
        }
        let voters = life.raft.log().members().voters();
        for to in self.ids.clone() {
            let votes = voters.iter().any(|raft| raft.node() == to);
            if to != id && (votes || to_all) {
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
        self.rule_hears(id, &beat);
        self.elect(id, Input::Beat(beat));
        self.compare_history(id);
    }

    /// The worker hears of each change of dispatcher.
    fn tell_worker(&mut self, id: NodeId) {
        let now = self.now;
        if self.is_overtaken(id) {
            // The worker stays with the old history until the new one knows of what it runs.
            return;
        }
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
        self.compare_history(id);
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

    pub(super) fn tick(&mut self, id: NodeId, timer: Timer) {
        match timer {
            Timer::Beat => self.beat(id),
            Timer::Election => self.on_election_tick(id),
            Timer::Core => self.on_core_tick(id),
            Timer::Worker => self.on_worker_tick(id),
            Timer::Keeper => self.on_keeper_tick(id),
        }
        let Some(run) = self.node(id).life.as_deref().map(|life| life.run) else { return };
        self.at(timer.every_ms(), Event::Inside(id, run, Inside::Tick(timer)));
    }
}
