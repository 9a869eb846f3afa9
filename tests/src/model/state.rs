//! What a state of the model holds: three nodes, what was ever said and may still be heard, and what the
//! properties look back on.

use super::journal::{Ballot, End, Entry, Journal, Record, Run, Submit};

/// The nodes; all of them vote.
pub const NODES: u8 = 3;
/// Submits that the model has room for.
pub const SUBMITS_MAX: usize = 2;

/// What a node's journal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It follows.
    Follower,
    /// It stands; these voted for it, a bit each.
    Candidate(u8),
    /// It leads.
    Leader {
        /// How much of this leader's journal each node has on its disk, as far as it was told.
        matched: [u8; NODES as usize],
        /// How much is committed, as far as it knows.
        commit: u8,
    },
}

/// A node. A crash leaves of it what [`Node::after_crash`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The highest ballot it voted for or heard a leader of; on disk before it is told.
    pub ballot: Ballot,
    /// Its journal.
    pub journal: Journal,
    /// How many entries of it are on disk.
    pub synced: u8,
    /// This run of its process.
    pub run: Run,
    /// The highest epoch that its worker obeyed; on disk before it obeys.
    pub remembered: u8,
    /// What its journal does.
    pub role: Role,
    /// Whether it believes the dispatcher whose ballot it holds dead, though it lives.
    pub fooled: bool,
    /// The epoch in which it acts as the dispatcher, or 0. It ends a moment later than the journal's
    /// leadership: what happened in between is what the fence is for.
    pub acting: u8,
    /// A submit that it took in as the dispatcher and has not yet given to the journal.
    pub queued: Option<Submit>,
}

impl Node {
    /// Whether its journal leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Whether its own `Promote` is under way.
    #[must_use]
    pub fn is_promoting(&self) -> bool {
        match self.role {
            Role::Leader { commit, .. } => self.journal.last_promote_by(self.ballot) > commit,
            _ => false,
        }
    }

    /// Takes another's ballot, and follows.
    pub fn follow(&mut self, ballot: Ballot) {
        if ballot > self.ballot {
            self.ballot = ballot;
            self.role = Role::Follower;
            self.fooled = false;
        }
    }

    /// The node after a crash and a start, with `kept` entries of its journal: all that is on disk, and
    /// what of the rest the disk took all the same.
    #[must_use]
    pub fn after_crash(&self, kept: u8) -> Self {
        Self {
            journal: self.journal.first(kept),
            synced: kept,
            run: Run { restarts: self.run.restarts + 1, ..self.run },
            role: Role::Follower,
            fooled: false,
            acting: 0,
            queued: None,
            ..*self
        }
    }
}

/// What was said. It stays sayable for ever: heard never, once, often, and in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// The ballot's node asks this one for its vote.
    Vote(u8, Ballot, End),
    /// A node votes for a ballot.
    Voted(Ballot, u8),
    /// The ballot's leader sends this one its journal.
    Append(u8, Ballot, Journal),
    /// A node has so many entries of that leader's journal on disk.
    Appended(Ballot, u8, u8),
    /// The dispatcher of an epoch gives an order to every worker.
    Order(u8, Run),
}

/// A submit that was acknowledged, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The submit.
    pub submit: Submit,
    /// Who said so.
    pub by: Run,
}

/// Faults that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Crashes, each with the start after it.
    pub crashes: u8,
    /// Nodes that came to believe a living dispatcher dead.
    pub suspicions: u8,
    /// Dispatchers that resigned because they heard no majority.
    pub resignations: u8,
}

/// A state of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The nodes.
    pub nodes: [Node; NODES as usize],
    /// What was said, in order.
    pub said: Vec<Message>,
    /// Times that a node stood.
    pub stands: u8,
    /// Submits that clients sent.
    pub submits: u8,
    /// What happened to the cluster.
    pub faults: Faults,
    /// The longest journal that any leader knew to be committed.
    pub committed: Journal,
    /// Whether two leaders held different journals committed.
    pub diverged: bool,
    /// What was acknowledged, by number of the submit.
    pub acks: [Option<Ack>; SUBMITS_MAX],
    /// The highest epoch that each worker ever obeyed.
    pub obeyed: [u8; NODES as usize],
    /// Whether a worker obeyed a lower epoch after a higher.
    pub obeyed_lower: bool,
}

impl State {
    /// A cluster in health: node 0 is the dispatcher of epoch 1, and everybody knows.
    #[must_use]
    pub fn healthy() -> Self {
        let ballot = Ballot::new(1, 0);
        let first = Run::default();
        let mut journal = Journal::default();
        journal.push(Entry { ballot, record: Record::Promote(first) });
        let node = |node| Node {
            ballot,
            journal,
            synced: 1,
            run: Run { node, restarts: 0 },
            remembered: 1,
            role: Role::Follower,
            fooled: false,
            acting: 0,
            queued: None,
        };
        let leader = Node { role: Role::Leader { matched: [1; 3], commit: 1 }, acting: 1, ..node(0) };
        Self {
            nodes: [leader, node(1), node(2)],
            said: vec![Message::Order(1, first)],
            stands: 0,
            submits: 0,
            faults: Faults::default(),
            committed: journal,
            diverged: false,
            acks: [None; SUBMITS_MAX],
            obeyed: [1; 3],
            obeyed_lower: false,
        }
    }

    /// The node of that number.
    #[must_use]
    pub fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node)]
    }

    /// The node of that number, to change it.
    pub fn node_mut(&mut self, node: u8) -> &mut Node {
        &mut self.nodes[usize::from(node)]
    }

    /// Says `message`, if it was not said before.
    pub fn say(&mut self, message: Message) {
        if let Err(place) = self.said.binary_search(&message) {
            self.said.insert(place, message);
        }
    }

    /// Whether `node` has reason to believe the dispatcher dead: it is fooled, or nobody acts by the ballot
    /// that it holds.
    #[must_use]
    pub fn believes_dead(&self, node: u8) -> bool {
        let me = self.node(node);
        let hears = |other: &Node| other.run.node != node && other.acting > 0 && other.ballot == me.ballot;
        me.fooled || !self.nodes.iter().any(hears)
    }

    /// Whether `run` left a trace in a journal, an order or an acknowledgement.
    #[must_use]
    pub fn is_known(&self, run: Run) -> bool {
        let entered = |journal: &Journal| journal.entries().any(|(_, entry)| entry.record == Record::Promote(run));
        self.nodes.iter().any(|node| entered(&node.journal))
            || self.acks.iter().flatten().any(|ack| ack.by == run)
            || entered(&self.committed)
            || self.said.iter().any(|message| match message {
                Message::Append(_, _, journal) => entered(journal),
                Message::Order(_, by) => *by == run,
                _ => false,
            })
    }

    /// Forgets what can change nothing any more: a message by a ballot lower than its hearer's, which only
    /// grows, on disk; and one that was heard, if to hear it again is to do the same again.
    pub fn forget_the_stale(&mut self) {
        let nodes = self.nodes;
        let node = |node: u8| &nodes[usize::from(node)];
        self.said.retain(|message| match message {
            Message::Vote(to, ballot, _) => node(*to).ballot < *ballot,
            Message::Append(to, ballot, journal) => {
                let hearer = node(*to);
                hearer.ballot < *ballot || (hearer.ballot == *ballot && !journal.is_prefix_of(&hearer.journal))
            }
            Message::Voted(ballot, by) => {
                let candidate = node(ballot.node());
                let waits = matches!(candidate.role, Role::Candidate(votes) if votes & (1 << by) == 0);
                candidate.ballot == *ballot && waits
            }
            Message::Appended(ballot, by, len) => {
                let leader = node(ballot.node());
                let waits = matches!(leader.role, Role::Leader { matched, .. } if matched[usize::from(*by)] < *len);
                leader.ballot == *ballot && waits
            }
            Message::Order(..) => true,
        });
    }
}
