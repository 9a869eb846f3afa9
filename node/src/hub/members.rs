//! Who is to store the journal and vote: a pure decision, made again and again by the dispatcher's keeper.
//!
//! Sizes are 1, 2 (a pair, only out of a single node), 3, 5 and 7; never more than the setting allows, never
//! fewer than there are unless the setting says so, and the way from one size to another is one change. A
//! voter that has been gone for longer than `replace_after` gives its seat to a node that is up, when there is
//! one; until then, and if there is none, it keeps it. Witnesses are always fewer than half.
//!
//! Beside the voters a few nodes follow the journal, ready to take a seat. All others keep none: sixty machines that
//! each applied every entry would cost the dispatcher sixty times the sending, and do nothing for safety.

use relais_protocol::ids::{NodeId, RaftId};
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that follow the journal beside the voters: as many as may fall one soon after the other.
const STANDBYS: usize = 2;
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
    /// A journal that is no more or that need not follow any longer, to be taken out of the learners.
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

#[derive(Clone)]
struct Seat<'a> {
    raft: RaftId,
    claim: Claim,
    witness: bool,
    domain: &'a str,
    /// Whether it would have to be taken in first.
    fresh: bool,
}

/// Decides. `me` leads the journal.
pub(super) fn wanted(me: RaftId, members: &Members, nodes: &[Applicant], rules: Rules) -> Wanted {
    let is_old = |raft: &RaftId| nodes.iter().any(|node| node.raft.node() == raft.node() && node.raft != *raft);
    let following = |node: &Applicant| members.learners.contains(&node.raft);
    let voting = seats_of_voters(me, members, nodes, rules);
    let up = of_others(me, nodes, |node| node.up && following(node), false);
    let seats: Vec<Seat<'_>> = voting.iter().cloned().chain(up).collect();
    let size_now = size(&seats, members.voters.len(), rules.voters);
    // Who is away for a moment keeps its place beside the voters, too.
    let stays = of_others(me, nodes, |node| following(node) && node.gone_ms <= rules.replace_after_ms, false);
    let known = |raft: &RaftId| members.voters.contains(raft) || members.learners.contains(raft);
    let fresh = of_others(me, nodes, |node| node.up && !known(&node.raft), true);
    let all: Vec<Seat<'_>> = voting.into_iter().chain(stays).chain(fresh).collect();
    let kept = size(&all, members.voters.len(), rules.voters) + STANDBYS;
    let kept = seated(all, kept);
    let is_spare = |raft: &RaftId| !kept.contains(raft) && nodes.iter().any(|node| node.raft == *raft && node.up);
    Wanted {
        learner: kept.iter().copied().find(|raft| !known(raft)),
        voters: seated(seats, size_now),
        gone: members.learners.iter().copied().find(|raft| is_old(raft) || is_spare(raft)),
    }
}

fn seats_of_voters<'a>(me: RaftId, members: &Members, nodes: &'a [Applicant], rules: Rules) -> Vec<Seat<'a>> {
    let is_me = |node: &Applicant, raft: &RaftId| *raft == me && node.raft.node() == me.node();
    let node_of = |raft: &RaftId| nodes.iter().find(|node| node.raft == *raft || is_me(node, raft));
    let seat = |raft: &RaftId| {
        let node = node_of(raft);
        let claim = match node {
            _ if *raft == me => Claim::Leads,
            Some(node) if node.up => Claim::Votes,
            Some(node) if node.gone_ms <= rules.replace_after_ms => Claim::Away,
            // Its journal was put aside, or it has been gone for too long.
            _ => Claim::Gone,
        };
        let (witness, domain) = node.map_or((false, ""), |node| (node.witness, node.domain.as_str()));
        Seat { raft: *raft, claim, witness, domain, fresh: false }
    };
    members.voters.iter().map(seat).collect()
}

/// Those of the other nodes that `counts`, each with a claim to follow. Of the leader's own node there is the
/// journal that leads and no other, whatever its row still says.
fn of_others<'a>(
    me: RaftId,
    nodes: &'a [Applicant],
    counts: impl Fn(&'a Applicant) -> bool,
    fresh: bool,
) -> impl Iterator<Item = Seat<'a>> {
    nodes.iter().filter(move |node| node.raft.node() != me.node() && counts(node)).map(move |node| Seat {
        raft: node.raft,
        claim: Claim::Follows,
        witness: node.witness,
        domain: &node.domain,
        fresh,
    })
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

/// Fills the seats: by claim, then spread over domains, workers before witnesses, those that follow before those that
/// would have to catch up, old nodes before new ones.
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
                (seat.claim, beside, seat.witness, seat.fresh, seat.raft)
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
