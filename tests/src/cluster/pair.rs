//! What a test asks of a pair: its settings, its mode, and who goes on alone.

use super::{Cluster, Node};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

impl Node {
    /// What it says of the cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<Value> {
        self.read("/v1/cluster")
    }

    /// Its generation, as the header of an answer says it.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.ask("GET", "/v1/cluster", "")?.header("relais-generation")?.parse().ok()
    }

    /// Whether it says that there is a dispatcher, which is itself.
    #[must_use]
    pub fn dispatches(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster["dispatcher"] == self.name.as_str())
    }

    /// Changes settings of the cluster.
    ///
    /// # Panics
    /// When they are not taken.
    pub fn set(&self, settings: &Value) {
        let answer = self.ask("PATCH", "/v1/cluster/settings", &settings.to_string());
        let answer = answer.unwrap_or_else(|| panic!("{} does not answer", self.name));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Submits a job that does nothing; the answer.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn submit_noop(&self, key: &str) -> (u16, Value) {
        let spec = json!({"kind": "noop", "payload": {}, "idempotency_key": key});
        let answer = self.ask("POST", "/v1/jobs", &spec.to_string());
        let answer = answer.unwrap_or_else(|| panic!("{} does not answer", self.name));
        (answer.status, answer.json())
    }

    /// Runs `relais` with these arguments against this node.
    ///
    /// # Panics
    /// When it can't be run.
    #[must_use]
    pub fn relais(&self, args: &[&str]) -> Output {
        let mut command = Command::new(super::binary::program());
        command.args(args).env("RELAIS_ADDR", format!("http://{}", self.http)).env("NO_COLOR", "1");
        command.stdin(std::process::Stdio::null()).output().expect("relais can be run")
    }

    /// Journals that were put aside, in its data directory.
    #[must_use]
    pub fn put_aside(&self) -> Vec<String> {
        names(&self.data_dir.join("journal")).into_iter().filter(|name| name != "current").collect()
    }

    /// Exports that were merged, in its data directory.
    #[must_use]
    pub fn exports_done(&self) -> usize {
        names(&self.data_dir).iter().filter(|name| name.starts_with("heal-") && name.ends_with(".done")).count()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

impl Cluster {
    /// Waits until a node goes on alone, and says so.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn await_alone(&self, number: usize) -> Value {
        self.until("a survivor that dispatches alone", |cluster| {
            let node = &cluster.nodes[number];
            node.cluster().filter(|sight| sight["dispatcher"] == node.name.as_str() && sight["generation"] != 0)
        })
    }

    /// Waits until a node says that there is no dispatcher, for a reason with these words.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn await_reason(&self, number: usize, words: &[&str]) -> String {
        self.until("the reason why there is no dispatcher", |cluster| {
            let sight = cluster.nodes[number].cluster()?;
            let reason = sight["reason"].as_str()?.to_owned();
            let told = sight["status"] == "no dispatcher" && words.iter().all(|word| reason.contains(word));
            told.then_some(reason)
        })
    }
}
