//! When the survivor of a pair goes on alone: the rule, and nothing but the rule. Pure: beats, the journal's
//! state and the time go in; the wish to take over, or the reason to wait, comes out.
//!
//! ```text
//!             heard                    silent for `after`            takeover = tiebreak | fence
//!   Healthy ◄───────► Silent ─────────────────────────────► Checking ──yes──► TakeOver
//!                       │ off, never seen, not in step,          │ no
//!                       ▼ the peer stops by plan                 ▼
//!                     waits, and says why              waits, and asks again
//! ```
//!
//! Two voters are no majority without each other, so whoever goes on alone forks the history: a new
//! generation whose only voter is itself. What makes that safe enough to do unasked:
//! - Silence is what *this node* observed. A gap between two ticks (a paused process, a machine that slept)
//!   starts it anew.
//! - A node takes over only if it has been **in step** since its own start: it led the journal, or held all
//!   that its peer held at one moment. From there on nothing was acknowledged without it. A cold node can't
//!   know what its peer acknowledged alone, and waits for it, or for `relais cluster recover`.
//! - Generations of the lower node id are odd, of the higher one even: two sides of a cut never share one.
//!
//! A peer that lives but has lost its journal no longer votes: it counts as lost, since it never can again.
//! It opens no socket and runs no command: that is the shell's, which answers [`Effect::Check`].

use relais_protocol::history::Side;
use relais_protocol::ids::{Generation, NodeId};
use relais_protocol::message::{Beat, LogPosition};
use relais_protocol::settings::Takeover;
use relais_protocol::time::Mono;
use std::collections::BTreeSet;
use std::fmt;

/// Times of the rule, in ms.
#[derive(Clone, Copy, Debug)]
pub struct TakeoverConfig {
    /// Two ticks further apart than this are a pause: silence counts anew.
    pub pause_ms: u64,
    /// After a check that said no, or a takeover that failed, it is tried again after this.
    pub again_ms: u64,
}

impl Default for TakeoverConfig {
    fn default() -> Self {
        Self { pause_ms: 500, again_ms: 1_000 }
    }
}

/// What the journal says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalSight {
    /// Who votes; of a change that is half done, both sides.
    pub voters: BTreeSet<NodeId>,
    /// Whether a change of voters is half done.
    pub is_joint: bool,
    /// Whether it leads, by its own account.
    pub leads: bool,
    /// The end of its log.
    pub last_log: LogPosition,
    /// The history that it follows.
    pub generation: Generation,
    /// Whether one of the voters only votes and stores: such a cluster is no pair.
    pub has_witness: bool,
}

/// What the cluster wants of its survivor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// When it takes over by itself.
    pub takeover: Takeover,
    /// How long its peer must be silent before, in ms.
    pub after_ms: u64,
}

/// What the rule wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the tie-break, or run the fence, against this peer; answer by [`Rule::checked`].
    Check(NodeId, Takeover),
    /// Fork the journal and go on alone; a failure is answered by [`Rule::failed`].
    TakeOver {
        /// Who is given up.
        peer: NodeId,
        /// The new history.
        generation: Generation,
        /// Since when the peer is silent.
        silent_since: Mono,
    },
}

/// Why this node does not go on alone, while it can't go on with its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Its peer has not been silent for long enough.
    Silence {
        /// The peer.
        peer: NodeId,
        /// How long it must be silent, in ms.
        after_ms: u64,
    },
    /// The peer stops by plan and is being taken out of the voters.
    Stopping(NodeId),
    /// The peer was not heard since this node's own start.
    NeverSeen(NodeId),
    /// The peer was heard, and held more than this node.
    NotInStep(NodeId),
    /// The cluster does not want it.
    Off(NodeId),
    /// The tie-break or the fence is being asked.
    Checking(NodeId),
    /// The tie-break or the fence said no.
    Refused(NodeId, String),
    /// It takes over just now.
    TakingOver(NodeId),
    /// It tried to, in vain.
    Failed(NodeId, String),
}

impl Wait {
    /// The peer that it waits for.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        match self {
            Self::Silence { peer, .. }
            | Self::Stopping(peer)
            | Self::NeverSeen(peer)
            | Self::NotInStep(peer)
            | Self::Off(peer)
            | Self::Checking(peer)
            | Self::Refused(peer, _)
            | Self::TakingOver(peer)
            | Self::Failed(peer, _) => *peer,
        }
    }

    /// The reason and the next step, for people; `peer` is the peer's name.
    #[must_use]
    pub fn told<'a>(&'a self, peer: &'a str) -> impl fmt::Display + 'a {
        Told { wait: self, peer }
    }
}

struct Told<'a> {
    wait: &'a Wait,
    peer: &'a str,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer;
        let forced = format!("start `{peer}`, or, if it is lost for good: relais cluster recover --lost {peer}");
        match self.wait {
            Wait::Silence { after_ms, .. } => {
                write!(f, "`{peer}` is out of reach; this node takes over when it was silent for {after_ms} ms")
            }
            Wait::Stopping(_) => write!(f, "`{peer}` stops by plan and is being taken out of the voters"),
            Wait::NeverSeen(_) => write!(
                f,
                "this node has not heard of its peer `{peer}` since its own start, and `{peer}` may have taken jobs \
                 alone; {forced}"
            ),
            Wait::NotInStep(_) => write!(
                f,
                "`{peer}` is out of reach, and held a newer journal than this node when it was last heard; {forced}"
            ),
            Wait::Off(_) => {
                write!(f, "`{peer}` is out of reach, and the setting `takeover` is `off`; {forced}")
            }
            Wait::Checking(_) => write!(f, "`{peer}` is out of reach; the tie-break or fence is being asked"),
            Wait::Refused(_, why) => write!(f, "`{peer}` is out of reach, and {why}; it is asked again; {forced}"),
            Wait::TakingOver(_) => write!(f, "this node takes over from `{peer}`"),
            Wait::Failed(_, why) => write!(f, "the takeover from `{peer}` failed: {why}; it is tried again"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is under way; what the last try came to, and when the next may be.
    Idle { again_at: Mono, refused: Option<Wait> },
    /// The tie-break or fence is being asked.
    Checking,
    /// The fork is under way.
    Taking,
}

/// The rule of one node.
pub struct Rule {
    config: TakeoverConfig,
    me: NodeId,
    terms: Terms,
    journal: JournalSight,
    peer: Option<NodeId>,
    /// When the peer was last heard as a voter, or the silence began to count.
    heard_at: Mono,
    /// Whether it was heard since this node's own start.
    seen: bool,
    /// Whether all that the peer held was held here, at one moment since this node's own start.
    in_step: bool,
    /// The highest history heard of.
    highest: Generation,
    stopping: bool,
    ticked_at: Option<Mono>,
    step: Step,
}

const IDLE: Step = Step::Idle { again_at: Mono(0), refused: None };

impl Rule {
    /// The rule of a node that has heard nobody yet.
    #[must_use]
    pub fn new(config: TakeoverConfig, me: NodeId, now: Mono) -> Self {
        Self {
            config,
            me,
            terms: Terms::default(),
            journal: JournalSight::default(),
            peer: None,
            heard_at: now,
            seen: false,
            in_step: false,
            highest: Generation(0),
            stopping: false,
            ticked_at: None,
            step: IDLE,
        }
    }

    /// What the cluster wants now.
    pub fn terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// What the journal is at now.
    pub fn journal(&mut self, now: Mono, journal: JournalSight) {
        self.highest = self.highest.max(journal.generation);
        let forked = journal.generation != self.journal.generation;
        self.journal = journal;
        let peer = self.peer_now();
        if peer != self.peer {
            // Another peer, or a pair anew: what was seen of the last one says nothing.
            self.peer = peer;
            self.seen = false;
            self.in_step = false;
            self.heard_at = now;
            self.step = IDLE;
        } else if forked {
            self.step = IDLE;
        }
        if self.journal.leads && self.is_pair() {
            self.seen = true;
            self.in_step = true;
        }
    }

    /// A heartbeat of another node.
    pub fn beat(&mut self, now: Mono, beat: &Beat) {
        if beat.reign.generation > self.highest {
            self.highest = beat.reign.generation;
        }
        if beat.dispatcher && self.is_deposed_by(beat) && self.peer != Some(beat.from) {
            self.peer = Some(beat.from);
            self.heard_at = now;
        }
        if self.peer != Some(beat.from) || !beat.voter {
            return;
        }
        self.seen = true;
        self.heard_at = now;
        let sole = self.journal.voters.len() == 1;
        if self.is_pair() && beat.reign.generation > self.journal.generation {
            // It went on without this node.
            self.in_step = false;
        } else if sole || self.is_pair() && !self.journal.is_joint && self.journal.last_log >= beat.last_log {
            self.in_step = true;
        }
        self.step = match std::mem::replace(&mut self.step, IDLE) {
            // A fork that is under way is not called back; its end is told by the journal.
            Step::Taking => Step::Taking,
            Step::Idle { .. } | Step::Checking => IDLE,
        };
    }

    /// Whether the peer stops by plan and is being taken out of the voters.
    pub fn stopping(&mut self, stopping: bool) {
        self.stopping = stopping;
    }

    /// What came of [`Effect::Check`]: nothing, or why not.
    pub fn checked(&mut self, now: Mono, answer: Result<(), String>) -> Option<Effect> {
        if self.step != Step::Checking {
            return None;
        }
        let peer = self.peer?;
        match answer {
            Ok(()) => Some(self.take(peer)),
            Err(why) => {
                self.rest(now, Wait::Refused(peer, why));
                None
            }
        }
    }

    /// [`Effect::TakeOver`] came to nothing.
    pub fn failed(&mut self, now: Mono, why: String) {
        if let (Step::Taking, Some(peer)) = (&self.step, self.peer) {
            self.rest(now, Wait::Failed(peer, why));
        }
    }

    /// Time has passed: to be called at least five times a second.
    pub fn tick(&mut self, now: Mono) -> Option<Effect> {
        let paused = self.ticked_at.is_some_and(|at| now.since(at) > self.config.pause_ms);
        self.ticked_at = Some(now);
        if paused {
            self.heard_at = now;
        }
        let peer = self.peer?;
        let due = matches!(self.step, Step::Idle { again_at, .. } if now >= again_at);
        if !due || self.must_wait(now).is_some() {
            return None;
        }
        match &self.terms.takeover {
            Takeover::Available => Some(self.take(peer)),
            Takeover::TieBreak(_) | Takeover::Fence(_) => {
                self.step = Step::Checking;
                Some(Effect::Check(peer, self.terms.takeover.clone()))
            }
            Takeover::Off => None,
        }
    }

    /// Why this node does not go on alone; `None` when there is no need to, or it is about to.
    #[must_use]
    pub fn waits(&self, now: Mono) -> Option<Wait> {
        let peer = self.peer?;
        match &self.step {
            Step::Checking => Some(Wait::Checking(peer)),
            Step::Taking => Some(Wait::TakingOver(peer)),
            Step::Idle { refused, .. } => self.must_wait(now).or_else(|| refused.clone()),
        }
    }

    fn must_wait(&self, now: Mono) -> Option<Wait> {
        let peer = self.peer?;
        let after_ms = self.terms.after_ms;
        if !self.seen {
            return Some(Wait::NeverSeen(peer));
        }
        if self.stopping {
            return Some(Wait::Stopping(peer));
        }
        if now.since(self.heard_at) < after_ms {
            return Some(Wait::Silence { peer, after_ms });
        }
        if self.terms.takeover == Takeover::Off {
            return Some(Wait::Off(peer));
        }
        let led = !self.journal.is_joint || self.journal.leads;
        (!self.in_step || !led).then_some(Wait::NotInStep(peer))
    }

    fn take(&mut self, peer: NodeId) -> Effect {
        self.step = Step::Taking;
        let generation = next_generation(self.me, peer, self.highest);
        Effect::TakeOver { peer, generation, silent_since: self.heard_at }
    }

    fn rest(&mut self, now: Mono, refused: Wait) {
        self.step = Step::Idle { again_at: now.plus(self.config.again_ms), refused: Some(refused) };
    }

    fn is_pair(&self) -> bool {
        self.journal.voters.len() == 2 && self.journal.voters.contains(&self.me) && !self.journal.has_witness
    }

    /// The one voter beside this node; of a survivor that a higher history made give way, whose that is.
    fn peer_now(&self) -> Option<NodeId> {
        if self.is_pair() {
            return self.journal.voters.iter().copied().find(|node| *node != self.me);
        }
        let sole = self.journal.voters.len() == 1 && self.journal.voters.contains(&self.me);
        self.peer.filter(|_| sole && self.highest > self.journal.generation)
    }

    /// Whether this node is the only voter of a history that `beat`'s sender has overtaken.
    fn is_deposed_by(&self, beat: &Beat) -> bool {
        let sole = self.journal.voters.len() == 1 && self.journal.voters.contains(&self.me);
        sole && beat.reign.generation > self.journal.generation
    }
}

/// The next history above `highest` in `me`'s own parity: odd for the lower node id, even for the other.
#[must_use]
pub fn next_generation(me: NodeId, peer: NodeId, highest: Generation) -> Generation {
    highest.after_takeover(Side::of(me, peer))
}

#[cfg(test)]
mod tests;
