//! Which reign is on disk, and the orders that wait until theirs is. It writes nothing itself.

use relais_protocol::ids::Reign;
use relais_protocol::message::{Orders, OrdersAnswer};
use tokio::sync::oneshot;

type Held = (Orders, oneshot::Sender<OrdersAnswer>);

/// The highest reign on disk, the highest that is being written, and who waits.
pub(super) struct Remembered {
    kept: Reign,
    asked: Reign,
    held: Vec<Held>,
}

impl Remembered {
    /// `kept` is on disk.
    pub(super) fn of(kept: Reign) -> Self {
        Self { kept, asked: kept, held: Vec::new() }
    }

    /// Whether this reign, or a higher one, is on disk.
    pub(super) fn covers(&self, reign: Reign) -> bool {
        reign <= self.kept
    }

    /// Takes note that this reign is to be written; whether that is news.
    pub(super) fn begin(&mut self, reign: Reign) -> bool {
        let news = reign > self.asked;
        self.asked = self.asked.max(reign);
        news
    }

    /// Holds orders until their reign is on disk.
    pub(super) fn hold(&mut self, orders: Orders, tx: oneshot::Sender<OrdersAnswer>) {
        self.held.push((orders, tx));
    }

    /// This reign is on disk; the orders that need not wait any more, in order. Those whose sender has
    /// given up are void: they are sent again.
    pub(super) fn kept(&mut self, reign: Reign) -> Vec<Held> {
        self.kept = self.kept.max(reign);
        let (free, held) = self.held.drain(..).partition(|(orders, _)| orders.reign <= self.kept);
        self.held = held;
        let mut free: Vec<Held> = free;
        free.retain(|(_, tx)| !tx.is_closed());
        free
    }
}
