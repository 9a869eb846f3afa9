//! `relais schedules`: what is to be submitted again and again, and what became of it.

mod view;

use super::client::{Call, Client};
use super::failure::Failure;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::submit::input::Input;
use super::submit::spec::Flags;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Submit jobs at times of a cron text
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais schedules set nightly --cron '0 30 2 * * *' --time-zone Europe/Paris -- python3 report.py
  relais schedules set tick --cron '*/10 * * * * *' --overlap forbid -f job.json
  relais schedules ls
  relais schedules trigger nightly")]
pub(crate) struct Schedules {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List schedules, and when each is due
    #[command(after_help = "Example:\n  relais schedules ls -o json")]
    Ls,
    /// Show a schedule and what became of its last slots
    #[command(after_help = "Example:\n  relais schedules show nightly")]
    Show {
        /// Its name
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
    },
    /// Set a schedule, new or in the place of the one of its name
    #[command(after_help = "\
The cron text is `minute hour day month weekday`, with seconds before them if need be.

Examples:
  relais schedules set nightly --cron '0 30 2 * * *' --time-zone Europe/Paris -- python3 report.py
  relais schedules set tick --cron '*/10 * * * * *' --missed once -f job.json")]
    Set(Box<Set>),
    /// Forget schedules; their jobs stay
    #[command(after_help = "Example:\n  relais schedules rm nightly")]
    Rm(Names),
    /// Let schedules rest
    #[command(after_help = "Example:\n  relais schedules pause nightly")]
    Pause(Names),
    /// Let schedules that rest go on, from now
    #[command(after_help = "Example:\n  relais schedules resume nightly")]
    Resume(Names),
    /// Submit the job of a schedule now, beside its slots
    #[command(after_help = "Example:\n  relais schedules trigger nightly")]
    Trigger {
        /// Its name
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
    },
}

#[derive(clap::Args)]
struct Names {
    /// The schedules
    #[arg(required = true, value_name = "NAME", value_parser = name)]
    names: Vec<String>,
}

#[derive(clap::Args)]
struct Set {
    /// Its name: a-z 0-9 . _ -
    #[arg(value_name = "NAME", value_parser = name)]
    schedule: String,
    /// When it is due
    #[arg(long, value_name = "TEXT")]
    cron: String,
    /// The time zone that the cron text is read in, like Europe/Paris (else UTC)
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What becomes of times at which nobody could submit (else skip)
    #[arg(long, value_parser = ["skip", "once", "all"])]
    missed: Option<String>,
    /// What becomes of a time while an earlier job has not ended (else allow)
    #[arg(long, value_parser = ["allow", "forbid", "replace"])]
    overlap: Option<String>,
    #[command(flatten)]
    spec: Flags,
    /// The job's spec as JSON; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["spec_flags", "command"])]
    file: Option<PathBuf>,
    /// The command and its arguments, run as they are, without a shell
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "file")]
    command: Vec<String>,
}

impl Schedules {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        match self.command {
            Command::Ls => list(screen, &client).await?,
            Command::Show { name } => show(screen, &client, &name).await?,
            Command::Set(set) => set.run(screen, &client).await?,
            Command::Rm(Names { names }) => {
                for name in names {
                    let answer = client.call(&Call::delete(format!("/v1/schedules/{name}"))).await?;
                    match screen.format {
                        Format::Json | Format::Jsonl => screen.json(&answer)?,
                        Format::Quiet => screen.line(&name)?,
                        Format::Table => screen.line(&format!("{name} is removed; its jobs stay"))?,
                    }
                }
            }
            Command::Pause(Names { names }) => each(screen, &client, &names, "pause", "rests").await?,
            Command::Resume(Names { names }) => each(screen, &client, &names, "resume", "goes on").await?,
            Command::Trigger { name } => trigger(screen, &client, &name).await?,
        }
        Ok(0)
    }
}

impl Set {
    async fn run(&self, screen: Screen, client: &Client) -> Result<(), Failure> {
        let job = match &self.file {
            None => self.spec.json(&self.command)?,
            Some(path) => match Input::read(path)? {
                Input::One(text) => serde_json::from_str(&text).map_err(|error| Failure::not_understood(&error))?,
                Input::Many(jobs) => {
                    return Err(Failure::Usage(format!(
                        "{} holds {} jobs; a schedule has one, give a file with one job spec",
                        path.display(),
                        jobs.len()
                    )));
                }
            },
        };
        let mut body = json!({ "cron": self.cron, "job": job });
        let given = [("time_zone", &self.time_zone), ("missed", &self.missed), ("overlap", &self.overlap)];
        for (field, value) in given {
            if let Some(value) = value {
                body[field] = Value::from(value.as_str());
            }
        }
        let answer = client.call(&Call::put(format!("/v1/schedules/{}", self.schedule), body.to_string())).await?;
        match screen.format {
            Format::Json | Format::Jsonl => screen.json(&answer),
            Format::Quiet => screen.line(&self.schedule),
            Format::Table => {
                let schedule: view::Schedule = answer.json()?;
                let next = schedule.next.first().map_or("never", String::as_str);
                screen.line(&format!("{} is due next at {next}", self.schedule))
            }
        }
    }
}

async fn list(screen: Screen, client: &Client) -> Result<(), Failure> {
    let answer = client.call(&Call::read("/v1/schedules")).await?;
    match screen.format {
        Format::Json => screen.json(&answer),
        Format::Jsonl => screen.rows(&answer, "schedules"),
        Format::Quiet => view::schedules(&answer)?.iter().try_for_each(|schedule| screen.line(&schedule.name)),
        Format::Table => view::print_all(screen, &answer),
    }
}

async fn show(screen: Screen, client: &Client, name: &str) -> Result<(), Failure> {
    let answer = client.call(&Call::read(format!("/v1/schedules/{name}"))).await?;
    match screen.format {
        Format::Json | Format::Jsonl => return screen.json(&answer),
        Format::Quiet => return screen.line(name),
        Format::Table => {}
    }
    let firings = client.call(&Call::read(format!("/v1/schedules/{name}/firings"))).await?;
    view::print_one(screen, &answer, &firings)
}

async fn each(screen: Screen, client: &Client, names: &[String], verb: &str, said: &str) -> Result<(), Failure> {
    for name in names {
        // Doing it twice is doing it once; but a POST is not repeated by itself.
        let answer = client.call(&Call::post(format!("/v1/schedules/{name}:{verb}"), "{}")).await?;
        match screen.format {
            Format::Json | Format::Jsonl => screen.json(&answer)?,
            Format::Quiet => screen.line(name)?,
            Format::Table => screen.line(&format!("{name} {said}"))?,
        }
    }
    Ok(())
}

async fn trigger(screen: Screen, client: &Client, name: &str) -> Result<(), Failure> {
    let answer = client.call(&Call::post(format!("/v1/schedules/{name}:trigger"), "{}")).await?;
    let job: super::view::Job = answer.json()?;
    match screen.format {
        Format::Json | Format::Jsonl => screen.json(&answer),
        Format::Table if screen.terminal => {
            screen.line(&format!("{} submitted", job.id))?;
            screen.note(&format!("relais logs -f {}", job.id));
            Ok(())
        }
        Format::Quiet | Format::Table => screen.line(&job.id),
    }
}

fn name(text: &str) -> Result<String, String> {
    relais_protocol::schedule::ScheduleName::parse(text).map(|name| name.to_string())
}
