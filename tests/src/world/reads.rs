//! Reads that promise to be fresh, as a node's edge makes them: the dispatcher tells up to where, its
//! majority confirms that it still is the dispatcher, and the reader waits until its own ledger is there.

use super::World;
use super::event::Message;
use super::raft::RaftEffect;
use crate::history::{At, Read};
use relais_protocol::ids::{Index, JobId, NodeId};
use std::collections::BTreeMap;

/// A reader.
#[derive(Clone, Copy, Debug)]
struct Reader {
    job: JobId,
    began: At,
}

/// Readers of one run of a process, and whom it tells as the dispatcher.
#[derive(Default)]
pub(super) struct Reads {
    /// By call: those who have asked the dispatcher.
    asking: BTreeMap<u64, Reader>,
    /// Those who wait for this index to be applied.
    waiting: Vec<(u64, Reader)>,
    /// By the journal's number: who asked this node.
    serving: BTreeMap<u64, (NodeId, u64)>,
    next: u64,
}

impl World {
    /// A client reads a job that somebody was told of, at any node that turns; nobody waits for the answer.
    pub(super) fn read_somewhere(&mut self, dice: &mut super::dice::Dice) {
        if self.pair.is_some() {
            // Two sides that both go on each answer for themselves.
            return;
        }
        let acked: Vec<JobId> =
            self.history.submits.iter().rev().take(12).flat_map(|s| s.acked.iter().map(|(_, job)| *job)).collect();
        let turning: Vec<NodeId> = self.nodes.iter().filter(|node| node.turns()).map(|node| node.id).collect();
        let (Some(job), Some(id)) = (dice.pick(&acked), dice.pick(&turning)) else { return };
        let (now, call) = (self.now, self.new_call());
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let Some(dispatcher) = life.election.heard_dispatcher(life.mono(now)) else { return };
        life.reads.asking.insert(call, Reader { job, began: At(now) });
        self.send(id, dispatcher, Message::ReadIndex(call));
    }

    pub(super) fn on_read_index(&mut self, id: NodeId, from: NodeId, call: u64) {
        let now = self.now;
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if !life.election.leads() {
            self.send(id, from, Message::ReadIndexAnswer(call, None));
            return;
        }
        life.reads.next += 1;
        let number = life.reads.next;
        life.reads.serving.insert(number, (from, call));
        let mut out: Vec<RaftEffect> = Vec::new();
        life.raft.read(now, number, &mut out);
        self.after_log(id, out);
    }

    pub(super) fn on_readable(&mut self, id: NodeId, number: u64, index: Option<u64>) {
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if let Some((from, call)) = life.reads.serving.remove(&number) {
            self.send(id, from, Message::ReadIndexAnswer(call, index));
        }
    }

    pub(super) fn on_read_index_answer(&mut self, id: NodeId, call: u64, index: Option<u64>) {
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if let (Some(reader), Some(index)) = (life.reads.asking.remove(&call), index) {
            life.reads.waiting.push((index, reader));
            self.read_what_is_applied(id);
        }
    }

    /// Lets those read whose index is applied.
    pub(super) fn read_what_is_applied(&mut self, id: NodeId) {
        let now = At(self.now);
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if life.reads.waiting.is_empty() {
            return;
        }
        let applied = life.applied;
        let waiting = std::mem::take(&mut life.reads.waiting);
        let (ready, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(index, _)| *index <= applied);
        life.reads.waiting = waiting;
        let read = |(_, reader): (u64, Reader)| Read {
            began: reader.began,
            ended: now,
            node: id,
            job: reader.job,
            found: life.ledger.job(reader.job).map(|job| job.state.name()),
            applied: Index(applied),
        };
        let reads: Vec<Read> = ready.into_iter().map(read).collect();
        self.history.reads.extend(reads);
    }
}
