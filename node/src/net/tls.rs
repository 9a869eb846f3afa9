//! TLS 1.3 for QUIC: mutual between nodes, and pinned to the CA's hash for who joins.
//!
//! Whoever speaks `relais/1` shows a certificate of the cluster's CA; that a connection without one gets
//! no further than joining is checked after the handshake (`accept`), since TLS cannot tell the two apart
//! before it. Sessions are never resumed, so that an expired certificate does not live on in a ticket.

use crate::clock::Clock;
use crate::identity::{Identity, node_of_certificate, server_name, sha256};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use relais_protocol::ids::{ClusterId, NodeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;

/// Between nodes.
pub(super) const ALPN_PEER: &[u8] = b"relais/1";
/// For who has no certificate yet.
pub(super) const ALPN_JOIN: &[u8] = b"relais-join/1";

/// Why TLS could not be set up from an identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused a certificate, key or setting.
    #[error("the node's certificate or key is not usable: {0}")]
    Rustls(#[from] rustls::Error),
    /// The CA certificate cannot be trusted.
    #[error("the CA certificate is not usable: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The provider lacks QUIC's first cipher suite.
    #[error("no cipher suite for QUIC")]
    Suite,
}

pub(super) fn server(identity: &Identity, clock: &Clock) -> Result<QuicServerConfig, TlsError> {
    let provider = provider();
    let roots = Arc::new(roots(identity.ca.certificate())?);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).allow_unauthenticated().build()?;
    let mut config = rustls::ServerConfig::builder_with_details(provider, time(clock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(identity), identity.key.to_der())?;
    config.alpn_protocols = vec![ALPN_PEER.to_vec(), ALPN_JOIN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    QuicServerConfig::try_from(config).map_err(|_| TlsError::Suite)
}

pub(super) fn client(identity: &Identity, clock: &Clock) -> Result<QuicClientConfig, TlsError> {
    let mut config = rustls::ClientConfig::builder_with_details(provider(), time(clock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(identity.ca.certificate())?)
        .with_client_auth_cert(chain(identity), identity.key.to_der())?;
    config.alpn_protocols = vec![ALPN_PEER.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|_| TlsError::Suite)
}

pub(super) fn joiner(ca_sha256: [u8; 32], clock: &Clock) -> Result<QuicClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(PinnedCa { ca_sha256, provider: provider.clone() });
    let mut config = rustls::ClientConfig::builder_with_details(provider, time(clock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|_| TlsError::Suite)
}

/// The node that the other side's certificate was made out to; TLS has checked the certificate.
pub(super) fn peer_of(connection: &quinn::Connection) -> Option<(ClusterId, NodeId)> {
    node_of_certificate(chain_of(connection)?.first()?)
}

/// The certificates that the other side showed.
pub(super) fn chain_of(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity()?.downcast().ok().map(|chain| *chain)
}

/// What the client's name for a server is.
pub(super) fn name_of(cluster: ClusterId, node: NodeId) -> String {
    server_name(cluster, node)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca: &CertificateDer<'static>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    Ok(roots)
}

/// Leaf and CA: who joins knows the CA by its hash only, and must be shown it.
fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    vec![identity.certificate.0.clone(), identity.ca.certificate().clone()]
}

#[derive(Debug)]
struct TlsTime(Clock);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.unix().0)))
    }
}

fn time(clock: &Clock) -> Arc<TlsTime> {
    Arc::new(TlsTime(clock.clone()))
}

/// Trusts the one CA that has a given hash, which the server must show; the server must be one of its nodes.
#[derive(Debug)]
struct PinnedCa {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates
            .iter()
            .find(|certificate| sha256(certificate) == self.ca_sha256)
            .ok_or(CertificateError::UnknownIssuer)?;
        let roots = roots(&ca.clone().into_owned())?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, algorithms)?;
        // Its name is not known beforehand; it must be a node's all the same, not just any certificate.
        node_of_certificate(end_entity).ok_or(CertificateError::NotValidForName)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
