//! Clients: those who submit, through any host and again when they are not answered, and those who read and
//! must find what had been acknowledged before they asked.

use super::Trial;
use super::life::Life;
use crate::history::Submitted;
use crate::world::dice::Dice;
use relais_dispatcher::core::Rejection;
use relais_dispatcher::journal::Journal;
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::record::{Outcome, Record, Submit};
use relais_protocol::spec::{JobOptions, JobSpec, QueueName};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A client gives up waiting after this.
const PATIENCE: Duration = Duration::from_secs(3);
/// Tries of a submit with a key.
const TRIES: u32 = 12;

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is in the record, under this id.
    Acknowledged(JobId),
    /// It is not, by this try.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Submits until the trial asks for no more.
pub(super) async fn submitter(trial: Arc<Trial>, number: u64, mut dice: Dice) {
    let mut count = 0;
    while !trial.is_closing() {
        let pace = trial.plan.pace_ms;
        sleep(Duration::from_millis(dice.range(pace / 2, pace * 2))).await;
        count += 1;
        let key = dice.chance(75).then(|| format!("c{number}-{count}"));
        submit(&trial, &mut dice, key).await;
    }
}

/// One submit, with a key until it is answered.
pub(super) async fn submit(trial: &Arc<Trial>, dice: &mut Dice, key: Option<String>) -> bool {
    let submit = trial.watch.history(|history| {
        history.submits.push(Submitted { key: key.clone(), sent_as: Vec::new(), acked: Vec::new() });
        history.submits.len() - 1
    });
    let spec = spec(dice, key.clone());
    trial.watch.count(|counts| counts.proposals += 1);
    let mut unknown = false;
    for _ in 0..if key.is_some() { TRIES } else { 1 } {
        let id = JobId::v7(trial.watch.now().0, dice.wide());
        let front = NodeId(dice.range(1, trial.plan.hosts.into()) as u32);
        trial.watch.history(|history| history.submits[submit].sent_as.push(id));
        match attempt(trial, front, record(id, spec.clone())).await {
            Tried::Acknowledged(job) => {
                let now = trial.watch.now();
                trial.watch.history(|history| history.submits[submit].acked.push((now, job)));
                trial.watch.count(|counts| counts.acknowledged += 1);
                return true;
            }
            Tried::Unknown => unknown = true,
            Tried::Refused => {}
        }
        sleep(Duration::from_millis(dice.range(20, 300))).await;
    }
    trial.watch.count(|counts| counts.unknown += u64::from(unknown));
    false
}

fn record(id: JobId, spec: JobSpec) -> Record {
    Record::Submit(Box::new(Submit { id, spec, body_hash: 1, submitted_by: "client".to_owned() }))
}

fn spec(dice: &mut Dice, key: Option<String>) -> JobSpec {
    // Some are longer than a value of the store may be.
    let bytes = if dice.chance(8) { dice.range(4_000, 40_000) } else { dice.range(0, 200) };
    let payload = format!("\"{}\"", "x".repeat(bytes as usize));
    let options = JobOptions { idempotency_key: key, ..JobOptions::default() };
    let spec = JobSpec {
        kind: "noop".into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload,
        options: None,
    };
    spec.with_options(options)
}

/// Through `front` to whom that one hears as the dispatcher, and back.
async fn attempt(trial: &Arc<Trial>, front: NodeId, record: Record) -> Tried {
    let Some(door) = trial.host(front).life() else { return Tried::Refused };
    let Some(dispatcher) = door.view_hears() else { return Tried::Refused };
    if !trial.wire.passes(front, dispatcher).await {
        return Tried::Refused;
    }
    let Some(life) = trial.wire.life(dispatcher) else { return Tried::Refused };
    let answer = timeout(PATIENCE, life.propose(vec![record])).await;
    if !life.is_alive() || !trial.wire.passes(dispatcher, front).await || !door.is_alive() {
        return Tried::Unknown;
    }
    match answer {
        Ok(Ok(committed)) => match committed.outcomes.each.first() {
            Some(Outcome::Submitted { id, .. }) => Tried::Acknowledged(*id),
            _ => Tried::Refused,
        },
        Ok(Err(Rejection::NotDispatcher | Rejection::Full)) => Tried::Refused,
        Ok(Err(Rejection::Unknown)) | Err(_) => Tried::Unknown,
    }
}

/// Reads, now here, now there, and looks for what was acknowledged before.
pub(super) async fn reader(trial: Arc<Trial>, mut dice: Dice) {
    while !trial.is_closing() {
        sleep(Duration::from_millis(dice.range(20, 120))).await;
        let leaders: Vec<Arc<Life>> =
            trial.hosts.iter().filter_map(|host| host.life()).filter(|life| life.leads()).collect();
        if leaders.is_empty() {
            continue;
        }
        // Whoever believes to lead, the deposed one too.
        let leader = leaders[dice.range(0, leaders.len() as u64 - 1) as usize].clone();
        let acknowledged = trial.watch.acknowledged();
        let Ok(Ok(index)) = timeout(PATIENCE, leader.journal.read_index()).await else { continue };
        let other = NodeId(dice.range(1, trial.plan.hosts.into()) as u32);
        let reads = trial.host(other).life().filter(|_| dice.chance(50)).unwrap_or(leader.clone());
        let Ok(Ok(())) = timeout(PATIENCE, reads.journal.wait_applied(index)).await else { continue };
        if !reads.is_alive() || !leader.is_alive() {
            continue;
        }
        trial.watch.count(|counts| counts.reads += 1);
        let lost = {
            let ledger = reads.machine.ledger.read();
            acknowledged.iter().rev().take(20).find(|job| ledger.job(**job).is_none()).copied()
        };
        if let Some(job) = lost {
            let seen = format!("{} at {index} of {} has no {job}, acknowledged before", reads.id, leader.id);
            trial.watch.broken("reads-are-linearizable", seen);
        }
    }
}
