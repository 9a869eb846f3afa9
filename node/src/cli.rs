//! The `relais` command line.
//!
//! ```text
//! start ──► config ──► run::run            (this process becomes a node)
//! dev   ──► processes of this program      (a cluster on loopback)
//! the rest ──► client ──HTTP──► any node   (api.md's shapes, nothing of the cluster's insides)
//! ```
//!
//! Client commands know only what the API says; they hold no state of their own. One file per command.
//! What a command can end with is in [`failure`]; what people see is in [`screen`] and [`table`].

mod address;
mod bulk;
mod client;
mod dev;
mod failure;
mod filter;
mod group;
mod job_ref;
mod progress;
mod query;
mod remote;
mod screen;
mod sse;
mod table;
mod time_text;
mod view;

mod bench;
mod cancel;
mod cluster;
mod config;
mod doctor;
mod drill;
mod events;
mod explain;
mod job;
mod jobs;
mod journal;
mod logs;
mod node;
mod nodes;
mod papers;
mod queues;
mod retry;
mod schedules;
mod start;
mod submit;
mod token;
mod top;
mod wait;

use clap::{Parser, Subcommand};
use failure::Failure;
use relais_worker::executor::handler::Handlers;
use std::process::ExitCode;

/// Relais hands out jobs to the machines of a cluster, and goes on when the one that hands them out dies.
#[derive(Parser)]
#[command(
    name = "relais",
    version,
    max_term_width = 100,
    after_help = "\
Two commands to a cluster:
  relais dev
  relais submit --follow -- echo hello

Exit codes: 0 ok; 1 the request failed; 2 usage; with --wait or --follow the job's own
(128 + N when killed by signal N; no code: 3 failed, 4 cancelled, 5 timed out or expired);
69 no node reachable; 77 denied."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Start(Box<start::Start>),
    Submit(Box<submit::Submit>),
    Jobs(jobs::Jobs),
    Job(job::Job),
    Logs(logs::Logs),
    Explain(explain::Explain),
    Events(events::Events),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
    Wait(wait::Wait),
    Schedules(schedules::Schedules),
    Nodes(nodes::Nodes),
    Node(node::Node),
    Queues(queues::Queues),
    Cluster(cluster::Cluster),
    Journal(journal::Journal),
    Token(token::Token),
    Drill(drill::Drill),
    Bench(bench::Bench),
    Doctor(doctor::Doctor),
    Top(top::Top),
    Config(config::Config),
    Completion(papers::Completion),
    Man(papers::Man),
}

/// Parses the process's arguments, does what they say and returns the exit code of `api.md`. A node that it starts
/// offers the kinds of `handlers`.
///
/// Must be called outside any async runtime: commands bring their own.
#[must_use]
pub fn main(handlers: Handlers) -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    let end = match command {
        Command::Start(start) => return start.run(handlers),
        other => with_runtime(other),
    };
    match end {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn with_runtime(command: Command) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Local(format!("can't start: {error}; raise the limit on open files")))?;
    let end = runtime.block_on(run(command));
    // A read of standard input can't be called back; the process must not wait for it.
    runtime.shutdown_background();
    end
}

async fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Dev(dev) => dev.run().await,
        Command::Start(_) => unreachable!("main runs it without a runtime"),
        Command::Submit(submit) => submit.run().await,
        Command::Jobs(jobs) => jobs.run().await,
        Command::Job(job) => job.run().await,
        Command::Logs(logs) => logs.run().await,
        Command::Explain(explain) => explain.run().await,
        Command::Events(events) => events.run().await,
        Command::Cancel(cancel) => cancel.run().await,
        Command::Retry(retry) => retry.run().await,
        Command::Wait(wait) => wait.run().await,
        Command::Schedules(schedules) => schedules.run().await,
        Command::Nodes(nodes) => nodes.run().await,
        Command::Node(node) => node.run().await,
        Command::Queues(queues) => queues.run().await,
        Command::Cluster(cluster) => cluster.run().await,
        Command::Journal(journal) => journal.run().await,
        Command::Token(token) => token.run().await,
        Command::Drill(drill) => drill.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Doctor(doctor) => doctor.run().await,
        Command::Top(top) => top.run().await,
        Command::Config(config) => config.run(),
        Command::Completion(completion) => completion.run(),
        Command::Man(man) => man.run(),
    }
}

#[cfg(test)]
mod tests;
