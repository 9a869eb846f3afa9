//! `cargo bench -p relais-benches --bench cluster`: what a three-node cluster of real processes does on this
//! machine, beside a JetStream cluster, `xargs` and the disk, in one run. `-- --quick` takes about a minute,
//! `-- W1 W4` does these rows only, `-- --median FILE…` prints the medians of several runs' result files.
//!
//! Needs `cargo build --release` first (or RELAIS_BIN), and a `nats-server` of 2.10 or later on the PATH or in
//! RELAIS_NATS; without one there is nothing beside the figures, and it says so. Data are below the build's
//! folder, or below RELAIS_BENCH_DIR: it is that disk which is measured. The figures are also in
//! `target/bench/cluster.json`, or in the file that RELAIS_BENCH_RESULT names.

use relais_benches::Failed;
use relais_benches::cluster::program;
use relais_benches::peer::Peer;
use relais_benches::rows::{self, Row};
use relais_benches::run::Run;
use relais_benches::scale::{FULL, QUICK, Scale};
use relais_benches::table::{json, medians, table};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tokio::time::Instant;

/// What is to be done.
enum Task {
    Measure { scale: &'static Scale, rows: Vec<Row> },
    Medians(Vec<PathBuf>),
}

fn main() -> ExitCode {
    let done = match task(std::env::args().skip(1)) {
        Ok(Task::Measure { scale, rows }) => measure(scale, &rows),
        Ok(Task::Medians(files)) => print_medians(&files).map(|()| true),
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}

fn task(arguments: impl Iterator<Item = String>) -> Result<Task, String> {
    let (mut scale, mut rows, mut files) = (&FULL, Vec::new(), None);
    for argument in arguments {
        match (argument.as_str(), &mut files) {
            // Cargo's own.
            ("--bench", _) => {}
            ("--quick", _) => scale = &QUICK,
            ("--median", _) => files = Some(Vec::new()),
            (file, Some(files)) => files.push(PathBuf::from(file)),
            (row, None) if !row.starts_with('-') => rows.push(row.parse::<Row>()?),
            (other, None) => return Err(format!("`{other}` is not known here; there are rows, --quick and --median")),
        }
    }
    match files {
        Some(files) if files.is_empty() => Err("--median wants the result files of runs".to_owned()),
        Some(files) => Ok(Task::Medians(files)),
        None if rows.is_empty() => Ok(Task::Measure { scale, rows: rows::ALL.to_vec() }),
        None => Ok(Task::Measure { scale, rows }),
    }
}

fn print_medians(files: &[PathBuf]) -> Result<(), Failed> {
    let (figures, runs) = medians(files)?;
    println!("medians of {} runs, min–max of their medians\n\n{}", runs.len(), table(&figures));
    for run in runs {
        println!("{run}");
    }
    Ok(())
}

/// Whether every row went through.
fn measure(scale: &'static Scale, rows: &[Row]) -> Result<bool, Failed> {
    let (results, program, start) = (results_folder()?, program()?, Instant::now());
    let folder = std::env::var_os("RELAIS_BENCH_DIR").map_or_else(|| results.clone(), PathBuf::from);
    let peer = Peer::find().map_err(|why| println!("SKIPPED: JetStream: {why}; ours is measured alone")).ok();
    let mut run = Run::new(scale, folder, peer);
    for row in rows {
        run.row(*row);
    }
    run.finish();
    let facts = facts(&run, &program, start);
    println!("{}", table(&run.figures));
    for (row, failed) in &run.failures {
        println!("{row} FAILED: {failed}");
    }
    println!("{} jobs were acknowledged; each is in the record, once", run.acknowledged);
    println!("{}", serde_json::to_string_pretty(&facts).unwrap_or_default());
    let file = std::env::var_os("RELAIS_BENCH_RESULT").map_or_else(|| results.join("cluster.json"), PathBuf::from);
    std::fs::write(&file, serde_json::to_string_pretty(&json(&run.figures, &facts)).unwrap_or_default())?;
    println!("figures: {}", file.display());
    Ok(run.failures.is_empty())
}

/// `target/bench`, wherever `target` is: this program is in `target/PROFILE/deps`.
fn results_folder() -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).unwrap_or(Path::new("target"));
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn facts(run: &Run, program: &Path, start: Instant) -> Value {
    let output = Command::new(program).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let failed: Vec<String> = run.failures.iter().map(|(row, failed)| format!("{row}: {failed}")).collect();
    json!({
        "scale": run.scale.name, "version": version, "peer": run.peer.as_ref().map(Peer::terms), "cpus": cpus,
        "cpu": cpu_model(), "kernel": kernel.unwrap_or_default(), "data": run.folder,
        "seconds": start.elapsed().as_secs(), "jobs_acknowledged": run.acknowledged, "failed": failed,
    })
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned()).unwrap_or_default()
}
