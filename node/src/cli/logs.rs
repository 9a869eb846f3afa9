//! `relais logs`: a job's output, as far as there is any, or followed to its end.
//!
//! What the job wrote to its standard output goes to ours, its standard error to ours.

pub(crate) mod follow;
mod frame;

use super::client::{Call, Client};
use super::failure::Failure;
use super::job_ref::JobRef;
use super::query::Query;
use super::remote::Remote;
use super::screen::Screen;
use super::wait::unless_interrupted;
use follow::Follow;

/// Show a job's output
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais logs last
  relais logs -f 01963a0c
  relais logs 01963a0c --stream stderr --attempt 1 > errors.txt")]
pub(crate) struct Logs {
    /// The job: its id, the beginning of it, or `last`
    id: JobRef,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    remote: Remote,
}

/// Which part of the output.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Selection {
    /// Only this stream
    #[arg(long, value_parser = ["stdout", "stderr"])]
    pub(crate) stream: Option<String>,
    /// Of this attempt; without it, of the latest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,
    /// From this byte on
    #[arg(long, value_name = "BYTES")]
    pub(crate) offset: Option<u64>,
    /// Only the end
    #[arg(long, value_name = "BYTES", conflicts_with = "offset")]
    pub(crate) tail: Option<u64>,
}

impl Logs {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let id = self.id.resolve(&client).await?;
        if self.follow {
            let mut follow = Follow::new(&id, &self.selection);
            let end = unless_interrupted(follow.run(&client, screen)).await;
            return end.map_or(Ok(super::failure::EXIT_INTERRUPTED), |end| end.map(|_| 0));
        }
        let streams = match self.selection.stream.as_deref() {
            Some("stdout") => &["stdout"][..],
            Some(_) => &["stderr"][..],
            None => &["stdout", "stderr"][..],
        };
        let mut any = false;
        for stream in streams {
            any |= self.print(&client, screen, &id, stream).await?;
        }
        if !any {
            screen.note("no output yet; `relais logs -f` goes on until the job has ended");
        }
        Ok(0)
    }

    async fn print(&self, client: &Client, screen: Screen, id: &str, stream: &str) -> Result<bool, Failure> {
        let of_stream = Selection { stream: Some(stream.to_owned()), ..self.selection.clone() };
        let answer = client.call(&Call::read(of_stream.query().path(&format!("/v1/jobs/{id}/logs")))).await?;
        if stream == "stdout" {
            screen.bytes(&answer.body)?;
        } else {
            screen.error_bytes(&answer.body)?;
        }
        Ok(!answer.body.is_empty())
    }
}

impl Selection {
    /// The query that asks for it.
    pub(crate) fn query(&self) -> Query {
        let mut query = Query::new();
        if let Some(stream) = &self.stream {
            query.append_pair("stream", stream);
        }
        let numbers = [("attempt", self.attempt.map(u64::from)), ("offset", self.offset), ("tail", self.tail)];
        for (key, value) in numbers {
            if let Some(value) = value {
                query.append_pair(key, &value.to_string());
            }
        }
        query
    }
}
