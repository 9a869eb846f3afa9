//! What the dispatcher's actor needs of its node.

use super::Hub;
use super::inbound::OrdersCall;
use crate::net::Purpose;
use bytes::Bytes;
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
        let hub = self.0.clone();
        self.0.engine.spawn(async move {
            match hub.clone().send_orders(to, orders).await {
                Some(OrdersAnswer::Accepted) => {}
                Some(OrdersAnswer::StaleReign(reign)) => {
                    tracing::warn!(%to, %reign, "a worker refused orders: it obeys a higher reign");
                    hub.counts.stale_orders.fetch_add(1, Ordering::Relaxed);
                }
                Some(OrdersAnswer::StaleIncarnation(_) | OrdersAnswer::NoLease) | None => {
                    hub.desk.input(Input::OrdersFailed(to));
                }
            }
        });
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

    fn now_us(&self) -> u64 {
        self.0.clock.mono_us()
    }

    fn committed(&self, took_us: u64) {
        self.0.counts.commits.note_us(took_us);
    }
}

impl Hub {
    async fn send_orders(self: Arc<Self>, to: NodeId, orders: Orders) -> Option<OrdersAnswer> {
        if to == self.me.node {
            return self.bench.order(orders).await;
        }
        let request = Bytes::from(codec::encode_packed(codec::FORMAT, &OrdersCall::Orders(orders)));
        let answer = self.net()?.call(to, Purpose::Orders, request, ORDERS_LIMIT).await.ok()?;
        codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX).ok()
    }
}
