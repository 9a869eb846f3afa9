//! Signatures of messages, after the Standard Webhooks specification (version 1, symmetric): the base64 of an
//! HMAC-SHA256 over `id.timestamp.body`, in the header `webhook-signature` as `v1,SIGNATURE`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What begins a secret that is written in base64.
const ENCODED: &str = "whsec_";

/// A key to sign with.
pub struct SigningKey(hmac::Key);

/// A secret can't be read.
#[derive(Debug, thiserror::Error)]
#[error("begins with whsec_ but is no base64 after it: {0}")]
pub struct BadSecret(#[from] base64::DecodeError);

impl SigningKey {
    /// The key of a secret: its bytes, or the ones that follow `whsec_` in base64.
    ///
    /// # Errors
    /// When what follows is no base64.
    pub fn of(secret: &str) -> Result<Self, BadSecret> {
        let bytes = match secret.strip_prefix(ENCODED) {
            Some(encoded) => STANDARD.decode(encoded)?,
            None => secret.as_bytes().to_vec(),
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of the header `webhook-signature`. `timestamp` is in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's own libraries are tested with.
    #[test]
    fn it_signs_as_the_specification_says() {
        let key = SigningKey::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_no_base64_is_refused_where_it_claims_to_be() {
        assert!(SigningKey::of("whsec_%%%").is_err());
        assert!(SigningKey::of("%%%").is_ok());
    }
}
