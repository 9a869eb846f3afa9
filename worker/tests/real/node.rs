//! What the tests share: a stand-in for a node with a spawner, an output store and a work folder.

use relais_protocol::ids::{Epoch, Fence, JobId};
use relais_protocol::time::UnixMs;
use relais_worker::executor::{Clock, Ended, Exec, Executors, Grace, Stop, Task};
use relais_worker::output::{Limits, Output};
use relais_worker::spawner::Spawner;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The binary that stands in for `relais`.
pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_relais-worker-probe");

/// How long a condition may take to become true before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Job ids are unique over all nodes, as real ones are: a spawner finds a job's strays by them.
static NEXT_JOB: AtomicU64 = AtomicU64::new(1);

/// A node without the rest of it.
pub(crate) struct Node {
    pub(crate) executors: Executors,
    pub(crate) spawner: Spawner,
    pub(crate) output: Output,
    pub(crate) folder: tempfile::TempDir,
}

/// A clock that moves by a millisecond each time it is read.
pub(crate) fn clock() -> Clock {
    let now = AtomicU64::new(1_000);
    Arc::new(move || UnixMs(now.fetch_add(1, Ordering::Relaxed)))
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with_grace(Duration::from_millis(300))
    }

    pub(crate) fn with_grace(grace: Duration) -> Self {
        // Whoever comes second finds it installed.
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start(PROBE.into(), vec!["__spawner".to_owned()]).unwrap();
        let exec = Exec::new(spawner.clone(), clock()).with_grace(Grace(grace));
        let executors = Executors::standard(clock(), spawner.clone()).with("exec", Arc::new(exec));
        let output = Output::with_limits(folder.path().join("output"), Limits::default()).unwrap();
        Self { executors, spawner, output, folder }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A path outside the work folder for what a test's processes write.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn task(&self, kind: &str, payload: Value) -> Task {
        let job = JobId(u128::from(NEXT_JOB.fetch_add(1, Ordering::Relaxed)));
        Task {
            job,
            fence: Fence::new(Epoch(1), 1),
            attempt: 1,
            kind: kind.to_owned(),
            payload,
            timeout_ms: None,
            node_name: "n1".to_owned(),
            extra_env: Vec::new(),
            work_dir: self.work(),
            leased: false,
            output: self.output.capture(job, 1),
            progress: None,
        }
    }

    pub(crate) fn shell(&self, script: &str) -> Task {
        self.task("exec", json!({"command": ["sh", "-c", script]}))
    }

    /// Runs a task that nobody stops.
    pub(crate) async fn run(&self, task: Task) -> Ended {
        let (_sender, stop) = watch::channel(None);
        self.executors.run(task, stop).await
    }

    /// Begins a task in the background; it is stopped through the sender.
    pub(crate) fn begin(&self, task: Task) -> (tokio::task::JoinHandle<Ended>, watch::Sender<Option<Stop>>) {
        let (sender, stop) = watch::channel(None);
        let executors = self.executors.clone();
        (tokio::spawn(async move { executors.run(task, stop).await }), sender)
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "still not so: {what}");
}

/// The numbers in a file that processes append their ids to, one a line.
pub(crate) fn pids(path: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process runs: one that has ended and was not waited for does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat[stat.rfind(')').unwrap() + 1..].split_ascii_whitespace().next().unwrap().to_owned();
    !matches!(state.as_str(), "Z" | "X")
}
