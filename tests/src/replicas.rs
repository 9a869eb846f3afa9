//! Replicas: the real journal (openraft, our store on sled, the real ledger) of 3 to 5 hosts in one runtime
//! whose clock is simulated, over a faulty link and faulty disks. Elections and batches are the product's
//! pure cores, too; only their shells are in here.
//!
//! ```text
//!   clients ─► seat (Core, Election) ─► RaftJournal ─► openraft ─► log, ledger (sled) ─► host's disk
//!                  ▲        │                 ▲                        writers in line     │ sync, power
//!                  └─ wire ─┘ beats, votes    └──── wire: appends, votes, snapshots        ▼
//!                                                                               faults, by the seed
//! ```
//!
//! **The clock** moves only when every task waits for it. Anything on a thread of its own would be left
//! behind, so the store's writers are tasks here, paced by the simulated clock; opening, loading and the
//! pages of a snapshot are `spawn_blocking`, for which tokio holds the clock.
//!
//! **The same seed is the same plan, not the same run**: openraft draws numbers of its own, `select!` starts
//! where it likes, and sled has threads. So nothing compares traces: what is judged are properties that
//! must hold of every run. A violation names its seed, and running that again finds it often, not always.
//!
//! It judges acked-is-kept, replicas-agree, one-dispatcher-per-epoch and progress by the shared checkers;
//! one leader per term, one entry per index for ever, reads that see what was acknowledged before, stores
//! that open after every end and fail only when told to by itself. It runs no jobs: `world` does.

mod client;
mod desk;
mod disk;
mod fault;
mod finish;
mod host;
mod keeper;
mod life;
mod plan;
mod seat;
mod sweep;
mod watch;
mod wire;

pub use sweep::{Report, Swept, one_seed, sweep};
pub use watch::Counts;

use crate::checkers::Violation;
use crate::history::History;
use crate::world::dice::{Dice, scramble};
use disk::End;
use host::Host;
use parking_lot::Mutex;
use plan::Plan;
use relais_dispatcher::journal::Journal;
use relais_protocol::ids::{ClusterId, Incarnation, NodeId, RaftId};
use relais_protocol::record::Record;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use watch::Watch;
use wire::Wire;

/// A cluster without faults is whole within this.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);
/// Clients go on for this long after the last fault.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// What was seen of a run.
type Seen = (History, Counts, Vec<Violation>);

/// One run.
struct Trial {
    seed: u64,
    plan: Plan,
    watch: Arc<Watch>,
    wire: Arc<Wire>,
    hosts: Vec<Host>,
    /// Who is to vote.
    voters: Mutex<BTreeSet<NodeId>>,
    /// Held while a journal is being lost: two at once would be more than the promise covers.
    damage: tokio::sync::Mutex<()>,
    closing: AtomicBool,
}

impl Trial {
    /// Runs a seed, in a runtime whose clock is paused.
    async fn run(seed: u64, home: &Path, told: bool) -> (Arc<Watch>, Seen) {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice.part());
        let watch = Arc::new(Watch::new(told));
        let hosts = (1..=plan.hosts).map(|n| Host::new(NodeId(n), home.join(n.to_string())));
        let hosts = match hosts.collect::<std::io::Result<Vec<_>>>() {
            Ok(hosts) => hosts,
            Err(error) => {
                watch.broken("the-trial-itself", error.to_string());
                let seen = watch.take();
                return (watch, seen);
            }
        };
        let trial = Arc::new(Self {
            seed,
            voters: Mutex::new(plan.voters.clone()),
            plan,
            watch,
            wire: Arc::new(Wire::new(dice.part())),
            hosts,
            damage: tokio::sync::Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let keeper = tokio::spawn(keeper::keep_house(trial.clone()));
        if timeout(WHOLE_WITHIN, trial.set_out()).await.is_err() {
            trial.watch.broken("progress", "the cluster did not become whole".to_owned());
        } else {
            trial.suffer(&mut dice).await;
            finish::recover(&trial, &mut dice).await;
        }
        keeper.abort();
        finish::write_finals(&trial);
        for host in &trial.hosts {
            host.end(&trial, End::Killed).await;
        }
        (trial.watch.clone(), trial.watch.take())
    }

    /// Founds the cluster and waits until it is as it was planned.
    async fn set_out(self: &Arc<Self>) {
        for host in &self.hosts {
            host.boot(self).await;
        }
        if let Some(first) = self.host(NodeId(1)).life()
            && let Err(error) = first.journal.found().await
        {
            self.watch.broken("the-trial-itself", format!("the journal is not founded: {error}"));
        }
        let mut founded = false;
        while !founded || !finish::are_seated(self) {
            sleep(Duration::from_millis(20)).await;
            if let Some(life) = self.dispatcher().and_then(|node| self.host(node).life()).filter(|_| !founded) {
                let found = Record::Found { cluster: ClusterId(self.seed.into()), name: "n1".to_owned() };
                founded = life.propose(vec![found]).await.is_ok();
            }
        }
    }

    /// Clients and faults, and the heal.
    async fn suffer(self: &Arc<Self>, dice: &mut Dice) {
        let mut clients = vec![tokio::spawn(client::reader(self.clone(), dice.part()))];
        for number in 0..self.plan.clients {
            clients.push(tokio::spawn(client::submitter(self.clone(), number, dice.part())));
        }
        let faults = self.plan.faults.clone().into_iter().map(|plan| tokio::spawn(fault::strike(self.clone(), plan)));
        for fault in faults.collect::<Vec<_>>() {
            if let Err(error) = fault.await {
                self.watch.broken("the-trial-itself", error.to_string());
            }
        }
        self.wire.heal();
        for host in &self.hosts {
            host.boot(self).await;
        }
        sleep(AFTERWARDS).await;
        self.closing.store(true, Ordering::Release);
        for client in clients {
            if let Err(error) = client.await {
                self.watch.broken("the-trial-itself", error.to_string());
            }
        }
    }

    fn host(&self, node: NodeId) -> &Host {
        &self.hosts[node.0 as usize - 1]
    }

    /// Who is the dispatcher, by its own account; of two the one of the later reign.
    fn dispatcher(&self) -> Option<NodeId> {
        let lives = self.hosts.iter().filter_map(Host::life).filter(|life| life.dispatches());
        lives.max_by_key(|life| life.machine.ledger.read().reign()).map(|life| life.id.node())
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// A seed for one run of one process.
    fn seed_of(&self, id: RaftId, run: Incarnation) -> u64 {
        scramble(scramble(self.seed ^ id.0.rotate_left(17)) ^ run.0)
    }
}
