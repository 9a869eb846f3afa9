//! W8: three voters and many workers, all processes of one machine: what a job costs the dispatcher, beside what
//! it costs with three nodes that have as many slots in all, and what the idle cluster uses.

use crate::Failed;
use crate::cluster::VOTERS;
use crate::figure::{Aim, Figure};
use crate::process;
use crate::run::{Ours, Run, tell};
use crate::work;
use tokio::time::Instant;

/// Slots of each node when there are many.
const SLOTS: u32 = 4;

/// W8.
pub(super) fn many_workers(run: &mut Run) -> Result<(), Failed> {
    let nodes = VOTERS + run.scale.workers;
    let narrow_slots = SLOTS * u32::try_from(nodes / VOTERS).unwrap_or(1);
    let mut ours = Ours::start(run, narrow_slots)?;
    // No worker becomes a voter.
    ours.cluster.set(r#"{"voters":"3"}"#)?;
    let narrow = rounds(run, &ours, "three nodes")?;
    ours.cluster.set_slots(0..VOTERS, SLOTS)?;
    tell(&format!("W8, {} workers join", run.scale.workers));
    let start = Instant::now();
    ours.cluster.grow(run.scale.workers, SLOTS)?;
    let joined = start.elapsed().as_secs_f64();
    run.found(Figure::new("W8", format!("{} workers started and joined, s", run.scale.workers), vec![joined]));
    let wide = rounds(run, &ours, &format!("{nodes} nodes"))?;
    let what = format!("the dispatcher's CPU per job with {nodes} nodes, µs");
    run.found(Figure::new("W8", what, wide).beside("with three", narrow).aim(Aim::TimesAtMost(1.5)));
    tell("W8, idle");
    let (start, before) = (Instant::now(), ours.cpu()?);
    std::thread::sleep(run.scale.idle);
    let used = 100.0 * (ours.cpu()? - before) / start.elapsed().as_secs_f64();
    run.found(Figure::new("W8", format!("{nodes} idle nodes, all, % of a core"), vec![used]).aim(Aim::AtMost(10.0)));
    ours.finish(run)
}

/// The dispatcher's CPU per job, in microseconds, round by round.
fn rounds(run: &Run, ours: &Ours, what: &str) -> Result<Vec<f64>, Failed> {
    let dispatcher = ours.cluster.pids()[ours.dispatcher()];
    let mut costs = Vec::new();
    for number in 1..=run.scale.rounds {
        tell(&format!("W8, {what}, round {number}"));
        let before = process::cpu_seconds(dispatcher)?;
        work::submit_to_done(&ours.cluster, &ours.record, run.scale.short_jobs)?;
        costs.push(1e6 * (process::cpu_seconds(dispatcher)? - before) / run.scale.short_jobs as f64);
    }
    Ok(costs)
}
