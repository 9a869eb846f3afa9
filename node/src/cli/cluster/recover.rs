//! `relais cluster recover`: when the majority of the voters is lost for good. It shows what the survivors'
//! journals hold and which jobs are in doubt, and asks, before anything is done.

use crate::cli::client::{Answer, Call, Client};
use crate::cli::failure::{Failure, one_line};
use crate::cli::screen::{Format, Screen};
use crate::cli::table::Table;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, BufRead, IsTerminal, Write};

const PATH: &str = "/v1/cluster:recover";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Plan {
    journals: Vec<Journal>,
    most_complete: Option<String>,
    refused: Option<String>,
    uncommitted_entries: u64,
    jobs_in_doubt: Vec<Doubt>,
    jobs_in_doubt_total: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Journal {
    node: String,
    generation: Option<u64>,
    last_log: Position,
    committed: Option<u64>,
    applied: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Position {
    term: u64,
    index: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Doubt {
    id: String,
    node: String,
    attempt: u64,
}

/// Recovers without the voters in `lost`, after it has shown the plan and, without `yes`, asked.
pub(super) async fn run(screen: Screen, client: &Client, lost: &[String], yes: bool) -> Result<(), Failure> {
    let ask = |dry_run: bool| Call::post(PATH, json!({ "lost": lost, "dry_run": dry_run }).to_string());
    let answer = client.call(&ask(true)).await?;
    let plan: Plan = answer.json()?;
    if let Some(refused) = &plan.refused {
        show(screen, &plan)?;
        return Err(Failure::Local(format!("refused: {refused}")));
    }
    if screen.format == Format::Table {
        show(screen, &plan)?;
    }
    if !yes && !confirmed(lost)? {
        return Err(Failure::Local("nothing was changed".to_owned()));
    }
    let answer = client.call(&ask(false)).await?;
    done(screen, &answer)
}

fn show(screen: Screen, plan: &Plan) -> Result<(), Failure> {
    if screen.format != Format::Table {
        return Ok(());
    }
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut table = Table::new(screen, &["SURVIVOR", "GENERATION", "TERM", "LAST ENTRY", "COMMITTED", "APPLIED", ""]);
    for journal in &plan.journals {
        let best = plan.most_complete.as_deref() == Some(journal.node.as_str());
        table.row([
            journal.node.clone(),
            number(journal.generation),
            journal.last_log.term.to_string(),
            journal.last_log.index.to_string(),
            number(journal.committed),
            number(journal.applied),
            if best { "most complete".to_owned() } else { String::new() },
        ]);
    }
    table.print()?;
    screen.line(&format!(
        "{} entries at its end are not known to be committed; they are kept",
        plan.uncommitted_entries
    ))?;
    screen.line(&format!("jobs in doubt, on nodes that are given up: {}", plan.jobs_in_doubt_total))?;
    for doubt in &plan.jobs_in_doubt {
        screen.line(&format!("  {} attempt {} on {}", doubt.id, doubt.attempt, one_line(&doubt.node)))?;
    }
    Ok(())
}

fn confirmed(lost: &[String]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody can be asked here; look at the plan, then repeat with --yes".to_owned()));
    }
    eprint!("go on without {}, in a new generation? What only they hold comes back only if they do. [y/N] ", lost.join(", "));
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn done(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    match screen.format {
        Format::Json => return screen.json(answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet | Format::Table => {}
    }
    let done: Value = answer.json()?;
    let name = one_line(done["dispatcher"].as_str().unwrap_or("nobody yet"));
    if screen.format == Format::Quiet {
        return screen.line(&name);
    }
    screen.line(&format!("the dispatcher is {name}, alone; add nodes, or start the others again: they come back by themselves"))
}
