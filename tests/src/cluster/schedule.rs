//! Schedules of a cluster: set and asked for over HTTP, and their jobs by slot.

use super::Node;
use super::wait::until;
use relais_protocol::ids::JobId;
use relais_protocol::time::UnixMs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a request may be tried while the dispatcher changes.
const TRIED: Duration = Duration::from_secs(20);

/// The body of a schedule whose jobs bear its name.
#[must_use]
pub fn body(name: &str, cron: &str, missed: &str, overlap: &str, payload: &Value) -> Value {
    let job = json!({"kind": "noop", "name": name, "payload": payload});
    json!({"cron": cron, "missed": missed, "overlap": overlap, "job": job})
}

impl Node {
    /// Sets a schedule.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn set_schedule(&self, name: &str, body: &Value) {
        let path = format!("/v1/schedules/{name}");
        until("a schedule to be set", TRIED, || {
            let answer = self.ask("PUT", &path, &body.to_string())?;
            assert!(answer.status < 400 || answer.status == 503, "{name}: {}", answer.text());
            (answer.status < 300).then_some(())
        });
    }

    /// Pauses a schedule, or lets it go on.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn pause_schedule(&self, name: &str, on: bool) {
        let path = format!("/v1/schedules/{name}:{}", if on { "pause" } else { "resume" });
        until("a schedule to be paused or resumed", TRIED, || {
            self.ask("POST", &path, "").filter(|answer| answer.status == 200).map(drop)
        });
    }

    /// A schedule as the API shows it.
    ///
    /// # Panics
    /// When it can't be read.
    #[must_use]
    pub fn schedule(&self, name: &str) -> Value {
        until("a schedule", TRIED, || self.read(&format!("/v1/schedules/{name}")))
    }

    /// How often a schedule came to `what`: `fired`, `skipped`, `missed`, …
    ///
    /// # Panics
    /// When it can't be read.
    #[must_use]
    pub fn schedule_count(&self, name: &str, what: &str) -> u64 {
        self.schedule(name)["counts"][what].as_u64().unwrap_or_else(|| panic!("{name} has no count of {what}"))
    }

    /// Deletes the jobs of a schedule, each as soon as it has ended.
    ///
    /// # Panics
    /// When one does not end.
    pub fn forget_jobs(&self, name: &str) {
        for job in self.jobs().iter().filter(|job| job.name.as_deref() == Some(name)) {
            until("a job to end and be deleted", TRIED, || {
                let answer = self.ask("DELETE", &format!("/v1/jobs/{}", job.id), "")?;
                matches!(answer.status, 200 | 204 | 404).then_some(())
            });
        }
    }

    /// How many jobs each slot of a schedule has made.
    ///
    /// # Panics
    /// When the jobs can't be read.
    #[must_use]
    pub fn slots(&self, name: &str) -> BTreeMap<UnixMs, usize> {
        let mut slots = BTreeMap::new();
        for job in self.jobs().iter().filter(|job| job.name.as_deref() == Some(name)) {
            let id: JobId = job.id.parse().expect("a job has an id");
            *slots.entry(UnixMs(id.unix_ms())).or_default() += 1;
        }
        slots
    }
}

/// All seconds from the first slot to the last one: those that have no job, and those with more than one.
#[must_use]
pub fn seconds_amiss(slots: &BTreeMap<UnixMs, usize>) -> (Vec<UnixMs>, Vec<UnixMs>) {
    let (Some((first, _)), Some((last, _))) = (slots.first_key_value(), slots.last_key_value()) else {
        return (Vec::new(), Vec::new());
    };
    let all = (first.0..=last.0).step_by(1_000).map(UnixMs);
    let twice = slots.iter().filter(|(_, jobs)| **jobs > 1).map(|(slot, _)| *slot).collect();
    (all.filter(|slot| !slots.contains_key(slot)).collect(), twice)
}
