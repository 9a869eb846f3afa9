//! The cluster's certificate authority, and the keys and certificates of nodes (ECDSA P-256).

use super::{IdentityError, name, sha256};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, date_time_ymd,
};
use relais_protocol::ids::{ClusterId, NodeId};
use relais_protocol::time::UnixMs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::time::Duration;

const DAY_MS: u64 = 86_400_000;
const CA_DAYS: u64 = 3_653;
/// Certificates are valid from a day before they are made, so that a clock somewhat behind takes them.
const BACKDATED_MS: u64 = DAY_MS;

/// The cluster CA: its certificate, and on voters its key.
pub struct ClusterCa {
    certificate: CertificateDer<'static>,
    key: Option<KeyPair>,
}

/// The key of a node. Its secret part leaves the process only into the node's own key file.
pub struct NodeKey(KeyPair);

/// A node's certificate as the CA made it, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCert(pub CertificateDer<'static>);

impl ClusterCa {
    /// Makes the CA of a new cluster, valid for ten years from `now`.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn create(cluster: ClusterId, now: UnixMs) -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Make)?;
        let mut params = params(&format!("relais cluster {cluster}"), now, CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(IdentityError::Make)?;
        Ok(Self { certificate: certificate.into(), key: Some(key) })
    }

    /// Reads the CA from PEM text; without `key_pem` it can only be trusted, not sign.
    ///
    /// # Errors
    /// If either is unreadable, or the key belongs to another certificate.
    pub fn from_pem(certificate_pem: &str, key_pem: Option<&str>) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| IdentityError::unreadable("the CA certificate", e))?;
        let spki = public_key_of(&certificate)?;
        let key = key_pem.map(KeyPair::from_pem).transpose().map_err(|e| IdentityError::unreadable("the CA key", e))?;
        if key.as_ref().is_some_and(|key| key.subject_public_key_info() != spki) {
            return Err(IdentityError::Mismatch("the CA key"));
        }
        Ok(Self { certificate, key })
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The key, PEM, if this node holds it. For a voter's own key file and for new voters over mutual TLS.
    #[must_use]
    pub fn key_pem(&self) -> Option<String> {
        self.key.as_ref().map(KeyPair::serialize_pem)
    }

    /// Whether this node holds the key.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.key.is_some()
    }

    /// SHA-256 of the certificate's DER: what join tokens carry.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.certificate)
    }

    /// Makes the certificate of `node` for the key that signed `request` (DER). Of the request only the
    /// public key is taken, after its signature was checked; whatever else it asks for is ignored.
    ///
    /// # Errors
    /// If the request is unreadable or its signature wrong, or this node has no CA key.
    pub fn admit(
        &self,
        cluster: ClusterId,
        node: NodeId,
        request: &[u8],
        now: UnixMs,
        days: u32,
    ) -> Result<NodeCert, IdentityError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|e| IdentityError::unreadable("the signing request", e))?;
        self.sign(cluster, node, &request.public_key, now, u64::from(days))
    }

    /// Makes the certificate of `node` for a key of this same process.
    ///
    /// # Errors
    /// If this node has no CA key.
    pub fn admit_own(
        &self,
        cluster: ClusterId,
        node: NodeId,
        key: &NodeKey,
        now: UnixMs,
        days: u32,
    ) -> Result<NodeCert, IdentityError> {
        self.sign(cluster, node, &key.0, now, u64::from(days))
    }

    fn sign(
        &self,
        cluster: ClusterId,
        node: NodeId,
        key: &impl PublicKeyData,
        now: UnixMs,
        days: u64,
    ) -> Result<NodeCert, IdentityError> {
        let ca_key = self.key.as_ref().ok_or(IdentityError::NoCaKey)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, ca_key).map_err(IdentityError::Make)?;
        let dns = name::server_name(cluster, node);
        let mut params = params(&format!("relais node {node}"), now, days)?;
        let san = dns.try_into().map_err(IdentityError::Make)?;
        params.subject_alt_names = vec![rcgen::SanType::DnsName(san)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &issuer).map_err(IdentityError::Make)?;
        Ok(NodeCert(certificate.into()))
    }
}

impl NodeKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate().map(Self).map_err(IdentityError::Make)
    }

    /// Reads a key from PEM (PKCS #8).
    ///
    /// # Errors
    /// If it is none.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        KeyPair::from_pem(pem).map(Self).map_err(|e| IdentityError::unreadable("the node key", e))
    }

    /// The key as PEM: secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A signing request (DER): the public key, signed with the key itself as proof that we hold it.
    ///
    /// # Errors
    /// If signing fails.
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(IdentityError::Make)?;
        Ok(request.der().to_vec())
    }

    /// Whether `certificate` was made for this key.
    #[must_use]
    pub fn belongs_to(&self, certificate: &NodeCert) -> bool {
        public_key_of(&certificate.0).is_ok_and(|spki| spki == self.0.subject_public_key_info())
    }

    /// The key as rustls takes it: secret.
    #[must_use]
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.serialize_der()))
    }

    /// 32 bytes that follow from the key and `purpose` and tell nothing of it, the same in each run.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.0.serialized_der());
        let mut out = [0; 32];
        out.copy_from_slice(ring::hmac::sign(&key, purpose.as_bytes()).as_ref());
        out
    }
}

impl NodeCert {
    /// Reads a certificate from PEM.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        CertificateDer::from_pem_slice(pem.as_bytes())
            .map(Self)
            .map_err(|e| IdentityError::unreadable("the node certificate", e))
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.0)
    }
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").field("can_sign", &self.can_sign()).finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(secret)")
    }
}

/// What all certificates have in common: name, a random serial number, validity from a day ago.
fn params(common_name: &str, now: UnixMs, days: u64) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let mut serial = crate::seed::secret_bytes::<16>()?;
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_millis(now.0.saturating_sub(BACKDATED_MS));
    params.not_after = epoch + Duration::from_millis(now.plus(days * DAY_MS).0);
    Ok(params)
}

fn public_key_of(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, IdentityError> {
    x509_parser::parse_x509_certificate(certificate)
        .map(|(_, parsed)| parsed.public_key().raw.to_vec())
        .map_err(|e| IdentityError::unreadable("the certificate", e))
}

fn pem(label: &str, der: &[u8]) -> String {
    const LINE: usize = 48;
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(LINE) {
        text.push_str(&super::token::base64(line, true));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
