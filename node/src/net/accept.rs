//! Connections that others make to this node: bounded while they are strangers, then checked.

use super::hello::{self, Answer, HelloError};
use super::join;
use super::link::{CLOSE_REFUSED, Link, adopt};
use super::refusal::Refusal;
use super::shared::Shared;
use super::tls;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use relais_protocol::ids::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// TLS and hello must be done by then.
pub(super) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes under way at once; beyond it newcomers are turned away.
const STRANGERS: usize = 256;
/// Beyond so many, a newcomer must first show that its address is its own.
const TRUSTING: usize = 32;

pub(super) async fn accept_connections(shared: Arc<Shared>, endpoint: Endpoint) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let joining = Arc::new(join::Gate::default());
    while let Some(incoming) = endpoint.accept().await {
        let remote = incoming.remote_address();
        let Ok(place) = strangers.clone().try_acquire_owned() else {
            shared.refusals.note(remote.ip(), Refusal::Busy, "too many handshakes under way");
            incoming.refuse();
            continue;
        };
        let crowded = STRANGERS - strangers.available_permits() > TRUSTING;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let (shared, joining) = (shared.clone(), joining.clone());
        tokio::spawn(async move {
            let done = tokio::time::timeout(HANDSHAKE_LIMIT, meet(&shared, incoming, &joining)).await;
            if done.is_err() {
                shared.refusals.note(remote.ip(), Refusal::NoAnswer, "the handshake took too long");
            }
            drop(place);
        });
    }
}

async fn meet(shared: &Arc<Shared>, incoming: Incoming, joining: &join::Gate) {
    let remote = incoming.remote_address();
    let connection = match incoming.await {
        Ok(connection) => connection,
        Err(e) => {
            return shared.refusals.note(remote.ip(), Refusal::of(&e), format!("{remote}: {e}"));
        }
    };
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    match protocol.as_deref() {
        Some(tls::ALPN_PEER) => meet_peer(shared, connection).await,
        Some(tls::ALPN_JOIN) => join::serve(shared, connection, joining).await,
        _ => connection.close(VarInt::from_u32(CLOSE_REFUSED), b"unknown protocol"),
    }
}

async fn meet_peer(shared: &Arc<Shared>, connection: Connection) {
    if let Err((peer, error)) = welcome(shared, &connection).await {
        let who = peer.map_or_else(|| connection.remote_address().ip().to_string(), |node| format!("node {node}"));
        shared.refusals.note(who, error.refusal, &error);
        connection.close(VarInt::from_u32(CLOSE_REFUSED), b"refused");
    }
}

async fn welcome(shared: &Arc<Shared>, connection: &Connection) -> Result<(), (Option<NodeId>, HelloError)> {
    if tls::chain_of(connection).is_none_or(|chain| chain.is_empty()) {
        let reason = format!("{} showed no certificate", connection.remote_address());
        return Err((None, HelloError { refusal: Refusal::NoCertificate, reason }));
    }
    let Some(certified) = tls::peer_of(connection) else {
        let reason = format!("the certificate of {} names no node", connection.remote_address());
        return Err((None, HelloError { refusal: Refusal::OtherNode, reason }));
    };
    let peer = certified.1;
    let known = |error| (Some(peer), error);
    let (theirs, send) = hello::listen(connection).await.map_err(known)?;
    let own = shared.hello();
    let detail = match own.check(&theirs, certified, connection.remote_address()) {
        Ok(detail) => detail,
        Err(error) => return refuse(send, error).await.map_err(known),
    };
    let link = Link::new(connection.clone(), &theirs, detail, (peer, theirs.dial));
    if let Err(error) = adopt(shared, &link) {
        return refuse(send, error).await.map_err(known);
    }
    // The connection is reported and watched by now; if the answer cannot be sent, its end is seen there.
    if let Err(error) = hello::answer(send, &Answer::Hello(own)).await {
        tracing::debug!(%peer, "the hello was not answered: {error}");
    }
    Ok(())
}

/// Tells the other side why, so that both logs name both nodes.
async fn refuse(send: super::frame::FrameSender, error: HelloError) -> Result<(), HelloError> {
    let answer = Answer::Refused { refusal: error.refusal, reason: error.reason.clone() };
    let _ = tokio::time::timeout(Duration::from_secs(1), hello::answer(send, &answer)).await;
    Err(error)
}
