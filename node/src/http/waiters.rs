//! Who waits for which job's end. One reader follows the node's events for all of them, so that a
//! thousand waiting requests do not each read every event.

use crate::backend::Backend;
use parking_lot::Mutex;
use relais_dispatcher::ledger::Event;
use relais_protocol::ids::{Index, JobId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

type Table = Mutex<HashMap<JobId, Vec<Arc<Notify>>>>;

/// All who wait.
#[derive(Default)]
pub(super) struct Waiters(Arc<Table>);

/// One who waits; told of each change of its job that comes after it was made.
pub(super) struct Waiter {
    job: JobId,
    told: Arc<Notify>,
    table: Arc<Table>,
}

impl Waiters {
    /// Waits for changes of `job`. Make it first, then look at the job, then wait: no change is missed.
    pub(super) fn of(&self, job: JobId) -> Waiter {
        let told = Arc::new(Notify::new());
        self.0.lock().entry(job).or_default().push(told.clone());
        Waiter { job, told, table: self.0.clone() }
    }

    /// Tells waiters what the node applies, until the node is gone.
    pub(super) fn follow(&self, backend: &dyn Backend) {
        tokio::spawn(pump(self.0.clone(), backend.events()));
    }
}

impl Waiter {
    /// Returns when the job changed since the last call, or might have.
    pub(super) async fn changed(&self) {
        self.told.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        let Some(waiters) = table.get_mut(&self.job) else { return };
        waiters.retain(|told| !Arc::ptr_eq(told, &self.told));
        if waiters.is_empty() {
            table.remove(&self.job);
        }
    }
}

async fn pump(table: Arc<Table>, mut events: Receiver<Arc<(Index, Vec<Event>)>>) {
    loop {
        match events.recv().await {
            Ok(batch) => tell(&table, &batch.1),
            // What was missed may have been anybody's.
            Err(RecvError::Lagged(_)) => table.lock().values().flatten().for_each(|told| told.notify_one()),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell(table: &Table, events: &[Event]) {
    let table = table.lock();
    if table.is_empty() {
        return;
    }
    for event in events {
        let job = match event {
            Event::State { job, .. } | Event::Started { job, .. } | Event::AttemptLost { job, .. } => *job,
            Event::Group(group) => group.as_job(),
            _ => continue,
        };
        table.get(&job).into_iter().flatten().for_each(|told| told.notify_one());
    }
}
