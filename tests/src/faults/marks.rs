//! What the jobs themselves saw of their executions: each writes marks to one file while it runs.
//!
//! The marks carry the system's up-time, which no node's clock has a part in. An execution that was killed
//! ends with its last mark: it may have lived a little longer, never shorter.

use crate::history::{At, Execution};
use relais_protocol::ids::{Fence, JobId, NodeId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Marks in a second, and the time between two.
const PER_SECOND: u32 = 5;
const PAUSE_S: f64 = 0.2;

/// The file of a scene's marks.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    file: PathBuf,
    /// The up-time at the scene's begin, in ms.
    began: u64,
}

/// The up-time of the system, in ms.
fn uptime() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("the up-time of the system");
    ms(text.split(' ').next().unwrap_or_default()).expect("a number of seconds")
}

fn ms(seconds: &str) -> Option<u64> {
    seconds.parse::<f64>().ok().map(|seconds| (seconds * 1e3) as u64)
}

impl Marks {
    pub(super) fn new(folder: &Path) -> Self {
        Self { file: folder.join("marks"), began: uptime() }
    }

    /// A job of about so many seconds that leaves marks.
    pub(super) fn spec(&self, seconds: u32) -> Value {
        let count = seconds * PER_SECOND;
        let file = self.file.display();
        let mark = format!(
            "m() {{ read up _ < /proc/uptime; echo \"$RELAIS_JOB_ID $RELAIS_FENCE $RELAIS_NODE $up\" >> '{file}'; }}"
        );
        let script = format!("{mark}; m; i=0; while [ $i -lt {count} ]; do sleep {PAUSE_S}; m; i=$((i+1)); done");
        json!({"kind": "exec", "payload": {"command": ["sh", "-c", script]}, "retry": {"max_lost": 100}})
    }

    /// The executions that left marks. `node` numbers a node by its name.
    pub(super) fn executions(&self, node: impl Fn(&str) -> Option<NodeId>) -> Vec<Execution> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut found: BTreeMap<(JobId, Fence, NodeId), (u64, u64)> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut read = || {
                let job = words.next()?.parse().ok()?;
                let fence = Fence(words.next()?.parse().ok()?);
                let node = node(words.next()?)?;
                Some(((job, fence, node), ms(words.next()?)?.saturating_sub(self.began)))
            };
            // The last line of a killed shell may be torn.
            let Some((which, at)) = read() else { continue };
            let span = found.entry(which).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
        let execution = |((job, fence, node), (began, ended)): ((JobId, Fence, NodeId), (u64, u64))| Execution {
            job,
            fence,
            node,
            began: At(began),
            ended: Some(At(ended)),
            lease_over: None,
            outcome: None,
        };
        found.into_iter().map(execution).collect()
    }
}
