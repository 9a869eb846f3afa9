//! W2 and W3: from the submit until the job's end is journaled, many at once and one at a time.

use crate::Failed;
use crate::figure::{Aim, Figure};
use crate::run::{Ours, Pair, Run, tell};
use crate::work;

/// Slots of each node: as many jobs may be under way at one as each worker of the peer takes at once, so that a slot
/// is never what is waited for.
const SLOTS: u32 = 1_000;

/// W2.
pub(super) fn many(run: &mut Run) -> Result<(), Failed> {
    let (ours, theirs) = (Ours::start(run, SLOTS)?, run.servers()?);
    let (mut rates, mut cpu, mut syncs) = (Pair::default(), Pair::default(), Vec::new());
    let jobs = run.scale.done_jobs;
    for number in 1..=run.scale.rounds {
        tell(&format!("W2, round {number}"));
        run.look_at_disk()?;
        let (cpu_before, syncs_before) = (ours.cpu()?, ours.syncs()?);
        let took = work::submit_to_done(&ours.cluster, &ours.record, jobs)?;
        rates.ours.push(jobs as f64 / took.as_secs_f64());
        cpu.ours.push(1e6 * (ours.cpu()? - cpu_before) / jobs as f64);
        syncs.push((ours.syncs()? - syncs_before) / jobs as f64);
        if let Some(servers) = &theirs {
            let before = servers.cpu()?;
            let took = servers.publish_to_ack(jobs)?;
            rates.theirs.push(jobs as f64 / took.as_secs_f64());
            cpu.theirs.push(1e6 * (servers.cpu()? - before) / jobs as f64);
        }
    }
    let what = format!("submit to succeeded, {jobs} jobs, jobs/s");
    run.compared("W2", &what, rates, Some(Aim::TimesAtLeast(1.5)));
    run.found(Figure::new("W2", "syncs per job, all three journals", syncs));
    run.compared("W2", "CPU per job, three nodes, µs", cpu, None);
    ours.finish(run)
}

/// W3.
pub(super) fn one_by_one(run: &mut Run) -> Result<(), Failed> {
    let (ours, theirs) = (Ours::start(run, SLOTS)?, run.servers()?);
    let dispatcher = ours.dispatcher();
    let other = (dispatcher + 1) % ours.cluster.nodes.len();
    let (mut p50, mut p99, mut other_p50, mut other_p99) =
        (Pair::default(), Pair::default(), Pair::default(), Pair::default());
    for number in 1..=run.scale.rounds {
        tell(&format!("W3, round {number}"));
        run.look_at_disk()?;
        for (node, p50, p99) in [(dispatcher, &mut p50, &mut p99), (other, &mut other_p50, &mut other_p99)] {
            let each = work::one_at_a_time(&ours.cluster.nodes[node], &ours.record, run.scale.waits)?;
            p50.ours.push(each.at(0.5));
            p99.ours.push(each.at(0.99));
        }
        if let Some(servers) = &theirs {
            for (at_leader, p50, p99) in [(true, &mut p50, &mut p99), (false, &mut other_p50, &mut other_p99)] {
                let each = servers.one_at_a_time(run.scale.waits, at_leader)?;
                p50.theirs.push(each.at(0.5));
                p99.theirs.push(each.at(0.99));
            }
        }
    }
    run.compared("W3", "one at a time by the dispatcher, p50, ms", p50, Some(Aim::TimesAtMost(0.5)));
    run.compared("W3", "one at a time by the dispatcher, p99, ms", p99, Some(Aim::TimesAtMost(0.7)));
    run.compared("W3", "one at a time by another node, p50, ms", other_p50, Some(Aim::TimesAtMost(0.5)));
    run.compared("W3", "one at a time by another node, p99, ms", other_p99, Some(Aim::TimesAtMost(0.7)));
    ours.finish(run)
}
