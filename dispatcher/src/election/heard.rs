//! What is heard of others: heartbeats, and proof that a process is gone.

use super::{Cause, Effect, Election, Phase, Voter};
use relais_protocol::ids::NodeId;
use relais_protocol::message::Beat;
use relais_protocol::time::Mono;

impl Election {
    /// The dispatcher, while it is heard. Who does not vote hears it seldom, and waits longer.
    #[must_use]
    pub fn heard_dispatcher(&self, now: Mono) -> Option<NodeId> {
        if self.leads() {
            return Some(self.me);
        }
        let votes = self.journal.voters.is_empty() || self.journal.voters.contains(&self.me);
        let lease = if votes { self.config.lease_ms } else { self.config.onlooker_lease_ms };
        self.dispatcher.filter(|_| !self.gone && now.since(self.heard_at) < lease)
    }

    pub(super) fn on_beat(&mut self, now: Mono, beat: &Beat, effects: &mut Vec<Effect>) {
        if beat.voter {
            let voter = Voter { heard_at: now, last_log: beat.last_log, ready: beat.ready, hears: beat.hears };
            let before = self.voters.insert(beat.from, voter);
            if !before.is_some_and(|before| self.is_live(now, &before)) && self.journal.voters.contains(&beat.from) {
                self.hope(now);
            }
        }
        // The journal here may be of a higher history than any reign heard of yet: it was forked a moment ago,
        // or this node has just started. Who dispatches a lower one gives way once it hears of this one.
        let is_lower = beat.reign < self.reign || beat.reign.generation < self.journal.history;
        if is_lower || !beat.dispatcher || beat.from == self.me {
            return;
        }
        if beat.goodbye {
            self.on_gone(now, beat.from);
            self.cause = Cause::Handover;
            return;
        }
        if beat.reign > self.reign && matches!(self.phase, Phase::Leading | Phase::Promoting | Phase::Resigned) {
            effects.push(Effect::Resign("a higher reign is heard"));
        } else if self.phase == Phase::Leading {
            return;
        }
        self.reign = beat.reign;
        self.follow(now, beat.from);
    }

    /// A voter is heard that was not: what failed for want of a majority may succeed now. Whoever asked in vain
    /// for long would sleep on for seconds while all others wait for it.
    fn hope(&mut self, now: Mono) {
        self.failures = 0;
        self.end_back_off(now);
    }

    /// Nothing is waited for any more but one's own turn.
    pub(super) fn end_back_off(&mut self, now: Mono) {
        self.quiet_until = self.quiet_until.min(now);
    }

    pub(super) fn follow(&mut self, now: Mono, dispatcher: NodeId) {
        self.dispatcher = Some(dispatcher);
        self.heard_at = now;
        self.gone = false;
        self.suspected_at = None;
        self.failures = 0;
        self.phase = Phase::Following;
    }

    pub(super) fn on_gone(&mut self, now: Mono, node: NodeId) {
        self.voters.remove(&node);
        if self.dispatcher == Some(node) && !self.leads() && !self.gone {
            self.gone = true;
            self.cause = Cause::Killed;
            self.suspected_at.get_or_insert(now);
        }
    }
}
