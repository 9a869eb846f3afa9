//! The joins: two rows of one thing, from two sides of a split, made into one.
//!
//! Each is commutative, associative and idempotent, so it does not matter who merges whom, in which order
//! or how often. They are pure and know no ledger; what else follows from a joined row (indexes, a wish to
//! cancel, attempts that are superseded) is the ledger's to do.
//!
//! Of a job that is not ended on either side, the row that knows the newest attempt stands: a fence that is
//! lower than one that was given out is worth nothing to whoever checks fences, so an attempt that runs
//! under it is superseded even where the newer one was lost already. Running beats waiting in all other
//! cases. A wish to run an ended job again begins another life of it, and a later life beats an earlier
//! one, its end included; so such a wish is not lost to the ending that it was about.

use relais_protocol::codec;
use relais_protocol::group::GroupRow;
use relais_protocol::history::Stamp;
use relais_protocol::ids::Fence;
use relais_protocol::job::{Attempt, AttemptEnd, AttemptOutcome, Cancel, Ending, ErrorKind, Job, JobError, JobState};
use relais_protocol::merge::{KeyRow, SettingRow, TokenRow};
use relais_protocol::node::NodeRow;
use relais_protocol::queue::QueueRow;
use relais_protocol::record::Standing;
use relais_protocol::schedule::{FIRINGS_KEPT, Firing, FiringCounts, FiringLog, FiringOutcome, OPEN_MAX, ScheduleRow};
use relais_protocol::time::UnixMs;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

/// Two rows of one job as one.
#[must_use]
pub fn join_jobs(a: &Job, b: &Job) -> Job {
    let head = if compare_heads(a, b) == Ordering::Less { b } else { a };
    let first = if birth(a) <= birth(b) { a } else { b };
    let mut joined = head.clone();
    joined.place = first.place;
    joined.created_at = first.created_at;
    joined.submitted_by.clone_from(&first.submitted_by);
    joined.born = first.born;
    joined.body_hash = first.body_hash;
    joined.changed = a.changed.max(b.changed);
    joined.attempts = join_attempts(&a.attempts, &b.attempts);
    joined.endings = join_endings(a, b, head);
    joined.alias_of = [a.alias_of, b.alias_of].into_iter().flatten().min();
    if a.life == b.life {
        joined.replaced_by = [a.replaced_by, b.replaced_by].into_iter().flatten().min();
        joined.cancel = [&a.cancel, &b.cancel].into_iter().flatten().min_by(|a, b| wish(a).cmp(&wish(b))).cloned();
    }
    joined
}

/// What tells two submits of one id apart; the first one's place and time stay.
fn birth(job: &Job) -> (Stamp, relais_protocol::job::Place, UnixMs, &str) {
    (job.born, job.place, job.created_at, &job.submitted_by)
}

fn wish(cancel: &Cancel) -> (UnixMs, &str) {
    (cancel.at, &cancel.reason)
}

/// Whose state stands: the greater one's. A total order.
fn compare_heads(a: &Job, b: &Job) -> Ordering {
    let by_life = a.life.cmp(&b.life);
    let by_end = a.state.is_terminal().cmp(&b.state.is_terminal());
    let by_state = || {
        if a.state.is_terminal() && b.state.is_terminal() {
            // Of two endings the earlier one.
            Reverse(a.moved).cmp(&Reverse(b.moved))
        } else {
            newest(a).cmp(&newest(b))
        }
    };
    let by_bytes = || head_bytes(a).cmp(&head_bytes(b));
    by_life.then(by_end).then_with(by_state).then_with(by_bytes).then_with(|| a.notice.cmp(&b.notice))
}

/// Of a job that has not ended: the newest attempt that the row knows, whether it knows its end, and when it
/// came into its state.
fn newest(job: &Job) -> (Option<Fence>, bool, Stamp) {
    let last = job.attempts.last();
    (last.map(|attempt| attempt.fence), last.is_some_and(|attempt| attempt.end.is_some()), job.moved)
}

/// All that goes with the state, to break a tie of rows that no journal makes.
fn head_bytes(job: &Job) -> Vec<u8> {
    let state = (&job.state, job.moved, job.queued_at, job.finished_at, job.ended_by);
    codec::encode(codec::FORMAT, &(state, job.failures, job.losses, &job.error, &job.result, &job.spec))
}

fn join_attempts(a: &[Attempt], b: &[Attempt]) -> Vec<Attempt> {
    let mut joined: BTreeMap<Fence, Attempt> = BTreeMap::new();
    for attempt in a.iter().chain(b) {
        joined
            .entry(attempt.fence)
            .and_modify(|known| {
                if attempt_order(attempt) < attempt_order(known) {
                    known.clone_from(attempt);
                }
            })
            .or_insert_with(|| attempt.clone());
    }
    joined.into_values().collect()
}

/// Of two accounts of one attempt the lesser one stands: one that was told of its end before one that gave
/// it up, either before one that knows no end, and of two alike the earlier one.
fn attempt_order(attempt: &Attempt) -> (u8, Option<(UnixMs, AttemptOutcome)>, Vec<u8>) {
    let rank = match attempt.end.as_ref().map(|end| end.outcome) {
        Some(AttemptOutcome::Lost) => 1,
        Some(_) => 0,
        None => 2,
    };
    let end = attempt.end.as_ref().map(|end| (end.finished_at, end.outcome));
    (rank, end, codec::encode(codec::FORMAT, attempt))
}

/// All endings of both but the one that stands.
fn join_endings(a: &Job, b: &Job, head: &Job) -> Vec<Ending> {
    let mut endings: BTreeSet<Ending> = BTreeSet::new();
    for job in [a, b] {
        endings.extend(job.endings.iter().cloned());
        endings.extend(job.ending());
    }
    if let Some(stands) = head.ending() {
        endings.remove(&stands);
    }
    endings.into_iter().collect()
}

/// Ends all attempts that a join has left without an end, but the one that its state names: no report of
/// them will count any more. Where another life of the job on the other side was given a higher fence, the
/// one that runs under the lower is worth nothing either: the job waits again.
pub fn supersede(job: &mut Job, now: UnixMs) {
    if let JobState::Running { fence, .. } = job.state
        && job.attempts.last().is_some_and(|newest| newest.fence > fence)
    {
        job.state = JobState::Queued;
        job.queued_at = Some(now);
    }
    let current = match job.state {
        JobState::Running { fence, .. } => Some(fence),
        _ => None,
    };
    for attempt in job.attempts.iter_mut().filter(|attempt| Some(attempt.fence) != current && attempt.end.is_none()) {
        attempt.end = Some(AttemptEnd {
            finished_at: now,
            outcome: AttemptOutcome::Lost,
            exit_code: None,
            signal: None,
            error: Some(JobError {
                kind: ErrorKind::Lost,
                message: "it ran on one side of a split while the job went on at the other".to_owned(),
            }),
            progress: None,
            output_tail: Vec::new(),
        });
    }
}

/// Two rows of one node as one. A later run of its process beats an earlier one; of one run the later row,
/// but the best standing: who is taken for dead on one side only was out of its reach. What was set of it stands by
/// itself: the later.
#[must_use]
pub fn join_nodes(a: &NodeRow, b: &NodeRow) -> NodeRow {
    let order = |row: &NodeRow| (row.incarnation, row.changed, codec::encode(codec::FORMAT, row));
    let (later, other) = if order(a) >= order(b) { (a, b) } else { (b, a) };
    let mut joined = later.clone();
    joined.changed = a.changed.max(b.changed);
    let set = |row: &NodeRow| (row.set.changed, codec::encode(codec::FORMAT, &row.set));
    joined.set = if set(a) >= set(b) { a.set.clone() } else { b.set.clone() };
    if a.incarnation == b.incarnation && alive(other.standing) > alive(later.standing) {
        joined.standing = other.standing;
    }
    joined
}

fn alive(standing: Standing) -> u8 {
    match standing {
        Standing::Joining => 0,
        Standing::Offline => 1,
        Standing::Suspect => 2,
        Standing::Online => 3,
        Standing::Leaving => 4,
        Standing::Left => 5,
    }
}

/// Two rows of one setting as one: the later.
#[must_use]
pub fn join_settings(a: &SettingRow, b: &SettingRow) -> SettingRow {
    let order = |row: &SettingRow| (row.changed, row.value.clone());
    if order(a) >= order(b) { a.clone() } else { b.clone() }
}

/// Two rows of one queue as one: the later.
#[must_use]
pub fn join_queues(a: &QueueRow, b: &QueueRow) -> QueueRow {
    let order = |row: &QueueRow| (row.changed, codec::encode(codec::FORMAT, row));
    if order(a) >= order(b) { a.clone() } else { b.clone() }
}

/// Two rows of one token as one: the later.
#[must_use]
pub fn join_tokens(a: &TokenRow, b: &TokenRow) -> TokenRow {
    let order = |row: &TokenRow| (row.changed, codec::encode(codec::FORMAT, row));
    if order(a) >= order(b) { a.clone() } else { b.clone() }
}

/// Two rows of one key as one: whose job came first has it, and is kept for the longer of both times.
#[must_use]
pub fn join_keys(a: &KeyRow, b: &KeyRow) -> KeyRow {
    let order = |row: &KeyRow| (row.changed, row.job, row.body_hash);
    let first = if order(a) <= order(b) { a } else { b };
    KeyRow { ends_at: a.ends_at.max(b.ends_at), ..*first }
}

/// Two rows of one schedule as one: the later definition.
#[must_use]
pub fn join_schedules(a: &ScheduleRow, b: &ScheduleRow) -> ScheduleRow {
    let order = |row: &ScheduleRow| (row.defined, codec::encode(codec::FORMAT, &(&row.schedule, row.paused)));
    let (later, other) = if order(a) >= order(b) { (a, b) } else { (b, a) };
    ScheduleRow {
        created_at: later.created_at.min(other.created_at),
        changed: a.changed.max(b.changed),
        ..later.clone()
    }
}

/// Two logs of one schedule as one: what either side has settled is settled, and of two accounts of one slot
/// the one with a job stands; it is the same job.
#[must_use]
pub fn join_logs(a: &FiringLog, b: &FiringLog) -> FiringLog {
    let rank = |firing: &Firing| match firing.outcome {
        FiringOutcome::Job(_) => 0,
        FiringOutcome::Skipped(_) => 1,
        FiringOutcome::Refused => 2,
        FiringOutcome::Missed(_) => 3,
    };
    let mut firings: BTreeMap<_, Firing> = BTreeMap::new();
    for firing in a.firings.iter().chain(&b.firings) {
        firings
            .entry(firing.key())
            .and_modify(|known| {
                if (rank(firing), firing) < (rank(known), known) {
                    known.clone_from(firing);
                }
            })
            .or_insert_with(|| firing.clone());
    }
    let open: BTreeSet<_> = a.open.iter().chain(&b.open).copied().collect();
    let counts = |of: fn(&FiringCounts) -> u64| of(&a.counts).max(of(&b.counts));
    FiringLog {
        name: a.name.clone(),
        settled: a.settled.max(b.settled),
        open: open.iter().skip(open.len().saturating_sub(OPEN_MAX)).copied().collect(),
        counts: FiringCounts {
            fired: counts(|c| c.fired),
            by_hand: counts(|c| c.by_hand),
            skipped: counts(|c| c.skipped),
            missed: counts(|c| c.missed),
            refused: counts(|c| c.refused),
        },
        firings: firings.values().skip(firings.len().saturating_sub(FIRINGS_KEPT)).cloned().collect(),
        changed: a.changed.max(b.changed),
    }
}

/// Two rows of one group as one. Whether it has ended is looked at again when all rows of its members are there.
#[must_use]
pub fn join_groups(a: &GroupRow, b: &GroupRow) -> GroupRow {
    let first = if (a.born, a.place) <= (b.born, b.place) { a } else { b };
    let halts = [&a.halt, &b.halt].into_iter().flatten();
    GroupRow {
        made: a.made.max(b.made),
        halt: halts.min_by_key(|halt| (halt.wish.at, halt.aborted, halt.wish.reason.clone())).cloned(),
        // What one side has cancelled is so in the members' own rows.
        swept: a.swept.max(b.swept),
        ended: [a.ended, b.ended].into_iter().flatten().min(),
        completed: a.completed || b.completed,
        healing: a.healing || b.healing,
        changed: a.changed.max(b.changed),
        ..first.clone()
    }
}
