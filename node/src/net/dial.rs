//! Staying connected: one loop per peer dials it whenever no connection stands.
//!
//! The lower node id dials; the higher one joins in when nothing stands for a second. Attempts overlap,
//! since a lost first packet must not cost more than the next attempt; the first that comes through is
//! taken, and only then is hello said.

use super::hello::{self, HelloError};
use super::inbound::Peer;
use super::link::{CLOSE_REFUSED, Link, adopt};
use super::refusal::Refusal;
use super::shared::Shared;
use super::tls;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use relais_protocol::ids::{ClusterId, NodeId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const FIRST_PAUSE: Duration = Duration::from_millis(30);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The same for nodes that are far: many that start at once must not drown in handshakes.
const FAR_FIRST_PAUSE: Duration = Duration::from_secs(2);
const FAR_LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One attempt's TLS handshake; long enough for slow links, attempts overlap anyway.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
const HELLO_LIMIT: Duration = Duration::from_secs(3);
/// How long the higher node id leaves dialling to the lower.
const HIGHER_WAITS: Duration = Duration::from_secs(1);

/// What a dialling loop needs.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Endpoint,
    /// For nodes that are near, and for those that are far.
    pub(super) tls: ClientConfig,
    pub(super) tls_far: ClientConfig,
    pub(super) cluster: ClusterId,
}

struct Loop {
    peer: watch::Sender<Peer>,
    task: JoinHandle<()>,
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows the list of peers until its sender is gone.
pub(super) async fn follow_peers(dialler: Dialler, mut peers: watch::Receiver<Vec<Peer>>) {
    let mut loops = BTreeMap::<NodeId, Loop>::new();
    loop {
        let wanted: BTreeMap<NodeId, Peer> = peers
            .borrow_and_update()
            .iter()
            .filter(|peer| peer.node != dialler.shared.node)
            .map(|peer| (peer.node, *peer))
            .collect();
        loops.retain(|node, _| {
            let keep = wanted.contains_key(node);
            if !keep && let Some(link) = dialler.shared.link(*node) {
                link.connection.close(VarInt::from_u32(CLOSE_REFUSED), b"no longer a peer");
            }
            keep
        });
        for (node, peer) in wanted {
            let dialling = loops.entry(node).or_insert_with(|| {
                let (sender, receiver) = watch::channel(peer);
                Loop { peer: sender, task: tokio::spawn(stay_connected(dialler.clone(), node, receiver)) }
            });
            dialling.peer.send_if_modified(|now| std::mem::replace(now, peer) != peer);
        }
        if peers.changed().await.is_err() {
            return;
        }
    }
}

async fn stay_connected(dialler: Dialler, peer: NodeId, mut wanted: watch::Receiver<Peer>) {
    let shared = &dialler.shared;
    // Whether the connection that stands was dialled here, as a far one.
    let mut is_far = false;
    loop {
        let comes_near = tokio::select! {
            () = shared.until(peer, false) => false,
            Ok(_) = wanted.wait_for(|wanted| wanted.near), if is_far => true,
        };
        // One that stands is far until a near one has taken its place.
        is_far &= comes_near;
        let waits = !comes_near && shared.node > peer;
        if waits && tokio::time::timeout(HIGHER_WAITS, shared.until(peer, true)).await.is_ok() {
            continue;
        }
        let mut pause = pauses(&wanted.borrow()).0;
        while comes_near && wanted.borrow().near || shared.link(peer).is_none() {
            let near = wanted.borrow().near;
            // Once hello is said, the attempt is seen through: the other side may have it in use already.
            let connection = tokio::select! {
                () = shared.until(peer, true), if !comes_near => break,
                connection = first_through(&dialler, peer, &wanted, &mut pause) => connection,
            };
            let said = tokio::time::timeout(HELLO_LIMIT, introduce(shared, peer, &connection)).await;
            let Err(error) = said.unwrap_or_else(|_| Err(HelloError::other("no answer to the hello"))) else {
                is_far = !near;
                break;
            };
            shared.refusals.note(format!("node {peer}"), error.refusal, &error);
            connection.close(VarInt::from_u32(CLOSE_REFUSED), b"refused");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(pauses(&wanted.borrow()).1);
            if comes_near && error.refusal == Refusal::Duplicate {
                // The other side has a better connection.
                is_far = false;
                break;
            }
        }
    }
}

/// The first pause between attempts, and the longest.
fn pauses(wanted: &Peer) -> (Duration, Duration) {
    if wanted.near { (FIRST_PAUSE, LONGEST_PAUSE) } else { (FAR_FIRST_PAUSE, FAR_LONGEST_PAUSE) }
}

/// Starts an attempt after each pause until one comes through TLS.
async fn first_through(
    dialler: &Dialler,
    peer: NodeId,
    wanted: &watch::Receiver<Peer>,
    pause: &mut Duration,
) -> Connection {
    let mut attempts = FuturesUnordered::new();
    loop {
        let Peer { addr: to, near, .. } = *wanted.borrow();
        attempts.push(attempt(dialler, peer, to, near));
        let next = tokio::time::sleep(*pause);
        tokio::pin!(next);
        loop {
            tokio::select! {
                Some(done) = attempts.next() => match done {
                    Ok(connection) => return connection,
                    Err(error) => dialler.shared.refusals.note(format!("node {peer} at {to}"), error.refusal, &error),
                },
                () = &mut next => break,
            }
        }
        *pause = (*pause * 2).min(pauses(&wanted.borrow()).1);
    }
}

async fn attempt(dialler: &Dialler, peer: NodeId, addr: SocketAddr, near: bool) -> Result<Connection, HelloError> {
    let name = tls::name_of(dialler.cluster, peer);
    let tls = if near { &dialler.tls } else { &dialler.tls_far };
    let connecting = dialler.endpoint.connect_with(tls.clone(), addr, &name).map_err(HelloError::other)?;
    match tokio::time::timeout(ATTEMPT_LIMIT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(HelloError { refusal: Refusal::of(&error), reason: error.to_string() }),
        Err(_) => Err(HelloError { refusal: Refusal::NoAnswer, reason: "no answer".to_owned() }),
    }
}

/// Says hello on a connection that came through, and puts it to use.
pub(super) async fn introduce(shared: &Arc<Shared>, peer: NodeId, connection: &Connection) -> Result<(), HelloError> {
    let own = shared.hello();
    let theirs = hello::ask(connection, &own).await.inspect_err(|error| {
        if error.refusal == Refusal::Copied {
            shared.tell(|node| node.told_copied(peer, &error.reason));
        }
    })?;
    let certified = tls::peer_of(connection).ok_or_else(|| HelloError::other("the certificate names no node"))?;
    let detail = own.check(&theirs, certified, connection.remote_address())?;
    adopt(shared, &Link::new(connection.clone(), &theirs, detail, (shared.node, own.dial)))
}
