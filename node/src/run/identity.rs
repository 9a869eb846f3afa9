//! Who this node is: read from its data directory, made for a new cluster, or given by the one it joins.

use super::StartFailed;
use crate::clock::Clock;
use crate::config::{JoinTarget, StartConfig};
use crate::datadir::{DataDir, KnownPeer, write_atomically};
use crate::hub::{JoinReply, JoinRequest};
use crate::identity::{ClusterCa, Identity, JoinToken, NodeCert, NodeKey};
use crate::net::{self, JoinAnswer, JoinError};
use crate::seed;
use bytes::Bytes;
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, NodeId};
use std::net::SocketAddr;
use std::time::Duration;

/// Days for which the first node's certificate is made.
const CERTIFICATE_DAYS: u32 = 3_650;
/// For how long a node that joins comes again when too many ask at once, in ms; and its pauses.
const BUSY_LIMIT_MS: u64 = 60_000;
const BUSY_PAUSE_MIN_MS: u64 = 500;
const BUSY_PAUSE_MORE_MS: u64 = 1_500;
/// The file of a key that is not yet certified.
const NEW_KEY: &str = "new-key.pem";

/// What a start finds.
pub(super) struct Found {
    /// Who this node is.
    pub(super) identity: Identity,
    /// Whether it has just made a cluster.
    pub(super) founded: bool,
}

/// Loads, founds or joins.
pub(super) async fn find(config: &StartConfig, dir: &mut DataDir, clock: &Clock) -> Result<Found, StartFailed> {
    let folder = dir.folders().identity();
    if Identity::exists(&folder) {
        let identity = Identity::load(&folder).map_err(StartFailed::of)?;
        let known = dir.node().name.clone();
        if config.name_given && known != config.name.as_str() {
            return Err(StartFailed(format!(
                "this data directory belongs to node `{known}`, not to `{}`; leave --name out, or take another --data-dir",
                config.name
            )));
        }
        return Ok(Found { identity, founded: false });
    }
    match &config.join {
        Some(target) => Ok(Found { identity: join(config, target, dir, clock).await?, founded: false }),
        None => Ok(Found { identity: found(config, dir, clock)?, founded: true }),
    }
}

fn found(config: &StartConfig, dir: &mut DataDir, clock: &Clock) -> Result<Identity, StartFailed> {
    let (cluster, node) = (ClusterId(seed::random_u128()), NodeId(1));
    let ca = ClusterCa::create(cluster, clock.unix()).map_err(StartFailed::of)?;
    let key = NodeKey::generate().map_err(StartFailed::of)?;
    let certificate = ca.admit_own(cluster, node, &key, clock.unix(), CERTIFICATE_DAYS).map_err(StartFailed::of)?;
    let identity = Identity::new(ca, certificate, key).map_err(StartFailed::of)?;
    keep(&identity, config, dir, Vec::new())?;
    Ok(identity)
}

async fn join(
    config: &StartConfig,
    target: &JoinTarget,
    dir: &mut DataDir,
    clock: &Clock,
) -> Result<Identity, StartFailed> {
    let token = JoinToken::parse(target.token.reveal(), clock.unix()).map_err(StartFailed::of)?;
    let unresolved = |error: &dyn std::fmt::Display| {
        StartFailed(format!("the join address `{}` can't be resolved ({error}); check it", target.addr))
    };
    let addrs = target.addr.resolve().map_err(|error| unresolved(&error))?;
    let addr = *addrs.first().ok_or_else(|| unresolved(&"it has no address"))?;
    let key = key_for_joining(dir)?;
    let request = JoinRequest {
        secret: token.secret().to_vec(),
        name: config.name.to_string(),
        signing_request: key.signing_request().map_err(StartFailed::of)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let request = codec::encode(codec::FORMAT, &request);
    let answer = ask_patiently(addr, token.ca_sha256, request.into(), clock).await.map_err(StartFailed::of)?;
    let reply = codec::decode(codec::FORMAT, &answer.answer, net::JOIN_ANSWER_BYTES_MAX);
    let (node, certificate, ca, peers) = match reply {
        Ok(JoinReply::Admitted { node, certificate, ca, peers, .. }) => (node, certificate, ca, peers),
        Ok(JoinReply::Refused(reason)) => return Err(StartFailed(format!("the cluster refused this node: {reason}"))),
        Err(error) => return Err(StartFailed(format!("the cluster's answer can't be read: {error}"))),
    };
    let ca = ClusterCa::from_pem(&ca, None).map_err(StartFailed::of)?;
    if ca.sha256() != token.ca_sha256 {
        return Err(StartFailed("the cluster answered with another CA than the token's; nothing was kept".to_owned()));
    }
    let certificate = NodeCert::from_pem(&certificate).map_err(StartFailed::of)?;
    let identity = Identity::new(ca, certificate, key).map_err(StartFailed::of)?;
    let mut known: Vec<KnownPeer> = peers
        .into_iter()
        .filter_map(|(node, name, addr)| Some(KnownPeer { node, name, addr: addr.parse().ok()? }))
        .collect();
    if !known.iter().any(|peer| peer.node == answer.server) {
        known.push(KnownPeer { node: answer.server, name: answer.server.to_string(), addr });
    }
    known.retain(|peer| peer.node != node);
    println!("joined the cluster as node {node} `{}`; its nodes:", config.name);
    for peer in &known {
        println!("  {:<4} {:<20} {}", peer.node, peer.name, peer.addr);
    }
    keep(&identity, config, dir, known)?;
    Ok(identity)
}

/// Many nodes may be started at once: who is told that too many ask comes again, each after a pause of its own.
async fn ask_patiently(
    addr: SocketAddr,
    ca_sha256: [u8; 32],
    request: Bytes,
    clock: &Clock,
) -> Result<JoinAnswer, JoinError> {
    let began = clock.mono();
    loop {
        match net::join(addr, ca_sha256, request.clone(), clock).await {
            Err(JoinError::Busy(_)) if clock.mono().since(began) < BUSY_LIMIT_MS => {
                let pause = BUSY_PAUSE_MIN_MS + seed::random_u64() % BUSY_PAUSE_MORE_MS;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            answered => return answered,
        }
    }
}

/// The key to join with: the same one each time, so that a join that broke off can be repeated.
fn key_for_joining(dir: &DataDir) -> Result<NodeKey, StartFailed> {
    let file = dir.folders().identity().join(NEW_KEY);
    if let Ok(pem) = std::fs::read_to_string(&file) {
        return NodeKey::from_pem(&pem).map_err(StartFailed::of);
    }
    let key = NodeKey::generate().map_err(StartFailed::of)?;
    write_atomically(&file, key.to_pem().as_bytes(), 0o600)
        .map_err(|error| StartFailed(format!("cannot write {}: {error}", file.display())))?;
    Ok(key)
}

fn keep(
    identity: &Identity,
    config: &StartConfig,
    dir: &mut DataDir,
    peers: Vec<KnownPeer>,
) -> Result<(), StartFailed> {
    dir.update(|node| {
        node.cluster = Some(identity.cluster);
        node.node = Some(identity.node);
        node.name = config.name.to_string();
        node.peers = peers;
    })
    .map_err(StartFailed::of)?;
    identity.save(&dir.folders().identity()).map_err(StartFailed::of)?;
    // Its certificate is there now; a leftover would only be a second copy of the key.
    let _ = std::fs::remove_file(dir.folders().identity().join(NEW_KEY));
    Ok(())
}
