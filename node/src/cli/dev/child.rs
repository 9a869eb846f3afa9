//! One process of dev: its start, its lines with a prefix, its end. What to do about an end is decided in
//! [`super::fleet`].

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LAST_LINES: usize = 8;
const LINE_BYTES_MAX: usize = 8 << 10;
/// A grandchild may hold the output open; the end of the node is told nevertheless.
const DRAIN_LIMIT: Duration = Duration::from_millis(300);

/// A running process. Dropping it kills the process.
pub(crate) struct Child {
    /// The process id, for people; signals go through [`Child::signal`].
    pub(crate) pid: u32,
    orders: UnboundedSender<Signal>,
}

/// The end of a process.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Which node, by its place in the plan.
    pub(crate) node: usize,
    /// Its process id.
    pub(crate) pid: u32,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it said last.
    pub(crate) last_lines: Vec<String>,
}

impl Child {
    /// Starts `command` for node number `node`. Its lines go to our standard error behind `prefix`, its end
    /// goes to `exits`. Its standard input stays open for as long as this process lives.
    ///
    /// # Errors
    /// The system's, when it can't be started.
    pub(crate) fn start(
        mut command: Command,
        node: usize,
        prefix: &str,
        exits: UnboundedSender<Exit>,
    ) -> std::io::Result<Self> {
        // A group of its own: Ctrl-C at the terminal is for dev, which then stops the nodes in good order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let pid = process.id().unwrap_or_default();
        let lines = Arc::new(Mutex::new(VecDeque::with_capacity(LAST_LINES)));
        let mut readers = Vec::new();
        readers.extend(process.stdout.take().map(|out| read(out, prefix, &lines)));
        readers.extend(process.stderr.take().map(|out| read(out, prefix, &lines)));
        let (orders, taken) = unbounded_channel();
        tokio::spawn(async move {
            let lifeline = process.stdin.take();
            let status = attend(&mut process, taken).await;
            drop(lifeline);
            for reader in readers {
                drop(timeout(DRAIN_LIMIT, reader).await);
            }
            let last_lines = lines.lock().iter().cloned().collect();
            // Nobody listens any more when dev itself is ending.
            drop(exits.send(Exit { node, pid, status, last_lines }));
        });
        Ok(Self { pid, orders })
    }

    /// Sends it a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.orders.send(signal);
    }
}

/// Waits for the end. Only here is the process signalled, where it is known not to be reaped yet.
async fn attend(process: &mut tokio::process::Child, mut orders: UnboundedReceiver<Signal>) -> ExitStatus {
    loop {
        let order = tokio::select! {
            status = process.wait() => return status.unwrap_or_else(|_| ExitStatus::from_raw(0)),
            order = orders.recv() => order.unwrap_or(Signal::SIGKILL),
        };
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // It may end at this very moment, which is what was wanted.
            let _ = kill(Pid::from_raw(pid), order);
        }
        if orders.is_closed() {
            return process.wait().await.unwrap_or_else(|_| ExitStatus::from_raw(0));
        }
    }
}

fn read(
    out: impl AsyncRead + Unpin + Send + 'static,
    prefix: &str,
    last: &Arc<Mutex<VecDeque<String>>>,
) -> JoinHandle<()> {
    let (prefix, last) = (prefix.to_owned(), Arc::clone(last));
    tokio::spawn(async move {
        let mut out = BufReader::new(out);
        let mut line = Vec::new();
        while let Ok(true) = next_line(&mut out, &mut line).await {
            let text = String::from_utf8_lossy(&line).into_owned();
            eprintln!("{prefix}{text}");
            let mut last = last.lock();
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(text);
        }
    })
}

/// Reads one line without its end, cut at a bound; `false` at the end of the output.
async fn next_line(out: &mut (impl AsyncBufReadExt + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let available = out.fill_buf().await?;
        if available.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        let room = LINE_BYTES_MAX.saturating_sub(line.len()).min(piece.len());
        line.extend_from_slice(&piece[..room]);
        let taken = end.map_or(available.len(), |end| end + 1);
        out.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

impl Exit {
    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(number)) => match Signal::try_from(number) {
                Ok(signal) => format!("was killed by signal {number} ({signal})"),
                Err(_) => format!("was killed by signal {number}"),
            },
            (None, None) => "ended".to_owned(),
        }
    }
}
