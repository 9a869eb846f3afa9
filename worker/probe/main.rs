//! A stand-in for the `relais` binary in this crate's tests: it can be the spawner process, or a node
//! that holds one and is then killed. By hand it also measures how many processes a second go through
//! `exec` (to be held against `seq N | xargs -P SLOTS -n1 true`).

use relais_protocol::ids::{Epoch, Fence, JobId};
use relais_protocol::time::UnixMs;
use relais_worker::executor::{Executors, Outcome, Task};
use relais_worker::output::Output;
use relais_worker::spawner::{Spawner, Start};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("__spawner") => relais_worker::spawner::main(),
        Some("hold") => hold(&args[2..]),
        Some("measure") => measure(&args[2..]),
        _ => {
            eprintln!("usage: relais-worker-probe __spawner | hold COMMAND… | measure COUNT SLOTS");
            ExitCode::from(2)
        }
    }
}

/// Runs `command` under a spawner, as a node would, until somebody kills this process.
fn hold(command: &[String]) -> ExitCode {
    block_on(async {
        let spawner = spawner()?;
        let nowhere = || std::fs::File::options().write(true).open("/dev/null");
        let start = Start {
            program: PathBuf::from(&command[0]),
            argv: command.to_vec(),
            env: std::env::vars().collect(),
            cwd: std::env::current_dir()?,
            stdin: None,
            stdout: nowhere()?.into(),
            stderr: nowhere()?.into(),
            leased: false,
        };
        spawner.run(start).exit().await.map(drop).map_err(io::Error::other)
    })
}

fn spawner() -> io::Result<Spawner> {
    Spawner::start(std::env::current_exe()?, vec!["__spawner".to_owned()])
}

fn block_on(work: impl Future<Output = io::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `true` `COUNT` times, `SLOTS` at once, as jobs, and prints the rate.
fn measure(args: &[String]) -> ExitCode {
    let number = |place: usize| args.get(place).and_then(|text| text.parse::<u64>().ok());
    let (Some(count), Some(slots)) = (number(0), number(1)) else {
        eprintln!("usage: relais-worker-probe measure COUNT SLOTS");
        return ExitCode::from(2);
    };
    block_on(async {
        let folder = std::env::temp_dir().join(format!("relais-measure-{}", std::process::id()));
        let output = Output::open(folder.join("output"))?;
        let executors = Executors::standard(Arc::new(|| UnixMs(0)), spawner()?);
        let next = Arc::new(AtomicU64::new(1));
        let begun = tokio::time::Instant::now();
        let slots = (0..slots).map(|_| {
            let (executors, output, next, work_dir) =
                (executors.clone(), output.clone(), Arc::clone(&next), folder.join("work"));
            tokio::spawn(async move {
                let (_sender, stop) = tokio::sync::watch::channel(None);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > count {
                        return Ok(());
                    }
                    let ended = executors.run(task(number, &output, work_dir.clone()), stop.clone()).await;
                    if ended.outcome != Outcome::Succeeded {
                        return Err(io::Error::other(format!("{:?}", ended.error)));
                    }
                }
            })
        });
        for slot in futures::future::join_all(slots).await {
            slot.map_err(io::Error::other)??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{count} processes in {seconds:.2} s: {:.0} a second", count as f64 / seconds);
        std::fs::remove_dir_all(folder)
    })
}

fn task(number: u64, output: &Output, work_dir: PathBuf) -> Task {
    let job = JobId(u128::from(number));
    Task {
        job,
        fence: Fence::new(Epoch(1), 1),
        attempt: 1,
        kind: "exec".to_owned(),
        payload: serde_json::json!({"command": ["true"]}),
        timeout_ms: None,
        node_name: "n1".to_owned(),
        extra_env: Vec::new(),
        work_dir,
        leased: false,
        output: output.capture(job, 1),
        progress: None,
    }
}
