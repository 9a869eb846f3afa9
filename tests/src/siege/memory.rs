//! The memory of a process, as the kernel counts it.

use crate::cluster::Node;

/// Anonymous pages that a process holds: what it allocated, and not the program's own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// In KiB.
    pub kib: u64,
}

impl Memory {
    /// Of a running process.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        Self::of_pid(node.pid()).expect("a process that runs")
    }

    /// Of a process; `None` when it is gone.
    #[must_use]
    pub fn of_pid(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(Self { kib: line.split_whitespace().next()?.parse().ok()? })
    }

    /// In MiB.
    #[must_use]
    pub fn mib(self) -> f64 {
        self.kib as f64 / 1_024.0
    }
}
