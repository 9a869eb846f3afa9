//! One run of a host's process: its journal, its ledger, its seat, and the end of all of them at once.

use super::Trial;
use super::disk::HostDisk;
use super::seat::{Seat, SeatView, Told};
use super::watch::Witness;
use super::wire::Cable;
use parking_lot::Mutex;
use relais_dispatcher::core::Rejection;
use relais_dispatcher::journal::{Journal, RaftJournal, Role, StartError, Store};
use relais_dispatcher::machine::LedgerMachine;
use relais_protocol::ids::{Incarnation, NodeId, RaftId};
use relais_protocol::record::{Committed, Record};
use relais_protocol::time::Mono;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// One run of a process.
pub(super) struct Life {
    pub(super) id: RaftId,
    pub(super) run: Incarnation,
    pub(super) journal: Arc<RaftJournal>,
    pub(super) machine: Arc<Witness>,
    pub(super) disk: Arc<HostDisk>,
    pub(super) view: Mutex<SeatView>,
    alive: Arc<AtomicBool>,
    tell: mpsc::UnboundedSender<Told>,
    /// Whose journal spoke to this one last, and when.
    heard: Mutex<Option<(NodeId, Mono)>>,
    trial: Arc<Trial>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Life {
    /// Starts on an open store.
    pub(super) async fn begin(
        trial: &Arc<Trial>,
        store: Store,
        id: RaftId,
        run: Incarnation,
        disk: Arc<HostDisk>,
        alive: Arc<AtomicBool>,
    ) -> Result<Arc<Self>, StartError> {
        let (tell, told) = mpsc::unbounded_channel();
        let sink = tell.clone();
        let ledger = LedgerMachine::new(Box::new(move |_, events| {
            if !events.is_empty() {
                // The seat goes before the journal when the process ends.
                let _ = sink.send(Told::Applied(events));
            }
        }));
        let machine = Arc::new(Witness::new(ledger, trial.watch.clone(), id, alive.clone()));
        let cable = Arc::new(Cable { wire: trial.wire.clone(), from: id, alive: alive.clone() });
        let journal = Arc::new(RaftJournal::start(store, machine.clone(), cable).await?);
        let life = Arc::new(Self {
            id,
            run,
            journal,
            machine,
            disk,
            view: Mutex::default(),
            alive,
            tell,
            heard: Mutex::default(),
            trial: trial.clone(),
            tasks: Mutex::default(),
        });
        let (reign, dispatcher) = {
            let ledger = life.machine.ledger.read();
            (ledger.reign(), ledger.dispatcher())
        };
        if let Some((node, _)) = dispatcher {
            life.tell(Told::Reigned(reign, node));
        }
        let seed = trial.seed_of(id, run);
        let seat = Seat::new(trial.clone(), life.clone(), seed);
        let tasks = [tokio::spawn(seat.sit(told)), tokio::spawn(watch_status(life.clone())), watch_audits(&life)];
        life.tasks.lock().extend(tasks);
        trial.wire.connect(&life);
        Ok(life)
    }

    /// The run that it is part of.
    pub(super) fn trial(&self) -> &Trial {
        &self.trial
    }

    /// Whom it hears as the dispatcher.
    pub(super) fn view_hears(&self) -> Option<NodeId> {
        self.view.lock().hears
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Tells the seat.
    pub(super) fn tell(&self, told: Told) {
        let _ = self.tell.send(told);
    }

    /// Whether it is the dispatcher, by its own account, and can use it.
    pub(super) fn dispatches(&self) -> bool {
        self.is_alive() && self.view.lock().dispatches
    }

    /// Whether its journal leads, by its own account.
    pub(super) fn leads(&self) -> bool {
        self.is_alive() && self.journal.status().borrow().role == Role::Leader
    }

    /// Somebody's journal speaks to this one.
    pub(super) fn heard(&self, node: NodeId) {
        *self.heard.lock() = Some((node, Mono(self.trial.watch.now().0)));
    }

    /// Whose journal spoke to this one last, and when.
    pub(super) fn last_heard(&self) -> Option<(NodeId, Mono)> {
        *self.heard.lock()
    }

    /// Has records committed by the dispatcher, if that is here.
    pub(super) async fn propose(&self, records: Vec<Record>) -> Result<Committed, Rejection> {
        let (tx, rx) = oneshot::channel();
        self.tell(Told::Propose(records, tx));
        rx.await.unwrap_or(Err(Rejection::Unknown))
    }

    /// Ends it. The disk was told before, so that nothing comes of what is still under way.
    pub(super) async fn end(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.journal.shutdown().await;
    }
}

/// Notes all that the journal says of itself, and keeps the seat told.
async fn watch_status(life: Arc<Life>) {
    let mut status = life.journal.status();
    loop {
        let now = status.borrow_and_update().clone();
        if life.is_alive() {
            life.trial.watch.status(&now);
        }
        life.tell(Told::Journal(now));
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn watch_audits(life: &Arc<Life>) -> JoinHandle<()> {
    let (trial, node, alive) = (life.trial.clone(), life.id.node(), life.alive.clone());
    let mut made = life.journal.checkpoint();
    tokio::spawn(async move {
        while made.changed().await.is_ok() {
            let checkpoint = *made.borrow_and_update();
            if let Some(checkpoint) = checkpoint.filter(|_| alive.load(Ordering::Acquire)) {
                trial.watch.checkpoint(node, checkpoint);
            }
        }
    })
}
