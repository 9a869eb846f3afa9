//! Who is to store the journal and vote: a pure decision, made again and again by the dispatcher's keeper.
//!
//! Sizes are 1, 2 (a pair, only out of a single node), 3, 5 and 7; never more than the setting allows, never
//! fewer than there are unless the setting says so, and the way from one size to another is one change. A
//! voter that has been gone for longer than `replace_after` gives its seat to a node that is up, when there is
//! one; until then, and if there is none, it keeps it. Witnesses are always fewer than half.

use relais_protocol::ids::{NodeId, RaftId};
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers of voters that a cluster may have.
const SIZES: [usize; 5] = [7, 5, 3, 2, 1];

/// A node, as a seat among the voters could be its.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    /// Its present journal.
    pub(super) raft: RaftId,
    /// What it falls with: a failure domain, or its machine.
    pub(super) domain: String,
    /// Whether it only votes and stores.
    pub(super) witness: bool,
    /// Whether it is up, and in reach.
    pub(super) up: bool,
    /// For how long it has not been, in ms.
    pub(super) gone_ms: u64,
}

/// Who votes and who follows now.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// Journals that vote.
    pub(super) voters: BTreeSet<RaftId>,
    /// Journals that receive entries without a vote.
    pub(super) learners: BTreeSet<RaftId>,
}

/// What is to be done, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// To be taken in as a learner.
    pub(super) learner: Option<RaftId>,
    /// To vote.
    pub(super) voters: BTreeSet<RaftId>,
    /// A journal that is no more, to be taken out of the learners.
    pub(super) gone: Option<RaftId>,
}

/// How many voters are wished for, and how patiently a seat is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// The setting `voters`.
    pub(super) voters: usize,
    /// The setting `replace_after`, in ms.
    pub(super) replace_after_ms: u64,
}

/// Since when nodes are out of reach, and a change of voters is half done, by this dispatcher's own clock.
#[derive(Debug, Default)]
pub(super) struct Absences {
    gone: BTreeMap<NodeId, Mono>,
    half_done: Option<Mono>,
}

impl Absences {
    /// For how long `node` has not been up, in ms.
    pub(super) fn note(&mut self, now: Mono, node: NodeId, up: bool) -> u64 {
        if up {
            self.gone.remove(&node);
            return 0;
        }
        now.since(*self.gone.entry(node).or_insert(now))
    }

    /// For how long a change has been seen half done, in ms.
    pub(super) fn half_done_ms(&mut self, now: Mono) -> u64 {
        now.since(*self.half_done.get_or_insert(now))
    }

    /// No change is half done.
    pub(super) fn is_whole(&mut self) {
        self.half_done = None;
    }
}

/// How much a seat is a node's own; the lower, the sooner it gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It leads the journal: to take it out would cost a failover.
    Leads,
    /// It votes and is up.
    Votes,
    /// It votes, and is not gone for long.
    Away,
    /// It follows the journal, and is up.
    Follows,
    /// It votes, but is gone for good or its journal is.
    Gone,
}

struct Seat<'a> {
    raft: RaftId,
    claim: Claim,
    witness: bool,
    domain: &'a str,
}

/// Decides. `me` leads the journal.
pub(super) fn wanted(me: RaftId, members: &Members, nodes: &[Applicant], rules: Rules) -> Wanted {
    let is_old = |raft: &RaftId| nodes.iter().any(|node| node.raft.node() == raft.node() && node.raft != *raft);
    let known = |raft: &RaftId| members.voters.contains(raft) || members.learners.contains(raft);
    // Of the leader's own node there is this journal and no other, whatever its row still says.
    let others = nodes.iter().filter(|node| node.up && node.raft.node() != me.node());
    let seats = seats(me, members, nodes, rules);
    let size = size(&seats, members.voters.len(), rules.voters);
    Wanted {
        learner: others.map(|node| node.raft).find(|raft| !known(raft)),
        voters: seated(seats, size),
        gone: members.learners.iter().copied().find(is_old),
    }
}

fn seats<'a>(me: RaftId, members: &Members, nodes: &'a [Applicant], rules: Rules) -> Vec<Seat<'a>> {
    let is_me = |node: &Applicant, raft: &RaftId| *raft == me && node.raft.node() == me.node();
    let node_of = |raft: &RaftId| nodes.iter().find(|node| node.raft == *raft || is_me(node, raft));
    let voting = members.voters.iter().map(|raft| {
        let node = node_of(raft);
        let claim = match node {
            _ if *raft == me => Claim::Leads,
            Some(node) if node.up => Claim::Votes,
            Some(node) if node.gone_ms <= rules.replace_after_ms => Claim::Away,
            // Its journal was put aside, or it has been gone for too long.
            _ => Claim::Gone,
        };
        let (witness, domain) = node.map_or((false, ""), |node| (node.witness, node.domain.as_str()));
        Seat { raft: *raft, claim, witness, domain }
    });
    let following = members.learners.iter().filter_map(node_of).filter(|node| node.up && node.raft.node() != me.node());
    let following = following.map(|node| Seat {
        raft: node.raft,
        claim: Claim::Follows,
        witness: node.witness,
        domain: node.domain.as_str(),
    });
    voting.chain(following).collect()
}

/// The largest size that the nodes and the setting allow; not less than there are, unless the setting says so.
fn size(seats: &[Seat<'_>], voting: usize, wished: usize) -> usize {
    let sound = seats.iter().filter(|seat| seat.claim != Claim::Gone);
    let (witnesses, workers): (Vec<_>, Vec<_>) = sound.partition(|seat| seat.witness);
    let fits = |size: usize| match size {
        // A pair is entered only from a single node, and of two that can dispatch.
        2 => voting <= 2 && wished > 2 && workers.len() >= 2,
        _ => workers.len() > size / 2 && workers.len() + witnesses.len().min(size / 2) >= size,
    };
    let largest = SIZES.into_iter().find(|size| *size <= wished && fits(*size)).unwrap_or(1);
    // In the middle of a change both sets count together: that is no size.
    let present = SIZES.into_iter().find(|size| *size <= voting && (*size != 2 || voting == 2)).unwrap_or(1);
    largest.max(present.min(wished))
}

/// Fills the seats: by claim, then spread over domains, workers before witnesses, old nodes before new ones.
fn seated(mut seats: Vec<Seat<'_>>, size: usize) -> BTreeSet<RaftId> {
    let (mut chosen, mut domains, mut witnesses) = (BTreeSet::new(), BTreeMap::<&str, usize>::new(), 0);
    while chosen.len() < size {
        let crowded = |seat: &Seat<'_>| seat.claim == Claim::Follows && seat.witness && witnesses >= size / 2;
        let best = seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !crowded(seat))
            .min_by_key(|(_, seat)| {
                let beside = domains.get(seat.domain).copied().unwrap_or(0);
                (seat.claim, beside, seat.witness, seat.raft)
            })
            .map(|(at, _)| at);
        let Some(at) = best else { break };
        let seat = seats.remove(at);
        *domains.entry(seat.domain).or_default() += 1;
        witnesses += usize::from(seat.witness);
        chosen.insert(seat.raft);
    }
    chosen
}

#[cfg(test)]
mod tests;
