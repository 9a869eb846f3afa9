//! W7: what the length of the queue costs. At each depth the same submits come in while the cluster runs nothing,
//! then the same work is done: so many jobs submitted and so many ended, whichever they are.

use crate::Failed;
use crate::figure::{Aim, Figure, quantile};
use crate::record::Record;
use crate::run::{Ours, Run, tell};
use crate::work::{self, BATCH_CONNECTIONS, BATCH_JOBS};
use crate::{cluster, open};
use std::time::Duration;
use tokio::time::Instant;

const SLOTS: u32 = 64;
const RESTART_LIMIT: Duration = Duration::from_secs(120);
const DROP_LIMIT: Duration = Duration::from_secs(300);
/// Ended jobs that are kept once the rest is to go.
const KEPT: u64 = 1_000;
/// What the disk may take once all jobs are gone, in times of what it took while they were queued; and once as many
/// more have come and gone, in times of what it took before them: files that are used again need not shrink, but must
/// not grow with what has come and gone.
const DISK_TIMES: f64 = 1.1;
/// What a node's memory may be with the queue at its longest, as in W4.
const MEMORY_MB: f64 = 150.0;
const SHARE: usize = BATCH_JOBS * BATCH_CONNECTIONS;

/// What was seen at one depth.
struct Depth {
    queued: usize,
    p99_ms: Vec<f64>,
    done_per_second: Vec<f64>,
}

/// W7.
pub(super) fn with_depth(run: &mut Run) -> Result<(), Failed> {
    let mut ours = Ours::start(run, 0)?;
    // Nothing may go before all is counted.
    ours.cluster.set(r#"{"retention_count":"100000000"}"#)?;
    let mut depths = Vec::new();
    for queued in [0, run.scale.queued / 100, run.scale.queued] {
        depths.push(at(run, &ours, queued)?);
    }
    let empty = &depths[0];
    for depth in &depths[1..] {
        let queued = depth.queued;
        let p99 = Figure::new("W7", format!("submit p99, {queued} queued, open loop, ms"), depth.p99_ms.clone());
        run.found(p99.beside("with none", empty.p99_ms.clone()).aim(Aim::TimesAtMost(2.0)));
        let what = format!("dispatch with {queued} queued, jobs/s");
        let rate = Figure::new("W7", what, depth.done_per_second.clone());
        run.found(rate.beside("with none", empty.done_per_second.clone()).aim(Aim::TimesAtLeast(0.8)));
    }
    let full_mb = disk(run, &ours)?;
    restart(run, &mut ours)?;
    come_and_gone(run, &ours, full_mb)?;
    ours.cluster.await_whole().map(drop)
}

/// Fills the queue up to a depth and measures there.
fn at(run: &Run, ours: &Ours, queued: usize) -> Result<Depth, Failed> {
    tell(&format!("W7, {queued} queued"));
    let mut depth = Depth { queued, p99_ms: Vec::new(), done_per_second: Vec::new() };
    for _ in 0..run.scale.rounds {
        fill(ours, queued)?;
        depth.p99_ms.push(open::submit(&ours.cluster, &ours.record, run.scale.arrivals)?.at(0.99));
        depth.done_per_second.push(dispatch(run, ours, queued)?);
    }
    Ok(depth)
}

fn fill(ours: &Ours, queued: usize) -> Result<(), Failed> {
    let waiting = ours.record.len() as u64 - ended(ours)?;
    let missing = queued.saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
    work::submit_batches(&ours.cluster, &ours.record, missing / SHARE).map(drop)
}

/// Jobs ended per second while as many are submitted.
fn dispatch(run: &Run, ours: &Ours, queued: usize) -> Result<f64, Failed> {
    let (cluster, jobs) = (&ours.cluster, run.scale.growth_jobs / SHARE * SHARE);
    cluster.set_slots(0..cluster::VOTERS, SLOTS)?;
    if queued == 0 {
        work::await_done(&cluster.nodes[0], &ours.record)?;
    }
    let (before, start) = (ended(ours)?, Instant::now());
    work::submit_batches(cluster, &ours.record, jobs / SHARE)?;
    work::await_count(&cluster.nodes[0], before + jobs as u64)?;
    let took = start.elapsed();
    cluster.set_slots(0..cluster::VOTERS, 0)?;
    cluster::until("the running jobs to end", RESTART_LIMIT, || {
        let counts = cluster.nodes[0].read("/v1/jobs:count?group_by=state").ok()?;
        (counts["groups"]["running"].as_u64().unwrap_or(0) == 0).then_some(())
    })?;
    Ok(jobs as f64 / took.as_secs_f64())
}

fn ended(ours: &Ours) -> Result<u64, Failed> {
    let counts = ours.cluster.nodes[0].read("/v1/jobs:count?group_by=state")?;
    Ok(counts["groups"]["succeeded"].as_u64().unwrap_or(0))
}

/// What the fullest node's data take, in MB.
fn disk_mb(ours: &Ours) -> Result<f64, Failed> {
    let bytes = ours.cluster.nodes.iter().map(cluster::Node::disk_bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(bytes.into_iter().max().unwrap_or(0) as f64 / 1e6)
}

fn disk(run: &mut Run, ours: &Ours) -> Result<f64, Failed> {
    let (mb, jobs) = (disk_mb(ours)?, ours.record.len() as f64);
    run.found(Figure::new("W7", "disk of a node per job that came, bytes", vec![mb * 1e6 / jobs]));
    Ok(mb)
}

/// All nodes are killed and started again at once.
fn restart(run: &mut Run, ours: &mut Ours) -> Result<(), Failed> {
    tell("W7, all nodes are killed and start again");
    ours.cluster.kill_all()?;
    let start = Instant::now();
    (0..ours.cluster.nodes.len()).try_for_each(|node| ours.cluster.restart(node))?;
    let one = work::job();
    cluster::until("a submit to be acknowledged after the restart", RESTART_LIMIT, || {
        let answer = ours.cluster.nodes[0].ask("POST", "/v1/jobs", &one).ok()?;
        answer.ids().next().filter(|_| answer.status == 201).map(|id| ours.record.note([id]))
    })?;
    let what = format!("restart with {} queued until a submit is acknowledged, s", run.scale.queued);
    run.found(Figure::new("W7", what, vec![start.elapsed().as_secs_f64()]).aim(Aim::AtMost(15.0)));
    ours.cluster.await_whole()?;
    let memory = quantile(&work::memory_mb(&ours.cluster)?, 1.0);
    let what = format!("memory of the largest node after it, {} queued, MB", run.scale.queued);
    run.found(Figure::new("W7", what, vec![memory]).aim(Aim::AtMost(MEMORY_MB)));
    Ok(())
}

/// All jobs are run, counted, and dropped from the record; and the disk is looked at.
fn come_and_gone(run: &mut Run, ours: &Ours, full_mb: f64) -> Result<(), Failed> {
    tell("W7, all jobs run");
    let cluster = &ours.cluster;
    cluster.set_slots(0..cluster::VOTERS, SLOTS)?;
    let (start, before) = (Instant::now(), ended(ours)?);
    work::await_done(&cluster.nodes[0], &ours.record)?;
    let rate = (ours.record.len() as u64 - before) as f64 / start.elapsed().as_secs_f64();
    run.found(Figure::new("W7", format!("{} queued jobs run, jobs/s", run.scale.queued), vec![rate]));
    tell("every acknowledged job is looked for");
    run.acknowledged += ours.record.check(&cluster.nodes[1])?;
    let ended_mb = disk_mb(ours)?;
    dropped(ours)?;
    let gone_mb = quantile(&[disk_mb(ours)?], 0.5);
    let what = format!("disk of a node, {} jobs came and ended, MB", ours.record.len());
    run.found(Figure::new("W7", what, vec![ended_mb]).beside("while they were queued", vec![full_mb]));
    let figure = Figure::new("W7", "disk of a node once they are dropped, MB", vec![gone_mb]);
    run.found(figure.beside("while they were queued", vec![full_mb]).aim(Aim::TimesAtMost(DISK_TIMES)));
    again(run, ours, gone_mb)
}

/// As many jobs as were queued come, end and go once more, beside what was left of the first ones.
fn again(run: &mut Run, ours: &Ours, before_mb: f64) -> Result<(), Failed> {
    tell("W7, as many come and go again");
    let (cluster, jobs) = (&ours.cluster, run.scale.queued / SHARE * SHARE);
    cluster.set(r#"{"retention_count":"100000000"}"#)?;
    // Their ids are not kept: which jobs are in the record was looked at before.
    work::submit_batches(cluster, &Record::default(), jobs / SHARE)?;
    work::await_count(&cluster.nodes[0], jobs as u64)?;
    dropped(ours)?;
    let what = format!("disk of a node once {jobs} more have come and gone, MB");
    let figure = Figure::new("W7", what, vec![disk_mb(ours)?]).beside("before them", vec![before_mb]);
    run.found(figure.aim(Aim::TimesAtMost(DISK_TIMES)));
    Ok(())
}

/// Has ended jobs dropped, but for those that are kept.
fn dropped(ours: &Ours) -> Result<(), Failed> {
    ours.cluster.set(&format!(r#"{{"retention_count":"{KEPT}"}}"#))?;
    tell("W7, ended jobs are dropped");
    cluster::until("ended jobs to be dropped", DROP_LIMIT, || {
        let total = ours.cluster.nodes[0].read("/v1/jobs:count").ok()?["total"].as_u64()?;
        (total <= 2 * KEPT).then_some(())
    })
}
