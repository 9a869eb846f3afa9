//! Jobs are forgotten by the rule and no other: what has ended, and either so long ago as it is to be kept or as the
//! oldest of more than are to be kept; never one whose key still stands, that came just now, that another waits for,
//! whose group goes on, or of whose end somebody is still to be told. And what was forgotten never comes back.
//!
//! A dispatcher may have read what is set a while before its wish is applied: what was in force then counts as well.

use crate::history::{At, History, JobFacts, Keeping, KeepingKind};
use relais_protocol::ids::{Index, JobId};
use relais_protocol::job::StateName;
use relais_protocol::settings::Settings;
use relais_protocol::spec::QueueName;
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// How long a setting that is no more in force may be what a wish was made by.
const SETTLES_MS: u64 = 10_000;
/// For how long after its submit a job may come again under its id.
const SENT_AGAIN_MS: u64 = 10_000;
/// For how long an idempotency key stands.
const KEY_MS: u64 = 24 * 3_600_000;
/// Entries between the count of what is too much and the forgetting of it, at most.
const ENTRIES_BETWEEN: u64 = 8;

/// What was set: when, of which queue, age and count.
type Set<'a> = (At, &'a Option<QueueName>, Option<u64>, Option<u64>);

struct Walk<'a> {
    history: &'a History,
    done: usize,
    last: BTreeMap<JobId, (StateName, UnixMs)>,
    gone: BTreeSet<JobId>,
    told: BTreeSet<JobId>,
    groups: BTreeMap<JobId, UnixMs>,
    sets: Vec<Set<'a>>,
    seen: Vec<String>,
}

/// What was forgotten otherwise.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    if !history.keeping.iter().any(|keeping| matches!(keeping.what, KeepingKind::Forgotten { .. })) {
        return Vec::new();
    }
    let mut walk = Walk {
        history,
        done: 0,
        last: BTreeMap::new(),
        gone: BTreeSet::new(),
        told: BTreeSet::new(),
        groups: BTreeMap::new(),
        sets: Vec::new(),
        seen: Vec::new(),
    };
    for keeping in &history.keeping {
        walk.step_to(keeping.steps);
        match &keeping.what {
            KeepingKind::Set { queue, age_ms, count } => walk.sets.push((keeping.at, queue, *age_ms, *count)),
            KeepingKind::GroupEnded(group) => {
                walk.groups.insert(*group, history.stamp_at(keeping.index));
            }
            KeepingKind::Told(job) => {
                walk.told.insert(*job);
            }
            KeepingKind::Forgotten { jobs, before } => walk.forget(keeping, jobs, *before),
        }
    }
    walk.step_to(history.steps.len());
    walk.seen
}

impl Walk<'_> {
    fn facts(&self, job: JobId) -> Option<&JobFacts> {
        self.history.facts.get(&job)
    }

    fn step_to(&mut self, count: usize) {
        for step in &self.history.steps[self.done.min(count)..count] {
            if self.gone.contains(&step.job) {
                self.seen.push(format!("{} was forgotten and is {:?} at {}", step.job, step.state, step.index));
            }
            if !step.state.is_terminal() {
                self.told.remove(&step.job);
                if let Some(group) = self.facts(step.job).and_then(|facts| facts.group) {
                    self.groups.remove(&group);
                }
            }
            self.last.insert(step.job, (step.state, self.history.stamp_at(step.index)));
        }
        self.done = count;
    }

    /// Why a job has to stay whatever its age; `None` if it has not.
    fn stays(&self, job: JobId, now: UnixMs) -> Option<&'static str> {
        let (Some((state, _)), Some(facts)) = (self.last.get(&job), self.facts(job)) else { return Some("is unknown") };
        let is_until = |ms: u64| facts.created_at.plus(ms) > now;
        let stands = matches!(state, StateName::Succeeded | StateName::Failed);
        let waits = |(child, (state, _)): (&JobId, &(StateName, UnixMs))| {
            *state == StateName::Blocked && self.facts(*child).is_some_and(|facts| facts.parents.contains(&job))
        };
        let goes_on = |group: JobId| {
            let is_live = |(id, (state, _)): (&JobId, &(StateName, UnixMs))| {
                !state.is_terminal() && self.facts(*id).is_some_and(|facts| facts.group == Some(group))
            };
            !self.groups.contains_key(&group) || self.last.iter().any(is_live)
        };
        match () {
            () if !state.is_terminal() => Some("has not ended"),
            () if facts.keyed && is_until(KEY_MS) => Some("has a key that stands"),
            () if stands && facts.unique_for.as_ref().is_some_and(|(_, ms)| is_until(*ms)) => {
                Some("has a unique key for a while")
            }
            () if is_until(SENT_AGAIN_MS) => Some("came just now"),
            () if facts.notified && !self.told.contains(&job) => Some("is still to be told of"),
            () if facts.group.is_some_and(goes_on) => Some("is of a group that goes on"),
            () if self.last.iter().any(waits) => Some("is waited for"),
            () => None,
        }
    }

    /// What was set of a queue, or of all, where a wish may have been made by it: the last, and those before it that
    /// were in force shortly before.
    fn in_force(&self, at: At, queue: Option<&QueueName>) -> Vec<(Option<u64>, Option<u64>)> {
        let of = self.sets.iter().filter(|(_, name, ..)| name.as_ref() == queue);
        let mut all: Vec<(At, Option<u64>, Option<u64>)> = vec![(At(0), None, None)];
        all.extend(of.map(|(at, _, age, count)| (*at, *age, *count)));
        let settled = all.iter().rposition(|(set, ..)| set.0 + SETTLES_MS < at.0).unwrap_or(0);
        all[settled..].iter().map(|(_, age, count)| (*age, *count)).collect()
    }

    fn forget(&mut self, keeping: &Keeping, jobs: &BTreeSet<JobId>, before: UnixMs) {
        let now = self.history.stamp_at(keeping.index);
        let all = Settings::default();
        let general = self.in_force(keeping.at, None);
        let age = general.iter().map(|(age, _)| age.unwrap_or(all.retention_ms)).min().unwrap_or(0);
        if before > UnixMs(0) && before.0 + age > now.0 {
            self.seen.push(format!("at {now} all was to go that had ended before {before}, and {age} ms are set"));
        }
        for job in jobs {
            let wrong = self.stays(*job, now).map(str::to_owned).or_else(|| self.untimely(keeping, *job, jobs, before));
            self.seen.extend(wrong.map(|why| format!("{job} was forgotten at index {}: it {why}", keeping.index)));
        }
        for job in jobs {
            self.last.remove(job);
            self.gone.insert(*job);
        }
    }

    /// Why a job that may go might not go yet.
    fn untimely(&self, keeping: &Keeping, job: JobId, jobs: &BTreeSet<JobId>, before: UnixMs) -> Option<String> {
        let (facts, now) = (self.facts(job)?, self.history.stamp_at(keeping.index));
        let own_end = self.last.get(&job).map(|(_, at)| *at)?;
        let ended = facts.group.and_then(|group| self.groups.get(&group)).copied().unwrap_or(own_end);
        let own = self.in_force(keeping.at, Some(&facts.queue));
        let is_old = |age: Option<u64>| ended < age.map_or(before, |age| UnixMs(now.0.saturating_sub(age)));
        if own.iter().any(|(age, _)| is_old(*age)) {
            return None;
        }
        let since = Index(keeping.index.0.saturating_sub(ENTRIES_BETWEEN));
        let reopened = self.history.reopened.iter().filter(|(at, _)| *at >= since && *at <= keeping.index).count();
        let is_of_queue = |id: &JobId| self.facts(*id).is_some_and(|other| other.queue == facts.queue);
        let ended_jobs = || self.last.iter().filter(|(_, (state, _))| state.is_terminal()).map(|(id, _)| *id);
        let left = ended_jobs().filter(|id| !jobs.contains(id)).count() + reopened;
        let left_of_queue = ended_jobs().filter(|id| !jobs.contains(id) && is_of_queue(id)).count() + reopened;
        let most = |sets: &[(Option<u64>, Option<u64>)], of_all: Option<u64>| {
            sets.iter().filter_map(|(_, count)| count.or(of_all)).min()
        };
        let general = most(&self.in_force(keeping.at, None), Some(Settings::default().retention_count));
        let own_most = most(&own, None);
        let is_enough = |most: Option<u64>, left: usize| most.is_some_and(|most| left as u64 >= most);
        if !is_enough(general, left) && !is_enough(own_most, left_of_queue) {
            return Some(format!("ended at {ended} only, {left} are left, {left_of_queue} of its queue"));
        }
        let older = ended_jobs().find(|id| *id < job && !jobs.contains(id) && self.stays(*id, now).is_none());
        let older = older.filter(|_| own_most.is_none())?;
        Some(format!("was one too many, and the older {older} was not"))
    }
}
