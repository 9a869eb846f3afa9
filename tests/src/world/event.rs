//! What happens in a world, and what its nodes say to each other.

use super::outside::Word;
use super::pair::{PairMessage, PairStep};
use super::raft::RaftMessage;
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId, RaftId};
use relais_protocol::message::{Beat, Confirm, ConfirmAnswer, Orders, OrdersAnswer, Report, ReportAnswer};
use relais_protocol::record::{Committed, Record};

/// What one node says to another. Calls bear a number that is unlike any other's of the run.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Beat(Beat),
    Ask(Confirm),
    Answer(ConfirmAnswer),
    /// Between two journals, not just two nodes.
    Raft(RaftId, RaftId, Box<RaftMessage>),
    StandNow,
    Orders(u64, Orders),
    OrdersAnswer(u64, OrdersAnswer),
    Report(u64, Box<Report>),
    ReportAnswer(u64, ReportAnswer),
    Propose(u64, Vec<Record>),
    ProposeAnswer(u64, Option<Committed>),
    ReadIndex(u64),
    ReadIndexAnswer(u64, Option<u64>),
    Pair(PairMessage),
    /// About what an external worker asked, in a call of its own.
    Outside(usize, u64, Word),
}

impl Message {
    /// Datagrams are lost where streams only come late.
    pub(super) fn is_datagram(&self) -> bool {
        matches!(self, Self::Beat(_))
    }

    /// A number for the trace.
    pub(super) fn kind(&self) -> u64 {
        match self {
            Self::Beat(_) => 1,
            Self::Ask(_) => 2,
            Self::Answer(_) => 3,
            Self::Raft(..) => 4,
            Self::StandNow => 5,
            Self::Orders(..) => 6,
            Self::OrdersAnswer(..) => 7,
            Self::Report(..) => 8,
            Self::ReportAnswer(..) => 9,
            Self::Propose(..) => 10,
            Self::ProposeAnswer(..) => 11,
            Self::ReadIndex(_) => 12,
            Self::ReadIndexAnswer(..) => 13,
            Self::Pair(_) => 14,
            Self::Outside(..) => 15,
        }
    }
}

/// A timer of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Beat,
    Election,
    Core,
    Worker,
    Keeper,
}

impl Timer {
    pub(super) const ALL: [Self; 5] = [Self::Beat, Self::Election, Self::Core, Self::Worker, Self::Keeper];

    /// How often, in ms, as the shells do it.
    pub(super) fn every_ms(self) -> u64 {
        match self {
            Self::Beat => 25,
            Self::Election => 10,
            Self::Core => 20,
            Self::Worker => 25,
            Self::Keeper => 250,
        }
    }
}

/// What happens inside one run of a node's process; void when that run is over, late when it is paused.
#[derive(Clone, Debug)]
pub(super) enum Inside {
    Tick(Timer),
    Arrive(NodeId, Message),
    Synced(u64),
    /// A call was not answered in time.
    Late(u64),
    /// A probe found the port of this node closed.
    Closed(NodeId),
    /// What ran here ended.
    Ended(JobId, Fence),
    /// The proposal in flight has waited long enough for a leader that is no more.
    Orphaned(u64),
    /// A held request is tried again.
    EdgeAgain(u64),
    /// A handover is over, however it went.
    Unhold,
    /// What runs here has had its time to finish: say goodbye.
    Leave,
    /// The process ends by itself.
    Exit,
    /// Only in a world of two nodes.
    Pair(PairStep),
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Inside(NodeId, Incarnation, Inside),
    /// A message reaches a machine, whatever runs there by then.
    Deliver(NodeId, NodeId, Message),
    /// A process of a job ends.
    ProcessEnds(NodeId, JobId, Fence, u32),
    /// The lease that a node's spawner knows is over.
    SpawnerLease(NodeId, u64),
    Client(usize),
    /// A node that is not there yet starts for the first time.
    Join(NodeId),
    /// A client is answered: its call, and what it is told.
    Told(usize, u64, Option<Committed>),
    Begin(usize),
    End(usize),
    /// A node that is down is started again.
    Boot(NodeId),
    Heal,
    /// Somebody looks after the schedules.
    Schedules,
    /// An external worker is told something, or it is its turn.
    Outside(usize, u64, Option<Word>),
}

impl Event {
    /// A number and a node for the trace.
    pub(super) fn kind(&self) -> (u64, u64) {
        match self {
            Self::Inside(node, _, inside) => (
                match inside {
                    Inside::Tick(timer) => 32 + *timer as u64,
                    Inside::Arrive(_, message) => 40 + message.kind(),
                    Inside::Synced(_) => 24,
                    Inside::Late(_) => 25,
                    Inside::Closed(_) => 26,
                    Inside::Ended(..) => 27,
                    Inside::Orphaned(_) => 28,
                    Inside::EdgeAgain(_) => 29,
                    Inside::Unhold => 30,
                    Inside::Leave => 31,
                    Inside::Exit => 23,
                    Inside::Pair(_) => 22,
                },
                u64::from(node.0),
            ),
            Self::Deliver(_, to, message) => (60 + message.kind(), u64::from(to.0)),
            Self::ProcessEnds(node, ..) => (1, u64::from(node.0)),
            Self::SpawnerLease(node, _) => (2, u64::from(node.0)),
            Self::Client(client) => (3, *client as u64),
            Self::Told(client, ..) => (4, *client as u64),
            Self::Begin(fault) => (5, *fault as u64),
            Self::End(fault) => (6, *fault as u64),
            Self::Boot(node) => (7, u64::from(node.0)),
            Self::Heal => (9, 0),
            Self::Schedules => (11, 0),
            Self::Outside(worker, ..) => (12, *worker as u64),
            Self::Join(node) => (10, u64::from(node.0)),
        }
    }
}
