//! The way of an entry: from the log of a node into its ledger, and from there to its cores; checkpoints,
//! snapshots, and what an observer writes down of it all.

use super::World;
use super::event::{Inside, Message};
use super::log::{Load, Snapshot};
use super::raft::{RaftEffect, RaftMessage};
use crate::history::{Began, DeedKind, Digest, Step};
use relais_dispatcher::core::Input as CoreInput;
use relais_dispatcher::election::{Input, JournalView};
use relais_dispatcher::ledger::{Effects, Event as LedgerEvent, Ledger};
use relais_dispatcher::planted::is_planted as planted;
use relais_dispatcher::rows::{Changes, MemoryRows, Rows};
use relais_protocol::ids::{Incarnation, Index, NodeId, RaftId, Reign};
use relais_protocol::message::LogPosition;
use relais_protocol::record::{Batch, Committed, Outcome, Record};
use std::sync::Arc;

/// How long nobody knows of a lost leadership what became of the flight, at most.
const GRACE_MS: u64 = 500;
/// Every so many entries a replica's rows are hashed.
const DIGEST_EVERY: u64 = 8;

impl World {
    /// What is meant for another journal of this node is not answered by this one.
    pub(super) fn on_raft(&mut self, id: NodeId, from: RaftId, to: RaftId, message: RaftMessage) {
        let now = self.now;
        let mut out = Vec::new();
        if self.node(id).raft_id() != to || !self.is_same_history(from, to, &message) {
            return;
        }
        if let Some(life) = self.node(id).life.as_deref_mut().filter(|life| life.raft.me == to) {
            life.raft.handle(now, from, message, &mut out);
            if let Some(index) = life.raft.conflict.take() {
                self.broken(
                    "committed-entries-stay",
                    format!("node {id} was told to drop the committed entry {index}"),
                );
            }
        }
        self.after_log(id, out);
    }

    pub(super) fn on_synced(&mut self, id: NodeId, upto: u64) {
        let now = self.now;
        let failed = std::mem::take(&mut self.node(id).sync_fails);
        if failed && !planted("failed-sync-ignored") {
            self.crash(id);
            return;
        }
        let lies = failed || planted("sync-skipped");
        let mut out = Vec::new();
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.raft.synced(upto, lies, now, &mut out);
        }
        self.after_log(id, out);
    }

    /// Does what the log wishes, tells the election what changed, and applies what was committed.
    pub(super) fn after_log(&mut self, id: NodeId, out: Vec<RaftEffect>) {
        for effect in out {
            match effect {
                RaftEffect::Send(to, message) => {
                    let from = self.node(id).raft_id();
                    self.send(id, to.node(), Message::Raft(from, to, Box::new(message)));
                }
                RaftEffect::Sync(upto) => self.sync(id, upto),
                RaftEffect::SendSnapshot(to) => self.send_snapshot(id, to),
                RaftEffect::Install(snapshot) => self.install(id, &snapshot),
                RaftEffect::Readable(number, index) => self.on_readable(id, number, index),
            }
        }
        let history = self.follows(id).unwrap_or_default();
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let view = JournalView { history, ..life.journal_view() };
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

    pub(super) fn sync(&mut self, id: NodeId, upto: u64) {
        let (now, (short, long)) = (self.now, self.node(id).sync_ms);
        let takes = self.dice.range(short, long);
        let node = self.node(id);
        // One sync is under way at most, and one more waits with all that came meanwhile.
        node.sync_free_at = (node.sync_free_at.max(now) + takes).min(now + 2 * long);
        let delay = node.sync_free_at - now;
        self.inside(id, delay, Inside::Synced(upto));
    }

    /// Sends the last checkpoint of this node.
    fn send_snapshot(&mut self, id: NodeId, to: RaftId) {
        let node = self.node(id);
        let (index, from) = (node.disk.checkpoint, node.raft_id());
        let mut rows = Changes::new();
        node.disk.rows.scan(&[0], &[0xff], false, &mut |key, row| {
            if !(planted("snapshot-without-keys") && key[0] == b'k') {
                rows.insert(key.to_vec(), Some(row.to_vec()));
            }
            true
        });
        let Some(life) = node.life.as_deref() else { return };
        let log = life.raft.log();
        let Some(term) = log.term_at(index) else { return };
        let (at, members) = (LogPosition { term, index }, log.members_at(index).clone());
        let message =
            RaftMessage::Snapshot { term: life.raft.stable.term, snapshot: Arc::new(Snapshot { at, members, rows }) };
        self.send(id, to.node(), Message::Raft(from, to, Box::new(message)));
    }

    /// Another's checkpoint takes the place of the ledger here; as in a node, no events come of it.
    fn install(&mut self, id: NodeId, snapshot: &Snapshot) {
        self.snapshots += 1;
        self.trace.say(self.now, id.0.into(), || format!("installs a snapshot as of {:?}", snapshot.at));
        let rows = Arc::new(MemoryRows::default());
        rows.keep(&snapshot.rows);
        let index = snapshot.at.index;
        let loaded = Ledger::load(rows.clone(), Index(index));
        let node = self.node(id);
        node.disk.rows = rows;
        node.disk.checkpoint = index;
        let Some(life) = node.life.as_deref_mut() else { return };
        match loaded {
            Ok(ledger) => life.ledger = ledger,
            Err(error) => self.broken("snapshots-load", format!("node {id}: {error}")),
        }
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.applied = index;
        }
        self.digest(id);
    }

    /// Applies all that is committed, then tells the cores: they may find the ledger ahead of their news.
    fn apply(&mut self, id: NodeId) {
        let mut news = Vec::new();
        let mut landed = Vec::new();
        while let Some(life) = self.node(id).life.as_deref_mut() {
            let index = life.applied + 1;
            let Some(entry) = life.raft.log().entry(index).filter(|_| index <= life.raft.commit).cloned() else {
                break;
            };
            life.applied = index;
            let flight = life.desk.flight_at(index).map(|flight| (flight.number, flight.term));
            let before = life.ledger.reign();
            let Load::Batch(batch) = entry.load else {
                let unknown = CoreInput::Failed(relais_dispatcher::core::Rejection::Unknown);
                landed.extend(flight.map(|(number, _)| (number, unknown)));
                continue;
            };
            let applied = life.ledger.apply_batch(Index(index), (*batch).clone());
            self.watch(id, index, &batch, before, &applied);
            news.extend(applied.events);
            if let Some((number, term)) = flight {
                let end = if term == entry.term {
                    CoreInput::Committed(Committed { index: Index(index), outcomes: applied.outcomes })
                } else {
                    CoreInput::Failed(relais_dispatcher::core::Rejection::Unknown)
                };
                landed.push((number, end));
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
        for (number, end) in landed {
            self.land(id, number, end);
        }
        self.read_what_is_applied(id);
    }

    pub(super) fn tell_promoted(&mut self, id: NodeId, reign: Reign, node: NodeId, incarnation: Incarnation) {
        let run = self.node(id).life.as_deref().map(|life| life.run);
        let ours = node == id && run == Some(incarnation);
        self.elect(id, Input::Promoted { reign, node, ours });
    }

    fn checkpoint(&mut self, id: NodeId) {
        let (every, keep) = (self.plan.checkpoint_every, self.plan.entries_kept);
        let node = self.node(id);
        let Some(life) = node.life.as_deref_mut() else { return };
        if life.applied - node.disk.checkpoint >= every {
            // What was drained before is kept by now.
            life.ledger.kept();
            node.disk.rows.keep(&life.ledger.drain_changes());
            node.disk.checkpoint = life.applied;
            life.raft.purge(life.applied.saturating_sub(keep));
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
        if self.pair.is_some() {
            return self.watch_branch(id, index, batch, before, applied);
        }
        if index <= self.watched {
            return;
        }
        self.watched = index;
        self.note_room(id, index, &batch.records, applied);
        self.note_entry(id, index, batch, applied);
        for (record, outcome) in batch.records.iter().zip(&applied.outcomes.each) {
            let begins = matches!(record, Record::Promote { .. } | Record::Found { .. });
            if !begins && !matches!(outcome, Outcome::Refused(_)) && proposed != before {
                self.deed(id, DeedKind::TookEffect { proposed, in_force: before });
            }
            self.note_shared(index, record, outcome);
            if let (Record::Retry { job }, Outcome::Done) = (record, outcome) {
                self.history.reopened.push((Index(index), *job));
            }
        }
        for event in &applied.events {
            self.trace.say(self.now, 0, || format!("#{index} {event:?}"));
            self.note_event(id, index, batch, event);
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
            self.note_digest(Digest { node: id, index, digest });
        }
    }
}
