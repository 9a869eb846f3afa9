//! The end of a run: everything is healed; a dispatcher has to come, to acknowledge, and to bring every host
//! to the same ledger, within a bound of the clock.

use super::Trial;
use super::client;
use super::life::Life;
use crate::history::{Final, Recovery};
use crate::world::dice::Dice;
use relais_dispatcher::journal::Journal;
use relais_dispatcher::ledger::JobFilter;
use relais_protocol::ids::Index;
use relais_protocol::record::Record;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a healed cluster has for all of it, in ms.
const WITHIN_MS: u64 = 20_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until all is as it must be, or the time for it is over.
pub(super) async fn recover(trial: &Arc<Trial>, dice: &mut Dice) {
    let mut recovery = Recovery { healed: trial.watch.now(), ..Recovery::default() };
    let mut stuck = String::from("there is no dispatcher");
    let all_right = timeout(Duration::from_millis(WITHIN_MS), async {
        until(|| trial.dispatcher().is_some()).await;
        recovery.dispatcher = Some(trial.watch.now());
        "a new submit is not acknowledged".clone_into(&mut stuck);
        let mut number = 0;
        while !client::submit(trial, dice, Some(format!("last-{number}"))).await {
            number += 1;
        }
        "not every wanted host is a voter".clone_into(&mut stuck);
        until(|| are_seated(trial)).await;
        "the ledgers are not compared".clone_into(&mut stuck);
        let audited = audit(trial).await;
        for host in &trial.hosts {
            stuck = format!("{} does not come to index {audited}: {}", host.node, show(host.life()));
            until(|| host.life().is_some_and(|life| has_applied(&life, audited))).await;
        }
    });
    if all_right.await.is_err() {
        recovery.gave_up = Some(trial.watch.now());
        recovery.stuck = vec![stuck];
    } else {
        recovery.all_ended = Some(trial.watch.now());
    }
    trial.watch.history(|history| history.recovery = Some(recovery));
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(LOOK).await;
    }
}

fn show(life: Option<Arc<Life>>) -> String {
    life.map_or_else(|| "it is down".to_owned(), |life| format!("{:?}", *life.journal.status().borrow()))
}

/// Whether who is wanted as a voter is one, under its raft id of now, and no raft id of before is a member.
pub(super) fn are_seated(trial: &Trial) -> bool {
    let Some(life) = trial.dispatcher().and_then(|node| trial.host(node).life()) else { return false };
    let status = life.journal.status().borrow().clone();
    let mut wanted: Vec<_> = trial.voters.lock().iter().map(|node| trial.host(*node).raft_id()).collect();
    wanted.retain(|id| !status.voters.contains(id));
    let members = status.voters.len() + status.learners.len();
    wanted.is_empty() && !status.is_joint && members == trial.hosts.len()
}

/// Has every replica count and hash its rows at one index.
async fn audit(trial: &Trial) -> Index {
    loop {
        if let Some(life) = trial.dispatcher().and_then(|node| trial.host(node).life())
            && let Ok(committed) = life.propose(vec![Record::Audit]).await
        {
            return committed.index;
        }
        sleep(LOOK).await;
    }
}

fn has_applied(life: &Life, index: Index) -> bool {
    let applied = life.journal.status().borrow().applied;
    let audited = life.journal.checkpoint().borrow().is_some_and(|made| made.index >= index);
    applied >= Some(index) && audited
}

/// Writes down what is in the record of the dispatcher, or of whoever has most of it.
pub(super) fn write_finals(trial: &Trial) {
    let lives = trial.hosts.iter().filter_map(|host| host.life());
    let last = lives.max_by_key(|life| (life.dispatches(), life.journal.status().borrow().applied));
    let Some(life) = last else { return };
    trial.watch.count(|counts| counts.purged += life.journal.purged());
    let ledger = life.machine.ledger.read();
    if let Err(broken) = ledger.check_invariants() {
        trial.watch.broken("ledger-invariant", broken.0);
    }
    let jobs = ledger.list(&JobFilter::default(), None, usize::MAX, usize::MAX).0;
    let finals = jobs.into_iter().map(|job| {
        let options = job.spec.options();
        Final {
            id: job.id,
            state: job.state.name(),
            key: options.idempotency_key.clone(),
            attempts: job.attempts.iter().map(|a| (a.fence, a.end.as_ref().map(|end| end.outcome))).collect(),
            failures_max: options.retry.max_attempts,
            losses_max: options.retry.max_lost,
            fatal: BTreeSet::new(),
        }
    });
    let finals = finals.collect();
    trial.watch.history(|history| history.finals = finals);
}
