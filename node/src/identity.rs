//! Who a node is: the cluster's certificate authority, the node's key and certificate, and the tokens
//! that admit nodes and API clients.
//!
//! The first node of a cluster makes the [`ClusterCa`]. A joining node makes a [`NodeKey`], sends a signing
//! request, and gets a certificate that bears its node id and the cluster id and nothing it asked for.
//! Every voter holds the CA key, so that any of them can admit a node.
//!
//! Nothing here talks to a network; `net` presents and checks these certificates.

mod ca;
mod files;
mod name;
mod token;

pub use ca::{ClusterCa, NodeCert, NodeKey};
pub use files::Identity;
pub use name::{node_of_certificate, server_name};
pub use token::{ApiToken, JoinToken, SecretHash, TokenError};

use std::path::PathBuf;

/// Why an identity could not be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The operating system gave no randomness.
    #[error(transparent)]
    Randomness(#[from] crate::seed::NoRandomness),
    /// A certificate or key could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(rcgen::Error),
    /// Text or bytes that should be a certificate, key or signing request are none.
    #[error("{what} is not readable: {reason}")]
    Unreadable {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key does not belong to the certificate.
    #[error("{0} does not belong to its certificate")]
    Mismatch(&'static str),
    /// This node holds the CA certificate only.
    #[error("this node does not hold the key of the cluster CA; ask a voter")]
    NoCaKey,
    /// A file of the identity folder is missing or cannot be read or written.
    #[error("cannot {doing} {}: {source}", file.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl IdentityError {
    fn unreadable(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Unreadable { what, reason: reason.to_string() }
    }
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

#[cfg(test)]
mod tests;
