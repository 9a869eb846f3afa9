//! Joining, from the side of the cluster: a token is checked by the journal, the key is signed by the CA.

use super::Hub;
use crate::identity::{JoinToken, SecretHash, sha256};
use crate::net::Purpose;
use bytes::Bytes;
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, NodeId};
use relais_protocol::message::{CONTROL_BYTES_MAX, Control, ControlAnswer};
use relais_protocol::record::{Join, Outcome, Record, Refusal};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Days for which a node's certificate is made.
const CERTIFICATE_DAYS: u32 = 3_650;
/// Cap of a join request and its reply.
const JOIN_BYTES_MAX: usize = 64 << 10;
/// How long the dispatcher may take to admit.
const ADMIT_LIMIT: Duration = Duration::from_secs(4);

/// What a machine sends to become a node.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The secret of its token.
    pub secret: Vec<u8>,
    /// The name that it wants.
    pub name: String,
    /// Its signing request, DER.
    pub signing_request: Vec<u8>,
    /// Its software's version.
    pub version: String,
}

/// What it is answered.
#[derive(Debug, Serialize, Deserialize)]
pub enum JoinReply {
    /// It is a node.
    Admitted {
        /// The cluster.
        cluster: ClusterId,
        /// Its id.
        node: NodeId,
        /// Its certificate, PEM.
        certificate: String,
        /// The CA's certificate, PEM.
        ca: String,
        /// The nodes: id, name, QUIC address.
        peers: Vec<(NodeId, String, String)>,
    },
    /// It is not, and why.
    Refused(String),
}

impl Hub {
    /// Answers a join request, or passes it on to a node that can.
    pub(super) async fn on_join(self: Arc<Self>, remote: SocketAddr, request: Bytes) -> Bytes {
        let reply = match codec::decode::<JoinRequest>(codec::FORMAT, &request, JOIN_BYTES_MAX) {
            Ok(join) if self.identity.read().ca.can_sign() => self.clone().admit(join).await,
            Ok(_) => return self.pass_on_join(request).await,
            Err(error) => JoinReply::Refused(format!(
                "the join request can't be read ({error}); are both nodes of the same version?"
            )),
        };
        match &reply {
            JoinReply::Admitted { node, .. } => tracing::info!(%remote, %node, "admitted a node"),
            JoinReply::Refused(reason) => tracing::warn!(%remote, reason, "refused a join"),
        }
        codec::encode(codec::FORMAT, &reply).into()
    }

    async fn pass_on_join(&self, request: Bytes) -> Bytes {
        let refused = |reason: &str| Bytes::from(codec::encode(codec::FORMAT, &JoinReply::Refused(reason.to_owned())));
        let (Some(net), Some(dispatcher)) = (self.net(), self.pulse.view().dispatcher) else {
            return refused("there is no dispatcher just now; try again, or join at another node");
        };
        let control = Bytes::from(codec::encode(codec::FORMAT, &Control::Admit(request.to_vec())));
        match net.call(dispatcher, Purpose::Control, control, ADMIT_LIMIT).await {
            Ok(answer) => match codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX) {
                Ok(ControlAnswer::Admitted(reply)) => reply.into(),
                _ => refused("the dispatcher's answer can't be read"),
            },
            Err(_) => refused("the dispatcher did not answer; try again"),
        }
    }

    async fn admit(self: Arc<Self>, join: JoinRequest) -> JoinReply {
        let record = Record::Join(Box::new(Join {
            name: join.name.clone(),
            secret_hash: SecretHash::of(&join.secret).0,
            key_hash: sha256(&public_part(&join.signing_request)),
        }));
        let committed = match self.clone().propose_anywhere(vec![record]).await {
            Ok(committed) => committed,
            Err(error) => return JoinReply::Refused(format!("{error}; try again when there is a dispatcher")),
        };
        match committed.outcomes.each.first() {
            Some(Outcome::Joined { node }) => self.sign(*node, &join),
            Some(Outcome::Refused(Refusal::TokenUnknown)) => JoinReply::Refused(
                "the join token is not known here, was revoked, or has expired; make a new one with `relais token create`"
                    .to_owned(),
            ),
            Some(Outcome::Refused(Refusal::NameTaken)) => JoinReply::Refused(format!(
                "the name `{}` is taken by another node of this cluster; start with another --name, or, if this is that node, with its old data directory",
                join.name
            )),
            other => JoinReply::Refused(format!("the cluster did not take it in: {other:?}")),
        }
    }

    fn sign(&self, node: NodeId, join: &JoinRequest) -> JoinReply {
        let identity = self.identity.read();
        let signed =
            identity.ca.admit(identity.cluster, node, &join.signing_request, self.clock.unix(), CERTIFICATE_DAYS);
        match signed {
            Ok(certificate) => JoinReply::Admitted {
                cluster: identity.cluster,
                node,
                certificate: certificate.to_pem(),
                ca: identity.ca.certificate_pem(),
                peers: self.known_addresses(),
            },
            Err(error) => JoinReply::Refused(format!("its key could not be signed: {error}")),
        }
    }

    fn known_addresses(&self) -> Vec<(NodeId, String, String)> {
        let own = (self.me.node, self.me.name.clone(), self.facts.read().quic.clone());
        let others = self.addresses.read();
        let others = others.iter().map(|(node, (name, addr))| (*node, name.clone(), addr.to_string()));
        std::iter::once(own).chain(others.collect::<Vec<_>>()).collect()
    }

    /// Gives the CA key to a node that votes.
    pub(super) fn on_ca_key(&self, from: NodeId) -> ControlAnswer {
        let votes = self.journal().is_some_and(|j| j.status().borrow().voters.iter().any(|raft| raft.node() == from));
        match self.identity.read().ca.key_pem().filter(|_| votes) {
            Some(key) => ControlAnswer::CaKey(key),
            None => ControlAnswer::Refused("the CA key is for voters, from a voter that has it".to_owned()),
        }
    }

    /// A new join token: its text, the hash that the journal is to keep, and where to join.
    pub(super) fn new_join_token(
        &self,
        ends_at: relais_protocol::time::UnixMs,
    ) -> Result<(String, [u8; 32], String), String> {
        let token = JoinToken::create(self.identity.read().ca.sha256(), ends_at).map_err(|error| error.to_string())?;
        Ok((token.text(), token.secret_hash().0, self.facts.read().quic.clone()))
    }
}

/// A signing request differs each time it is made (its signature is randomised); the key in it does not.
fn public_part(request: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    match x509_parser::certification_request::X509CertificationRequest::from_der(request) {
        Ok((_, parsed)) => parsed.certification_request_info.subject_pki.raw.to_vec(),
        Err(_) => request.to_vec(),
    }
}
