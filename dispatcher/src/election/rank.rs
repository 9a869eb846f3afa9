//! Rank: who of the ready voters is best, and who comes next.

use super::{Claim, Election, Heir, Voter};
use relais_protocol::ids::NodeId;
use relais_protocol::message::LogPosition;
use relais_protocol::time::Mono;

impl Election {
    /// How many live, ready voters are better: a longer log, or an equal one and a higher id (the bully's
    /// rule, Garcia-Molina 1982).
    pub(super) fn better_than_me(&self, now: Mono) -> usize {
        let mine = (self.journal.last_log, self.me);
        let live = self.live(now);
        if crate::planted::is_planted("rank-without-term") {
            let mine = (self.journal.last_log.index, self.me);
            return live.filter(|(node, voter)| voter.ready && (voter.last_log.index, *node) > mine).count();
        }
        live.filter(|(node, voter)| voter.ready && (voter.last_log, *node) > mine).count()
    }

    /// All voters, best first.
    pub(super) fn ranking(&self, now: Mono) -> Vec<Heir> {
        let rows: Vec<_> = self.journal.voters.iter().map(|node| self.rank_of(now, *node)).collect();
        let best = rows.iter().filter(|(claim, ..)| *claim != Claim::Unheard).map(|(_, log, _)| log.index).max();
        let mut ranked = rows;
        ranked.sort_by_key(|(claim, log, node)| (*claim, std::cmp::Reverse((*log, *node))));
        let heir = |(claim, log, node): &(Claim, LogPosition, NodeId)| Heir {
            node: *node,
            claim: *claim,
            behind: best.unwrap_or(0).saturating_sub(log.index),
        };
        ranked.iter().map(heir).collect()
    }

    fn rank_of(&self, now: Mono, node: NodeId) -> (Claim, LogPosition, NodeId) {
        let (live, ready, log) = if node == self.me {
            (true, self.is_fit(), self.journal.last_log)
        } else {
            let voter = self.voters.get(&node);
            let live = voter.is_some_and(|voter| self.is_live(now, voter));
            (live, voter.is_some_and(|voter| voter.ready), voter.map_or_else(LogPosition::default, |v| v.last_log))
        };
        let claim = match (live, self.heard_dispatcher(now) == Some(node), ready) {
            (false, ..) => Claim::Unheard,
            (_, true, _) => Claim::Dispatches,
            (_, _, true) => Claim::Ready,
            _ => Claim::NotReady,
        };
        (claim, log, node)
    }

    /// Whether a majority of the voters, this one included, was heard within a lease and follows nobody else.
    pub(super) fn hears_majority(&self, now: Mono) -> bool {
        self.journal.agree(|node| {
            *node == self.me
                || self.voters.get(node).is_some_and(|voter| {
                    let fresh = now.since(voter.heard_at) < self.config.lease_ms;
                    fresh && voter.hears.is_none_or(|heard| heard == self.me)
                })
        })
    }

    pub(super) fn live(&self, now: Mono) -> impl Iterator<Item = (NodeId, &Voter)> {
        let others = self.voters.iter().filter(|(node, _)| **node != self.me && self.journal.voters.contains(node));
        let alive = others.filter(move |(_, voter)| self.is_live(now, voter));
        let dead = self.dispatcher;
        alive.filter(move |(node, _)| dead != Some(**node)).map(|(node, voter)| (*node, voter))
    }

    pub(super) fn is_live(&self, now: Mono, voter: &Voter) -> bool {
        now.since(voter.heard_at) < self.config.lease_ms
    }
}
