//! `cargo bench -p relais-benches`: what a three-node cluster of real processes does on this machine, beside
//! what its disk can do, in one run. `-- --quick` takes about half a minute.
//!
//! Needs `cargo build --release` first (or RELAIS_BIN). Data are below the build's folder, or below
//! RELAIS_BENCH_DIR: it is that disk which is measured. The figures are also in `target/bench/cluster.json`.

use relais_benches::cluster::{Cluster, Node, Sight, program};
use relais_benches::failover::{Hit, round};
use relais_benches::figure::{Figure, json, quantile, table};
use relais_benches::load::Load;
use relais_benches::record::Record;
use relais_benches::work::{self, BATCH_CONNECTIONS, BATCH_JOBS, JOB_BYTES, SINGLE_CONNECTIONS};
use relais_benches::{Failed, disk};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const SMALL_BYTES: usize = 512;
const LARGE_BYTES: usize = 64 << 10;

/// How much is done.
struct Scale {
    rounds: usize,
    batches: usize,
    singles: Duration,
    done_jobs: usize,
    waits: usize,
    queued: usize,
    hits: [(Hit, usize); 3],
    disk: Duration,
}

const FULL: Scale = Scale {
    rounds: 3,
    batches: 8,
    singles: Duration::from_secs(3),
    done_jobs: 20_000,
    waits: 300,
    queued: 100_000,
    hits: [(Hit::Kill, 5), (Hit::Pause, 3), (Hit::Handover, 5)],
    disk: Duration::from_millis(400),
};

const QUICK: Scale = Scale {
    rounds: 3,
    batches: 2,
    singles: Duration::from_millis(500),
    done_jobs: 4_000,
    waits: 60,
    queued: 24_000,
    hits: [(Hit::Kill, 1), (Hit::Pause, 1), (Hit::Handover, 1)],
    disk: Duration::from_millis(150),
};

/// What the disk can do, looked at before every round: on a shared machine it is another disk each minute.
struct Limit<'a> {
    folder: &'a Path,
    time: Duration,
    small: Vec<f64>,
    large: Vec<f64>,
}

impl Limit<'_> {
    /// Small syncs per second, just now.
    fn small(&mut self) -> Result<f64, Failed> {
        self.small.push(disk::syncs_per_second(self.folder, SMALL_BYTES, self.time)?);
        Ok(self.small[self.small.len() - 1])
    }

    /// Jobs per second that synced pieces of [`LARGE_BYTES`] could carry, just now.
    fn jobs(&mut self) -> Result<f64, Failed> {
        let rate = disk::syncs_per_second(self.folder, LARGE_BYTES, self.time)?;
        self.large.push(rate);
        Ok(rate * (LARGE_BYTES / JOB_BYTES) as f64)
    }

    fn figures(self) -> [Figure; 2] {
        let figure = |bytes, rounds| Figure::new("disk", format!("pwrite + fdatasync of {bytes}, per second"), rounds);
        [figure("512 B", self.small), figure("64 KiB", self.large)]
    }
}

fn main() -> ExitCode {
    let mut scale = &FULL;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => scale = &QUICK,
            // Cargo's own.
            "--bench" => {}
            other => {
                eprintln!("`{other}` is not known here; there is --quick");
                return ExitCode::from(2);
            }
        }
    }
    match run(scale) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}

fn run(scale: &Scale) -> Result<(), Failed> {
    let results = results_folder()?;
    let program = program()?;
    let folder = std::env::var_os("RELAIS_BENCH_DIR").map_or_else(|| results.clone(), PathBuf::from);
    let mut limit = Limit { folder: &folder, time: scale.disk, small: Vec::new(), large: Vec::new() };
    let mut figures = Vec::new();
    let mut jobs = stored(scale, &mut limit, &mut figures)?;
    jobs += executed(scale, &mut limit, &mut figures)?;
    figures.extend(limit.figures());
    figures.sort_by_key(|figure| figure.work);
    println!("{}", table(&figures));
    println!("{jobs} jobs were acknowledged; each is in the record, once; no election but those asked for");
    let facts = facts(&program, &folder, jobs);
    let file = results.join("cluster.json");
    let text = serde_json::to_string_pretty(&json(&figures, &facts)).unwrap_or_default();
    std::fs::write(&file, text)?;
    println!("figures: {}", file.display());
    Ok(())
}

/// `target/bench`, wherever `target` is: this program is in `target/PROFILE/deps`.
fn results_folder() -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).unwrap_or(Path::new("target"));
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn facts(program: &Path, folder: &Path, jobs: usize) -> Value {
    let output = std::process::Command::new(program).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    serde_json::json!({
        "version": version, "cpus": cpus, "data": folder, "jobs_acknowledged": jobs, "jobs_lost": 0, "jobs_twice": 0,
    })
}

/// W1, W1s and W4, on a cluster that runs nothing. How many jobs were acknowledged.
fn stored(scale: &Scale, limit: &mut Limit<'_>, figures: &mut Vec<Figure>) -> Result<usize, Failed> {
    tell("a cluster that only stores (slots 0)");
    let cluster = Cluster::start(limit.folder, 0)?;
    let (record, before) = (Record::default(), cluster.await_whole()?);
    figures.push(Figure::new("W4", "memory of a node, idle, MB", work::memory_mb(&cluster)?));
    batches(scale, limit, &cluster, &record, figures)?;
    let missing = scale.queued.saturating_sub(record.len()) / (BATCH_JOBS * BATCH_CONNECTIONS);
    work::submit_batches(&cluster, &record, missing)?;
    let what = format!("memory of a node, {} jobs queued, MB", record.len());
    figures.push(Figure::new("W4", what, work::memory_mb(&cluster)?));
    singles(scale, limit, &cluster, &record, figures)?;
    same_reign(&cluster, before)?;
    tell("every acknowledged job is looked for");
    record.check(&cluster.nodes[1])
}

fn batches(
    scale: &Scale,
    limit: &mut Limit<'_>,
    cluster: &Cluster,
    record: &Record,
    figures: &mut Vec<Figure>,
) -> Result<(), Failed> {
    let (mut rates, mut syncs, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=scale.rounds {
        tell(&format!("W1, round {number}"));
        bounds.push(limit.jobs()?);
        let before = work::syncs(cluster)?;
        let took = work::submit_batches(cluster, record, scale.batches)?;
        let jobs = (scale.batches * BATCH_JOBS * BATCH_CONNECTIONS) as f64;
        rates.push(jobs / took.as_secs_f64());
        syncs.push((work::syncs(cluster)? - before) / jobs);
    }
    let bound = quantile(&bounds, 0.5);
    figures
        .push(Figure::new("W1", "submits, batches of 1,000, acknowledged/s", rates).beside(bound, "synced in 64 KiB"));
    figures.push(Figure::new("W1", "syncs per job, all three nodes", syncs));
    Ok(())
}

fn singles(
    scale: &Scale,
    limit: &mut Limit<'_>,
    cluster: &Cluster,
    record: &Record,
    figures: &mut Vec<Figure>,
) -> Result<(), Failed> {
    let (mut rates, mut p50, mut p99, mut bounds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 1..=scale.rounds {
        tell(&format!("W1s, round {number}"));
        bounds.push(limit.small()? * SINGLE_CONNECTIONS as f64);
        let (took, each) = work::submit_singles(cluster, record, scale.singles)?;
        rates.push(each.0.len() as f64 / took.as_secs_f64());
        p50.push(each.at(0.5));
        p99.push(each.at(0.99));
    }
    let bound = quantile(&bounds, 0.5);
    figures.push(Figure::new("W1s", "submits, one a request, 64 connections, /s", rates).beside(bound, "64 to a sync"));
    figures.push(Figure::new("W1s", "until acknowledged, p50, ms", p50));
    figures.push(Figure::new("W1s", "until acknowledged, p99, ms", p99));
    Ok(())
}

/// W2, W3 and W6, on a cluster that runs jobs. How many were acknowledged.
fn executed(scale: &Scale, limit: &mut Limit<'_>, figures: &mut Vec<Figure>) -> Result<usize, Failed> {
    tell("a cluster that runs jobs (slots 64)");
    let mut cluster = Cluster::start(limit.folder, 64)?;
    let (record, before) = (Record::default(), cluster.await_whole()?);
    done(scale, limit, &cluster, &record, figures)?;
    let other = (before.dispatcher + 1) % cluster.nodes.len();
    for (at, via) in [(before.dispatcher, "the dispatcher"), (other, "another node")] {
        waits(scale, limit, &cluster.nodes[at], via, &record, figures)?;
    }
    same_reign(&cluster, before)?;
    gaps(scale, &mut cluster, &record, figures)?;
    tell("every acknowledged job is looked for");
    work::await_done(&cluster.nodes[0], &record)?;
    record.check(&cluster.nodes[1])
}

fn done(
    scale: &Scale,
    limit: &mut Limit<'_>,
    cluster: &Cluster,
    record: &Record,
    figures: &mut Vec<Figure>,
) -> Result<(), Failed> {
    let (mut rates, mut bounds) = (Vec::new(), Vec::new());
    for number in 1..=scale.rounds {
        tell(&format!("W2, round {number}"));
        bounds.push(limit.jobs()?);
        let took = work::submit_to_done(cluster, record, scale.done_jobs)?;
        rates.push(scale.done_jobs as f64 / took.as_secs_f64());
    }
    let bound = quantile(&bounds, 0.5);
    figures.push(Figure::new("W2", "submit to succeeded, jobs/s", rates).beside(bound, "synced in 64 KiB"));
    Ok(())
}

fn waits(
    scale: &Scale,
    limit: &mut Limit<'_>,
    node: &Node,
    via: &str,
    record: &Record,
    figures: &mut Vec<Figure>,
) -> Result<(), Failed> {
    let (mut p50, mut p99, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=scale.rounds {
        tell(&format!("W3 by {via}, round {number}"));
        bounds.push(2e3 / limit.small()?);
        let each = work::one_at_a_time(node, record, scale.waits)?;
        p50.push(each.at(0.5));
        p99.push(each.at(0.99));
    }
    let figure = |name, values| Figure::new("W3", format!("one at a time by {via}, {name}, ms"), values);
    figures.push(figure("p50", p50).beside(quantile(&bounds, 0.5), "two syncs"));
    figures.push(figure("p99", p99));
    Ok(())
}

fn gaps(scale: &Scale, cluster: &mut Cluster, record: &Record, figures: &mut Vec<Figure>) -> Result<(), Failed> {
    let load = Load::start(cluster);
    for (hit, rounds) in scale.hits {
        let what = match hit {
            Hit::Kill => "gap after kill -9 of the dispatcher, ms",
            Hit::Pause => "gap after SIGSTOP of the dispatcher, ms",
            Hit::Handover => "longest silence around a handover, ms",
        };
        let mut gaps = Vec::new();
        for number in 1..=rounds {
            tell(&format!("W6, {hit:?}, round {number}"));
            gaps.push(round(cluster, &load, hit)?);
        }
        figures.push(Figure::new("W6", what, gaps));
    }
    load.finish(record)
}

fn same_reign(cluster: &Cluster, before: Sight) -> Result<(), Failed> {
    let after = cluster.await_whole()?;
    if after == before {
        return Ok(());
    }
    Err(Failed::Promise(format!("there was an election though nothing failed: {before:?}, then {after:?}")))
}

fn tell(what: &str) {
    eprintln!("… {what}");
}
