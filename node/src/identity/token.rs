//! Join tokens and API tokens: their text, and the hash that is all the journal keeps of them.
//!
//! A join token is `rl1.` and, in URL-safe base64, a version byte, the SHA-256 of the cluster CA's
//! certificate, a secret of 128 bits, its expiry, and a check sum (so that a token pasted in part is told
//! from a wrong one). An API token is `rlt_` and 160 random bits.

use super::{IdentityError, sha256};
use crate::seed::secret_bytes;
use relais_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;

const JOIN_PREFIX: &str = "rl1.";
const API_PREFIX: &str = "rlt_";
const SECRET: usize = 16;
const API_SECRET: usize = 20;
const CHECK: usize = 4;
const BODY: usize = 32 + SECRET + 8;

/// Why a token is refused before it is sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not look like one.
    #[error(
        "this is no join token (`rl1.` and {BASE64_LEN} characters); copy the whole line that `relais token create` prints"
    )]
    Format,
    /// It looks like one and is not whole.
    #[error(
        "the join token is damaged, probably cut or mistyped; copy the whole line that `relais token create` prints"
    )]
    Damaged,
    /// It is over.
    #[error(
        "the join token expired at {at} (it is {now} here); make a new one with `relais token create`, or set the clock right"
    )]
    Expired {
        /// When it expired.
        at: UnixMs,
        /// The clock of this node.
        now: UnixMs,
    },
}

const BASE64_LEN: usize = (BODY + CHECK) / 3 * 4;

/// SHA-256 of a secret. Comparing takes the same time wherever two hashes differ.
#[derive(Clone, Copy, Eq, Serialize, Deserialize)]
pub struct SecretHash(pub [u8; 32]);

/// A join token: proof that its holder may become a node, and which CA it is to trust.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the cluster CA's certificate (DER).
    pub ca_sha256: [u8; 32],
    /// The secret; shown by [`JoinToken::text`] only.
    secret: [u8; SECRET],
    /// When it ends.
    pub expires: UnixMs,
}

/// A bearer token of the HTTP API.
#[derive(Clone)]
pub struct ApiToken(String);

impl JoinToken {
    /// Makes a token for the cluster of this CA.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn create(ca_sha256: [u8; 32], expires: UnixMs) -> Result<Self, IdentityError> {
        Ok(Self { ca_sha256, secret: secret_bytes()?, expires })
    }

    /// The token's text: secret.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(BODY + CHECK);
        bytes.extend_from_slice(&self.ca_sha256);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.expires.0.to_be_bytes());
        let check = sha256(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        format!("{JOIN_PREFIX}{}", base64(&bytes, false))
    }

    /// Reads a token and checks that it has not expired.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn parse(text: &str, now: UnixMs) -> Result<Self, TokenError> {
        let token: Self = text.parse()?;
        if now >= token.expires {
            return Err(TokenError::Expired { at: token.expires, now });
        }
        Ok(token)
    }

    /// The secret itself: sent to a node whose CA was checked, nowhere else.
    #[must_use]
    pub fn secret(&self) -> [u8; SECRET] {
        self.secret
    }

    /// What the journal keeps of the secret.
    #[must_use]
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let body = text.trim().strip_prefix(JOIN_PREFIX).ok_or(TokenError::Format)?;
        let bytes = from_base64(body).ok_or(TokenError::Damaged)?;
        let (body, check) = bytes.split_at_checked(BODY).ok_or(TokenError::Damaged)?;
        if sha256(body)[..CHECK] != *check {
            return Err(TokenError::Damaged);
        }
        let (mut ca_sha256, mut secret, mut expires) = ([0; 32], [0; SECRET], [0; 8]);
        ca_sha256.copy_from_slice(&body[..32]);
        secret.copy_from_slice(&body[32..32 + SECRET]);
        expires.copy_from_slice(&body[32 + SECRET..]);
        Ok(Self { ca_sha256, secret, expires: UnixMs(u64::from_be_bytes(expires)) })
    }
}

impl ApiToken {
    /// Makes a new token.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn create() -> Result<Self, IdentityError> {
        let secret: [u8; API_SECRET] = secret_bytes()?;
        Ok(Self(format!("{API_PREFIX}{}", hex(&secret))))
    }

    /// The token's text: secret, to be shown once.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What the journal keeps of it.
    #[must_use]
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl SecretHash {
    /// The hash of a secret, or of whatever a client presented as one.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHash({self})")
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken(expires {})", self.expires)
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(secret)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64: URL-safe and without padding, or the padded alphabet of PEM.
pub(super) fn base64(bytes: &[u8], for_pem: bool) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = group.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            let character = char::from(URL_SAFE[(value >> (18 - 6 * digit)) as usize & 63]);
            text.push(match character {
                '-' if for_pem => '+',
                '_' if for_pem => '/',
                other => other,
            });
        }
        if for_pem {
            text.extend(std::iter::repeat_n('=', 3 - group.len()));
        }
    }
    text
}

/// Reads URL-safe base64 without padding of a token's length, `None` for anything else.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.len() != BASE64_LEN {
        return None;
    }
    let mut bytes = Vec::with_capacity(BODY + CHECK);
    for group in text.as_bytes().chunks_exact(4) {
        let mut value = 0u32;
        for character in group {
            let digit = URL_SAFE.iter().position(|known| known == character)?;
            value = value << 6 | u32::try_from(digit).ok()?;
        }
        bytes.extend_from_slice(&value.to_be_bytes()[1..]);
    }
    Some(bytes)
}
