//! Linearizable reads: a leader tells up to where must be applied once a majority has answered a heartbeat
//! that left after it was asked.

use super::super::log::Members;
use super::{Raft, RaftEffect};
use relais_dispatcher::planted::is_planted as planted;
use relais_protocol::ids::RaftId;
use std::collections::BTreeSet;

/// A reader that waits.
struct Read {
    number: u64,
    index: u64,
    round: u64,
    yes: BTreeSet<RaftId>,
}

/// All who wait.
#[derive(Default)]
pub(super) struct Reads {
    round: u64,
    waiting: Vec<Read>,
}

impl Reads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Nobody will ever tell them.
    pub(super) fn give_up(&mut self, out: &mut Vec<RaftEffect>) {
        out.extend(self.waiting.drain(..).map(|read| RaftEffect::Readable(read.number, None)));
    }

    /// `from` still followed this leader when it got the heartbeat of `round`.
    pub(super) fn answered(
        &mut self,
        from: RaftId,
        round: u64,
        me: RaftId,
        members: &Members,
        out: &mut Vec<RaftEffect>,
    ) {
        self.waiting.retain_mut(|read| {
            if read.round <= round {
                read.yes.insert(from);
            }
            let sure = members.agree(|id| id == me || read.yes.contains(&id));
            if sure {
                out.push(RaftEffect::Readable(read.number, Some(read.index)));
            }
            !sure
        });
    }
}

impl Raft {
    /// Somebody wants to read; `number` is its own.
    pub(in super::super) fn read(&mut self, now: u64, number: u64, out: &mut Vec<RaftEffect>) {
        if !self.leads() {
            out.push(RaftEffect::Readable(number, None));
            return;
        }
        let index = self.commit.max(self.began_at);
        if planted("stale-read") {
            out.push(RaftEffect::Readable(number, Some(self.commit)));
            return;
        }
        self.reads.round += 1;
        let round = self.reads.round;
        self.reads.waiting.push(Read { number, index, round, yes: BTreeSet::new() });
        let members = self.log().members().clone();
        self.reads.answered(self.me, 0, self.me, &members, out);
        self.heartbeat(now, out);
    }
}
