//! Tokens: made, listed, revoked. A secret is in the one answer that makes it, and nowhere else.

use super::access::hash_of;
use super::answer::{Answer, Answered};
use super::jobs::{commit, seen};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::Time;
use super::{Api, json, read};
use crate::http::openapi::words;
use crate::http::view;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use bytes::Bytes;
use relais_protocol::record::{Record, Token, TokenRole};
use relais_protocol::spec::NAME_CHARS_MAX;
use relais_protocol::time::parse_duration_ms;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long a join token is good unless it is said.
const JOIN_TTL_MS: u64 = 24 * 3_600_000;
/// The longest that it can be good.
const JOIN_TTL_MS_MAX: u64 = 30 * JOIN_TTL_MS;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = TokenSpec)]
pub(in crate::http) struct TokenBody {
    #[schema(value_type = Option<words::TokenKind>)]
    kind: Option<String>,
    #[schema(value_type = Option<words::TokenRoleWanted>)]
    role: Option<String>,
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(value_type = Option<view::Duration>)]
    ttl: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(in crate::http) struct TokenView<'a> {
    id: String,
    #[schema(value_type = words::TokenKind)]
    kind: &'static str,
    #[schema(value_type = Option<words::TokenRole>)]
    role: Option<&'static str>,
    name: Option<&'a str>,
    created_at: Time,
    expires_at: Option<Time>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TokenPage)]
pub(in crate::http) struct Tokens<'a> {
    tokens: Vec<TokenView<'a>>,
}

fn view(token: &Token) -> TokenView<'_> {
    let join = token.role == TokenRole::Join;
    TokenView {
        id: id_text(token.id),
        kind: if join { "join" } else { "api" },
        role: (!join).then(|| token.role.as_str()),
        name: (!token.name.is_empty()).then_some(token.name.as_str()),
        created_at: Time(token.created_at),
        expires_at: token.expires_at.map(Time),
        token: None,
        join: None,
    }
}

fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

fn read_id(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// `GET /v1/tokens`.
pub(super) async fn list(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let mut tokens: Vec<Token> = api.backend.ledger().tokens().cloned().collect();
    tokens.sort_by_key(|token| (token.created_at, token.id));
    Ok(Answer::json(&Tokens { tokens: tokens.iter().map(view).collect() })?.stale(sight.stale_ms))
}

/// `POST /v1/tokens`.
pub(super) async fn make(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let body: TokenBody = json::read(&request.body)?;
    let role = role(&body)?;
    let name = body.name.unwrap_or_default();
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Problem::field("/name", "has at most 200 characters, none of them a control character"));
    }
    let ttl_ms = body.ttl.as_deref().map(parse_duration_ms).transpose();
    let ttl_ms = ttl_ms.map_err(|why| Problem::field("/ttl", why))?;
    if ttl_ms == Some(0) {
        return Err(Problem::field("/ttl", "must be longer than 0"));
    }
    match role {
        TokenRole::Join => make_join(api, name, ttl_ms.unwrap_or(JOIN_TTL_MS)).await,
        role => make_api(api, role, name, ttl_ms).await,
    }
}

fn role(body: &TokenBody) -> Result<TokenRole, Problem> {
    match (body.kind.as_deref(), body.role.as_deref()) {
        (Some("join"), None) | (None, Some("join")) => Ok(TokenRole::Join),
        (Some("join"), Some(_)) => Err(Problem::field("/role", "a join token has no role; leave it out")),
        (None | Some("api"), Some("admin")) => Ok(TokenRole::Admin),
        (None | Some("api"), Some("submit")) => Ok(TokenRole::Submit),
        (None | Some("api"), Some("read")) => Ok(TokenRole::Read),
        (None | Some("api"), Some(_)) => Err(Problem::field("/role", "must be admin, submit or read")),
        (None | Some("api"), None) => {
            Err(Problem::field("/role", "is missing: admin, submit or read; or `\"kind\": \"join\"` for a join token"))
        }
        (Some(_), _) => Err(Problem::field("/kind", "must be `join` or `api`")),
    }
}

async fn make_api(api: &Api, role: TokenRole, name: String, ttl_ms: Option<u64>) -> Answered {
    let secret = format!("rlt_{:032x}{:032x}", api.backend.random(), api.backend.random());
    let token = token(api, role, name, hash_of(&secret), ttl_ms);
    let (_, index) = commit(api, Record::TokenMade(Box::new(token.clone()))).await?;
    seen(api, index).await;
    api.tokens.forget();
    made(&TokenView { token: Some(&secret), ..view(&token) })
}

async fn make_join(api: &Api, name: String, ttl_ms: u64) -> Answered {
    if ttl_ms > JOIN_TTL_MS_MAX {
        return Err(Problem::field("/ttl", "is longer than the 30d that a join token can be good"));
    }
    let ends_at = api.backend.now().plus(ttl_ms);
    let (secret, hash, address) = api.backend.join_token(ends_at).map_err(|why| {
        Problem::new(Kind::Conflict, format!("no join token can be made here: {why}; ask another node"))
    })?;
    let mut token = token(api, TokenRole::Join, name, hash, Some(ttl_ms));
    token.expires_at = Some(ends_at);
    commit(api, Record::TokenMade(Box::new(token.clone()))).await?;
    made(&TokenView { token: Some(&secret), join: Some(&address), ..view(&token) })
}

fn token(api: &Api, role: TokenRole, name: String, hash: [u8; 32], ttl_ms: Option<u64>) -> Token {
    let now = api.backend.now();
    let id = api.backend.random() as u64;
    // Who submitted a job is told by this name: it is never empty.
    let name = if name.is_empty() { format!("{}-{:08x}", role.as_str(), id >> 32) } else { name };
    Token { id, name, role, hash, created_at: now, expires_at: ttl_ms.map(|ms| now.plus(ms)) }
}

fn made(view: &TokenView<'_>) -> Answered {
    let location = format!("/v1/tokens/{}", view.id);
    let answer = Answer::json_as(StatusCode::CREATED, view)?;
    Ok(answer.with(LOCATION, &location).with(CACHE_CONTROL, "no-store"))
}

/// `DELETE /v1/tokens/{id}`.
pub(super) async fn revoke(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&[])?;
    let id = read_id(text).ok_or_else(|| {
        Problem::new(Kind::NotFound, format!("there is no token `{text}`; GET /v1/tokens lists them"))
    })?;
    let (_, index) = commit(api, Record::TokenRevoked { id }).await?;
    seen(api, index).await;
    api.tokens.forget();
    Ok(Answer::json_text(StatusCode::NO_CONTENT, Bytes::new()))
}
