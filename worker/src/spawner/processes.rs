//! What the spawner reads and does to processes in the system: children, marks, signals.

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The mark of a job in its environment: the two variables, as `KEY=VALUE`, that name job and fence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Mark {
    job: String,
    fence: String,
}

const JOB_KEY: &str = "RELAIS_JOB_ID";
const FENCE_KEY: &str = "RELAIS_FENCE";

impl Mark {
    /// The mark in an environment, if it has both variables.
    pub(super) fn of<'a>(env: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let (mut job, mut fence) = (None, None);
        for (key, value) in env {
            match key {
                JOB_KEY => job = Some(value.to_owned()),
                FENCE_KEY => fence = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(Self { job: job?, fence: fence? })
    }

    /// The mark that process `pid` was started with; none for a process that is gone, belongs to
    /// another user or cleared its environment.
    pub(super) fn of_process(pid: i32) -> Option<Self> {
        let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let pairs = bytes.split(|b| *b == 0).filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='));
        Self::of(pairs)
    }
}

/// Sends KILL to a process group; an empty or foreign one is no error, there is nothing to do then.
pub(super) fn kill_group(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 1) {
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
    }
}

/// Sends KILL to a process and, if it leads a group, to all of that.
pub(super) fn kill_process(pid: i32) {
    if let Some(process) = Pid::from_raw(pid).filter(|_| pid > 1) {
        if rustix::process::getpgid(Some(process)).ok() == Some(process) {
            kill_group(pid);
        }
        rustix::process::kill_process(process, Signal::KILL).ok();
    }
}

/// Sends a signal by number to a process group; an unknown number or an empty group is ignored.
pub(super) fn signal_group(pid: i32, signal: i32) {
    if let (Some(pid), Some(signal)) = (Pid::from_raw(pid), Signal::from_named_raw(signal)) {
        rustix::process::kill_process_group(pid, signal).ok();
    }
}

/// Whether a process group has a member left, be it one that nobody has waited for yet.
pub(super) fn group_exists(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process_group(pid) != Err(rustix::io::Errno::SRCH))
}

/// A child that has ended but was not waited for, so that its number still belongs to it.
pub(super) enum Ended {
    /// None, and there are children.
    Nothing,
    /// None, and there are no children at all.
    Childless,
    /// This one.
    Child(i32),
    /// One that ended by a real-time signal, which the peek cannot name.
    Unnamed,
}

/// Looks for an ended child without taking it.
pub(super) fn peek_ended() -> Ended {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) {
        Ok(status) => status.pid().map_or(Ended::Nothing, |pid| Ended::Child(pid.as_raw())),
        Err(nix::errno::Errno::ECHILD) => Ended::Childless,
        Err(nix::errno::Errno::EINTR) => Ended::Nothing,
        Err(_) => Ended::Unnamed,
    }
}

/// Takes an ended child: `pid`, or any.
pub(super) fn reap(pid: Option<i32>) -> Option<(i32, WaitStatus)> {
    let taken = match pid {
        Some(pid) => rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::NOHANG),
        None => rustix::process::wait(WaitOptions::NOHANG),
    };
    let (pid, status) = taken.ok()??;
    Some((pid.as_raw_nonzero().get(), status))
}

/// This process's children as the system lists them.
pub(super) struct Children {
    list: Option<File>,
    own_pid: i32,
}

impl Children {
    /// Opens the kernel's list, or falls back to a scan of `/proc` where the kernel keeps none.
    pub(super) fn open() -> Self {
        let own_pid = std::process::id() as i32;
        Self { list: File::open(format!("/proc/self/task/{own_pid}/children")).ok(), own_pid }
    }

    /// The direct children.
    pub(super) fn direct(&self) -> Vec<i32> {
        match self.list.as_ref().map(read_from_start) {
            Some(Ok(text)) => text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
            _ => parents().into_iter().filter(|(_, parent)| *parent == self.own_pid).map(|(pid, _)| pid).collect(),
        }
    }

    /// All descendants, at whatever depth, by a scan of `/proc`.
    pub(super) fn descendants(&self) -> Vec<i32> {
        let parents = parents();
        let is_ours = |pid: i32| {
            let mut at = pid;
            // A chain longer than the table would be a loop made by numbers reused during the scan.
            for _ in 0..parents.len() {
                match parents.get(&at) {
                    Some(parent) if *parent == self.own_pid => return true,
                    Some(parent) => at = *parent,
                    None => return false,
                }
            }
            false
        };
        parents.keys().copied().filter(|pid| is_ours(*pid)).collect()
    }
}

fn read_from_start(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        let count = file.read_at(&mut bytes[length..], length as u64)?;
        if count == 0 {
            bytes.truncate(length);
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        length += count;
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
    }
}

/// Every process of the machine that can be seen.
pub(super) fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Each process and its parent.
fn parents() -> HashMap<i32, i32> {
    let parent = |pid: i32| {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        // The name before it stands in brackets and may itself hold brackets and spaces.
        text[text.rfind(')')? + 1..].split_ascii_whitespace().nth(1)?.parse().ok()
    };
    all().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect()
}
