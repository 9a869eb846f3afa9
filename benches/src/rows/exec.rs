//! W5: processes that do nothing, their output captured, beside `xargs -P` that starts the same.

use crate::Failed;
use crate::figure::{Aim, Figure};
use crate::run::{Ours, Run, tell};
use crate::work::{self, BATCH_CONNECTIONS, Batches};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

const SPEC: &str = r#"{"kind":"exec","payload":{"command":["true"]},"queue":"bench"}"#;
/// Slots of each node.
const SLOTS: u32 = 8;
/// Jobs in a batch.
const BATCH: usize = 125;

/// W5.
pub(super) fn processes(run: &mut Run) -> Result<(), Failed> {
    let ours = Ours::start(run, SLOTS)?;
    let (mut rates, mut limits, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    let count = run.scale.processes / (BATCH * BATCH_CONNECTIONS);
    let processes = count * BATCH * BATCH_CONNECTIONS;
    // As many at once as our nodes have slots is more than two cores do best with: twice the cores is.
    let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    for number in 1..=run.scale.rounds {
        tell(&format!("W5, round {number}"));
        let (start, cpu_before) = (Instant::now(), ours.cpu()?);
        work::submit_specs(&ours.cluster, &ours.record, Batches { spec: SPEC, jobs: BATCH, count })?;
        work::await_done(&ours.cluster.nodes[0], &ours.record)?;
        rates.push(processes as f64 / start.elapsed().as_secs_f64());
        cpu.push(1e6 * (ours.cpu()? - cpu_before) / processes as f64);
        limits.push(processes as f64 / xargs(processes, at_once)?.as_secs_f64());
    }
    let what = format!("{processes} × `true` by exec, output captured, processes/s");
    let beside = format!("xargs -P {at_once}");
    run.found(Figure::new("W5", what, rates).beside(&beside, limits).aim(Aim::TimesAtLeast(0.6)));
    run.found(Figure::new("W5", "CPU per job, three nodes without the processes, µs", cpu));
    ours.finish(run)
}

/// How long `xargs` takes for so many, its output taken up by a pipe.
fn xargs(processes: usize, at_once: usize) -> Result<Duration, Failed> {
    let start = Instant::now();
    let mut command = Command::new("xargs");
    command.args(["-P", &at_once.to_string(), "-n", "1", "true"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let lines: String = (0..processes).map(|number| format!("{number}\n")).collect();
    let mut input = child.stdin.take().ok_or_else(|| Failed::Answer("xargs has no input".to_owned()))?;
    let feed = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    feed.join().map_err(|_| Failed::Answer("a client panicked".to_owned()))??;
    if !output.status.success() {
        return Err(Failed::Answer(format!("xargs ended with {}", output.status)));
    }
    Ok(start.elapsed())
}
