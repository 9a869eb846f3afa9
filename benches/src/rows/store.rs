//! W1 and W1s: how many jobs a second are acknowledged, on a cluster that runs none of them.

use crate::Failed;
use crate::figure::{Aim, Figure};
use crate::open;
use crate::run::{Ours, Pair, Run, tell};
use crate::work::{self, BATCH_CONNECTIONS, BATCH_JOBS, SINGLE_CONNECTIONS};

/// W1.
pub(super) fn batches(run: &mut Run) -> Result<(), Failed> {
    let (ours, theirs) = (Ours::start(run, 0)?, run.servers()?);
    let (mut rates, mut cpu, mut syncs) = (Pair::default(), Pair::default(), Vec::new());
    let jobs = run.scale.batches * BATCH_JOBS * BATCH_CONNECTIONS;
    for number in 1..=run.scale.rounds {
        tell(&format!("W1, round {number}"));
        run.look_at_disk()?;
        let (cpu_before, syncs_before) = (ours.cpu()?, ours.syncs()?);
        let took = work::submit_batches(&ours.cluster, &ours.record, run.scale.batches)?;
        rates.ours.push(jobs as f64 / took.as_secs_f64());
        cpu.ours.push(1e6 * (ours.cpu()? - cpu_before) / jobs as f64);
        syncs.push((ours.syncs()? - syncs_before) / jobs as f64);
        if let Some(servers) = &theirs {
            let before = servers.cpu()?;
            let took = servers.publish_many(jobs, BATCH_CONNECTIONS, BATCH_JOBS, |_| Ok(()))?;
            rates.theirs.push(jobs as f64 / took.as_secs_f64());
            cpu.theirs.push(1e6 * (servers.cpu()? - before) / jobs as f64);
        }
    }
    run.compared("W1", "durable submits in batches of 1,000, acknowledged/s", rates, Some(Aim::TimesAtLeast(1.5)));
    run.found(Figure::new("W1", "syncs per job, all three journals", syncs).aim(Aim::AtMost(0.02)));
    run.compared("W1", "CPU per job, three nodes, µs", cpu, None);
    ours.finish(run)
}

/// W1s.
pub(super) fn singles(run: &mut Run) -> Result<(), Failed> {
    let (ours, theirs) = (Ours::start(run, 0)?, run.servers()?);
    let (mut rates, mut cpu, mut p50, mut p99) = (Pair::default(), Pair::default(), Pair::default(), Pair::default());
    let mut syncs = Vec::new();
    for number in 1..=run.scale.rounds {
        tell(&format!("W1s, round {number}"));
        run.look_at_disk()?;
        let (cpu_before, syncs_before) = (ours.cpu()?, ours.syncs()?);
        let (took, jobs) = work::submit_singles(&ours.cluster, &ours.record, run.scale.singles)?;
        rates.ours.push(jobs as f64 / took.as_secs_f64());
        cpu.ours.push(1e6 * (ours.cpu()? - cpu_before) / jobs as f64);
        syncs.push((ours.syncs()? - syncs_before) / jobs as f64);
        let latencies = open::submit(&ours.cluster, &ours.record, run.scale.arrivals)?;
        p50.ours.push(latencies.at(0.5));
        p99.ours.push(latencies.at(0.99));
        if let Some(servers) = &theirs {
            let before = servers.cpu()?;
            let (took, jobs) = servers.publish_singly(run.scale.singles, SINGLE_CONNECTIONS)?;
            rates.theirs.push(jobs as f64 / took.as_secs_f64());
            cpu.theirs.push(1e6 * (servers.cpu()? - before) / jobs as f64);
            let latencies = servers.publish_open(run.scale.arrivals)?;
            p50.theirs.push(latencies.at(0.5));
            p99.theirs.push(latencies.at(0.99));
        }
    }
    run.compared("W1s", "durable submits, one a request, 64 connections, /s", rates, Some(Aim::TimesAtLeast(1.2)));
    let rate = run.scale.arrivals.per_second;
    run.compared("W1s", &format!("until acknowledged at {rate}/s, open loop, p50, ms"), p50, None);
    run.compared("W1s", &format!("until acknowledged at {rate}/s, open loop, p99, ms"), p99, None);
    run.found(Figure::new("W1s", "syncs per job, all three journals", syncs));
    run.compared("W1s", "CPU per job, three nodes, µs", cpu, None);
    ours.finish(run)
}
