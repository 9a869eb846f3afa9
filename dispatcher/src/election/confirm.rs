//! The confirm round: a voter asks the others whether they, too, believe the dispatcher dead, and answers
//! when it is asked.

use super::{Effect, Election, Phase};
use relais_protocol::ids::NodeId;
use relais_protocol::message::{Confirm, ConfirmAnswer, LogPosition, Verdict};
use relais_protocol::time::Mono;
use std::collections::BTreeSet;

/// To whom a voter has given its word, and for how long no other gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) to: NodeId,
    /// The end of that one's log.
    last_log: LogPosition,
    pub(super) until: Mono,
    /// Until then not even somebody better gets it. Whoever asks again and again does not move this: else one
    /// that can't win, for others have more, would keep the voter that the best one can't do without.
    firm_until: Mono,
}

impl Election {
    pub(super) fn on_asked(&mut self, now: Mono, question: &Confirm, effects: &mut Vec<Effect>) {
        self.learn_log(now, question);
        let held = self.held(now, question);
        // An entry that never came here may have made this node a voter, so that who asks can't do without it;
        // or this node's vote is by a journal that it has lost. Which of the two, only who asks can tell.
        let is_counted = question.journals.contains(&self.journal.id);
        // Who has more, and no vote by it, never stands: it must not send away who can win without it.
        let is_behind = self.is_behind(question.last_log);
        let verdict = if !self.journal.voters.contains(&self.me) && (!is_counted || is_behind) {
            Verdict::NoVoter
        } else if matches!(self.phase, Phase::Leading | Phase::Promoting) || !self.believed_dead(now) {
            if let Some(dispatcher) = self.dispatcher.filter(|d| *d != self.me && *d != question.candidate) {
                effects.push(Effect::Probe(dispatcher));
            }
            Verdict::DispatcherHeard
        } else if self.reign.generation > question.reign.generation {
            // Another history. Within one, the log alone tells: who was restarted may have the longest one, and
            // know of no reign in it before somebody leads.
            Verdict::ReignHigher
        } else if is_behind {
            // As in the bully's election, who turns a lesser one down stands itself, at once: both would wait for
            // each other else, for as long as the better one backs off from what it had tried in vain before.
            self.end_back_off(now);
            self.turned_down_at = Some(now);
            Verdict::LogLonger
        } else if !is_counted {
            Verdict::NoVoter
        } else if held {
            Verdict::ConfirmedAnother
        } else {
            if matches!(self.phase, Phase::Asking { .. }) {
                self.phase = Phase::Following;
            }
            self.give_word(now, question.candidate, question.last_log);
            Verdict::Yes
        };
        let refuses_votes_ms = self.votes_from().since(now);
        let answer = ConfirmAnswer { round: question.round, from: self.me, verdict, refuses_votes_ms };
        effects.push(Effect::Answer(question.candidate, answer));
    }

    /// Whether a log that ends there lacks what this one has.
    fn is_behind(&self, last_log: LogPosition) -> bool {
        if crate::planted::is_planted("rank-without-term") {
            return self.journal.last_log.index > last_log.index;
        }
        self.journal.last_log > last_log
    }

    /// From when on this node's journal grants votes: a vote lease after it last heard its leader.
    fn votes_from(&self) -> Mono {
        self.heard_at.max(self.journal_heard_at).plus(self.config.vote_lease_ms)
    }

    /// The end of the candidate's log is fresher in its question than in its last heartbeat.
    fn learn_log(&mut self, now: Mono, question: &Confirm) {
        if let Some(voter) = self.voters.get_mut(&question.candidate) {
            voter.last_log = question.last_log;
            voter.heard_at = now;
        }
    }

    /// Whether somebody else has this voter's word. Its own candidature gives way to a better one for as
    /// long as no majority has confirmed it: that is the bully's rule, and without it two candidates with
    /// old news of each other's logs block one another. So does another's, once it had its time to stand, to
    /// one with a longer log.
    fn held(&self, now: Mono, question: &Confirm) -> bool {
        let Some(word) = self.confirmed.filter(|word| word.until > now) else { return false };
        let (candidate, mine) = ((question.last_log, question.candidate), (self.journal.last_log, self.me));
        let gives_way = if word.to == self.me {
            candidate > mine && matches!(self.phase, Phase::Asking { .. } | Phase::Following)
        } else {
            // One with no more than the holder can't do better than it, and would only make two of them stand.
            question.last_log > word.last_log && now >= word.firm_until
        };
        word.to != question.candidate && !gives_way
    }

    fn give_word(&mut self, now: Mono, to: NodeId, last_log: LogPosition) {
        let until = now.plus(self.config.confirm_hold_ms);
        let again = self.confirmed.filter(|word| word.to == to && word.until > now);
        let firm_until = again.map_or(until, |word| word.firm_until);
        self.confirmed = Some(Word { to, last_log, until, firm_until });
    }

    pub(super) fn on_answered(&mut self, now: Mono, answer: &ConfirmAnswer) {
        let has_given_way = self.phase == Phase::Following && self.confirmed.is_some_and(|word| word.to != self.me);
        if answer.verdict == Verdict::LogLonger && answer.round == self.round && has_given_way {
            // It has withdrawn for another no better than itself; that both are behind it has to mind even so.
            self.back_off(now);
        }
        let journal = &self.journal;
        let Phase::Asking { round, until, yes } = &mut self.phase else { return };
        // A yes is good for the length of the round: after a pause of this process it says nothing any more.
        if *round != answer.round || now >= *until || answer.verdict == Verdict::NoVoter {
            return;
        }
        if answer.verdict == Verdict::Yes && journal.voters.contains(&answer.from) {
            yes.insert(answer.from);
        }
        // While voters change, a majority of the old and the new together elects nobody; and each stand that
        // can't succeed raises the term, past whoever could.
        if journal.agree(|node| yes.contains(node)) {
            // A stand before the lease of the old leader is over here and there is refused, and costs a round.
            let stand_at = self.votes_from().max(now.plus(answer.refuses_votes_ms));
            self.phase = Phase::Confirmed { stand_at };
            self.confirmed_at = Some(now);
        } else if answer.verdict == Verdict::LogLonger {
            // Another is better: it is its turn. Who is told so again and again asks ever more rarely, since each
            // question takes the word of others for a while.
            self.confirmed = None;
            self.phase = Phase::Following;
            self.back_off(now);
            self.quiet_until = self.quiet_until.max(now.plus(self.config.rank_step_ms));
        } else if answer.verdict != Verdict::Yes {
            self.refused_by_word |= answer.verdict == Verdict::ConfirmedAnother;
            // One no can still be outvoted; but in a small cluster asking again soon is faster than waiting.
            let until = now.plus(2);
            if let Phase::Asking { until: end, .. } = &mut self.phase {
                *end = (*end).min(until.max(now));
            }
        }
    }

    pub(super) fn ask(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        self.round += 1;
        self.refused_by_word = false;
        self.give_word(now, self.me, self.journal.last_log);
        let question = Confirm {
            candidate: self.me,
            round: self.round,
            last_log: self.journal.last_log,
            reign: self.reign,
            journals: self.journal.journals.clone(),
        };
        let until = now.plus(self.config.round_ms);
        self.phase = Phase::Asking { round: self.round, until, yes: BTreeSet::from([self.me]) };
        let others: Vec<NodeId> = self.journal.voters.iter().copied().filter(|node| *node != self.me).collect();
        if others.is_empty() || crate::planted::confirm_round_skipped() {
            self.phase = Phase::Standing { until };
            effects.push(Effect::Stand);
        } else {
            effects.push(Effect::Ask(others, question));
        }
    }
}
