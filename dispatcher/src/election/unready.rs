//! Standing without being fit to reign: a voter that is not ready, or a witness, leads the journal for a
//! moment when no ready voter's log suffices, only to catch another up and hand over. It never reigns.
//!
//! ```text
//!  n2 (ready, short log) ──asks──► witness: "my log is longer"       n2 can't win
//!  witness (long log)    ──asks──► n2: yes ──► stands, leads, Tending ──all of it──► n2 stands, reigns
//! ```

use super::{Effect, Election, Phase};
use relais_protocol::ids::NodeId;
use relais_protocol::message::LogPosition;
use relais_protocol::time::Mono;

/// Rank steps for which the unready wait: by then the ready have told the ends of their logs, or reign.
pub(super) const UNREADY_WAIT_STEPS: u64 = 2;

/// A voter that is up, as an election looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) node: NodeId,
    pub(super) last_log: LogPosition,
    pub(super) fit: bool,
}

/// Whether `me`, unfit, is the one that has to stand, of `voters` in all and these that are up: somebody fit
/// is up to take over, none of them could win, and no other unfit one has a better log.
pub(super) fn is_needed(me: NodeId, voters: usize, up: &[Standing]) -> bool {
    let could_win = |log: LogPosition| up.iter().filter(|other| other.last_log <= log).count() * 2 > voters;
    let mut fit = up.iter().filter(|other| other.fit).peekable();
    if fit.peek().is_none() || fit.any(|other| could_win(other.last_log)) {
        return false;
    }
    let best = up.iter().filter(|other| !other.fit).max_by_key(|other| (other.last_log, other.node));
    best.is_some_and(|best| best.node == me && could_win(best.last_log))
}

impl Election {
    /// Whether this node may reign.
    pub(super) fn is_fit(&self) -> bool {
        self.ready && !self.config.witness
    }

    /// Whether this node, unfit, has to stand.
    pub(super) fn has_to_stand(&self, now: Mono) -> bool {
        let mine = Standing { node: self.me, last_log: self.journal.last_log, fit: self.is_fit() };
        let others = self.live(now).map(|(node, voter)| Standing { node, last_log: voter.last_log, fit: voter.ready });
        let up: Vec<Standing> = others.chain([mine]).collect();
        is_needed(self.me, self.journal.voters.len(), &up)
    }

    /// The journal follows this node, which must not reign.
    pub(super) fn begin_tending(&mut self) {
        self.confirmed = None;
        self.phase = Phase::Tending { told_at: Mono(0) };
    }

    /// Leads the journal without a reign: hands on to the best that is ready, or reigns if it has become so.
    pub(super) fn tend(&mut self, now: Mono, told_at: Mono, effects: &mut Vec<Effect>) {
        if self.is_fit() {
            self.phase = Phase::Promoting;
            effects.push(Effect::Promote);
            return;
        }
        if told_at != Mono(0) && now.since(told_at) < self.config.round_ms {
            return;
        }
        let ready = self.live(now).filter(|(_, voter)| voter.ready);
        if let Some((heir, _)) = ready.max_by_key(|(node, voter)| (voter.last_log, *node)) {
            self.phase = Phase::Tending { told_at: now };
            effects.push(Effect::HandOn(heir));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(rows: &[(u32, u64, bool)]) -> Vec<Standing> {
        let row = |(node, index, fit): &(u32, u64, bool)| Standing {
            node: NodeId(*node),
            last_log: LogPosition { term: 1, index: *index },
            fit: *fit,
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn the_unfit_stand_only_when_no_fit_one_can_win() {
        let cases = [
            ("equal logs", 3, up(&[(2, 9, true), (3, 9, false)]), false),
            ("the witness has more", 3, up(&[(2, 8, true), (3, 9, false)]), true),
            ("a fit one has as much as a majority", 3, up(&[(1, 8, true), (2, 7, true), (3, 9, false)]), false),
            ("nobody fit is up", 3, up(&[(2, 8, false), (3, 9, false)]), false),
            ("no majority is up", 5, up(&[(2, 8, true), (3, 9, false)]), false),
            ("a better unfit one", 3, up(&[(1, 8, true), (3, 9, false), (4, 10, false)]), false),
            ("of equal unfit ones another", 5, up(&[(1, 8, true), (3, 9, false), (4, 9, false)]), false),
            ("alone", 1, up(&[(3, 9, false)]), false),
        ];
        for (what, voters, up, needed) in cases {
            assert_eq!(is_needed(NodeId(3), voters, &up), needed, "{what}");
        }
    }
}
