//! Starting the worker: its executors, those of handlers among them, and its actor.

use super::give_up;
use super::ward::{self, Stopping};
use crate::hub::{Hub, WorkOutlet};
use parking_lot::Mutex;
use relais_worker::actor::WorkerParts;
use relais_worker::core::{Worker, WorkerConfig};
use relais_worker::executor::Executors;
use relais_worker::executor::handler::Handlers;
use relais_worker::spawner::Spawner;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What a node offers beside the kinds that every node has.
#[derive(Clone, Copy)]
pub(super) struct Offer<'a> {
    pub(super) handlers: &'a Handlers,
    /// Where they run.
    pub(super) runtime: &'a Handle,
}

pub(super) fn start_worker(
    hub: &Arc<Hub>,
    spawner: Option<Spawner>,
    offer: Option<Offer<'_>>,
    (work_dir, reign): (std::path::PathBuf, relais_protocol::ids::Reign),
    stopping: &Stopping,
) {
    let clock = hub.clock.clone();
    let clock: relais_worker::executor::Clock = Arc::new(move || clock.unix());
    // A witness runs nothing: it reports what it is, and takes no orders.
    let executors = match &spawner {
        Some(spawner) => {
            let own = offer.iter().flat_map(|offer| offer.handlers.executors(&clock, offer.runtime));
            let standard = Executors::standard(Arc::clone(&clock), spawner.clone());
            own.fold(standard, |all, (kind, executor)| all.with(kind, executor))
        }
        None => Executors::new(clock),
    };
    let unsettled = hub.unsettled_of_last_run();
    let core = Worker::new(WorkerConfig::default(), hub.me.node, hub.me.incarnation, reign, unsettled);
    let parts = WorkerParts {
        core,
        me: hub.me.node,
        name: hub.me.name.clone(),
        executors,
        spawner,
        output: hub.output.clone(),
        work_dir,
        runtime: hub.engine.clone(),
        outlet: Arc::new(WorkOutlet(hub.clone())),
    };
    let arbiter = actix_rt::Arbiter::new();
    let bench = hub.bench.clone();
    let parts = Mutex::new(Some(parts));
    let start = move |ward| {
        // What it ran is not known any more once its actor has died: the process must end, and with it,
        // by the spawner, all that it started.
        let Some(parts) = parts.lock().take() else { give_up("the worker died; what it ran was killed") };
        let bench = bench.clone();
        arbiter.spawn_fn(move || relais_worker::actor::start(parts, &bench, ward));
    };
    ward::keep("worker", (hub.clock.clone(), hub.health.clone()), stopping.clone(), start, || {});
    hub.bench.input(relais_worker::core::Input::Facts(hub.facts.read().clone()));
}
