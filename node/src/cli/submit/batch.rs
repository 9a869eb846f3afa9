//! Many jobs at once: in pieces that the API takes, each under a key of its own made from the user's.
//!
//! The first piece has the key itself, piece *n* (from 1) `KEY.n`: the same file sent again under the same
//! key makes no second job.

use crate::cli::client::{Answer, Call, Client};
use crate::cli::failure::{Failure, Refusal};
use crate::cli::progress::Progress;
use crate::cli::screen::{Format, Screen};
use crate::cli::wait;
use futures::stream::{self, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::ops::Range;

const PIECE_JOBS_MAX: usize = 10_000;
const PIECE_BYTES_MAX: usize = 16 << 20;
const WAITS_AT_ONCE: usize = 16;

/// Jobs to be handed in, each a JSON object as text.
pub(crate) struct Batch {
    /// The jobs, in order.
    pub(crate) jobs: Vec<String>,
    /// The key of them all.
    pub(crate) key: String,
    /// Wait until all have ended.
    pub(crate) wait: bool,
    /// With a line that shows how it goes.
    pub(crate) progress: bool,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    id: Option<String>,
    problem: Option<Value>,
}

/// What the nodes said so far.
#[derive(Default)]
struct Said {
    rows: Vec<String>,
    ids: Vec<String>,
    refused: usize,
}

impl Batch {
    /// Hands all in, says what came of each, and waits if told to.
    ///
    /// # Errors
    /// When a piece is refused as a whole or no node takes it; what went before is accepted, and says so.
    pub(crate) async fn run(self, client: &Client, screen: Screen) -> Result<u8, Failure> {
        let pieces = pieces(&self.jobs)?;
        let mut said = Said::default();
        let bar = self.bar(screen, self.jobs.len());
        for (number, piece) in pieces.iter().enumerate() {
            let answer = self.send(client, number, piece).await.inspect_err(|_| {
                self.tell_half_done(&said);
            })?;
            said.take(&answer, piece.start)?;
            if let Some(bar) = &bar {
                bar.at(said.rows.len() as u64, "submitted");
            }
        }
        drop(bar);
        said.tell(screen, self.wait)?;
        let refused = u8::from(said.refused > 0);
        if !self.wait || said.ids.is_empty() {
            return Ok(refused);
        }
        let code = self.wait_for(client, screen, &said.ids).await?;
        Ok(if refused == 0 { code } else { refused })
    }

    fn bar(&self, screen: Screen, total: usize) -> Option<Progress> {
        self.progress.then(|| Progress::towards(screen, total as u64))
    }

    async fn send(&self, client: &Client, number: usize, piece: &Range<usize>) -> Result<Answer, Failure> {
        let key = if number == 0 { self.key.clone() } else { format!("{}.{number}", self.key) };
        // A big piece takes longer to commit than a job does, but not longer than a poll may.
        let body = format!("[{}]", self.jobs[piece.clone()].join(","));
        client.call(&Call::post("/v1/jobs:batch", body).keyed(key).polling(client.patience())).await
    }

    fn tell_half_done(&self, said: &Said) {
        if !said.rows.is_empty() {
            eprintln!(
                "relais: {} of {} jobs were answered before this failed; the same file with `--key {}` goes on, \
                 and makes no job twice",
                said.rows.len(),
                self.jobs.len(),
                self.key
            );
        }
    }

    async fn wait_for(&self, client: &Client, screen: Screen, ids: &[String]) -> Result<u8, Failure> {
        let mut ends = stream::iter(ids).map(|id| wait::until_end(client, id)).buffered(WAITS_AT_ONCE);
        let bar = self.bar(screen, ids.len());
        let mut done = 0;
        let mut failed = 0;
        let mut code = 0;
        loop {
            let Some(next) = wait::unless_interrupted(ends.next()).await else {
                eprintln!("\nrelais: {} jobs go on; `relais jobs` lists them", ids.len() - done);
                return Ok(crate::cli::failure::EXIT_INTERRUPTED);
            };
            let Some(end) = next else { break };
            let (_, job) = end?;
            done += 1;
            let own = wait::exit_code(&job);
            if own != 0 {
                failed += 1;
                code = if code == 0 { own } else { code };
                match &bar {
                    Some(bar) => bar.aside(|| wait::tell_error(&job)),
                    None => wait::tell_error(&job),
                }
            }
            if let Some(bar) = &bar {
                bar.at(done as u64, &format!("ended, {failed} without success"));
            }
        }
        drop(bar);
        screen.note(&format!("{done} jobs ended, {failed} without success"));
        Ok(code)
    }
}

impl Said {
    fn take(&mut self, answer: &Answer, first: usize) -> Result<(), Failure> {
        let not_understood = |error: serde_json::Error| Failure::not_understood(&error);
        let body: Results<'_> = serde_json::from_slice(&answer.body).map_err(not_understood)?;
        for (index, row) in body.results.iter().enumerate() {
            let item: Item = serde_json::from_str(row.get()).map_err(not_understood)?;
            match item.id {
                Some(id) if item.status < 300 => self.ids.push(id),
                _ => {
                    self.refused += 1;
                    let problem = item.problem.unwrap_or(Value::Null).to_string();
                    let cause = Refusal::of(item.status, problem.as_bytes()).cause();
                    eprintln!("relais: job {} (from 0) is refused: {cause}", first + index);
                }
            }
            self.rows.push(row.get().to_owned());
        }
        Ok(())
    }

    fn tell(&self, screen: Screen, waits: bool) -> Result<(), Failure> {
        match screen.format {
            Format::Json => screen.line(&format!("{{\"results\":[{}]}}", self.rows.join(",")))?,
            Format::Jsonl => self.rows.iter().try_for_each(|row| screen.raw(row))?,
            Format::Table if screen.terminal => {
                screen.line(&format!("{} jobs submitted, {} refused", self.ids.len(), self.refused))?;
                if !waits {
                    screen.note("relais jobs");
                }
            }
            Format::Quiet | Format::Table => screen.bytes(lines(&self.ids).as_bytes())?,
        }
        if self.refused > 0 {
            eprintln!(
                "relais: {} of {} jobs were refused and the others accepted; correct those and submit them alone",
                self.refused,
                self.rows.len()
            );
        }
        Ok(())
    }
}

fn lines(ids: &[String]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

/// Cuts the jobs into pieces of at most 10,000 jobs and 16 MiB as a JSON array.
fn pieces(jobs: &[String]) -> Result<Vec<Range<usize>>, Failure> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut bytes = 2;
    for (index, job) in jobs.iter().enumerate() {
        let more = job.len() + 1;
        if more + 2 > PIECE_BYTES_MAX {
            return Err(Failure::Usage(format!(
                "job {index} (from 0) is longer than 16 MiB; a payload has at most 1 MiB; nothing was submitted"
            )));
        }
        if index - start == PIECE_JOBS_MAX || bytes + more > PIECE_BYTES_MAX {
            pieces.push(start..index);
            start = index;
            bytes = 2;
        }
        bytes += more;
    }
    pieces.push(start..jobs.len());
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_both_limits_and_leave_nothing_out() {
        let small = vec!["{}".to_owned(); 25_000];
        assert_eq!(pieces(&small).unwrap(), [0..10_000, 10_000..20_000, 20_000..25_000]);
        let big = vec!["x".repeat(5 << 20); 7];
        let cut = pieces(&big).unwrap();
        assert_eq!(cut, [0..3, 3..6, 6..7]);
        for piece in cut {
            assert!(format!("[{}]", big[piece].join(",")).len() <= PIECE_BYTES_MAX);
        }
        assert!(matches!(pieces(&["x".repeat(17 << 20)]), Err(Failure::Usage(_))));
    }
}
