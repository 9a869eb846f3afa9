//! `relais journal`: looks into the journal of a stopped node. It reads a copy and changes nothing.
//!
//! A running node keeps the data directory to itself, and its journal grows while one looks: stop it first.
//! The other voters go on meanwhile.

mod redact;

use super::failure::Failure;
use super::screen::{Format, Screen};
use super::table::Table;
use crate::datadir::HeldDir;
use relais_dispatcher::journal::inspect::{InspectError, Inspection, Report};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Verify or export the journal of a stopped node
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais journal verify --data-dir /var/lib/relais
  relais journal export --data-dir ./relais-data > journal.jsonl")]
pub(crate) struct Journal {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Read all of it: frames, their chain, marks, vote, and the ledger's rows with their hash
    #[command(after_help = "\
Exit code 1 when it is damaged.

Example:
  relais journal verify --data-dir ./relais-data -o json")]
    Verify {
        #[command(flatten)]
        place: Place,
        /// How to answer
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: Format,
    },
    /// Write each entry of the log and each row of the ledger as a line of JSON
    #[command(after_help = "\
Lines are {\"entry\": …} in the order of the log, then {\"table\": …, \"row\": …} as of the last
checkpoint. Hashes of tokens and keys are left out; so are the values of a job's variables and
headers, unless --with-values is given.

Example:
  relais journal export --data-dir ./relais-data --file journal.jsonl")]
    Export {
        #[command(flatten)]
        place: Place,
        /// Write to this new file and not to standard output
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Show the values of jobs' variables and headers, too
        #[arg(long)]
        with_values: bool,
    },
}

#[derive(clap::Args)]
struct Place {
    /// The data directory of the stopped node
    #[arg(long, env = "RELAIS_DATA_DIR", value_name = "DIR", default_value = "./relais-data")]
    data_dir: PathBuf,
}

/// Why an export ends.
enum Ended {
    Inspect(InspectError),
    Output(io::Error),
}

impl From<InspectError> for Ended {
    fn from(error: InspectError) -> Self {
        Self::Inspect(error)
    }
}

impl Journal {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.command {
            Command::Verify { place, output } => verify(&place.data_dir, Screen::of_process(output)).await,
            Command::Export { place, file, with_values } => {
                export(&place.data_dir, file.as_deref(), with_values).await?;
                Ok(0)
            }
        }
    }
}

async fn verify(data_dir: &Path, screen: Screen) -> Result<u8, Failure> {
    let _held = HeldDir::hold(data_dir).map_err(|error| Failure::Local(error.to_string()))?;
    let report = match inspected(&_held).await {
        Ok(inspection) => inspection.verify().await,
        Err(error) => Err(error),
    };
    match report {
        Ok(report) => {
            tell(screen, &report)?;
            Ok(0)
        }
        Err(InspectError::Damaged(reason)) => {
            match screen.format {
                Format::Json | Format::Jsonl => screen.line(&json!({"whole": false, "reason": reason}).to_string())?,
                Format::Quiet => screen.line("damaged")?,
                Format::Table => {}
            }
            Err(Failure::Local(format!(
                "the journal is damaged: {reason}; at its next start the node puts it aside and rejoins, \
                 with what the other voters have"
            )))
        }
        Err(error) => Err(Failure::Local(error.to_string())),
    }
}

/// Opens a copy of the journal beside it: there is room for it or there is none, but never on another disk
/// that was not asked.
async fn inspected(held: &HeldDir) -> Result<Inspection, InspectError> {
    let scratch = held.journal().join(format!("inspected-{}", std::process::id()));
    Inspection::of(&held.journal().join("current"), &scratch).await
}

fn tell(screen: Screen, report: &Report) -> Result<(), Failure> {
    if matches!(screen.format, Format::Json | Format::Jsonl) {
        return screen.line(&shown(report).to_string());
    }
    if screen.format == Format::Quiet {
        return screen.line("whole");
    }
    let none = || "none".to_owned();
    let mut table = Table::of_pairs(screen);
    table.pair("journal", &report.id.to_string());
    table.pair("verdict", "whole: every frame, mark and row is as it was written");
    let span = report.span.map_or_else(none, |(first, last)| format!("{first} to {last}"));
    table.pair("entries", &format!("{} ({span}), {} bytes", report.entries, report.bytes));
    table.pair("committed", &report.committed.map_or_else(none, |index| index.to_string()));
    let checkpoint =
        report.checkpoint.map(|made| format!("at {}: {} rows, hash {:032x}", made.index, made.rows, made.hash));
    table.pair("checkpoint", &checkpoint.unwrap_or_else(none));
    table.pair("term", &report.term.to_string());
    table.pair("history", &report.history.map_or_else(none, |history| history.to_string()));
    if let Some(fork) = report.fork {
        table.pair("fork", &format!("generation {} at {}, {} became {}", fork.generation, fork.index, fork.old, fork.new));
    }
    let voters: Vec<String> = report.voters.iter().map(ToString::to_string).collect();
    table.pair("voters", &voters.join(", "));
    table.print()
}

fn shown(report: &Report) -> Value {
    let checkpoint = report.checkpoint.map(
        |made| json!({"index": made.index, "rows": made.rows, "hash": format!("{:032x}", made.hash)}),
    );
    let fork = report.fork.map(|fork| {
        json!({"generation": fork.generation, "index": fork.index, "common": fork.common,
            "old": fork.old.to_string(), "new": fork.new.to_string()})
    });
    json!({
        "whole": true, "journal": report.id.to_string(), "history": report.history, "fork": fork,
        "term": report.term, "entries": report.entries, "bytes": report.bytes,
        "first": report.span.map(|(first, _)| first), "last": report.span.map(|(_, last)| last),
        "committed": report.committed, "checkpoint": checkpoint,
        "voters": report.voters.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

async fn export(data_dir: &Path, file: Option<&Path>, with_values: bool) -> Result<(), Failure> {
    let held = HeldDir::hold(data_dir).map_err(|error| Failure::Local(error.to_string()))?;
    let failed = |error: &dyn std::fmt::Display| Failure::Local(error.to_string());
    let inspection = inspected(&held).await.map_err(|error| failed(&error))?;
    let out: Box<dyn Write> = match file {
        Some(path) => {
            let made = std::fs::File::create_new(path);
            Box::new(made.map_err(|error| failed(&format!("cannot make {}: {error}; name a new file", path.display())))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let out = std::cell::RefCell::new(io::BufWriter::new(out));
    let line = |value: serde_json::Result<Value>| -> Result<(), Ended> {
        let mut value = value.map_err(|error| Ended::Output(error.into()))?;
        redact::redact(&mut value, with_values);
        writeln!(out.borrow_mut(), "{value}").map_err(Ended::Output)
    };
    let entry = |entry| line(wrapped("entry", &entry));
    let ended = inspection.export(entry, |row| line(serde_json::to_value(&row))).await;
    let ended = ended.and_then(|()| out.borrow_mut().flush().map_err(Ended::Output));
    ended.map_err(|ended| match ended {
        Ended::Inspect(error) => failed(&error),
        Ended::Output(error) => Failure::from(error),
    })
}

fn wrapped(name: &str, value: &impl Serialize) -> serde_json::Result<Value> {
    Ok(json!({ name: serde_json::to_value(value)? }))
}
