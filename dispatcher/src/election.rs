//! The election's rules: a bully among the ready voters, ratified by a majority. Pure: heartbeats, answers
//! and the time go in, wishes come out.
//!
//! ```text
//!              beats of a dispatcher
//!   ┌───────────────────────────────────────────────┐
//!   ▼                                               │
//! Following ──believed dead, my turn──► Asking ──majority says yes──► Standing ──journal leads──► Promoting
//!   ▲  ▲                                  │ no, or too late             │ too late                  │ committed
//!   │  └──────────── back-off ────────────┴─────────────────────────────┘                           ▼
//!   └────────────── a higher reign, or the journal follows another ◄──────── Resigned ◄──────── Leading
//!                                                              no majority for two leases
//! ```
//!
//! It is not preemptive: while a dispatcher is heard, nobody stands. **Heard** means a heartbeat of the
//! current reign. **Believed dead** has two speeds: evidence (it said goodbye, or its kernel says that its
//! port is closed) and silence (nothing for a lease). The confirm round in front of each stand is the
//! pre-vote of Ongaro's thesis (section 9.6) with a question of our own: "do you, too, believe it dead?"
//! The journal's own vote then decides; nothing here can make two dispatchers of one epoch.

mod confirm;
mod heard;
mod rank;
mod signals;
mod unready;

pub use signals::{Cause, Claim, Effect, ElectionConfig, Heir, Input, JournalView};

use confirm::Word;
use relais_protocol::ids::{NodeId, Reign};
use relais_protocol::message::LogPosition;
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Following,
    Asking {
        round: u64,
        until: Mono,
        yes: BTreeSet<NodeId>,
    },
    Confirmed {
        stand_at: Mono,
    },
    Standing {
        until: Mono,
    },
    Promoting,
    /// Leads the journal unfit to reign, until another has caught up; when it last said to whom it hands on.
    Tending {
        told_at: Mono,
    },
    Leading,
    Resigned,
}

#[derive(Clone, Debug)]
struct Voter {
    heard_at: Mono,
    last_log: LogPosition,
    ready: bool,
    hears: Option<NodeId>,
}

/// The election of one node.
pub struct Election {
    config: ElectionConfig,
    me: NodeId,
    seed: u64,
    journal: JournalView,
    ready: bool,
    reign: Reign,
    dispatcher: Option<NodeId>,
    heard_at: Mono,
    journal_heard_at: Mono,
    gone: bool,
    voters: BTreeMap<NodeId, Voter>,
    phase: Phase,
    cause: Cause,
    suspected_at: Option<Mono>,
    confirmed_at: Option<Mono>,
    confirmed: Option<Word>,
    probed_at: Mono,
    quiet_until: Mono,
    failures: u32,
    round: u64,
    /// In its last round somebody had given its word to another.
    refused_by_word: bool,
    /// When it last told somebody that it has more.
    turned_down_at: Option<Mono>,
    majority_at: Mono,
    overtaken: bool,
}

impl Election {
    /// A node that has heard nobody yet. `seed` spreads its back-off.
    #[must_use]
    pub fn new(config: ElectionConfig, me: NodeId, seed: u64, now: Mono) -> Self {
        Self {
            config,
            me,
            seed,
            journal: JournalView::default(),
            ready: true,
            reign: Reign::default(),
            dispatcher: None,
            heard_at: now,
            journal_heard_at: Mono(0),
            gone: false,
            voters: BTreeMap::new(),
            phase: Phase::Following,
            cause: Cause::Start,
            suspected_at: None,
            confirmed_at: None,
            confirmed: None,
            probed_at: Mono(0),
            quiet_until: Mono(0),
            failures: 0,
            round: 0,
            refused_by_word: false,
            turned_down_at: None,
            majority_at: now,
            overtaken: false,
        }
    }

    /// Takes one input. The clock's ticks are an input, too: about every 10 ms.
    pub fn handle(&mut self, now: Mono, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Beat(beat) => self.on_beat(now, &beat, &mut effects),
            Input::Gone(node) => self.on_gone(now, node),
            Input::Journal(view) => self.on_journal(now, view, &mut effects),
            Input::Ready(ready) => self.ready = ready,
            Input::Promoted { reign, node, ours } => self.on_promoted(now, reign, node, ours, &mut effects),
            Input::PromoteFailed => self.on_promote_failed(now),
            Input::DispatcherDied => self.on_dispatcher_died(now),
            Input::Asked(question) => self.on_asked(now, &question, &mut effects),
            Input::Answered(answer) => self.on_answered(now, &answer),
            Input::StandNow => self.on_stand_now(now, &mut effects),
            Input::HandedOver => self.on_handed_over(now),
            Input::Overtaken(overtaken) => self.on_overtaken(overtaken, &mut effects),
            Input::Forked { cause, suspected_at } => self.on_forked(cause, suspected_at),
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// This node's journal heard from `node`'s at `at`: for a while it refuses votes then, if that is its
    /// leader. No evidence of a living dispatcher: appends can come late.
    pub fn journal_heard(&mut self, node: NodeId, at: Mono) {
        if self.dispatcher == Some(node) {
            self.journal_heard_at = self.journal_heard_at.max(at);
        }
    }

    /// Whether this node is the dispatcher, as far as it can know.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.phase == Phase::Leading
    }

    /// The highest reign known.
    #[must_use]
    pub fn reign(&self) -> Reign {
        self.reign
    }

    /// How the last reign ended and when that was suspected.
    #[must_use]
    pub fn cause(&self) -> (Cause, Option<Mono>) {
        (self.cause, self.suspected_at)
    }

    /// When a majority had confirmed that; `None` where nobody had to be asked.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<Mono> {
        self.confirmed_at.filter(|at| self.suspected_at.is_some_and(|suspected| suspected <= *at))
    }

    /// Who would follow, best first, each with why or why not.
    #[must_use]
    pub fn succession(&self, now: Mono) -> Vec<Heir> {
        self.ranking(now)
    }

    fn believed_dead(&self, now: Mono) -> bool {
        self.gone || now.since(self.heard_at) >= self.config.lease_ms
    }

    fn on_journal(&mut self, now: Mono, view: JournalView, effects: &mut Vec<Effect>) {
        let led = self.journal.leads;
        self.journal = view;
        let begins = !matches!(self.phase, Phase::Promoting | Phase::Leading) && !self.overtaken;
        if self.journal.leads && !led && begins {
            self.majority_at = now;
            self.begin_reign(effects);
        }
        let leads = matches!(self.phase, Phase::Promoting | Phase::Tending { .. } | Phase::Leading | Phase::Resigned);
        if !self.journal.leads && leads {
            if self.phase == Phase::Leading {
                effects.push(Effect::Resign("the journal follows another"));
            }
            self.phase = Phase::Following;
            self.heard_at = now;
        }
    }

    /// The journal follows this node: who is fit reigns, who is not looks after it for a moment.
    fn begin_reign(&mut self, effects: &mut Vec<Effect>) {
        if self.is_fit() || self.journal.voters.len() == 1 {
            self.phase = Phase::Promoting;
            effects.push(Effect::Promote);
        } else {
            self.begin_tending();
        }
    }

    fn on_promoted(&mut self, now: Mono, reign: Reign, node: NodeId, ours: bool, effects: &mut Vec<Effect>) {
        if reign <= self.reign {
            return;
        }
        // Two of our own can be committed together, when the fate of the first was unknown for a while.
        if self.phase == Phase::Leading && !ours {
            effects.push(Effect::Resign("a higher reign is in the journal"));
        }
        self.reign = reign;
        if ours && self.journal.leads {
            self.phase = Phase::Leading;
            self.dispatcher = Some(self.me);
            self.majority_at = now;
            self.failures = 0;
        } else if ours {
            // It began when the journal followed another already.
            effects.push(Effect::Resign("the reign began too late"));
        } else if node != self.me {
            self.follow(now, node);
        }
    }

    fn on_promote_failed(&mut self, now: Mono) {
        if self.phase == Phase::Promoting {
            self.phase = Phase::Resigned;
            self.back_off(now);
        }
    }

    fn on_dispatcher_died(&mut self, now: Mono) {
        if matches!(self.phase, Phase::Leading | Phase::Promoting) {
            self.phase = Phase::Resigned;
            self.cause = Cause::Resumed;
            self.suspected_at = Some(now);
            self.back_off(now);
        }
    }

    fn on_stand_now(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        self.cause = Cause::Handover;
        self.suspected_at = Some(now);
        self.confirmed_at = None;
        self.phase = Phase::Standing { until: now.plus(self.config.round_ms) };
        effects.push(Effect::Stand);
    }

    fn on_handed_over(&mut self, now: Mono) {
        self.phase = Phase::Following;
        self.dispatcher = None;
        self.heard_at = now;
    }

    fn on_overtaken(&mut self, overtaken: bool, effects: &mut Vec<Effect>) {
        self.overtaken = overtaken;
        if overtaken && matches!(self.phase, Phase::Leading | Phase::Promoting | Phase::Resigned) {
            effects.push(Effect::Resign("a higher history is heard, which this journal does not follow"));
        }
        if overtaken {
            self.phase = Phase::Following;
        }
    }

    fn on_forked(&mut self, cause: Cause, suspected_at: Mono) {
        self.overtaken = false;
        self.phase = Phase::Following;
        self.dispatcher = None;
        self.cause = cause;
        self.suspected_at = Some(suspected_at);
        self.confirmed = None;
        self.quiet_until = Mono(0);
        self.failures = 0;
    }

    /// What follows from the time alone.
    fn go_on(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        match self.phase.clone() {
            Phase::Following => self.maybe_ask(now, effects),
            Phase::Tending { told_at } => self.tend(now, told_at, effects),
            Phase::Asking { until, .. } | Phase::Standing { until } if now >= until => {
                self.confirmed = self.confirmed.filter(|word| word.to != self.me);
                self.phase = Phase::Following;
                self.back_off(now);
                self.ask_when_words_are_over(now);
            }
            Phase::Confirmed { stand_at } if now >= stand_at.plus(self.config.round_ms) => {
                self.phase = Phase::Following;
            }
            Phase::Confirmed { stand_at } if now >= stand_at => {
                self.phase = Phase::Standing { until: now.plus(self.config.round_ms) };
                effects.push(Effect::Stand);
            }
            Phase::Leading => {
                if self.hears_majority(now) {
                    self.majority_at = now;
                } else if now.since(self.majority_at) >= 2 * self.config.lease_ms
                    && !crate::planted::is_planted("resignation-skipped")
                {
                    self.phase = Phase::Resigned;
                    self.cause = Cause::Resumed;
                    self.suspected_at = Some(now);
                    effects.push(Effect::Resign("no majority was heard for two leases"));
                }
            }
            Phase::Resigned if self.hears_majority(now) && now >= self.quiet_until && !self.overtaken => {
                self.phase = Phase::Promoting;
                effects.push(Effect::Promote);
            }
            _ => {}
        }
    }

    fn maybe_ask(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let silence = now.since(self.heard_at);
        if let Some(dispatcher) = self.dispatcher.filter(|d| *d != self.me)
            && !self.gone
            && silence >= self.config.probe_after_ms
            && now.since(self.probed_at) >= self.config.probe_after_ms
        {
            self.probed_at = now;
            effects.push(Effect::Probe(dispatcher));
        }
        // An only voter has nobody to wait for; but what another dispatches, it does not take away.
        let alone = self.journal.voters.len() == 1 && self.dispatcher.is_none_or(|d| d == self.me);
        let fit = self.is_fit();
        let due = !self.overtaken && (alone || self.believed_dead(now));
        let may = self.journal.voters.contains(&self.me) && due;
        if !may || !(fit || self.journal.leads || self.has_to_stand(now)) {
            return;
        }
        if self.suspected_at.is_none() {
            self.suspected_at = Some(now);
            if self.dispatcher.is_some() {
                self.cause = Cause::Silent;
            }
        }
        if self.journal.leads {
            // Still the journal's leader after a resignation elsewhere in this run: promote, don't stand.
            self.begin_reign(effects);
            return;
        }
        let held = self.confirmed.is_some_and(|word| word.to != self.me && word.until > now);
        let since = self.suspected_at.map_or(0, |at| now.since(at));
        let steps = if fit { self.better_than_me(now) as u64 } else { unready::UNREADY_WAIT_STEPS };
        let my_turn = since >= steps * self.config.rank_step_ms;
        if my_turn && !held && now >= self.quiet_until {
            self.ask(now, effects);
        }
    }

    /// Who turned a lesser one down, and was refused for a word that such a one has, asks again soon after that is
    /// over: where all must agree, the lesser ones wake it each time just when they have taken each other's word.
    /// Equals would go round for ever so; the back-off alone ends that.
    fn ask_when_words_are_over(&mut self, now: Mono) {
        let (hold, longest) = (self.config.confirm_hold_ms, self.config.backoff_max_ms);
        if self.refused_by_word && self.turned_down_at.is_some_and(|at| now.since(at) < longest) {
            self.quiet_until = self.quiet_until.min(now.plus(hold + (self.seed >> 40) % (3 * hold)));
        }
    }

    /// Exponential, spread by the seed over the upper half: no two nodes keep step for long.
    fn back_off(&mut self, now: Mono) {
        let wait = (self.config.backoff_ms << self.failures.min(10)).min(self.config.backoff_max_ms);
        self.failures += 1;
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let spread = (self.seed >> 33) % (wait / 2 + 1);
        self.quiet_until = now.plus(wait / 2 + spread);
    }
}

#[cfg(test)]
mod tests;
