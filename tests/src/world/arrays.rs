//! Arrays of a world: some seeds have a few groups, and single jobs with something that follows on them. Whoever
//! wants them asks until they are in the record, each under one id, and cancels some. In the end every member was
//! made once, unless its group was to go no further, and what follows was submitted once.
//!
//! What they are is drawn from dice of their own: the other seeds are what they were without them.

use super::World;
use super::bench::Script;
use super::dice::Dice;
use super::node;
use crate::history::Submitted;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::group::{GroupId, GroupSize, GroupSubmit, Origin, completion_of};
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, StateName};
use relais_protocol::record::{Outcome, Record, Submit};
use relais_protocol::spec::{JobOptions, JobSpec, QueueName, RetryPolicy};
use std::collections::BTreeMap;

/// Of all seeds, in how many there are arrays.
const SEEDS_PERCENT: u64 = 35;
/// Tells these dice from those of the rest.
const OWN_DICE: u64 = 0xa77a_50f5_eed5_0001;

/// What somebody wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    submit: Record,
    at: u64,
    cancel_at: Option<u64>,
    /// It was in the record once.
    was_there: bool,
}

impl Wanted {
    /// A group that is asked for at some time, of members like this.
    pub(super) fn group(
        dice: &mut Dice,
        (script, options): (Script, JobOptions),
        size: GroupSize,
        window: u32,
        cancel_after: Option<u64>,
    ) -> Self {
        let at = dice.range(1_000, 7_000);
        let submit = GroupSubmit {
            id: GroupId::of(JobId::v7(node::wall(at, 0).0, dice.wide())),
            spec: spec(script, options),
            size,
            first: 0,
            window,
            max_failures: None,
            body_hash: 1,
            submitted_by: "arrays".to_owned(),
        };
        let cancel_at = cancel_after.map(|after| at + after);
        Self { submit: Record::SubmitGroup(Box::new(submit)), at, cancel_at, was_there: false }
    }
}

/// The arrays of a seed.
pub(super) fn of_seed(seed: u64) -> Vec<Wanted> {
    let mut dice = Dice::new(seed.rotate_left(41) ^ OWN_DICE);
    if !dice.chance(SEEDS_PERCENT) {
        return Vec::new();
    }
    let count = dice.range(1, 4);
    (0..count).map(|_| any_wanted(&mut dice)).collect()
}

fn any_wanted(dice: &mut Dice) -> Wanted {
    let at = dice.range(1_000, 6_000);
    let id = JobId::v7(node::wall(at, 0).0, dice.wide());
    let follows = spec(Script { ms: 10, ..Script::default() }, JobOptions::default());
    let fails = if dice.chance(15) { 9 } else { 0 };
    let retry = RetryPolicy { initial_interval_ms: 100, max_lost: 20, ..RetryPolicy::default() };
    let options =
        JobOptions { on_complete: dice.chance(70).then(|| Box::new(follows)), retry, ..JobOptions::default() };
    let spec = spec(Script { ms: dice.range(5, 60), fails, lag: 5, ..Script::default() }, options);
    if dice.chance(20) {
        let submit = Submit { id, spec, body_hash: 1, submitted_by: "arrays".to_owned() };
        return Wanted { submit: Record::Submit(Box::new(submit)), at, cancel_at: None, was_there: false };
    }
    let count = dice.range(1, 40) as u32;
    let lines: Vec<String> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
    let submit = GroupSubmit {
        id: GroupId::of(id),
        spec,
        size: if dice.chance(50) { GroupSize::Count(count) } else { GroupSize::Inputs(lines.join("\n")) },
        first: 0,
        window: dice.range(1, 12) as u32,
        max_failures: dice.chance(30).then(|| dice.range(0, 3) as u32),
        body_hash: 1,
        submitted_by: "arrays".to_owned(),
    };
    let cancel_at = dice.chance(15).then(|| at + dice.range(0, 4_000));
    Wanted { submit: Record::SubmitGroup(Box::new(submit)), at, cancel_at, was_there: false }
}

fn spec(script: Script, options: JobOptions) -> JobSpec {
    let (kind, payload) = ("noop".to_owned(), script.payload());
    JobSpec { kind, queue: QueueName::default(), priority: 50, name: String::new(), payload, options: None }
        .with_options(options)
}

/// What makes it: a job or a group.
fn id_of(wanted: &Wanted) -> JobId {
    match &wanted.submit {
        Record::SubmitGroup(group) => group.id.as_job(),
        Record::Submit(submit) => submit.id,
        _ => JobId(0),
    }
}

fn is_there(ledger: &Ledger, wanted: &Wanted) -> bool {
    match &wanted.submit {
        Record::SubmitGroup(group) => ledger.group(group.id).is_some(),
        _ => ledger.job(id_of(wanted)).is_some(),
    }
}

/// The job was made by an array, follows on something, or is one of those that something follows on.
pub(super) fn made(job: &Job) -> Option<Submitted> {
    let is_ours = job.spec.options().origin.is_some() || job.submitted_by == "arrays";
    is_ours.then(|| Submitted { key: None, sent_as: vec![job.id], acked: Vec::new() })
}

impl World {
    /// Somebody looks whether what is wanted is in the record, and asks for it if not.
    pub(super) fn on_arrays(&mut self) {
        let now = self.now;
        let life = self.dispatcher().and_then(|id| self.nodes[id.0 as usize - 1].life.as_deref());
        let Some(ledger) = life.map(|life| &life.ledger) else { return };
        let wish = |wanted: &Wanted| match &wanted.submit {
            _ if wanted.at > now => None,
            submit if !wanted.was_there && !is_there(ledger, wanted) => Some(submit.clone()),
            Record::SubmitGroup(group) if wanted.cancel_at.is_some_and(|at| at <= now) => {
                let row = ledger.group(group.id)?.row;
                let goes_on = row.halt.is_none() && row.ended.is_none();
                goes_on.then(|| Record::CancelGroup { group: group.id, reason: "enough".to_owned() })
            }
            _ => None,
        };
        let wishes: Vec<Record> = self.arrays.iter().filter_map(wish).collect();
        for record in wishes {
            self.ask_somewhere(vec![record]);
        }
    }

    /// What is wanted was taken in: nobody need ask again, also when it is forgotten.
    pub(super) fn note_wanted(&mut self, record: &Record, outcome: &Outcome) {
        if matches!(outcome, Outcome::Grouped { .. } | Outcome::Submitted { .. }) {
            let own = self.arrays.iter_mut().find(|wanted| wanted.submit == *record);
            own.into_iter().for_each(|wanted| wanted.was_there = true);
        }
    }

    /// What is wanted and not in the record, and groups that have not ended.
    pub(super) fn arrays_that_go_on(&self, ledger: &Ledger) -> Vec<String> {
        let missing = self.arrays.iter().filter(|wanted| !wanted.was_there && !is_there(ledger, wanted));
        let missing = missing.map(|wanted| format!("{} is not there", id_of(wanted)));
        let open = ledger.groups().filter_map(|id| ledger.group(id).filter(|view| view.row.ended.is_none()));
        missing.chain(open.map(|view| format!("group {} is {:?}", view.row.id, view.state))).collect()
    }

    /// What is wrong with the arrays in the record, in words.
    pub(super) fn check_arrays(&self, ledger: &Ledger, jobs: &[Job]) -> Vec<String> {
        let mut follows: BTreeMap<JobId, Vec<StateName>> = BTreeMap::new();
        for job in jobs {
            if let Some(Origin::Completion { of, state }) = job.spec.options().origin {
                // One under another id would be one too many.
                let is_right = job.id == completion_of(of);
                follows.entry(of).or_default().push(if is_right { state } else { StateName::Blocked });
            }
        }
        if self.pair.is_some() {
            // Of two endings the earlier one stands, and what follows may have been told of the other.
            follows.values_mut().flatten().for_each(|state| *state = StateName::Succeeded);
        }
        let forgotten = self.history.forgotten();
        let is_forgotten = |id: JobId| forgotten.contains_key(&id);
        // What was forgotten is another property's affair.
        let is_whole = |wanted: &&Wanted| {
            let group = GroupId::of(id_of(wanted));
            let members = forgotten.range(group.as_job()..=group.last()).next();
            is_there(ledger, wanted) && members.is_none() && !is_forgotten(completion_of(id_of(wanted)))
        };
        let of_wanted = self.arrays.iter().filter(is_whole);
        let follows = |wanted| follows.get(&id_of(wanted)).map_or(&[][..], Vec::as_slice);
        of_wanted.filter_map(|wanted| wrong(ledger, jobs, wanted, follows(wanted), self.pair.is_some())).collect()
    }
}

fn wrong(ledger: &Ledger, jobs: &[Job], wanted: &Wanted, follows: &[StateName], is_pair: bool) -> Option<String> {
    let (ended, spec) = match &wanted.submit {
        Record::SubmitGroup(group) => {
            let view = ledger.group(group.id)?;
            let mut members: Vec<u32> = jobs.iter().filter_map(|job| group.id.index_of(job.id)).collect();
            members.sort_unstable();
            let made: Vec<u32> = (0..view.row.made).collect();
            let is_whole = view.row.halt.is_some() || view.row.ended.is_none() || view.row.made == view.row.count;
            if members != made || !is_whole {
                return Some(format!("group {:?} has the members {members:?}", view.row));
            }
            (view.row.ended.map(|(_, state)| state), group.spec.clone())
        }
        Record::Submit(submit) => {
            let state = ledger.job(submit.id)?.state.name();
            (Some(state).filter(|state| state.is_terminal()), submit.spec.clone())
        }
        _ => return None,
    };
    let ended = ended.map(|state| if is_pair { StateName::Succeeded } else { state });
    let expected = ended.filter(|_| spec.options().on_complete.is_some());
    let is_right = follows == expected.as_slice();
    (!is_right).then(|| format!("{} ended as {expected:?}, and there follow {follows:?}", id_of(wanted)))
}
