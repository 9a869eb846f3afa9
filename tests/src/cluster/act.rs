//! What tests do to a cluster again and again: requests until they are carried out, jobs that end when the test
//! says so, and failovers.

use super::{Cluster, Options};
use serde_json::{Value, json};
use std::path::PathBuf;

impl Options {
    /// `count` nodes with so many slots; each has the label `node` of its own name ([`Cluster::only_on`]).
    #[must_use]
    pub fn labelled(count: usize, slots: u32) -> Self {
        let label = |number: usize| (number, "RELAIS_LABELS", format!("node=n{}", number + 1));
        Self { slots, env: (0..count).map(label).collect(), ..Self::default() }
    }
}

/// A file that jobs wait for.
#[derive(Clone, Debug)]
pub struct Gate(PathBuf);

impl Gate {
    /// The payload of an `exec` job that runs until the gate is open, and then the rest of a shell script.
    #[must_use]
    pub fn payload(&self, then: &str) -> Value {
        let script = format!("while [ ! -e '{}' ]; do sleep 0.02; done; {then}", self.0.display());
        json!({"command": ["sh", "-c", script]})
    }

    /// Where it is: open as soon as there is a file.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// Opens it.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn open(&self) {
        std::fs::write(&self.0, "").expect("a gate can be opened");
    }
}

impl Cluster {
    /// A gate of this name, shut.
    #[must_use]
    pub fn gate(&self, name: &str) -> Gate {
        Gate(self.folder().join(format!("{name}.gate")))
    }

    /// What a job `requires` to run on one node of [`Options::labelled`] only.
    #[must_use]
    pub fn only_on(&self, number: usize) -> Value {
        json!({"labels": {"node": self.nodes[number].name}})
    }

    /// Asks the running nodes in turn until one says that it was done: for what may be done twice.
    ///
    /// # Panics
    /// When it is refused, or not done in time.
    pub fn insist(&self, method: &str, target: &str, body: &Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.until(&format!("{method} {target}"), |cluster| {
            cluster.running().into_iter().find_map(|number| {
                let answer = cluster.nodes[number].ask(method, target, &text)?;
                assert!(answer.status < 400 || answer.status >= 500, "{method} {target}: {}", answer.text());
                (answer.status < 300).then(|| answer.json())
            })
        })
    }

    /// A job as the API shows it, from whichever node answers first.
    ///
    /// # Panics
    /// When none does in time.
    #[must_use]
    pub fn row(&self, id: &str) -> Value {
        self.insist("GET", &format!("/v1/jobs/{id}"), &Value::Null)
    }

    /// Waits until a job is as it is wanted.
    ///
    /// # Panics
    /// When that does not come about in time.
    pub fn await_row(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let seen = super::wait::look_for(super::WHOLE_LIMIT, || {
            last = self.row(id);
            wanted(&last).then_some(())
        });
        assert!(seen.is_some(), "waited in vain for a job to be {what}: {last}");
        last
    }

    /// Waits until a job is in a state.
    ///
    /// # Panics
    /// When that does not come about in time.
    pub fn await_state(&self, id: &str, state: &str) -> Value {
        self.await_row(id, state, |row| row["state"] == state)
    }

    /// Submits jobs in one batch; their ids.
    ///
    /// # Panics
    /// When one of them is not taken.
    #[must_use]
    pub fn submit_all(&self, specs: &[Value]) -> Vec<String> {
        let answer = self.insist("POST", "/v1/jobs:batch", &Value::from(specs.to_vec()));
        let results = answer["results"].as_array().expect("results of a batch");
        let id = |result: &Value| {
            assert_eq!(result["status"], 201, "{result}");
            result["id"].as_str().expect("an id").to_owned()
        };
        results.iter().map(id).collect()
    }

    /// Kills the dispatcher, waits until another has the role, starts the killed one again, and waits until all is
    /// whole: who was killed, and who follows.
    ///
    /// # Panics
    /// When that does not come about in time.
    pub fn fail_over(&mut self) -> (usize, usize) {
        let (old, epoch) = self.dispatcher();
        self.nodes[old].kill();
        let (next, _) = self.successor(old, epoch);
        self.nodes[old].start();
        self.await_whole();
        (old, next)
    }
}
