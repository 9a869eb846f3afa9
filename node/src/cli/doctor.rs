//! `relais doctor`: looks at this machine and at the cluster as an operator would, and says what to do next.
//!
//! It only looks: nothing is changed, nothing is submitted.

mod cluster;
mod machine;

use super::failure::{Failure, one_line};
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use serde_json::json;
use std::path::PathBuf;

/// Look for what is wrong, or soon will be, on this machine and in the cluster
#[derive(clap::Args)]
#[command(after_help = "\
Looks at: the settings and limits of this machine, the data directory's disk, each address of RELAIS_ADDR, the
token, the cluster's status and what it would survive, each node's parts, versions and clock, the queues, and
the failovers of the last day. It changes nothing. The exit code is 1 when something is wrong, 0 otherwise.

Examples:
  relais doctor
  relais doctor --data-dir /var/lib/relais --addr 10.0.0.5:7700,10.0.0.6:7700
  relais doctor -o json")]
pub(crate) struct Doctor {
    /// The data directory of this machine's node, if it has one
    #[arg(long, value_name = "FOLDER", default_value = "./relais-data", env = "RELAIS_DATA_DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// As it should be.
    Good,
    /// Works, but look at it.
    Warning,
    /// Something does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// What was looked at.
    what: String,
    /// How it is.
    detail: String,
    /// What to do about it; empty when nothing is to be done.
    next: String,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "wrong",
        }
    }
}

impl Finding {
    fn good(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { level: Level::Good, what: what.into(), detail: detail.into(), next: String::new() }
    }

    fn warning(what: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), detail: detail.into(), next: next.into() }
    }

    fn bad(what: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Bad, ..Self::warning(what, detail, next) }
    }
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let mut findings = machine::look(&self.data_dir);
        findings.extend(cluster::look(&self.remote).await?);
        print(screen, &findings)?;
        let worst = findings.iter().map(|finding| finding.level).max();
        Ok(u8::from(worst == Some(Level::Bad)))
    }
}

fn print(screen: Screen, findings: &[Finding]) -> Result<(), Failure> {
    let object = |finding: &Finding| {
        let Finding { level, what, detail, next } = finding;
        json!({ "level": level.word(), "what": what, "detail": detail, "next_step": next })
    };
    match screen.format {
        Format::Json => {
            let all: Vec<_> = findings.iter().map(object).collect();
            return screen.line(&json!({ "findings": all }).to_string());
        }
        Format::Jsonl => return findings.iter().try_for_each(|finding| screen.line(&object(finding).to_string())),
        Format::Quiet | Format::Table => {}
    }
    let told = |finding: &&Finding| screen.format == Format::Table || finding.level > Level::Good;
    let mut table = Table::new(screen, &["", "", ""]).without_heading();
    for finding in findings.iter().filter(told) {
        table.long_row([finding.level.word(), &finding.what, &finding.detail]);
        if !finding.next.is_empty() {
            table.long_row(["", "", &format!("→ {}", finding.next)]);
        }
    }
    table.print()?;
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let summary = format!("{} wrong, {} to look at", count(Level::Bad), count(Level::Warning));
    if screen.format == Format::Table { screen.line(&one_line(&summary)) } else { Ok(()) }
}
