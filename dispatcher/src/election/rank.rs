//! Rank: who of the ready voters is best, and who comes next.

use super::{Election, Voter};
use relais_protocol::ids::NodeId;
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

    /// All voters, best first, each with why or why not.
    pub(super) fn ranking(&self, now: Mono) -> Vec<(NodeId, String)> {
        let mut ranked: Vec<_> = self
            .journal
            .voters
            .iter()
            .map(|node| {
                let voter = self.voters.get(node).filter(|_| *node != self.me);
                let live = *node == self.me || voter.is_some_and(|v| self.is_live(now, v));
                let ready = if *node == self.me { self.ready } else { voter.is_some_and(|v| v.ready) };
                let log = if *node == self.me {
                    self.journal.last_log
                } else {
                    voter.map_or_else(Default::default, |v| v.last_log)
                };
                let dispatcher = self.dispatcher == Some(*node) && live;
                (dispatcher, live && ready, log, *node, live)
            })
            .collect();
        ranked.sort_by(|a, b| b.cmp(a));
        let reason = |(dispatcher, fit, _, _, live): &(bool, bool, _, NodeId, bool)| match (dispatcher, fit, live) {
            (true, ..) => "is the dispatcher",
            (_, true, _) => "ready, its journal is up to date or will be caught up",
            (_, _, true) => "is up but not ready",
            _ => "is not heard of",
        };
        ranked.iter().map(|row| (row.3, reason(row).to_owned())).collect()
    }

    /// Whether a majority of the voters, this one included, was heard within a lease and follows nobody else.
    pub(super) fn hears_majority(&self, now: Mono) -> bool {
        let with_me = self.journal.voters.iter().filter(|node| {
            **node == self.me
                || self.voters.get(node).is_some_and(|voter| {
                    let fresh = now.since(voter.heard_at) < self.config.lease_ms;
                    fresh && voter.hears.is_none_or(|heard| heard == self.me)
                })
        });
        with_me.count() * 2 > self.journal.voters.len()
    }

    fn live(&self, now: Mono) -> impl Iterator<Item = (NodeId, &Voter)> {
        let others = self.voters.iter().filter(|(node, _)| **node != self.me && self.journal.voters.contains(node));
        let alive = others.filter(move |(_, voter)| self.is_live(now, voter));
        let dead = self.dispatcher;
        alive.filter(move |(node, _)| dead != Some(**node)).map(|(node, voter)| (*node, voter))
    }

    fn is_live(&self, now: Mono, voter: &Voter) -> bool {
        now.since(voter.heard_at) < self.config.lease_ms
    }
}
