//! The invariant of the ledger, as one function: called after each simulated step and in tests.

use super::Ledger;
use super::load::Load;
use relais_protocol::ids::JobId;
use relais_protocol::job::{JobState, StateName};
use std::collections::BTreeMap;

/// What was found broken, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl Ledger {
    /// Checks every index against the rows. Reads every row.
    ///
    /// # Errors
    /// With the first thing found broken.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        let mut running = BTreeMap::new();
        let mut counts = [0u64; StateName::ALL.len()];
        let mut broken = None;
        let mut open = BTreeMap::new();
        self.each_job(|job| {
            counts[job.state.name() as usize] += 1;
            let ended = job.attempts.last().is_none_or(|attempt| attempt.end.is_some());
            match job.state {
                JobState::Blocked => {
                    open.insert(job.id, self.waits_for(job, 0).1);
                }
                JobState::Running { node, fence, .. } => {
                    running.insert((node, job.id), fence);
                    if ended || job.attempts.last().is_none_or(|attempt| attempt.fence != fence) {
                        broken = Some(format!("{} runs, but its last attempt does not", job.id));
                    }
                }
                _ if !ended => broken = Some(format!("{} does not run, but its last attempt does", job.id)),
                _ => {}
            }
            broken = broken.take().or_else(|| self.unique_broken(job));
            if job.attempts.windows(2).any(|pair| pair[0].fence >= pair[1].fence) {
                broken = Some(format!("the fences of {} do not grow", job.id));
            }
            if job.state.is_terminal() != job.finished_at.is_some() {
                broken = Some(format!("{} is {:?} but finished at {:?}", job.id, job.state, job.finished_at));
            }
        });
        if broken.is_none() && *self.blocked.open() != open {
            broken = Some(format!("blocked jobs wait for {open:?}, kept {:?}", self.blocked.open()));
        }
        let broken = broken.or_else(|| self.schedules.broken());
        let broken = broken.or_else(|| self.groups_broken());
        let broken = broken.or_else(|| self.index_broken(&running, counts));
        broken.map_or(Ok(()), |text| Err(Violation(text)))
    }

    fn index_broken(
        &self,
        running: &BTreeMap<(relais_protocol::ids::NodeId, JobId), relais_protocol::ids::Fence>,
        counts: [u64; StateName::ALL.len()],
    ) -> Option<String> {
        let lines = self.lines_of_rows();
        if self.lines != lines {
            return Some(format!("the lines are {:?}, but follow from the rows as {lines:?}", self.lines));
        }
        if self.counts() != counts {
            return Some(format!("counted {counts:?}, kept {:?}", self.counts()));
        }
        if self.deadlines != self.deadlines_of_rows() {
            return Some(format!("the deadlines of leases are {:?}", self.deadlines));
        }
        let places = self.nodes().map(|row| row.id).chain([relais_protocol::ids::NodeId::OUTSIDE]);
        let indexed: BTreeMap<_, _> = places
            .flat_map(|node| self.nodes.running(node).map(move |(job, attempt)| ((node, job), attempt.fence)))
            .collect();
        if indexed != *running {
            return Some("the node table does not hold just the running attempts".to_owned());
        }
        let miscounted = self.nodes().find(|row| {
            let mut used = Load::default();
            self.nodes.running(row.id).for_each(|(_, attempt)| used.add(attempt.asks));
            used != self.nodes.used(row.id)
        });
        miscounted.map(|row| format!("what is in use on {} is miscounted", row.name))
    }
}
