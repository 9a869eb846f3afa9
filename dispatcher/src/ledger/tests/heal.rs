//! Splits that heal: ledgers of two sides merged into each other.

use super::joins::{sides, steps};
use super::*;
use relais_protocol::history::{Side, Stamp, common_point};
use relais_protocol::job::Job;
use relais_protocol::merge::{Merge, MergeCursor, MergeRow, Merged};
use relais_protocol::record::{Token, TokenRole};
use std::collections::BTreeSet;

/// What must be the same whoever merges whom: a job as people see it.
type Face = (StateName, Vec<(Fence, Option<AttemptOutcome>)>, Vec<(u16, StateName, Option<Fence>)>, String);

fn face(job: &Job) -> Face {
    let attempts = job.attempts.iter().map(|a| (a.fence, a.end.as_ref().map(|end| end.outcome))).collect();
    let all = job.endings.iter().cloned().chain(job.ending());
    let mut endings: Vec<_> = all.map(|ending| (ending.life, ending.state, ending.fence)).collect();
    endings.sort_unstable();
    let rest = (
        job.life,
        job.alias_of,
        job.replaced_by,
        job.failures,
        job.losses,
        job.cancel.is_some(),
        job.duplicate_executions(),
    );
    (job.state.name(), attempts, endings, format!("{rest:?}"))
}

impl Bench {
    fn exported(&self, since: Stamp) -> Vec<Vec<MergeRow>> {
        let (mut chunks, mut from) = (Vec::new(), None::<MergeCursor>);
        loop {
            let chunk = self.ledger.export_since(since, from.as_ref());
            chunks.push(chunk.rows);
            from = chunk.next;
            if from.is_none() {
                return chunks;
            }
        }
    }

    pub(super) fn merges(&mut self, other: &Bench) -> Merged {
        let (ours, theirs) = (self.ledger.lineage(), other.ledger.lineage());
        let since = common_point((ours, self.ledger.applied()), (theirs, other.ledger.applied()));
        let chunks = other.exported(since);
        let (mut sum, count, from) = (Merged::default(), chunks.len(), other.ledger.reign());
        for (number, rows) in chunks.into_iter().enumerate() {
            let merge = Merge { from, since, rows, last: number + 1 == count, now: other.ledger.now() };
            let Outcome::Merged(merged) = self.does(Record::Merge(Box::new(merge))) else { panic!("not merged") };
            sum.jobs += merged.jobs;
            sum.duplicates += merged.duplicates;
            sum.aliases += merged.aliases;
            sum.conflicts += merged.conflicts;
        }
        sum
    }

    /// Both sides come to rest at one time: what is due is moved, and nothing is placed any more.
    fn rests_at(&mut self, now: u64) {
        self.now = now;
        for node in [1, 2] {
            self.does(Record::Drain { node: NodeId(node), on: true });
        }
        self.does(Record::Tick);
    }

    fn faces(&self) -> BTreeMap<JobId, Face> {
        self.jobs().iter().map(|job| (job.id, face(job))).collect()
    }

    fn small_rows(&self) -> String {
        let nodes: Vec<_> = self.ledger.nodes().map(|row| (row.id, row.incarnation, row.draining)).collect();
        let tokens: Vec<_> = self.ledger.tokens().map(|token| (token.id, &token.name)).collect();
        let settings: Vec<_> = self.ledger.settings.values().map(|row| (&row.key, &row.value)).collect();
        // A key of a job that was deleted is free, whether its row is still there or not.
        let holder = |key| self.ledger.key_row(&format!("k{key}")).filter(|row| !self.ledger.is_void(row));
        let keys: Vec<_> = (0..4).map(|key| holder(key).map(|row| row.job)).collect();
        let queues: Vec<_> = self.ledger.queue_rows().map(|row| (&row.name, &row.config, row.paused)).collect();
        let unique: Vec<_> =
            (0..2).map(|key| self.ledger.unique_holder(&format!("u{key}")).map(|job| job.id)).collect();
        let (schedules, groups) = (super::schedules::faces(&self.ledger), super::groups::faces(&self.ledger));
        format!("{nodes:?} {tokens:?} {settings:?} {keys:?} {queues:?} {unique:?} {schedules:?} {groups}")
    }
}

proptest! {
    #[test]
    fn who_merges_whom_makes_no_difference(past in steps(24), one in steps(30), two in steps(30)) {
        let [mut a, mut b] = sides(&past, [&one, &two]);
        let now = a.now.max(b.now) + 60_000;
        let known: BTreeSet<JobId> = a.jobs().iter().chain(&b.jobs()).map(|job| job.id).collect();
        a.rests_at(now);
        b.rests_at(now);
        let [mut c, mut d] = sides(&past, [&one, &two]);
        c.rests_at(now);
        d.rests_at(now);
        let gone = |id: &JobId| c.ledger.graves.has_job(*id, 0) || d.ledger.graves.has_job(*id, 0);
        let gone: BTreeSet<JobId> = known.iter().copied().filter(gone).collect();
        // Only the higher generation merges: each is made so once.
        a.takes_over(1, 101, Side::Odd, 0);
        b.merges(&c);
        d.takes_over(2, 100, Side::Even, 0);
        a.merges(&d);
        prop_assert_eq!(a.faces(), b.faces());
        prop_assert_eq!(a.small_rows(), b.small_rows());
        let kept: BTreeSet<JobId> = a.faces().into_keys().collect();
        prop_assert!(known.iter().all(|id| kept.contains(id) || gone.contains(id)), "a job is dropped");
        let before = (a.faces(), a.small_rows(), a.ledger.reign());
        prop_assert_eq!(a.merges(&d), Merged::default(), "a second merge changes nothing");
        prop_assert_eq!((a.faces(), a.small_rows(), a.ledger.reign()), before);
        prop_assert!(!a.ledger.is_unhealed());
        prop_assert!(a.ledger.reign().epoch > d.ledger.reign().epoch);
    }

    #[test]
    fn a_merged_ledger_is_the_same_on_every_replica_and_after_a_restart(
        past in steps(16), one in steps(20), two in steps(20),
    ) {
        let [_, other] = sides(&past, [&one, &two]);
        let [mut a, _] = sides(&past, [&one, &two]);
        a.takes_over(1, 101, Side::Odd, 0);
        a.merges(&other);
        let rows = Arc::new(MemoryRows::default());
        rows.keep(&a.ledger.drain_changes());
        let mut again = Ledger::load(rows, a.ledger.applied()).unwrap();
        again.check_invariants().unwrap();
        prop_assert_eq!(again.lineage(), a.ledger.lineage());
        let tick = a.batch(vec![Record::Tick]);
        again.apply_batch(Index(a.index + 1), tick);
        a.does(Record::Tick);
        prop_assert_eq!(again.digest(), a.ledger.digest());
    }

    #[test]
    fn no_two_reigns_share_an_epoch(moves in proptest::collection::vec((0u8..6, 0usize..2), 1..40)) {
        use relais_protocol::history::TakeoverCause;
        use relais_protocol::ids::{Epoch, Generation};
        // Each side: generation, epoch, what it counts in. Together while `parted` is false.
        let mut sides = [(Generation(0), Epoch(1), Side::Both); 2];
        let (mut parted, mut seen) = (false, BTreeSet::from([Epoch(1)]));
        for (kind, who) in moves {
            let own = if who == 0 { Side::Odd } else { Side::Even };
            let before = sides[who];
            let forks = |cause: TakeoverCause| {
                let generation = before.0.after(cause, own);
                (generation, before.1.after(cause).next(own), own)
            };
            let after = match kind {
                0..=2 if !parted || before.2 != Side::Both => (before.0, before.1.next(before.2), before.2),
                3 => forks(TakeoverCause::Takeover),
                4 => forks(TakeoverCause::Recovery),
                5 if parted => {
                    let winner = usize::from(sides[1].0 > sides[0].0);
                    let (generation, epoch, side) = sides[winner];
                    parted = false;
                    sides = [(generation, epoch.max(sides[1 - winner].1).next(side), Side::Both); 2];
                    prop_assert!(seen.insert(sides[0].1), "a heal took {:?} again", sides[0].1);
                    continue;
                }
                _ => continue,
            };
            prop_assert!(after.1 > before.1);
            prop_assert!(seen.insert(after.1), "{:?} is taken again by side {who}", after.1);
            parted |= kind >= 3;
            sides[who] = after;
            if !parted {
                sides[1 - who] = after;
            }
        }
    }
}

/// Two sides of a pair, just apart; the second one will win.
pub(super) fn apart(past: impl Fn(&mut Bench)) -> [Bench; 2] {
    [1u32, 2].map(|node| {
        let mut bench = Bench::pair();
        past(&mut bench);
        let common = bench.index;
        let side = if node == 1 { Side::Odd } else { Side::Even };
        bench.takes_over(node, u64::from(node), side, common);
        bench
    })
}

/// Two sides of a pair that each have run, and what one of them becomes by merging the other.
fn split(past: impl Fn(&mut Bench), one: impl Fn(&mut Bench), two: impl Fn(&mut Bench)) -> (Bench, Merged) {
    let mut made = apart(past);
    one(&mut made[0]);
    two(&mut made[1]);
    let [loser, mut winner] = made;
    winner.now = winner.now.max(loser.now);
    let merged = winner.merges(&loser);
    (winner, merged)
}

fn keyed(key: &str) -> JobOptions {
    JobOptions { idempotency_key: Some(key.into()), ..JobOptions::default() }
}

#[test]
fn both_sides_ran_it_to_its_end_and_the_earlier_one_stands() {
    let ends = |bench: &mut Bench, outcome| {
        let offline =
            Record::NodeStanding { node: NodeId(1), incarnation: Incarnation(1), standing: Standing::Offline };
        bench.does(offline);
        let fence = bench.fence(1);
        assert_eq!(bench.does(finish(1, fence, outcome)), Outcome::Done);
    };
    let (winner, merged) = split(
        |bench| drop(bench.does(submit(1, JobOptions::default()))),
        |bench| ends(bench, AttemptOutcome::Failed),
        |bench| ends(bench, AttemptOutcome::Succeeded),
    );
    let job = winner.ledger.job(JobId(1)).unwrap();
    assert_eq!((job.state.name(), job.attempts.len()), (StateName::Failed, 3), "lost, and one on each side");
    assert_eq!((job.duplicate_executions(), merged.duplicates), (1, 1));
    assert_eq!(job.endings[0].state, StateName::Succeeded);
}

#[test]
fn a_key_that_both_sides_took_keeps_both_jobs_and_says_so() {
    let (mut winner, merged) = split(
        |bench| drop((0..4).map(|n| bench.does(submit(100 + n, JobOptions::default()))).collect::<Vec<_>>()),
        |bench| drop(bench.does(submit(1, keyed("k")))),
        |bench| drop(bench.does(submit(2, keyed("k")))),
    );
    let (first, second) = (winner.ledger.job(JobId(1)).unwrap(), winner.ledger.job(JobId(2)).unwrap());
    assert_eq!((first.state.name(), first.alias_of), (StateName::Queued, None), "generation 1 comes before 2");
    assert_eq!((second.state.name(), second.alias_of), (StateName::Cancelled, Some(JobId(1))));
    assert!(second.error.unwrap().message.contains(&JobId(1).to_string()));
    assert_eq!(merged.aliases, 1);
    let again = winner.does(submit(3, keyed("k")));
    assert!(matches!(again, Outcome::Submitted { id: JobId(1), deduplicated: true, .. }));
}

#[test]
fn a_key_whose_job_was_deleted_is_free() {
    let past = |bench: &mut Bench| {
        bench.does(submit(1, keyed("k")));
        let fence = bench.fence(1);
        bench.does(finish(1, fence, AttemptOutcome::Succeeded));
    };
    let again = |bench: &mut Bench| {
        bench.does(Record::Delete { job: JobId(1) });
        bench.does(submit(2, keyed("k")));
    };
    let idle = |bench: &mut Bench| drop(bench.does(Record::Tick));
    for (winner, merged) in [split(past, again, idle), split(past, idle, again)] {
        assert_eq!((winner.ledger.job(JobId(1)), winner.ledger.job(JobId(2)).unwrap().alias_of), (None, None));
        assert_eq!(merged.aliases, 0);
    }
}

#[test]
fn what_was_deleted_cancelled_or_revoked_on_one_side_stays_so() {
    let token = |id| {
        Record::TokenMade(Box::new(Token {
            id,
            name: "t".into(),
            role: TokenRole::Read,
            hash: [1; 32],
            created_at: UnixMs(1),
            expires_at: None,
        }))
    };
    let past = |bench: &mut Bench| {
        for id in 1..=6 {
            bench.does(submit(id, JobOptions::default()));
        }
        bench.does(token(7));
        let fence = bench.fence(1);
        bench.does(finish(1, fence, AttemptOutcome::Succeeded));
    };
    let one = |bench: &mut Bench| {
        bench.does(Record::Delete { job: JobId(1) });
        bench.does(Record::Cancel { job: JobId(6), reason: "not any more".into() });
        bench.does(Record::Cancel { job: JobId(2), reason: "nor that".into() });
        bench.does(Record::TokenRevoked { id: 7 });
    };
    let (winner, _) = split(past, one, |bench| drop(bench.does(Record::Tick)));
    assert_eq!(winner.ledger.job(JobId(1)), None);
    assert_eq!(winner.state(6), StateName::Cancelled);
    assert!(winner.ledger.cancel_wanted(JobId(2)), "it runs, and is to be stopped");
    assert_eq!(winner.ledger.tokens().count(), 0);
    let (winner, _) = split(past, |bench| drop(bench.does(Record::Tick)), one);
    assert_eq!(winner.ledger.job(JobId(1)), None, "what the winner deleted does not come back");
}

#[test]
fn a_wish_to_run_again_is_not_lost_to_the_ending_it_was_about() {
    let past = |bench: &mut Bench| {
        bench.does(submit(1, JobOptions::default()));
        let fence = bench.fence(1);
        bench.does(finish(1, fence, AttemptOutcome::Failed));
    };
    let (winner, _) = split(
        past,
        |bench| drop(bench.does(Record::Retry { job: JobId(1) })),
        |bench| {
            bench.does(Record::Delete { job: JobId(1) });
        },
    );
    assert_eq!(winner.state(1), StateName::Running, "a later life outlives the tombstone of an earlier one");
}

#[test]
fn a_later_life_that_runs_under_a_lower_fence_waits_for_a_higher_one() {
    let once = |bench: &mut Bench| drop(bench.does(submit(1, JobOptions::default())));
    let twice = |bench: &mut Bench| {
        bench.does(submit(1, JobOptions::default()));
        let fence = bench.fence(1);
        bench.does(finish(1, fence, AttemptOutcome::Failed));
        bench.does(Record::Retry { job: JobId(1) });
    };
    for winner in [split(|_| {}, once, twice).0, split(|_| {}, twice, once).0] {
        let job = winner.ledger.job(JobId(1)).unwrap();
        let newest = job.attempts.iter().map(|attempt| attempt.fence).max();
        let runs = job.attempts.iter().filter(|attempt| attempt.end.is_none()).map(|attempt| attempt.fence);
        let runs: Vec<Fence> = runs.collect();
        assert_eq!(job.life, 1, "the wish to run again stands");
        assert!(runs.is_empty() || runs == newest.into_iter().collect::<Vec<_>>(), "{:?}", job.attempts);
    }
}

#[test]
fn a_running_attempt_is_adopted_and_later_fences_are_above_it() {
    let (mut winner, _) = split(
        |_| {},
        |bench| {
            for _ in 0..20 {
                bench.does(Record::Promote { node: NodeId(1), incarnation: Incarnation(1) });
            }
            bench.does(submit(1, JobOptions::default()));
        },
        |bench| {
            let offline =
                Record::NodeStanding { node: NodeId(1), incarnation: Incarnation(1), standing: Standing::Offline };
            bench.does(offline);
        },
    );
    let before = winner.fence(1);
    assert_eq!((winner.state(1), winner.ledger.running_on(NodeId(1)).count()), (StateName::Running, 1));
    assert!(winner.ledger.reign().epoch > before.epoch());
    winner.does(finish(1, before, AttemptOutcome::Failed));
    winner.does(Record::Retry { job: JobId(1) });
    assert!(winner.fence(1) > before);
}

#[test]
fn two_machines_that_joined_two_sides_are_told_apart() {
    let join = |bench: &mut Bench, key: u8| {
        let token = Token {
            id: 1,
            name: "join".into(),
            role: TokenRole::Join,
            hash: [9; 32],
            created_at: UnixMs(1),
            expires_at: None,
        };
        bench.does(Record::TokenMade(Box::new(token)));
        let join =
            Box::new(relais_protocol::record::Join { name: "third".into(), secret_hash: [9; 32], key_hash: [key; 32] });
        bench.does(Record::Join(join));
    };
    let (winner, merged) = split(|_| {}, |bench| join(bench, 1), |bench| join(bench, 2));
    let names: Vec<&str> = winner.ledger.nodes().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "third", "third-4"]);
    assert!(merged.conflicts >= 1);
}

#[test]
fn a_large_side_goes_in_chunks_and_one_of_a_higher_generation_is_refused() {
    let (mut winner, merged) = split(
        |_| {},
        |bench| {
            for half in 0..2 {
                let jobs = (0..600).map(|n| submit(half * 1_000 + n, JobOptions::default()));
                bench.index += 1;
                bench.ledger.apply_batch(Index(bench.index), bench.batch(jobs.collect()));
            }
            assert!(bench.exported((Generation(0), Index(3))).len() > 2);
        },
        |_| {},
    );
    assert_eq!(merged.jobs, 1_200);
    let from = Reign { generation: Generation(99), epoch: winner.ledger.reign().epoch };
    let stale = Merge { from, since: (Generation(0), Index(0)), rows: Vec::new(), last: true, now: UnixMs(0) };
    assert_eq!(winner.does(Record::Merge(Box::new(stale))), Outcome::Refused(Refusal::StaleReign));
}
