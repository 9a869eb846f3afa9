//! `cargo bench -p relais-benches --bench instructions`: how many instructions a fixed work takes, counted by
//! callgrind, and the functions that take most of them. It runs itself under `valgrind`; where there is none,
//! it says so and counts nothing. Two runs of one build differ by less than one in a thousand.

use relais_benches::solo::fixed_work;
use std::path::Path;
use std::process::{Command, ExitCode};

const WORK: &str = "--work";
/// Jobs of the work.
const JOBS: usize = 20_000;
/// How many of the largest costs are told.
const LARGEST: usize = 3;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == WORK) {
        return if fixed_work(JOBS) == JOBS { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let tools = ["valgrind", "callgrind_annotate"];
    if let Some(missing) = tools.into_iter().find(|tool| Command::new(tool).arg("--version").output().is_err()) {
        println!("SKIPPED: no `{missing}` here to count instructions with");
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (own, file) = (std::env::current_exe().map_err(|error| error.to_string())?, folder.path().join("out"));
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display())).arg(own).arg(WORK);
    let output = valgrind.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("valgrind failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let total = total(&file)?;
    let (own, with_calls) = (largest(&file, false)?, largest(&file, true)?);
    let per_job = total / JOBS as u64;
    Ok(format!(
        "{JOBS} jobs come, run and end in one ledger: {total} instructions, {per_job} a job\n\n\
         largest by themselves:\n{}\n\nlargest with all that they call:\n{}",
        own.join("\n"),
        with_calls.join("\n")
    ))
}

fn total(file: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")));
    totals
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| "callgrind counted nothing".to_owned())
}

/// The functions that take most, as `callgrind_annotate` lists them; with all they call, those of ours.
fn largest(file: &Path, with_calls: bool) -> Result<Vec<String>, String> {
    let inclusive = if with_calls { "--inclusive=yes" } else { "--inclusive=no" };
    let output = Command::new("callgrind_annotate").arg(inclusive).arg("--auto=no").arg(file).output();
    let text = String::from_utf8_lossy(&output.map_err(|error| error.to_string())?.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.trim_start().split_once("%)").map(|found| (found, line)));
    let functions = lines.filter(|(_, line)| !line.contains("PROGRAM TOTALS"));
    let ours = functions.filter(|(_, line)| !with_calls || inner(line)).map(|((count, rest), _)| {
        let name = rest.trim().split(" [").next().unwrap_or_default();
        let name = name.split_once(':').map_or(name, |(_, function)| function);
        format!("  {count}%)  {name}")
    });
    Ok(ours.take(LARGEST).collect())
}

/// Whether it is a function of the ledger's, and not one of those that begin the program or the work.
fn inner(line: &str) -> bool {
    line.contains("relais_") && !line.contains("relais_benches") && !line.contains("instructions::")
}
