//! One machine of a world: what is on its disk, what its clock says, and, while it is up, the cores of its
//! process with what their shells would hold.

use super::bench::Bench;
use super::desk::Desk;
use super::dice::Dice;
use super::edge::Edge;
use super::event::Inside;
use super::log::{Members, Stable};
use super::raft::Raft;
use super::reads::Reads;
use super::room;
use relais_dispatcher::core::{Core, CoreConfig, Now};
use relais_dispatcher::election::{Election, ElectionConfig, Input as ElectionInput, JournalView};
use relais_dispatcher::ledger::Ledger;
use relais_dispatcher::planted::is_planted as planted;
use relais_dispatcher::rows::MemoryRows;
use relais_protocol::ids::{Generation, Incarnation, Index, NodeId, RaftId, Reign};
use relais_protocol::record::Finish;
use relais_protocol::time::{Mono, UnixMs};
use relais_worker::core::{Input as WorkerInput, Worker, WorkerConfig};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The wall clock when a world begins.
const WALL_MS: i64 = 1_760_000_000_000;

/// What survives a crash.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) log: Stable,
    pub(super) rows: Arc<MemoryRows>,
    /// The entry that the rows are as of.
    pub(super) checkpoint: u64,
    /// Which journal of this node this is; 0 before its first start.
    pub(super) journal: u32,
    /// Bits of the journal or of the rows are not what was written.
    pub(super) flipped: bool,
    pub(super) incarnation: u64,
    pub(super) reign: Reign,
    pub(super) unsettled: Vec<Finish>,
}

/// A machine.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) slots: u32,
    pub(super) disk: Disk,
    /// What its wall clock is off by, in ms.
    pub(super) skew: i64,
    /// How long a sync takes, in ms.
    pub(super) sync_ms: (u64, u64),
    pub(super) sync_free_at: u64,
    /// Its disk is nearly full: it is not fit to be the dispatcher.
    pub(super) limited: bool,
    /// The next sync fails.
    pub(super) sync_fails: bool,
    pub(super) life: Option<Box<Life>>,
    pub(super) paused: bool,
    /// What came while it was paused.
    pub(super) backlog: Vec<Inside>,
    pub(super) bench: Bench,
}

/// One run of its process.
pub(super) struct Life {
    pub(super) run: Incarnation,
    born: u64,
    base: u64,
    pub(super) raft: Raft,
    pub(super) applied: u64,
    pub(super) election: Election,
    pub(super) view: JournalView,
    /// It has said goodbye.
    pub(super) leaving: bool,
    /// Beats so far; who is not the dispatcher sends only some.
    pub(super) beats: u64,
    /// Which dispatcher the worker was told of.
    pub(super) told_worker: Option<(NodeId, Reign)>,
    pub(super) hearing: Option<Hearing>,
    pub(super) ledger: Ledger,
    pub(super) core: Core,
    pub(super) desk: Desk,
    pub(super) worker: Worker,
    pub(super) edge: Edge,
    pub(super) reads: Reads,
}

/// Since when a voter hears a dispatcher without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    pub(super) whom: NodeId,
    pub(super) since: u64,
    pub(super) last: u64,
}

/// A wall clock that is off by `skew`.
pub(super) fn wall(now: u64, skew: i64) -> UnixMs {
    UnixMs((WALL_MS + now as i64 + skew) as u64)
}

impl Node {
    pub(super) fn new(id: NodeId, slots: u32, skew: i64) -> Self {
        Self {
            id,
            slots,
            disk: Disk::default(),
            skew,
            sync_ms: (1, 4),
            sync_free_at: 0,
            limited: false,
            sync_fails: false,
            life: None,
            paused: false,
            backlog: Vec::new(),
            bench: Bench::default(),
        }
    }

    /// Whether its process runs and is not stopped.
    pub(super) fn turns(&self) -> bool {
        self.life.is_some() && !self.paused
    }

    pub(super) fn wall(&self, now: u64) -> UnixMs {
        wall(now, self.skew)
    }

    /// Starts the process; what it says to its own cores first is theirs to hear at their first tick.
    pub(super) fn boot(&mut self, now: u64, dice: &mut Dice, clock_compared: bool) {
        self.open_journal();
        self.disk.incarnation += 1;
        let run = Incarnation(self.disk.incarnation);
        let base = dice.range(0, 40);
        let mono = Mono(base);
        let applied = self.disk.checkpoint;
        let raft = Raft::new(self.raft_id(), self.disk.log.clone(), applied);
        let ledger = Ledger::load(self.disk.rows.clone(), Index(applied)).expect("rows of this run decode");
        let mut election = Election::new(ElectionConfig::default(), self.id, dice.next(), mono);
        let unsettled = self.disk.unsettled.clone();
        let mut worker = Worker::new(WorkerConfig::default(), self.id, run, self.disk.reign, unsettled);
        let facts = room::facts(self);
        worker.handle(mono, WorkerInput::Facts(facts));
        if self.limited {
            election.handle(mono, ElectionInput::Ready(false));
        }
        // Every other node has batches overlap whenever something waits, the rest as in earnest: hardly ever here.
        let overlap_records = if self.id.0 % 2 == 0 { 1 } else { CoreConfig::default().overlap_records };
        self.life = Some(Box::new(Life {
            run,
            born: now,
            base,
            raft,
            applied,
            election,
            view: JournalView::default(),
            leaving: false,
            beats: 0,
            told_worker: None,
            hearing: None,
            ledger,
            core: Core::new(CoreConfig { clock_compared, overlap_records, ..CoreConfig::default() }, self.id, run),
            desk: Desk::default(),
            worker,
            edge: Edge::default(),
            reads: Reads::default(),
        }));
    }

    /// The raft id of the journal that is here now.
    pub(super) fn raft_id(&self) -> RaftId {
        RaftId::new(self.id, self.disk.journal)
    }

    /// Opens the journal, as the store does: one that lacks what was once synced, or is not what was
    /// written, is put aside, and a new one begins under a new raft id.
    fn open_journal(&mut self) {
        let damaged = std::mem::take(&mut self.disk.flipped) || self.disk.log.is_damaged();
        let is_put_aside = damaged && !planted("damage-ignored");
        if is_put_aside {
            self.disk.log = Stable::default();
            self.disk.rows = Arc::default();
            self.disk.checkpoint = 0;
        }
        if self.disk.journal == 0 || is_put_aside && !planted("raft-id-reused") {
            self.disk.journal += 1;
        }
    }

    /// Who belongs to the journal, as far as this node knows.
    pub(super) fn members(&self) -> &Arc<Members> {
        match self.life.as_deref() {
            Some(life) => life.raft.log().members(),
            None => self.disk.log.log.members(),
        }
    }

    /// Ends the process, in the middle of whatever it does.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        let Some(life) = self.life.take() else { return };
        let more = life.raft.unsynced();
        let kept = if more > 0 { dice.range(0, more) } else { 0 };
        self.disk.log = life.raft.after_crash(kept);
        self.paused = false;
        self.backlog.clear();
        self.sync_free_at = 0;
    }
}

impl Life {
    pub(super) fn mono(&self, now: u64) -> Mono {
        Mono(now - self.born + self.base)
    }

    pub(super) fn now(&self, now: u64, wall: UnixMs) -> Now {
        Now { mono: self.mono(now), unix: wall }
    }

    pub(super) fn journal_view(&self) -> JournalView {
        // A new journal of this node does not vote because an old one did.
        let me = self.raft.me;
        let votes = |raft: &RaftId| raft.node() != me.node() || *raft == me;
        let nodes = |set: &BTreeSet<RaftId>| set.iter().filter(|raft| votes(raft)).map(|raft| raft.node()).collect();
        let members = self.raft.log().members();
        JournalView {
            leads: self.raft.leads(),
            term: self.raft.stable.term,
            last_log: self.raft.last(),
            voters: nodes(&members.voters()),
            id: me,
            journals: members.voters(),
            sets: if members.is_joint() { members.sets.iter().map(nodes).collect() } else { Vec::new() },
            history: Generation(0),
        }
    }
}
