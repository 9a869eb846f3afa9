//! The identity folder of the data directory: `ca.pem`, `node.pem`, `node-key.pem`, on voters `ca-key.pem`.
//! All have mode 0600 and are replaced whole.

use super::{ClusterCa, IdentityError, NodeCert, NodeKey, node_of_certificate};
use crate::datadir::write_atomically;
use relais_protocol::ids::{ClusterId, NodeId};
use std::io;
use std::path::Path;
use std::sync::Arc;

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const NODE: &str = "node.pem";
const NODE_KEY: &str = "node-key.pem";

/// A node's whole identity, checked: the key belongs to the certificate, the certificate names the node.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster that the certificate was made for.
    pub cluster: ClusterId,
    /// The node that the certificate was made for.
    pub node: NodeId,
    /// The CA, with its key on voters.
    pub ca: Arc<ClusterCa>,
    /// The node's certificate.
    pub certificate: NodeCert,
    /// The node's key.
    pub key: Arc<NodeKey>,
}

impl Identity {
    /// Puts an identity together.
    ///
    /// # Errors
    /// If the key belongs to another certificate, or the certificate names no node.
    pub fn new(ca: ClusterCa, certificate: NodeCert, key: NodeKey) -> Result<Self, IdentityError> {
        if !key.belongs_to(&certificate) {
            return Err(IdentityError::Mismatch("the node key"));
        }
        let (cluster, node) = node_of_certificate(&certificate.0)
            .ok_or_else(|| IdentityError::unreadable("the node certificate", "it names no relais node"))?;
        Ok(Self { cluster, node, ca: Arc::new(ca), certificate, key: Arc::new(key) })
    }

    /// Whether `folder` holds an identity.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        folder.join(NODE).exists()
    }

    /// Reads the identity from `folder`.
    ///
    /// # Errors
    /// If a file is missing or unreadable, or they do not belong together.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let ca_key = match read(folder, CA_KEY) {
            Ok(pem) => Some(pem),
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let ca = ClusterCa::from_pem(&read(folder, CA)?, ca_key.as_deref())?;
        let certificate = NodeCert::from_pem(&read(folder, NODE)?)?;
        let key = NodeKey::from_pem(&read(folder, NODE_KEY)?)?;
        Self::new(ca, certificate, key)
    }

    /// Writes the identity into `folder`; `node.pem` last, so that a crash leaves a whole one or none.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        write(folder, NODE_KEY, &self.key.to_pem())?;
        write(folder, CA, &self.ca.certificate_pem())?;
        if let Some(key) = self.ca.key_pem() {
            write(folder, CA_KEY, &key)?;
        }
        write(folder, NODE, &self.certificate.to_pem())
    }

    /// Takes the CA key that a voter was given, checks that it is our CA's, and keeps it in `folder`.
    ///
    /// # Errors
    /// If it is another key, or cannot be written.
    pub fn take_ca_key(&mut self, folder: &Path, key_pem: &str) -> Result<(), IdentityError> {
        let ca = ClusterCa::from_pem(&self.ca.certificate_pem(), Some(key_pem))?;
        write(folder, CA_KEY, key_pem)?;
        self.ca = Arc::new(ca);
        Ok(())
    }
}

fn read(folder: &Path, name: &str) -> Result<String, IdentityError> {
    let file = folder.join(name);
    std::fs::read_to_string(&file).map_err(|source| IdentityError::File { doing: "read", file, source })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), IdentityError> {
    let file = folder.join(name);
    write_atomically(&file, text.as_bytes(), 0o600).map_err(|source| IdentityError::File {
        doing: "write",
        file,
        source,
    })
}
