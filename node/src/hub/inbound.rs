//! What arrives from other nodes, and which part takes it.

use super::Hub;
use crate::net::{FrameReceiver, FrameSender, Inbound, Loss, PeerDetail, Purpose};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use relais_dispatcher::core::Input as DeskInput;
use relais_protocol::codec;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{
    CALL_BYTES_MAX, CONTROL_BYTES_MAX, Call, Control, ControlAnswer, DATAGRAM_BYTES_MAX, Datagram, Orders, Report,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// What travels by [`Purpose::Orders`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum OrdersCall {
    /// To a worker.
    Orders(Orders),
    /// To the dispatcher.
    Report(Box<Report>),
}

/// [`Inbound`] of a hub.
pub struct HubInbound(pub Weak<Hub>);

fn read<T: DeserializeOwned>(bytes: &[u8], cap: usize) -> Result<T, String> {
    codec::decode(codec::FORMAT, bytes, cap).map_err(|error| format!("the message can't be read: {error}"))
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    codec::decode_packed(codec::FORMAT, bytes, CALL_BYTES_MAX)
        .map_err(|error| format!("the message can't be read: {error}"))
}

fn write<T: Serialize>(value: &T) -> Result<Bytes, String> {
    Ok(codec::encode(codec::FORMAT, value).into())
}

impl Inbound for HubInbound {
    fn datagram(&self, from: NodeId, bytes: Bytes) {
        let Some(hub) = self.0.upgrade() else { return };
        match read::<Datagram>(&bytes, DATAGRAM_BYTES_MAX) {
            Ok(Datagram::Beat(beat)) if beat.from == from => hub.pulse.beat(beat),
            Ok(Datagram::Gossip(gossip)) => hub.on_gossip(from, gossip),
            Ok(Datagram::Passed { from: origin, to, bytes }) if to == hub.me.node => hub.on_gossip(origin, bytes),
            Ok(Datagram::Passed { from: origin, to, .. }) if origin == from => hub.pass_datagram(to, bytes),
            Ok(Datagram::Beat(_) | Datagram::Passed { .. }) | Err(_) => tracing::debug!(%from, "dropped a datagram"),
        }
    }

    fn call(&self, from: NodeId, purpose: Purpose, request: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let hub = self.0.upgrade();
        async move {
            let hub = hub.ok_or_else(|| "the node is stopping".to_owned())?;
            match purpose {
                Purpose::Journal | Purpose::Snapshot => hub.on_journal_call(from, request).await,
                Purpose::Orders => hub.on_orders_call(unpack(&request)?).await,
                Purpose::Election | Purpose::Control => {
                    write(&hub.on_control(from, read(&request, CONTROL_BYTES_MAX)?).await)
                }
                Purpose::Records => match unpack::<Call>(&request)? {
                    Call::Propose(records) => write(&hub.on_propose(records).await),
                    _ => Err("only records are sent by this stream".to_owned()),
                },
                Purpose::Api => write(&hub.on_call(read::<Call>(&request, CALL_BYTES_MAX)?).await),
                Purpose::Output => hub.on_output_call(&request).await,
                Purpose::Relay => hub.on_relay(request).await,
                Purpose::Gossip => Err("gossip travels by datagram".to_owned()),
            }
        }
        .boxed()
    }

    fn stream(&self, from: NodeId, purpose: Purpose, send: FrameSender, recv: FrameReceiver) {
        match self.0.upgrade() {
            Some(hub) if purpose == Purpose::Api => drop(hub.engine.clone().spawn(hub.answer_stream(send, recv))),
            _ => tracing::debug!(%from, ?purpose, "refused a stream: nothing here is sent by one"),
        }
    }

    fn join(&self, remote: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
        let hub = self.0.upgrade();
        async move {
            match hub {
                Some(hub) => hub.on_join(remote, request).await,
                None => Bytes::new(),
            }
        }
        .boxed()
    }

    fn told_copied(&self, by: NodeId, reason: &str) {
        if let Some(hub) = self.0.upgrade() {
            hub.told_copied(by, reason);
        }
    }

    fn peer_changed(&self, node: NodeId, connected: bool, detail: PeerDetail) {
        let Some(hub) = self.0.upgrade() else { return };
        tracing::info!(%node, name = %detail.name, connected, loss = ?detail.loss, "peer");
        if connected {
            hub.note_address(node, &detail);
        } else if matches!(detail.loss, Some(Loss::Goodbye | Loss::Restarted)) {
            hub.pulse.gone(node);
            hub.desk.input(DeskInput::Gone(node));
        }
    }
}

impl Hub {
    async fn on_orders_call(self: Arc<Self>, call: OrdersCall) -> Result<Bytes, String> {
        match call {
            OrdersCall::Orders(orders) => {
                let answer = self.bench.order(orders).await;
                write(&answer.ok_or_else(|| "the worker is being restarted".to_owned())?)
            }
            OrdersCall::Report(report) => write(&self.desk.report(*report).await),
        }
    }

    async fn on_control(self: Arc<Self>, from: NodeId, control: Control) -> ControlAnswer {
        match control {
            Control::Confirm(question) => match self.pulse.asked(question).await {
                Some(answer) => ControlAnswer::Confirm(answer),
                None => ControlAnswer::Refused("the election is not turning".to_owned()),
            },
            Control::StandNow { .. } => {
                self.pulse.stand_now();
                ControlAnswer::Standing(true)
            }
            Control::CaKey => self.on_ca_key(from),
            Control::Time => ControlAnswer::Time(self.clock.unix()),
            Control::Audit => ControlAnswer::Audit(self.last_audit()),
            Control::Admit(request) => ControlAnswer::Admitted(
                self.on_join(SocketAddr::from(([0, 0, 0, 0], 0)), request.into()).await.to_vec(),
            ),
            Control::Peers => ControlAnswer::Peers(
                self.addresses
                    .read()
                    .iter()
                    .map(|(node, (name, addr))| (*node, name.clone(), addr.to_string()))
                    .collect(),
            ),
        }
    }

    fn note_address(&self, node: NodeId, detail: &PeerDetail) {
        if let Some(addr) = detail.advertise.first() {
            self.addresses.write().insert(node, (detail.name.clone(), *addr));
        }
    }
}
