//! What can happen next, and what comes of it. Each function is one rule of the election, the journal, the
//! dispatcher or the worker.

use super::bounds::{Bounds, Mutation};
use super::journal::{Ballot, Entry, Record, Submit};
use super::state::{Ack, Message, NODES, Role, State};

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A node is fooled: by a pause of the dispatcher, or by heartbeats that got lost.
    FalseSuspicion(u8),
    /// A node stands: its question, whether it may, was answered with yes by the second one.
    Stand(u8, u8),
    /// A node hears what was said.
    Hear(u8, Message),
    /// A leader's own disk has all of its journal.
    Sync(u8),
    /// A client's submit reaches the dispatcher, which stamps it and gives it to the journal.
    Submit(u8),
    /// A batch that was left over from an earlier reign is given to the journal.
    Propose(u8),
    /// A dispatcher learns that its journal leads no more, with or without a batch left over.
    Notice(u8, bool),
    /// A dispatcher hears no majority, and resigns, with or without a batch left over.
    Resign(u8, bool),
    /// A leader of the journal that resigned hears a majority again.
    PromoteAgain(u8),
    /// A node crashes with that many entries on its disk, and starts again.
    CrashAndStart(u8, u8),
}

/// All that can happen in `state`, and a little that then turns out to change nothing.
pub(super) fn possible(state: &State, bounds: &Bounds, mutation: Option<Mutation>, found: &mut Vec<Action>) {
    for n in 0..NODES {
        let node = state.node(n);
        if state.stands < bounds.stands {
            let yes = (0..NODES).filter(|by| *by != n && may_stand(state, n, *by, mutation));
            found.extend(yes.map(|by| Action::Stand(n, by)).take(1));
        }
        if state.faults.suspicions < bounds.suspicions && !state.believes_dead(n) {
            found.push(Action::FalseSuspicion(n));
        }
        if node.synced < node.journal.len() && (node.leads() || mutation == Some(Mutation::SyncSkipped)) {
            found.push(Action::Sync(n));
        }
        reigning(state, bounds, n, found);
        if state.faults.crashes < bounds.crashes {
            found.extend((node.synced..=node.journal.len()).map(|kept| Action::CrashAndStart(n, kept)));
        }
        let heard = state.said.iter().filter(|said| is_for(n, said, bounds));
        found.extend(heard.map(|said| Action::Hear(n, *said)));
    }
}

/// What a dispatcher, or one that was one, can do.
fn reigning(state: &State, bounds: &Bounds, n: u8, found: &mut Vec<Action>) {
    let node = state.node(n);
    let (acts, leads) = (node.acting > 0, node.leads());
    let (has_room, may_submit) = (!node.journal.is_full(), state.submits < bounds.submits);
    if acts && leads && has_room && may_submit {
        found.push(Action::Submit(n));
    }
    if node.queued.is_some() && leads && has_room {
        found.push(Action::Propose(n));
    }
    if !acts && leads && has_room && !node.is_promoting() {
        found.push(Action::PromoteAgain(n));
    }
    let with_or_without = [false, true].into_iter().take(if may_submit && node.queued.is_none() { 2 } else { 1 });
    if acts && !leads {
        found.extend(with_or_without.map(|batch| Action::Notice(n, batch)));
    } else if acts && state.faults.resignations < bounds.resignations {
        found.extend(with_or_without.map(|batch| Action::Resign(n, batch)));
    }
}

/// The confirm round of `n`, with an answer of `by`. Question, answer and stand are one step: who stands
/// late is one whose vote requests are heard late.
fn may_stand(state: &State, n: u8, by: u8, mutation: Option<Mutation>) -> bool {
    let (me, other) = (state.node(n), state.node(by));
    if me.leads() || me.acting > 0 || !state.believes_dead(n) {
        return false;
    }
    let dispatches = other.acting > 0 || other.is_promoting();
    let yes = !dispatches && state.believes_dead(by) && other.journal.end() <= me.journal.end();
    yes || mutation == Some(Mutation::ConfirmSkipped)
}

fn is_for(node: u8, message: &Message, bounds: &Bounds) -> bool {
    match message {
        Message::Vote(to, ..) | Message::Append(to, ..) => *to == node,
        Message::Voted(ballot, _) | Message::Appended(ballot, ..) => ballot.node() == node,
        Message::Order(..) => node < bounds.workers,
    }
}

/// A state on its way to the next one.
pub(super) struct Step {
    pub(super) state: State,
    pub(super) mutation: Option<Mutation>,
}

impl Step {
    /// Takes one action; whether it changed anything.
    pub(super) fn take(&mut self, action: Action) -> bool {
        match action {
            Action::FalseSuspicion(node) => self.suspect(node),
            Action::Stand(node, _) => self.stand(node),
            Action::Hear(node, message) => self.hear(node, message),
            Action::Sync(node) => self.sync(node),
            Action::Submit(node) => self.submit(node),
            Action::Propose(node) => self.propose(node),
            Action::Notice(node, batch) => self.end_reign(node, batch),
            Action::Resign(node, batch) => self.resign(node, batch),
            Action::PromoteAgain(node) => self.promote_again(node),
            Action::CrashAndStart(node, kept) => self.crash_and_start(node, kept),
        }
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn suspect(&mut self, n: u8) -> bool {
        self.state.node_mut(n).fooled = true;
        self.state.faults.suspicions += 1;
        true
    }

    fn stand(&mut self, n: u8) -> bool {
        let node = self.state.node_mut(n);
        node.ballot = Ballot::new(node.ballot.term() + 1, n);
        node.role = Role::Candidate(1 << n);
        node.fooled = false;
        let (ballot, end) = (node.ballot, node.journal.end());
        self.state.stands += 1;
        for to in (0..NODES).filter(|to| *to != n) {
            self.state.say(Message::Vote(to, ballot, end));
        }
        true
    }

    fn hear(&mut self, n: u8, message: Message) -> bool {
        match message {
            Message::Vote(_, ballot, end) => {
                let ignores_end = self.has(Mutation::EndIgnoredByVoter);
                let node = self.state.node_mut(n);
                if ballot < node.ballot || (end < node.journal.end() && !ignores_end) {
                    return false;
                }
                node.follow(ballot);
                self.state.say(Message::Voted(ballot, n));
            }
            Message::Voted(ballot, by) => return self.count_vote(n, ballot, by),
            Message::Append(_, ballot, journal) => {
                let sync = !self.has(Mutation::SyncSkipped);
                let node = self.state.node_mut(n);
                if ballot < node.ballot {
                    return false;
                }
                node.follow(ballot);
                if !journal.is_prefix_of(&node.journal) {
                    // What differs was never committed: it gives way.
                    let same =
                        (0..journal.len()).take_while(|at| journal.entry(*at) == node.journal.entry(*at)).count();
                    node.synced = node.synced.min(u8::try_from(same).unwrap_or(0));
                    node.journal = journal;
                }
                if sync {
                    node.synced = node.journal.len();
                }
                self.state.say(Message::Appended(ballot, n, journal.len()));
            }
            Message::Appended(ballot, by, len) => {
                let node = self.state.node_mut(n);
                match &mut node.role {
                    Role::Leader { matched, .. } if node.ballot == ballot && matched[usize::from(by)] < len => {
                        matched[usize::from(by)] = len;
                    }
                    _ => return false,
                }
                self.commit(n);
            }
            Message::Order(epoch, _) => return self.obey(n, epoch),
        }
        true
    }

    fn count_vote(&mut self, n: u8, ballot: Ballot, by: u8) -> bool {
        let node = self.state.node_mut(n);
        let Role::Candidate(votes) = &mut node.role else { return false };
        if node.ballot != ballot || *votes & (1 << by) != 0 || node.journal.is_full() {
            return false;
        }
        *votes |= 1 << by;
        if votes.count_ones() * 2 > u32::from(NODES) {
            node.role = Role::Leader { matched: [0; NODES as usize], commit: 0 };
            let record = Record::Promote(node.run);
            self.append(n, record);
            if self.has(Mutation::PromoteNotAwaited) {
                let node = self.state.node(n);
                self.reign(n, node.journal.epoch_at(node.journal.len()));
            }
        }
        true
    }

    /// A leader's own entry: sent at once, synced later.
    fn append(&mut self, n: u8, record: Record) {
        let node = self.state.node_mut(n);
        node.journal.push(Entry { ballot: node.ballot, record });
        let (ballot, journal) = (node.ballot, node.journal);
        for to in (0..NODES).filter(|to| *to != n) {
            self.state.say(Message::Append(to, ballot, journal));
        }
        if self.has(Mutation::AckOfOneCopy) || self.has(Mutation::SyncSkipped) {
            self.commit(n);
        }
    }

    /// A dispatcher may order at once: an order not given yet is one not heard yet.
    fn reign(&mut self, n: u8, epoch: u8) {
        let node = self.state.node_mut(n);
        node.acting = epoch;
        let run = node.run;
        self.state.say(Message::Order(epoch, run));
    }

    /// Only where it makes the difference for a commit: else nobody can tell before the next crash, which
    /// leaves all cases open itself.
    fn sync(&mut self, n: u8) -> bool {
        let node = self.state.node_mut(n);
        node.synced = node.journal.len();
        let Role::Leader { commit, .. } = node.role else { return true };
        self.commit(n);
        !matches!(self.state.node(n).role, Role::Leader { commit: now, .. } if now == commit)
    }

    /// Commits what a majority has on disk, if this leader's ballot wrote the last of it.
    fn commit(&mut self, n: u8) {
        let (one_copy, unsynced) = (self.has(Mutation::AckOfOneCopy), self.has(Mutation::SyncSkipped));
        let node = self.state.node_mut(n);
        let Role::Leader { matched, commit } = &mut node.role else { return };
        let mut copies = *matched;
        copies[usize::from(n)] = if unsynced || one_copy { node.journal.len() } else { node.synced };
        copies.sort_unstable();
        let kept = if one_copy { copies[usize::from(NODES) - 1] } else { copies[usize::from(NODES) / 2] };
        let own = kept.checked_sub(1).and_then(|at| node.journal.entry(at)).is_some_and(|e| e.ballot == node.ballot);
        if kept <= *commit || !own {
            return;
        }
        let before = std::mem::replace(commit, kept);
        self.apply(n, before, kept);
    }

    /// Applies what was just committed: a `Promote` of this run gives the role, a submit that this leader
    /// proposed and that takes effect is acknowledged.
    fn apply(&mut self, n: u8, before: u8, kept: u8) {
        let void_counts = self.has(Mutation::EpochIgnoredByLedger);
        let journal = self.state.node(n).journal.first(kept);
        if !journal.is_prefix_of(&self.state.committed) {
            self.state.diverged |= !self.state.committed.is_prefix_of(&journal);
            self.state.committed = journal;
        }
        for (index, entry) in journal.entries().skip(usize::from(before)) {
            let epoch = journal.epoch_at(index + 1);
            let node = self.state.node_mut(n);
            match entry.record {
                Record::Promote(run) => {
                    if run == node.run {
                        self.reign(n, epoch);
                    }
                }
                Record::Submit(submit) if entry.ballot == node.ballot && (submit.epoch == epoch || void_counts) => {
                    self.state.acks[usize::from(submit.job)] = Some(Ack { submit, by: node.run });
                }
                Record::Submit(_) => {}
            }
        }
    }

    fn submit(&mut self, n: u8) -> bool {
        let submit = Submit { job: self.state.submits, epoch: self.state.node(n).acting };
        self.state.submits += 1;
        self.append(n, Record::Submit(submit));
        true
    }

    fn propose(&mut self, n: u8) -> bool {
        let Some(submit) = self.state.node_mut(n).queued.take() else { return false };
        self.append(n, Record::Submit(submit));
        true
    }

    fn obey(&mut self, n: u8, epoch: u8) -> bool {
        let (at, any) = (usize::from(n), self.has(Mutation::EpochIgnoredByWorker));
        let node = &mut self.state.nodes[at];
        if epoch <= node.remembered && !(epoch < node.remembered && any) {
            return false;
        }
        node.remembered = node.remembered.max(epoch);
        self.state.obeyed_lower |= epoch < self.state.obeyed[at];
        self.state.obeyed[at] = self.state.obeyed[at].max(epoch);
        true
    }

    fn resign(&mut self, n: u8, batch: bool) -> bool {
        self.state.faults.resignations += 1;
        self.end_reign(n, batch)
    }

    /// With a batch that was stamped in time and not given to the journal in time, or without.
    fn end_reign(&mut self, n: u8, batch: bool) -> bool {
        let job = self.state.submits;
        let node = self.state.node_mut(n);
        let submit = Submit { job, epoch: std::mem::take(&mut node.acting) };
        if batch {
            node.queued = Some(submit);
            self.state.submits += 1;
        }
        true
    }

    fn promote_again(&mut self, n: u8) -> bool {
        let record = Record::Promote(self.state.node(n).run);
        self.append(n, record);
        true
    }

    fn crash_and_start(&mut self, n: u8, kept: u8) -> bool {
        let (mutation, before) = (self.mutation, *self.state.node(n));
        let known = self.state.is_known(before.run);
        let node = self.state.node_mut(n);
        *node = before.after_crash(kept);
        if !known {
            // Nobody can tell one run from another that left no trace.
            node.run = before.run;
        }
        match mutation {
            Some(Mutation::VoteForgotten) => node.ballot = node.journal.end().ballot,
            Some(Mutation::EpochForgottenByWorker) => node.remembered = 0,
            Some(Mutation::RoleRestored) => (node.role, node.acting) = (before.role, before.acting),
            _ => {}
        }
        let changed = *node != before;
        self.state.faults.crashes += 1;
        changed
    }
}
