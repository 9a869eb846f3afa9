//! What is between the hosts: calls of journals, and messages of elections. Both can be lost, late, twice
//! and out of order; ways can be cut, each direction by itself.

use super::life::Life;
use super::seat::Told;
use crate::world::dice::Dice;
use bytes::Bytes;
use parking_lot::Mutex;
use relais_dispatcher::journal::{Journal, Link, LinkError};
use relais_protocol::ids::{NodeId, RaftId};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// How long a caller waits for an answer that does not come.
const GIVES_UP_MS: (u64, u64) = (40, 400);

/// The second copy of a message comes within so many ms: long enough for another to lead by then.
const COPY_LATEST_MS: u64 = 400;

/// One direction between two hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Cuts in force.
    pub(super) cuts: u32,
    /// Of 100 messages so many are lost.
    pub(super) loss: u64,
    /// Shortest and longest time on the way, in ms.
    pub(super) delay: (u64, u64),
    /// Of 100 messages so many come twice.
    pub(super) twice: u64,
}

const CLEAR: Way = Way { cuts: 0, loss: 0, delay: (0, 2), twice: 0 };

/// Connects the hosts.
pub(super) struct Wire {
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    ways: BTreeMap<(NodeId, NodeId), Way>,
    lives: BTreeMap<NodeId, Weak<Life>>,
}

enum Fate {
    Lost,
    Arrives(Duration, Option<Duration>),
}

impl Wire {
    pub(super) fn new(dice: Dice) -> Self {
        Self { state: Mutex::new(State { dice, ways: BTreeMap::new(), lives: BTreeMap::new() }) }
    }

    /// Changes a way.
    pub(super) fn change(&self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Way)) {
        change(self.state.lock().ways.entry((from, to)).or_insert(CLEAR));
    }

    /// Whether a message from one to the other is lost for sure.
    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.state.lock().ways.get(&(from, to)).is_some_and(|way| way.cuts > 0)
    }

    /// This run of its process answers for its host.
    pub(super) fn connect(&self, life: &Arc<Life>) {
        self.state.lock().lives.insert(life.id.node(), Arc::downgrade(life));
    }

    /// The run of a host's process, if it lives.
    pub(super) fn life(&self, node: NodeId) -> Option<Arc<Life>> {
        let life = self.state.lock().lives.get(&node).and_then(Weak::upgrade);
        life.filter(|life| life.is_alive())
    }

    /// Every way is clear.
    pub(super) fn heal(&self) {
        self.state.lock().ways.clear();
    }

    fn fate(&self, from: NodeId, to: NodeId) -> Fate {
        let mut state = self.state.lock();
        let way = state.ways.get(&(from, to)).copied().unwrap_or(CLEAR);
        if way.cuts > 0 || state.dice.chance(way.loss) {
            return Fate::Lost;
        }
        let first = state.dice.range(way.delay.0, way.delay.1);
        let second = state.dice.range(way.delay.0, COPY_LATEST_MS);
        let twice = state.dice.chance(way.twice);
        Fate::Arrives(Duration::from_millis(first), twice.then_some(Duration::from_millis(second)))
    }

    fn gives_up(&self) -> Duration {
        Duration::from_millis(self.state.lock().dice.range(GIVES_UP_MS.0, GIVES_UP_MS.1))
    }

    /// Sends a message that nobody waits for.
    pub(super) fn send(self: &Arc<Self>, from: NodeId, to: NodeId, message: impl Fn() -> Told + Send + 'static) {
        let Fate::Arrives(after, again) = self.fate(from, to) else { return };
        let wire = self.clone();
        tokio::spawn(async move {
            for after in [Some(after), again].into_iter().flatten() {
                sleep(after).await;
                if let Some(life) = wire.life(to) {
                    life.tell(message());
                }
            }
        });
    }

    /// The way of a client's request, and back: `false` if it is lost.
    pub(super) async fn passes(&self, from: NodeId, to: NodeId) -> bool {
        if from == to {
            return true;
        }
        match self.fate(from, to) {
            Fate::Lost => false,
            Fate::Arrives(after, _) => {
                sleep(after).await;
                true
            }
        }
    }
}

/// The link of one journal.
pub(super) struct Cable {
    pub(super) wire: Arc<Wire>,
    pub(super) from: RaftId,
    pub(super) alive: Arc<AtomicBool>,
}

type Answer = Result<Bytes, LinkError>;

impl Link for Cable {
    fn call(&self, to: RaftId, request: Bytes) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (wire, from, alive) = (self.wire.clone(), self.from, self.alive.clone());
        Box::pin(async move {
            let dead = || LinkError("this process is dead".to_owned());
            if !alive.load(Ordering::Acquire) {
                sleep(Duration::from_millis(1)).await;
                return Err(dead());
            }
            let answer = call(&wire, from, to, request).await;
            if alive.load(Ordering::Acquire) { answer } else { Err(dead()) }
        })
    }
}

async fn call(wire: &Arc<Wire>, from: RaftId, to: RaftId, request: Bytes) -> Answer {
    let lost = async |what: &str| {
        sleep(wire.gives_up()).await;
        Err(LinkError(what.to_owned()))
    };
    let Fate::Arrives(after, again) = wire.fate(from.node(), to.node()) else { return lost("lost").await };
    if let Some(again) = again {
        let (wire, request) = (wire.clone(), request.clone());
        tokio::spawn(async move {
            sleep(again).await;
            if let Some(life) = wire.life(to.node()) {
                life.journal.handle_rpc(from, request).await;
            }
        });
    }
    sleep(after).await;
    let Some(life) = wire.life(to.node()) else {
        sleep(Duration::from_millis(1)).await;
        return Err(LinkError("nobody there".to_owned()));
    };
    life.heard(from.node());
    let answer = life.journal.handle_rpc(from, request).await;
    if !life.is_alive() {
        return lost("it died").await;
    }
    drop(life);
    match wire.fate(to.node(), from.node()) {
        Fate::Lost => lost("the answer is lost").await,
        Fate::Arrives(after, _) => {
            sleep(after).await;
            Ok(answer)
        }
    }
}
