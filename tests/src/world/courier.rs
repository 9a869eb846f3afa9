//! The courier of a world: whoever believes that it has the role tells of the ends that its ledger says are to be
//! told of, and of what it told says so in the record. What was told can't be taken back, so it must be true.

use super::World;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::ids::NodeId;
use relais_protocol::job::{Job, StateName};
use relais_protocol::notice::{NoticeState, Noticed, Webhook};
use relais_protocol::record::Record;

/// Notices that one node sees to at a time.
const AT_ONCE: usize = 8;

/// Of some jobs somebody wants to know the end: by a number of its spec, so that no dice are thrown.
pub(super) fn webhook(number: u64) -> Option<Webhook> {
    number.is_multiple_of(5).then(|| Webhook { url: "http://receiver/".into(), secret: None })
}

impl World {
    /// Each node that has the role, or believes so, delivers what is pending.
    pub(super) fn deliver_notices(&mut self) {
        let reigns: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|node| node.turns() && node.life.as_deref().is_some_and(|life| life.core.reign().is_some()))
            .map(|node| node.id)
            .collect();
        for node in reigns {
            let Some(life) = self.nodes[node.0 as usize - 1].life.as_deref() else { continue };
            let ids: Vec<_> = life.ledger.pending_notices().take(AT_ONCE).collect();
            let jobs: Vec<Job> = ids.into_iter().filter_map(|id| life.ledger.job(id)).collect();
            for job in jobs {
                self.note_told(&job);
                let state = NoticeState::Delivered { status: 200 };
                let noticed = Noticed { job: job.id, life: job.life, state };
                let call = self.new_call();
                self.on_request(node, usize::MAX, call, vec![Record::Noticed(Box::new(noticed))]);
            }
        }
    }

    fn note_told(&mut self, job: &Job) {
        let state = job.state.name();
        let before = self.history.told.insert((job.id, job.life), state);
        if before.is_some_and(|before| before != state) {
            self.broken("told-once", format!("{} was told to be {before:?}, then {state:?}", job.id));
        }
    }

    /// Pending notices; none is left where they are delivered.
    pub(super) fn notices_that_wait(&self, ledger: &Ledger) -> Option<String> {
        let count = ledger.pending_notices().count();
        (count > 0 && self.has_courier()).then(|| format!("{count} notices are pending"))
    }

    /// Ends that nobody was told of, or that were another end than the one in the record.
    pub(super) fn check_told(&self, jobs: &[Job]) -> Vec<String> {
        if !self.has_courier() {
            return Vec::new();
        }
        let wanted = |job: &&Job| job.spec.options().notify.is_some() && job.state.is_terminal();
        let told = |job: &Job| self.history.told.get(&(job.id, job.life)).copied();
        let wrong = |job: &Job, told: Option<StateName>| {
            (told != Some(job.state.name())).then(|| format!("{} is {:?}, told was {told:?}", job.id, job.state))
        };
        jobs.iter().filter(wanted).filter_map(|job| wrong(job, told(job))).collect()
    }

    fn has_courier(&self) -> bool {
        !self.schedules.is_empty() && self.history.recovery.as_ref().is_none_or(|recovery| recovery.gave_up.is_none())
    }
}
