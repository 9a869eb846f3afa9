//! The handshake after TLS: each side says who it is, and both check that they belong together.
//!
//! JSON, since this is the one message that every version must be able to read of every other; unknown
//! fields are ignored. Everything after it is in the version agreed here.

use super::frame::{FrameReceiver, FrameSender, HEADER, header};
use super::inbound::{PeerDetail, VersionRange};
use super::purpose::Kind;
use super::refusal::Refusal;
use bytes::{BufMut, BytesMut};
use quinn::Connection;
use relais_protocol::ids::{ClusterId, Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The longest hello, in bytes.
const HELLO_BYTES_MAX: usize = 8 * 1024;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) cluster: String,
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) incarnation: Incarnation,
    pub(super) software: String,
    pub(super) versions: VersionRange,
    pub(super) advertise: Vec<SocketAddr>,
    #[serde(default)]
    pub(super) http: Option<String>,
    /// Random, the same for all hellos of a process: tells it from another one with the same identity.
    #[serde(default)]
    pub(super) run: u64,
    /// Counts the connections that this process dialled: of two, the later one stands.
    pub(super) dial: u64,
}

/// The answer of the side that was dialled.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Hello(Hello),
    Refused { refusal: Refusal, reason: String },
}

/// Why two nodes do not belong together; `reason` names both.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct HelloError {
    pub(super) refusal: Refusal,
    pub(super) reason: String,
}

impl HelloError {
    pub(super) fn other(reason: impl ToString) -> Self {
        Self { refusal: Refusal::Other, reason: reason.to_string() }
    }

    fn lost(connection: &Connection, what: impl ToString) -> Self {
        // A certificate that the other side refused shows only now: TLS 1.3 tells the client late.
        match connection.close_reason() {
            Some(error) => Self { refusal: Refusal::of(&error), reason: error.to_string() },
            None => Self::other(what),
        }
    }
}

impl Hello {
    pub(super) fn shown(&self) -> String {
        let VersionRange { min, max } = self.versions;
        format!(
            "node {} ({}, relais {}, protocol {min}-{max}, cluster {})",
            self.node, self.name, self.software, self.cluster
        )
    }

    /// Checks what `peer` claims against ourselves and against its certificate.
    ///
    /// # Errors
    /// With a text that names both sides.
    pub(super) fn check(
        &self,
        peer: &Self,
        certified: (ClusterId, NodeId),
        remote: SocketAddr,
    ) -> Result<PeerDetail, HelloError> {
        let refuse = |refusal, why: &str| HelloError {
            refusal,
            reason: format!("{why}: {} and {}", self.shown(), peer.shown()),
        };
        if peer.cluster != self.cluster || certified.0.to_string() != self.cluster {
            return Err(refuse(Refusal::OtherCluster, "two clusters"));
        }
        if peer.node != certified.1 {
            let why = format!("the certificate is for node {}, the claim is another", certified.1);
            return Err(refuse(Refusal::OtherNode, &why));
        }
        if peer.node == self.node {
            return Err(refuse(Refusal::OtherNode, "two nodes with one id; was a data directory copied?"));
        }
        let Some(version) = self.versions.common(peer.versions) else {
            return Err(refuse(Refusal::Version, "no protocol version in common; upgrade the older one"));
        };
        Ok(PeerDetail {
            name: peer.name.clone(),
            incarnation: peer.incarnation,
            software: peer.software.clone(),
            versions: peer.versions,
            version,
            advertise: peer.advertise.clone(),
            http: peer.http.clone(),
            remote,
            loss: None,
        })
    }
}

/// The dialling side: says hello and waits for the answer.
pub(super) async fn ask(connection: &Connection, own: &Hello) -> Result<Hello, HelloError> {
    let lost = |e: &dyn ToString| HelloError::lost(connection, e.to_string());
    let (mut send, recv) = connection.open_bi().await.map_err(|e| lost(&e))?;
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0, Kind::Hello as u8]);
    bytes.put_slice(&framed(own)?);
    send.write_all(&bytes).await.map_err(|e| lost(&e))?;
    let answer = FrameReceiver::limited(recv, HELLO_BYTES_MAX).next().await.map_err(|e| lost(&e))?;
    let answer = answer.ok_or_else(|| lost(&"the handshake was cut short"))?;
    match serde_json::from_slice(&answer).map_err(HelloError::other)? {
        Answer::Hello(hello) => Ok(hello),
        Answer::Refused { refusal, reason } => Err(HelloError { refusal, reason }),
    }
}

/// The dialled side: waits for the hello; the answer goes out by [`answer`].
pub(super) async fn listen(connection: &Connection) -> Result<(Hello, FrameSender), HelloError> {
    let lost = |e: &dyn ToString| HelloError::lost(connection, e.to_string());
    let (send, mut recv) = connection.accept_bi().await.map_err(|e| lost(&e))?;
    let mut first = [0; 2];
    recv.read_exact(&mut first).await.map_err(|e| lost(&e))?;
    if first != [0, Kind::Hello as u8] {
        return Err(HelloError::other("the first stream is no hello"));
    }
    let hello = FrameReceiver::limited(recv, HELLO_BYTES_MAX).next().await.map_err(|e| lost(&e))?;
    let hello = hello.ok_or_else(|| lost(&"the handshake was cut short"))?;
    let hello = serde_json::from_slice(&hello).map_err(HelloError::other)?;
    Ok((hello, FrameSender::limited(send, HELLO_BYTES_MAX)))
}

/// Sends the answer; returns when it is handed over.
pub(super) async fn answer(mut send: FrameSender, answer: &Answer) -> Result<(), HelloError> {
    let bytes = serde_json::to_vec(answer).map_err(HelloError::other)?;
    send.send(bytes.into()).await.map_err(HelloError::other)?;
    send.finish();
    if matches!(answer, Answer::Refused { .. }) {
        // The connection is closed right after this; the reason must have arrived before.
        send.closed().await;
    }
    Ok(())
}

fn framed(hello: &Hello) -> Result<BytesMut, HelloError> {
    let json = serde_json::to_vec(hello).map_err(HelloError::other)?;
    let mut bytes = BytesMut::with_capacity(HEADER + json.len());
    bytes.put_slice(&header(json.len(), HELLO_BYTES_MAX).map_err(HelloError::other)?);
    bytes.put_slice(&json);
    Ok(bytes)
}
