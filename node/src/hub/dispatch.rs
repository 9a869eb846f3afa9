//! What the dispatcher's actor needs of its node.

use super::Hub;
use super::inbound::OrdersCall;
use crate::net::Purpose;
use bytes::Bytes;
use futures::FutureExt;
use relais_dispatcher::actor::Outlet;
use relais_dispatcher::core::{Input, Now};
use relais_protocol::codec;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{CONTROL_BYTES_MAX, Orders, OrdersAnswer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a worker may take to accept orders before they count as not arrived.
const ORDERS_LIMIT: Duration = Duration::from_secs(2);

/// [`Outlet`] of a hub.
pub struct DispatchOutlet(pub Arc<Hub>);

impl Outlet for DispatchOutlet {
    fn now(&self) -> Now {
        Now { mono: self.0.clock.mono(), unix: self.0.clock.unix() }
    }

    fn order(&self, to: NodeId, orders: Orders) {
        let mut sending = self.0.clone().send_orders(to, orders).boxed();
        // They are on their way after the first step, without another thread.
        match sending.as_mut().now_or_never() {
            Some(answer) => self.0.ordered(to, answer),
            None => {
                let hub = self.0.clone();
                tokio::spawn(async move { hub.ordered(to, sending.await) });
            }
        }
    }

    fn drained(&self) {
        self.0.drained.notify_waiters();
    }

    fn promote_failed(&self) {
        self.0.pulse.promote_failed();
    }

    fn voters(&self) -> usize {
        if self.0.is_pair() { 2 } else { self.0.pulse.view().voters.len() }
    }

    fn looks_on(&self) -> bool {
        self.0.pulse.view().looks_on()
    }

    fn now_us(&self) -> u64 {
        self.0.clock.mono_us()
    }

    fn committed(&self, took_us: u64) {
        self.0.counts.commits.note_us(took_us);
    }
}

impl Hub {
    /// What a worker said to its orders.
    fn ordered(&self, to: NodeId, answer: Option<OrdersAnswer>) {
        match answer {
            Some(OrdersAnswer::Accepted) => {}
            Some(OrdersAnswer::StaleReign(reign)) => {
                tracing::warn!(%to, %reign, "a worker refused orders: it obeys a higher reign");
                self.counts.stale_orders.fetch_add(1, Ordering::Relaxed);
            }
            Some(OrdersAnswer::StaleIncarnation(_) | OrdersAnswer::NoLease) | None => {
                self.desk.input(Input::OrdersFailed(to));
            }
        }
    }

    async fn send_orders(self: Arc<Self>, to: NodeId, orders: Orders) -> Option<OrdersAnswer> {
        if to == self.me.node {
            return self.bench.order(orders).await;
        }
        let request = Bytes::from(codec::encode_packed(codec::FORMAT, &OrdersCall::Orders(orders)));
        let answer = self.net()?.call(to, Purpose::Orders, request, ORDERS_LIMIT).await.ok()?;
        codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX).ok()
    }
}
