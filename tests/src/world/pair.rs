//! The pair: what a node's shell adds to its cores where two nodes vote and nobody else. The rule of the
//! takeover is the product's own, and so is all that a ledger exports and merges; the fork of a journal, a
//! journal begun anew, the tie-break and the operator are modelled here.
//!
//! ```text
//!   beats ─► Rule ─► tie-break ─► fork: the whole tail, one voter, a new history ─► Takeover, Promote
//!   a higher history is heard ─► export ─► Merge, chunk by chunk ─► an empty journal ─► learner ─► voter
//! ```

mod branch;
mod damage;
mod fork;
mod heal;
mod judge;
mod leave;
mod plan;

pub(super) use plan::plan;

use super::World;
use super::event::{Inside, Message};
use super::plan::Plan;
use super::raft::RaftMessage;
use branch::Branch;
use heal::Heal;
use leave::Leaving;
use relais_dispatcher::core::Input as CoreInput;
use relais_dispatcher::election::{Cause, Input};
use relais_dispatcher::takeover::{Effect, JournalSight, Rule, TakeoverConfig, Terms, Wait};
use relais_protocol::history::{Lineage, Side, TakeoverCause};
use relais_protocol::ids::{Generation, Incarnation, Index, NodeId, RaftId};
use relais_protocol::message::Beat;
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// How often the rule is fed and the way back is looked for, in ms.
const EVERY_MS: u64 = 100;
/// Shortest and longest time that a fork or a reset of the journal takes, in ms.
const RENEWAL_MS: (u64, u64) = (1, 30);
/// How long a pair may go without a dispatcher before somebody recovers it by hand, in ms.
const OPERATOR_MS: u64 = 1_500;

/// What two nodes of a pair say to each other.
#[derive(Clone, Debug)]
pub(super) enum PairMessage {
    AskLineage(u64),
    Lineage(u64, Option<(Vec<Lineage>, Index)>),
    Unseat(Incarnation),
    Unseated,
}

/// What happens inside a node of a pair.
#[derive(Clone, Debug)]
pub(super) enum PairStep {
    Tick,
    /// The tie-break has answered: whether it said yes.
    Checked(bool),
    Fork(ForkWish),
    Reset,
    /// The leaver asks again to be taken out of the voters.
    Unseat,
}

/// A fork that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForkWish {
    generation: Generation,
    cause: Cause,
    suspected_at: Mono,
}

/// What pairs came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairCounts {
    /// Histories that the survivor of a pair began.
    pub takeovers: u64,
    /// Histories that an operator had begin.
    pub recoveries: u64,
    /// Times at which two histories were dispatched at once.
    pub splits: u64,
    /// Sides that were merged and came back.
    pub heals: u64,
    /// Executions that ended a job which another had ended.
    pub duplicates: u64,
    /// Jobs that were found to be aliases of others.
    pub aliases: u64,
    /// Jobs deleted.
    pub deletes: u64,
    /// Voters taken out since they stopped by plan.
    pub unseated: u64,
}

/// Where a journal's history began.
#[derive(Clone, Copy, Debug)]
struct Mark {
    generation: Generation,
    common: Index,
}

/// What one run of a process adds.
struct Run {
    rule: Rule,
    /// The journal is being forked or begun anew.
    held: bool,
    overtaken: bool,
    heal: Option<Heal>,
    /// The way back is not tried before this.
    quiet_until: u64,
    leaving: Option<Leaving>,
    /// Runs of the peer that went out of the voters to stop.
    unseated: BTreeSet<Incarnation>,
    /// The peer is being taken out of the voters until then.
    unseating_until: u64,
}

/// A world of two nodes.
#[derive(Default)]
pub(super) struct Pair {
    /// Of how many questions in a hundred the tie-break says yes; `None` if none is asked.
    tie_break: Option<u64>,
    /// Which history each journal follows. One that is empty follows none.
    histories: BTreeMap<RaftId, Generation>,
    marks: BTreeMap<RaftId, Mark>,
    runs: BTreeMap<NodeId, Run>,
    branches: BTreeMap<Generation, Branch>,
    /// Whether two histories were dispatched when it was last looked.
    is_split: bool,
    pub(super) counts: PairCounts,
}

impl Pair {
    /// Two journals of the first history.
    pub(super) fn new(plan: &Plan) -> Self {
        let first = |id| (RaftId::new(NodeId(id), 1), Generation(0));
        let branches = BTreeMap::from([(Generation(0), Branch::default())]);
        let histories = (1..=plan.founders).map(first).collect();
        Self { tie_break: plan.tie_break, histories, branches, ..Self::default() }
    }
}

impl World {
    /// A process of a pair starts.
    pub(super) fn begin_run(&mut self, id: NodeId) {
        let now = self.now;
        let Some(mono) = self.node(id).life.as_deref().map(|life| life.mono(now)) else { return };
        let Some(pair) = self.pair.as_deref_mut() else { return };
        let run = Run {
            rule: Rule::new(TakeoverConfig::default(), id, mono),
            held: false,
            overtaken: false,
            heal: None,
            quiet_until: 0,
            leaving: None,
            unseated: BTreeSet::new(),
            unseating_until: 0,
        };
        pair.runs.insert(id, run);
        self.inside(id, EVERY_MS / 2, Inside::Pair(PairStep::Tick));
    }

    fn run_of(&mut self, id: NodeId) -> Option<&mut Run> {
        self.pair.as_deref_mut()?.runs.get_mut(&id)
    }

    pub(super) fn on_pair_step(&mut self, id: NodeId, step: PairStep) {
        let now = self.now;
        match step {
            PairStep::Tick => {
                self.feed_rule(id);
                self.recover_by_hand(id);
                self.find_way_back(id);
                self.look_for_splits();
                self.inside(id, EVERY_MS, Inside::Pair(PairStep::Tick));
            }
            PairStep::Checked(yes) => {
                let Some(mono) = self.node(id).life.as_deref().map(|life| life.mono(now)) else { return };
                let answer = if yes { Ok(()) } else { Err("the tie-break said no".to_owned()) };
                let effect = self.run_of(id).and_then(|run| run.rule.checked(mono, answer));
                self.carry_out(id, effect);
            }
            PairStep::Fork(wish) => self.fork(id, wish),
            PairStep::Reset => self.begin_journal_anew(id),
            PairStep::Unseat => self.ask_to_be_unseated(id),
        }
    }

    pub(super) fn on_pair_message(&mut self, id: NodeId, from: NodeId, message: PairMessage) {
        match message {
            PairMessage::AskLineage(call) => {
                let life = self.node(id).life.as_deref().filter(|life| life.election.leads());
                let told = life.map(|life| (life.ledger.lineage().to_vec(), life.ledger.applied()));
                self.send(id, from, Message::Pair(PairMessage::Lineage(call, told)));
            }
            PairMessage::Lineage(call, told) => self.on_lineage(id, call, told),
            PairMessage::Unseat(incarnation) => self.unseat(id, from, incarnation),
            PairMessage::Unseated => self.on_unseated(id),
        }
    }

    /// The history that the journal of this node follows, unless it is empty.
    pub(super) fn follows(&self, id: NodeId) -> Option<Generation> {
        self.pair.as_deref()?.histories.get(&self.nodes[id.0 as usize - 1].raft_id()).copied()
    }

    /// Entries of one history never replace those of another; an empty journal takes its leader's.
    pub(super) fn is_same_history(&mut self, from: RaftId, to: RaftId, message: &RaftMessage) -> bool {
        let Some(pair) = self.pair.as_deref_mut() else { return true };
        let leads = matches!(message, RaftMessage::Append(_) | RaftMessage::Snapshot { .. });
        if !leads && !matches!(message, RaftMessage::Vote { .. }) {
            return true;
        }
        match (pair.histories.get(&to), pair.histories.get(&from).copied()) {
            (Some(own), other) => Some(*own) == other,
            (None, Some(other)) if leads => {
                pair.histories.insert(to, other);
                true
            }
            (None, _) => true,
        }
    }

    /// Whether a higher history is heard than the one that the journal here follows, or it is about to
    /// change.
    pub(super) fn is_overtaken(&self, id: NodeId) -> bool {
        let Some(run) = self.pair.as_deref().and_then(|pair| pair.runs.get(&id)) else { return false };
        let life = self.nodes[id.0 as usize - 1].life.as_deref();
        let heard = life.map_or(Generation(0), |life| life.election.reign().generation);
        run.held || self.follows(id).is_some_and(|follows| heard > follows)
    }

    /// Tells the election whether its journal is overtaken, when that changes.
    pub(super) fn compare_history(&mut self, id: NodeId) {
        let overtaken = self.is_overtaken(id);
        let Some(run) = self.run_of(id) else { return };
        if std::mem::replace(&mut run.overtaken, overtaken) != overtaken {
            self.elect(id, Input::Overtaken(overtaken));
        }
    }

    pub(super) fn rule_hears(&mut self, id: NodeId, beat: &Beat) {
        let now = self.now;
        let Some(mono) = self.node(id).life.as_deref().map(|life| life.mono(now)) else { return };
        if let Some(run) = self.run_of(id) {
            run.rule.beat(mono, beat);
        }
    }

    fn feed_rule(&mut self, id: NodeId) {
        let (now, generation) = (self.now, self.follows(id).unwrap_or_default());
        let Some(life) = self.node(id).life.as_deref() else { return };
        let (mono, settings, members) = (life.mono(now), life.ledger.settings(), life.raft.log().members());
        let terms = Terms { takeover: settings.takeover.clone(), after_ms: settings.takeover_after_ms };
        let voters: BTreeSet<NodeId> = members.voters().iter().map(|raft| raft.node()).collect();
        let seats = voters.len();
        let is_joint = members.is_joint();
        let sight = JournalSight { voters, is_joint, leads: life.election.leads(), generation, has_witness: false };
        let Some(run) = self.run_of(id) else { return };
        run.rule.terms(terms);
        run.rule.journal(mono, sight);
        run.rule.stopping(now < run.unseating_until);
        let effect = run.rule.tick(mono);
        self.dispatch(id, CoreInput::Voters(seats));
        self.carry_out(id, effect);
    }

    fn carry_out(&mut self, id: NodeId, effect: Option<Effect>) {
        match effect {
            Some(Effect::Check(..)) => {
                let yes = self.pair.as_deref().and_then(|pair| pair.tie_break).unwrap_or(100);
                // One that says no is a fault like others: a healed world has none.
                let is_healed = self.history.recovery.is_some();
                let (yes, delay) = (self.dice.chance(yes) || is_healed, self.dice.range(5, 300));
                self.inside(id, delay, Inside::Pair(PairStep::Checked(yes)));
            }
            Some(Effect::TakeOver { generation, silent_since, .. }) => {
                self.begin_fork(id, ForkWish { generation, cause: Cause::Takeover, suspected_at: silent_since });
            }
            None => {}
        }
    }

    /// An operator recovers what can't go on by itself: a node that waits, cold, for a peer whose journal is
    /// gone.
    fn recover_by_hand(&mut self, id: NodeId) {
        let now = self.now;
        let due = self.history.recovery.as_ref().is_some_and(|r| now >= r.healed.0 + OPERATOR_MS);
        if !due || self.dispatcher().is_some() || self.is_overtaken(id) {
            return;
        }
        let others: Vec<NodeId> = self.ids.iter().copied().filter(|other| *other != id).collect();
        let (Some(follows), true) = (self.follows(id), others.iter().all(|other| self.follows(*other).is_none()))
        else {
            return;
        };
        let Some(mono) = self.node(id).life.as_deref().map(|life| life.mono(now)) else { return };
        let waits = self.run_of(id).is_some_and(|run| matches!(run.rule.waits(mono), Some(Wait::NeverSeen(_))));
        if waits {
            let generation = follows.after(TakeoverCause::Recovery, Side::Both);
            self.begin_fork(id, ForkWish { generation, cause: Cause::Recovered, suspected_at: mono });
        }
    }

    fn look_for_splits(&mut self) {
        let reigning = self.nodes.iter().filter_map(|node| node.life.as_deref()?.core.reign());
        let is_split = reigning.map(|reign| reign.generation).collect::<BTreeSet<_>>().len() > 1;
        if let Some(pair) = self.pair.as_deref_mut() {
            pair.counts.splits += u64::from(is_split && !pair.is_split);
            pair.is_split = is_split;
        }
    }
}
