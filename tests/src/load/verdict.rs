//! What clients were told, held against what the record says at the end.

use super::Sent;
use crate::cluster::job::Job;
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What is allowed between the clock of a node and that of the test: it is the same one.
const SLACK_MS: u64 = 1_000;

/// A node that was hit on purpose, and while it was away.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its name.
    pub node: String,
    /// When.
    pub from: UnixMs,
    /// When its leases were over at the latest, or it was back.
    pub until: UnixMs,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Jobs that were acknowledged.
    pub acknowledged: usize,
    /// Jobs that never were.
    pub given_up: Vec<String>,
    /// Jobs that were acknowledged and are not in the record.
    pub lost: Vec<String>,
    /// Keys with more than one job.
    pub duplicates: Vec<String>,
    /// Jobs that are not over.
    pub open: Vec<String>,
    /// Jobs that ended otherwise than well.
    pub failed: Vec<String>,
    /// Attempts that were ended or begun anew although their node was well.
    pub restarted: Vec<String>,
    /// Attempts that were lost with their node.
    pub lost_attempts: usize,
    /// Of them, those whose job went on at another node.
    pub retried_elsewhere: usize,
    /// Jobs that were sent more than once.
    pub sent_again: usize,
}

impl Verdict {
    /// Judges.
    #[must_use]
    pub fn of(sent: &[Sent], jobs: &[Job], hits: &[Hit]) -> Self {
        let mut verdict = Self::default();
        let mut by_key: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
        for job in jobs {
            by_key.entry(job.key.as_deref().unwrap_or_default()).or_default().push(job);
        }
        for sent in sent {
            let here = by_key.get(sent.key.as_str()).map_or(&[][..], Vec::as_slice);
            verdict.judge_sent(sent, here);
            here.iter().for_each(|job| verdict.judge_job(job, hits));
        }
        verdict
    }

    fn judge_sent(&mut self, sent: &Sent, here: &[&Job]) {
        self.sent_again += usize::from(sent.tries > 1);
        match &sent.acked {
            Some((_, id, _)) => {
                self.acknowledged += 1;
                if !here.iter().any(|job| job.id == *id) {
                    self.lost.push(format!("{} as {id}", sent.key));
                }
            }
            None => self.given_up.push(format!("{}: {:?}", sent.key, sent.troubles.last())),
        }
        if here.len() > 1 {
            self.duplicates.push(format!("{}: {here:?}", sent.key));
        }
    }

    fn judge_job(&mut self, job: &Job, hits: &[Hit]) {
        if !job.has_ended() {
            self.open.push(format!("{job:?}"));
        } else if job.state != "succeeded" {
            self.failed.push(format!("{job:?}"));
        }
        for (place, attempt) in job.attempts.iter().enumerate() {
            if attempt.outcome.as_deref() == Some("succeeded") || (attempt.outcome.is_none() && !job.has_ended()) {
                continue;
            }
            let ended = attempt.finished_at.unwrap_or(attempt.started_at);
            let excused = hits.iter().any(|hit| {
                hit.node == attempt.node
                    && ended.plus(SLACK_MS) >= hit.from
                    && attempt.started_at <= hit.until.plus(SLACK_MS)
            });
            if !excused {
                self.restarted.push(format!("{job:?}"));
            } else if attempt.outcome.as_deref() == Some("lost") {
                self.lost_attempts += 1;
                let next = job.attempts.get(place + 1);
                self.retried_elsewhere += usize::from(next.is_some_and(|next| next.node != attempt.node));
            }
        }
    }

    /// Checks that nothing is lost, doubled, open, failed or restarted.
    ///
    /// # Panics
    /// With the first few examples of what is.
    pub fn assert_flawless(&self) {
        let flaws = [
            ("acknowledged and not in the record", &self.lost),
            ("keys with more than one job", &self.duplicates),
            ("never acknowledged", &self.given_up),
            ("not over", &self.open),
            ("not succeeded", &self.failed),
            ("restarted although their node was well", &self.restarted),
        ];
        for (what, jobs) in flaws {
            assert!(jobs.is_empty(), "{} jobs {what}, like {:#?}", jobs.len(), &jobs[..jobs.len().min(3)]);
        }
        assert!(self.acknowledged > 0, "no job was acknowledged: nothing was shown");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged {}, lost {}, never acknowledged {}, duplicates {}, open {}, failed {}, attempts on surviving nodes \
             restarted {}, attempts lost with their node {}, of them retried elsewhere {}, jobs sent more than once {}",
            self.acknowledged,
            self.lost.len(),
            self.given_up.len(),
            self.duplicates.len(),
            self.open.len(),
            self.failed.len(),
            self.restarted.len(),
            self.lost_attempts,
            self.retried_elsewhere,
            self.sent_again
        )
    }
}

/// The times for which clients had to wait, over some rounds.
#[derive(Clone, Debug, Default)]
pub struct Gap(pub Vec<Duration>);

impl Gap {
    /// The longest.
    #[must_use]
    pub fn worst(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let place = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_millis();
        let (p50, p99) = (ms(self.percentile(0.5)), ms(self.percentile(0.99)));
        write!(f, "rounds {}, gap p50 {p50} ms, p99 {p99} ms, worst {} ms", self.0.len(), ms(self.worst()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::job::Attempt;
    use relais_protocol::ids::Fence;
    use tokio::time::Instant;

    fn sent(key: &str, id: &str) -> Sent {
        let now = Instant::now();
        Sent { key: key.to_owned(), at: now, acked: Some((now, id.to_owned(), 0)), tries: 1, troubles: Vec::new() }
    }

    fn job(key: &str, id: &str, outcomes: &[(&str, &str)]) -> Job {
        let attempts = outcomes.iter().map(|(node, outcome)| Attempt {
            node: (*node).to_owned(),
            epoch: 1,
            fence: Fence(65_537),
            started_at: UnixMs(10_000),
            finished_at: Some(UnixMs(11_000)),
            outcome: Some((*outcome).to_owned()),
        });
        let attempts = attempts.collect();
        let (state, key) = ("succeeded".to_owned(), Some(key.to_owned()));
        Job { id: id.to_owned(), state, key, name: None, failures_max: 1, losses_max: 3, attempts }
    }

    #[test]
    fn what_is_lost_doubled_or_restarted_is_found() {
        let good = [job("a", "1", &[("n1", "succeeded")])];
        Verdict::of(&[sent("a", "1")], &good, &[]).assert_flawless();
        assert_eq!(Verdict::of(&[sent("a", "2")], &good, &[]).lost.len(), 1);
        let twice = [good[0].clone(), job("a", "2", &[("n1", "succeeded")])];
        assert_eq!(Verdict::of(&[sent("a", "1")], &twice, &[]).duplicates.len(), 1);
        let retried = [job("a", "1", &[("n1", "lost"), ("n2", "succeeded")])];
        assert_eq!(Verdict::of(&[sent("a", "1")], &retried, &[]).restarted.len(), 1);
        let hit = Hit { node: "n1".to_owned(), from: UnixMs(10_500), until: UnixMs(12_000) };
        let excused = Verdict::of(&[sent("a", "1")], &retried, &[hit]);
        assert_eq!((excused.restarted.len(), excused.lost_attempts, excused.retried_elsewhere), (0, 1, 1));
    }

    #[test]
    fn the_worst_gap_is_the_last_percentile() {
        let gap = Gap([5, 1, 3].map(Duration::from_millis).to_vec());
        assert_eq!(gap.to_string(), "rounds 3, gap p50 3 ms, p99 5 ms, worst 5 ms");
    }
}
