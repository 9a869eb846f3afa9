//! Who may ask what: Host, Origin, content type, and API tokens.
//!
//! Without any API token everything is allowed from this machine, and nothing from elsewhere unless the
//! node was started insecure. Once there is one, each request needs one; that tokens run out does not open
//! the API again. The one way in without a token is then, from this machine and while no admin token is
//! good, to the tokens themselves: otherwise a cluster could be locked for good.

mod guesses;
mod origin;

pub(super) use guesses::Guesses;
pub(super) use origin::{allowed_host, allowed_origin};

use super::Api;
use super::problem::{Kind, Problem};
use super::request::Caller;
use super::route::{Needs, Route};
use relais_protocol::record::{Token, TokenRole};
use relais_protocol::time::UnixMs;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// For how long tokens once read from the ledger are good to let a caller in.
const TOKENS_KEPT: Duration = Duration::from_millis(100);

/// The tokens as last read.
#[derive(Default)]
pub(super) struct TokenCache(parking_lot::Mutex<Option<(Instant, Arc<[Token]>)>>);

/// What is known of a token, or of its absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// Whether there is any API token.
    pub(super) any_token: bool,
    /// Whether an admin token is good now.
    pub(super) any_admin: bool,
    /// The name and role of the one that was shown, if it is good.
    pub(super) shown: Option<(String, TokenRole)>,
}

impl TokenCache {
    /// Reads the ledger again next time.
    pub(super) fn forget(&self) {
        *self.0.lock() = None;
    }

    fn read(&self, api: &Api, again: bool) -> Arc<[Token]> {
        let now = Instant::now();
        let mut kept = self.0.lock();
        if let Some((read_at, tokens)) = &*kept
            && !again
            && now.duration_since(*read_at) < TOKENS_KEPT
        {
            return tokens.clone();
        }
        let tokens: Arc<[Token]> =
            api.backend.ledger().tokens().filter(|token| token.role != TokenRole::Join).cloned().collect();
        *kept = Some((now, tokens.clone()));
        tokens
    }
}

/// SHA-256 of a token's text: all of it that is ever kept.
pub(super) fn hash_of(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// How a token with this hash stands here. Every token is compared, each in constant time.
pub(super) fn standing_here(api: &Api, hash: Option<[u8; 32]>) -> Standing {
    let now = api.backend.now();
    let first = standing_among(&api.tokens.read(api, false), hash, now);
    // What seems wrong may be newer than what was kept.
    if first.shown.is_some() || (hash.is_none() && first.any_token) {
        return first;
    }
    standing_among(&api.tokens.read(api, true), hash, now)
}

fn standing_among(tokens: &[Token], hash: Option<[u8; 32]>, now: UnixMs) -> Standing {
    let good = |token: &Token| token.expires_at.is_none_or(|end| end > now);
    let mut shown = None;
    for token in tokens {
        let same = hash.is_some_and(|hash| bool::from(token.hash.ct_eq(&hash)));
        if same && good(token) {
            shown = Some((token.name.clone(), token.role));
        }
    }
    Standing {
        any_token: !tokens.is_empty(),
        any_admin: tokens.iter().any(|token| token.role == TokenRole::Admin && good(token)),
        shown,
    }
}

/// The same, asked of another node when this one keeps no ledger.
async fn standing(api: &Api, hash: Option<[u8; 32]>) -> Result<Standing, Problem> {
    if api.backend.has_ledger() {
        return Ok(standing_here(api, hash));
    }
    let hex: String = hash.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
    let body = api.backend.token_elsewhere(hex).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Kind::NotReady, format!("another node's answer about tokens: {error}")))
}

/// Lets a request in, or says why not. `token` is the text after `Bearer`.
pub(super) async fn admit(api: &Api, peer: IpAddr, token: Option<&str>, route: &Route) -> Result<Caller, Problem> {
    let needs = route.needs();
    let near = peer.to_canonical().is_loopback();
    if needs == Needs::Nothing || (needs == Needs::Metrics && near) {
        return Ok(Caller::unnamed());
    }
    let standing = standing(api, token.map(hash_of)).await?;
    match (token, standing.shown) {
        (Some(_), Some((name, role))) => allowed(Caller { name, role }, needs),
        (Some(_), None) if standing.any_token || !near => Err(wrong_guess(api, peer)),
        _ if !standing.any_token && (near || api.config.insecure) => Ok(Caller::unnamed()),
        (None, _) if near && !standing.any_admin && route.about_tokens() => {
            tracing::warn!("tokens are managed from this machine without a token: no admin token is good");
            Ok(Caller::unnamed())
        }
        _ => Err(Problem::new(
            Kind::Unauthorized,
            "send `Authorization: Bearer TOKEN`; `relais token create --role admin|submit|read` makes one, on the \
             node's own machine",
        )),
    }
}

fn allowed(caller: Caller, needs: Needs) -> Result<Caller, Problem> {
    let enough = match caller.role {
        TokenRole::Admin => true,
        TokenRole::Submit => needs <= Needs::Submit,
        TokenRole::Read => needs <= Needs::Read,
        TokenRole::Join => false,
    };
    if enough {
        return Ok(caller);
    }
    let asked = if needs == Needs::Admin { "admin" } else { "submit or admin" };
    let role = caller.role.as_str();
    Err(Problem::new(Kind::Forbidden, format!("the token's role is {role}; this needs a token of role {asked}")))
}

/// A good token is let in however many wrong ones came from its address: behind a proxy or on one machine
/// all clients share it, and one of them must not lock out the others.
fn wrong_guess(api: &Api, peer: IpAddr) -> Problem {
    let verdict = api.guesses.lock().wrong(peer, Instant::now());
    if let Some(count) = verdict.to_log {
        tracing::warn!(%peer, count, "wrong API tokens");
    }
    match verdict.retry_after_s {
        None => Problem::new(Kind::Unauthorized, "the token is unknown, revoked or expired; use another"),
        Some(seconds) => {
            Problem::new(Kind::TooManyGuesses, "too many wrong tokens from this address; correct the token, then wait")
                .retry_after(seconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, role: TokenRole, expires_at: Option<UnixMs>) -> Token {
        Token { id: 1, name: name.into(), role, hash: hash_of(name), created_at: UnixMs(0), expires_at }
    }

    #[test]
    fn an_expired_token_opens_nothing() {
        let tokens = [token("a", TokenRole::Admin, Some(UnixMs(10))), token("b", TokenRole::Read, None)];
        let at = |hash: &str, now| standing_among(&tokens, Some(hash_of(hash)), UnixMs(now));
        assert_eq!(at("a", 9).shown, Some(("a".to_owned(), TokenRole::Admin)));
        assert_eq!(at("a", 10), Standing { any_token: true, any_admin: false, shown: None });
        assert_eq!(at("b", 99).shown, Some(("b".to_owned(), TokenRole::Read)));
        assert_eq!(at("c", 1).shown, None);
    }

    #[test]
    fn a_role_allows_what_is_below_it() {
        let may = |role, needs| allowed(Caller { name: String::new(), role }, needs).is_ok();
        assert!(may(TokenRole::Read, Needs::Read) && !may(TokenRole::Read, Needs::Submit));
        assert!(may(TokenRole::Submit, Needs::Submit) && !may(TokenRole::Submit, Needs::Admin));
        assert!(may(TokenRole::Admin, Needs::Admin) && !may(TokenRole::Join, Needs::Read));
    }
}
