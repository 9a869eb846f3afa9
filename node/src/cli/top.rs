//! `relais top`: the cluster at a glance, drawn again every second, on whichever node answers.
//!
//! It only reads, and reads locally (`consistency=local`): watching must not cost the dispatcher anything.

use super::client::{Call, Client};
use super::failure::{Failure, one_line};
use super::remote::{Remote, duration};
use super::screen::{Format, Screen};
use super::time_text::span;
use super::{jobs, nodes, queues, view};
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute};
use std::io::{self, Write};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Below this the nodes have more to do for the watcher than for the jobs.
const EVERY_LEAST: Duration = Duration::from_millis(200);
const JOBS_SHOWN: usize = 50;

/// Watch nodes, queues and running jobs live
#[derive(clap::Args)]
#[command(after_help = "\
Keys: q or Ctrl-C ends it, space holds and goes on. Without a terminal, or with --once, it prints one picture.

Examples:
  relais top
  relais top --every 5s
  relais top --once")]
pub(crate) struct Top {
    /// How often to look
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    every: Duration,
    /// Print one picture and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What was seen last, and what has gone wrong since.
#[derive(Default)]
struct Picture {
    lines: Vec<String>,
    trouble: Option<String>,
    seen: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    End,
    Hold,
    Resized,
}

/// The terminal as it was, when this is dropped.
struct Stage;

impl Top {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        if screen.format != Format::Table {
            return Err(Failure::Usage(
                "top is for people; `relais nodes` and `relais queues` have -o json".to_owned(),
            ));
        }
        let client = self.remote.client()?;
        if self.once || !screen.terminal {
            for line in look(&client, screen).await? {
                screen.line(&line)?;
            }
            return Ok(0);
        }
        let stage = Stage::set()?;
        let end = self.watch(&client, screen).await;
        drop(stage);
        end.map(|()| 0)
    }

    async fn watch(&self, client: &Client, screen: Screen) -> Result<(), Failure> {
        let mut keys = keys();
        let mut picture = Picture::default();
        let mut held = false;
        loop {
            let next = Instant::now() + self.every.max(EVERY_LEAST);
            if !held {
                tokio::select! {
                    seen = look(client, screen) => picture.take(seen),
                    key = keys.recv() => match key {
                        Some(Key::Hold) => held = true,
                        Some(Key::Resized) => {}
                        Some(Key::End) | None => return Ok(()),
                    },
                }
            }
            picture.draw(held)?;
            tokio::select! {
                () = sleep_until(next) => {}
                key = keys.recv() => match key {
                    Some(Key::Hold) => held = !held,
                    Some(Key::Resized) => {}
                    Some(Key::End) | None => return Ok(()),
                },
            }
        }
    }
}

/// The keys that are pressed; the thread that reads them ends with the process.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(8);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let key = match event {
                Event::Resize(..) => Key::Resized,
                Event::Key(key) => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => Key::End,
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::End,
                    KeyCode::Char(' ') => Key::Hold,
                    _ => continue,
                },
                _ => continue,
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

/// One picture: cluster, nodes, queues, running jobs.
async fn look(client: &Client, screen: Screen) -> Result<Vec<String>, Failure> {
    let local = |path: &str| {
        let sign = if path.contains('?') { '&' } else { '?' };
        Call::read(format!("{path}{sign}consistency=local"))
    };
    let cluster: view::Cluster = client.call(&local("/v1/cluster")).await?.json()?;
    let nodes = view::rows::<view::Node>(&client.call(&local("/v1/nodes")).await?, "nodes")?;
    let queues = view::rows::<view::Queue>(&client.call(&local("/v1/queues")).await?, "queues")?;
    let running = client.call(&local(&format!("/v1/jobs?state=running&limit={JOBS_SHOWN}"))).await?;
    let jobs = view::rows::<view::Job>(&running, "jobs")?;
    let mut lines = vec![heading(&cluster, &queues), String::new()];
    lines.extend(nodes::table(screen, &nodes).lines());
    lines.push(String::new());
    if !queues.is_empty() {
        lines.extend(queues::table(screen, &queues).lines());
        lines.push(String::new());
    }
    if jobs.is_empty() {
        lines.push("no job runs".to_owned());
    } else {
        lines.extend(jobs::table(screen, &jobs, running.date).lines());
    }
    Ok(lines)
}

fn heading(cluster: &view::Cluster, queues: &[view::Queue]) -> String {
    let sum = |of: fn(&view::Queue) -> u64| queues.iter().map(of).sum::<u64>();
    let reason = cluster.reason.as_deref().filter(|reason| !reason.is_empty());
    one_line(&format!(
        "{}: {}{}, dispatcher {} (epoch {}), {} of {} nodes online, {} queued, {} running",
        cluster.name.as_deref().unwrap_or(&cluster.id),
        cluster.status,
        reason.map_or_else(String::new, |reason| format!(" ({reason})")),
        cluster.dispatcher.as_deref().unwrap_or("none"),
        cluster.epoch.unwrap_or(0),
        cluster.nodes.online,
        cluster.nodes.registered,
        sum(|queue| queue.queued),
        sum(|queue| queue.running),
    ))
}

impl Picture {
    fn take(&mut self, seen: Result<Vec<String>, Failure>) {
        match seen {
            Ok(lines) => *self = Self { lines, trouble: None, seen: Some(Instant::now()) },
            Err(failure) => self.trouble = Some(failure.to_string()),
        }
    }

    fn draw(&self, held: bool) -> Result<(), Failure> {
        let (_, height) = terminal::size()?;
        let mut out = io::stdout().lock();
        execute!(out, cursor::MoveTo(0, 0))?;
        let room = usize::from(height).saturating_sub(1);
        for line in self.lines.iter().take(room) {
            write!(out, "{line}\x1b[K\r\n")?;
        }
        write!(out, "\x1b[J{}", self.foot(held))?;
        Ok(out.flush()?)
    }

    fn foot(&self, held: bool) -> String {
        let age = self.seen.map(|seen| span(u64::try_from(seen.elapsed().as_millis()).unwrap_or(u64::MAX), false));
        match (&self.trouble, age) {
            (Some(trouble), Some(age)) => one_line(&format!("{age} old: {trouble}")),
            (Some(trouble), None) => one_line(trouble),
            (None, Some(age)) if held => format!("held, {age} old; space goes on, q ends"),
            (None, _) => "space holds, q ends".to_owned(),
        }
    }
}

impl Stage {
    fn set() -> Result<Self, Failure> {
        terminal::enable_raw_mode()?;
        let stage = Self;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The terminal is gone if this fails, and then there is nothing to put back.
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_heading_sums_the_queues() {
        let cluster = json!({"id": "c", "status": "running", "dispatcher": "n1", "epoch": 3,
            "nodes": {"online": 2, "registered": 3}});
        let cluster: view::Cluster = serde_json::from_value(cluster).expect("a cluster");
        let queues = json!([{"name": "a", "queued": 4, "running": 1}, {"name": "b", "queued": 1, "running": 2}]);
        let queues: Vec<view::Queue> = serde_json::from_value(queues).expect("queues");
        let text = "c: running, dispatcher n1 (epoch 3), 2 of 3 nodes online, 5 queued, 3 running";
        assert_eq!(heading(&cluster, &queues), text);
    }

    #[test]
    fn what_was_seen_stays_when_no_node_answers() {
        let mut picture = Picture::default();
        picture.take(Ok(vec!["n1 online".to_owned()]));
        picture.take(Err(Failure::Unreachable(vec!["a:1 (refused)".to_owned()])));
        assert_eq!(picture.lines, ["n1 online"]);
        assert!(picture.foot(false).contains("old: no node reachable: a:1"), "{}", picture.foot(false));
    }
}
