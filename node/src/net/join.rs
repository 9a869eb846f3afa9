//! Joining: the one thing that somebody without a certificate may do, on a protocol of its own.
//!
//! The joiner checks the server's chain against the CA hash of its token during TLS; only then does it
//! send its request, which holds the secret. The server hands one short request per connection to the
//! node, few at once, not too often and within a time limit. What is in a request is the node's affair.

use super::accept::HANDSHAKE_LIMIT;
use super::counters::count;
use super::link::{CLOSE_BUSY, CLOSE_DONE, CLOSE_REFUSED};
use super::refusal::Refusal;
use super::shared::Shared;
use super::tls::{self, TlsError};
use super::transport;
use crate::clock::Clock;
use crate::identity::{node_of_certificate, sha256};
use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{Connection, ConnectionError, Endpoint, VarInt};
use relais_protocol::ids::{ClusterId, NodeId};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The longest join request, in bytes.
pub const JOIN_REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The longest answer to one, in bytes.
pub const JOIN_ANSWER_BYTES_MAX: usize = 64 * 1024;

const AT_ONCE: usize = 16;
/// So many requests in any ten seconds, in all and from one address; guesses at a 128-bit secret get
/// nowhere, the load is what counts.
const PER_WINDOW: usize = 60;
const PER_ADDRESS: usize = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Why joining came to nothing. In all cases but `Cut`, `TimedOut` and `Busy` no secret was sent.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server's chain holds no CA with the token's hash.
    #[error(
        "the server at {0} does not belong to the cluster of this token; check the address, and that the token is of this cluster (nothing secret was sent)"
    )]
    WrongCa(SocketAddr),
    /// The server's certificate is over, or not valid yet.
    #[error(
        "the certificate of the server at {0} is not valid now; set the clocks of both machines right (nothing secret was sent)"
    )]
    NotValidNow(SocketAddr),
    /// Nobody answered.
    #[error(
        "no relais node answers at {addr} ({reason}); check the address, that UDP reaches its QUIC port, and that the node runs"
    )]
    Unreachable {
        /// The address.
        addr: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// The request is longer than the protocol allows.
    #[error("the join request of {0} bytes is over the limit of {JOIN_REQUEST_BYTES_MAX}")]
    TooBig(usize),
    /// The connection broke after the request was sent.
    #[error("the server at {addr} broke off ({reason}); it may be busy, try again")]
    Cut {
        /// The address.
        addr: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// Too many want to join at once, or from this address.
    #[error("the server at {0} is asked by too many to join just now; start again in a minute")]
    Busy(SocketAddr),
    /// No answer in time after the request was sent.
    #[error("the server at {0} gave no answer in time; try again, or join at another node")]
    TimedOut(SocketAddr),
    /// This side could not begin.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What the server answered, and who it is by its checked certificate.
#[derive(Clone, Debug)]
pub struct JoinAnswer {
    /// The answer.
    pub answer: Bytes,
    /// The cluster's CA certificate, DER; its hash is the token's.
    pub ca: Vec<u8>,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node that answered.
    pub server: NodeId,
}

/// Sends a join request to `addr`, once that address has shown the CA with this hash.
///
/// # Errors
/// See [`JoinError`].
pub async fn join(
    addr: SocketAddr,
    ca_sha256: [u8; 32],
    request: Bytes,
    clock: &Clock,
) -> Result<JoinAnswer, JoinError> {
    if request.len() > JOIN_REQUEST_BYTES_MAX {
        return Err(JoinError::TooBig(request.len()));
    }
    let any = if addr.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let endpoint = Endpoint::client(any)?;
    let config = transport::client(tls::joiner(ca_sha256, clock)?);
    let unreachable = |reason: String| JoinError::Unreachable { addr, reason };
    let connecting = endpoint.connect_with(config, addr, "join.relais").map_err(|e| unreachable(e.to_string()))?;
    let connection = match tokio::time::timeout(HANDSHAKE_LIMIT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(refused(addr, &error)),
        Err(_) => return Err(unreachable("timed out".to_owned())),
    };
    let chain = tls::chain_of(&connection).unwrap_or_default();
    let ca = chain.iter().find(|certificate| sha256(certificate) == ca_sha256).ok_or(JoinError::WrongCa(addr))?;
    let (cluster, server) = chain.first().and_then(|leaf| node_of_certificate(leaf)).ok_or(JoinError::WrongCa(addr))?;
    let answer = match tokio::time::timeout(HANDSHAKE_LIMIT, ask(&connection, request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) if is_busy(&connection) => return Err(JoinError::Busy(addr)),
        Ok(Err(reason)) => return Err(JoinError::Cut { addr, reason }),
        Err(_) => return Err(JoinError::TimedOut(addr)),
    };
    connection.close(VarInt::from_u32(CLOSE_DONE), b"done");
    let _ = tokio::time::timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
    Ok(JoinAnswer { answer, ca: ca.to_vec(), cluster, server })
}

fn is_busy(connection: &Connection) -> bool {
    let code = match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => Some(close.error_code),
        _ => None,
    };
    code == Some(VarInt::from_u32(CLOSE_BUSY))
}

async fn ask(connection: &Connection, request: Bytes) -> Result<Bytes, String> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_all(&request).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|e| e.to_string())?;
    recv.read_to_end(JOIN_ANSWER_BYTES_MAX).await.map(Bytes::from).map_err(|e| e.to_string())
}

fn refused(addr: SocketAddr, error: &ConnectionError) -> JoinError {
    match Refusal::of(error) {
        Refusal::WrongCa | Refusal::OtherNode => JoinError::WrongCa(addr),
        Refusal::Expired => JoinError::NotValidNow(addr),
        Refusal::Busy => JoinError::Busy(addr),
        _ => JoinError::Unreachable { addr, reason: error.to_string() },
    }
}

/// How many join requests are let in.
pub(super) struct Gate {
    at_once: Semaphore,
    recent: Mutex<VecDeque<(Instant, IpAddr)>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { at_once: Semaphore::new(AT_ONCE), recent: Mutex::default() }
    }
}

impl Gate {
    fn lets_in(&self, now: Instant, from: IpAddr) -> bool {
        let mut recent = self.recent.lock();
        while recent.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            recent.pop_front();
        }
        let of_address = recent.iter().filter(|(_, address)| *address == from).count();
        let free = recent.len() < PER_WINDOW && of_address < PER_ADDRESS;
        if free {
            recent.push_back((now, from));
        }
        free
    }
}

/// Serves one join request; the caller limits the time.
pub(super) async fn serve(shared: &Arc<Shared>, connection: Connection, gate: &Gate) {
    let remote = connection.remote_address();
    let place = gate.at_once.try_acquire();
    if place.is_err() || !gate.lets_in(Instant::now(), remote.ip()) {
        shared.refusals.note(remote.ip(), Refusal::Busy, "too many join requests");
        connection.close(VarInt::from_u32(CLOSE_BUSY), b"too many join requests, try again");
        return;
    }
    match serve_request(shared, &connection).await {
        // The joiner closes once it has read the answer.
        Ok(()) => drop(connection.closed().await),
        Err(reason) => {
            shared.refusals.note(remote.ip(), Refusal::Other, format!("join request: {reason}"));
            connection.close(VarInt::from_u32(CLOSE_REFUSED), b"bad join request");
        }
    }
}

async fn serve_request(shared: &Arc<Shared>, connection: &Connection) -> Result<(), String> {
    let (mut send, mut recv) = connection.accept_bi().await.map_err(|e| e.to_string())?;
    let request = recv.read_to_end(JOIN_REQUEST_BYTES_MAX).await.map_err(|e| e.to_string())?;
    count(&shared.counting.joins, 1);
    let (inbound, remote) = (shared.inbound.clone(), connection.remote_address());
    let work = shared.main_runtime.spawn(async move { inbound.join(remote, request.into()).await });
    let answer = work.await.map_err(|_| "the handler panicked".to_owned())?;
    if answer.len() > JOIN_ANSWER_BYTES_MAX {
        return Err(format!("the answer of {} bytes is too long", answer.len()));
    }
    send.write_all(&answer).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|e| e.to_string())
}
