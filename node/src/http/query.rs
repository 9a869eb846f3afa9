//! The query of a request: known parameters only, each at most once unless it may repeat.

use super::problem::{Kind, Problem};
use actix_web::web;
use relais_protocol::time::{UnixMs, parse_duration_ms};
use std::time::Duration;

/// The longest `wait`.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The parameters, decoded, in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

fn wrong(detail: String) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

impl Query {
    /// Decodes `text`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        web::Query::<Vec<(String, String)>>::from_query(text)
            .map(|pairs| Self(pairs.into_inner()))
            .map_err(|error| wrong(format!("the query can't be read: {error}")))
    }

    /// Refuses any parameter that is not `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) if known.is_empty() => {
                Err(wrong(format!("`{name}` is no parameter of this route, it has none")))
            }
            Some((name, _)) => {
                Err(wrong(format!("`{name}` is no parameter of this route; it has {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may stand once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut all = self.0.iter().filter(|(known, _)| known == name);
        let first = all.next();
        match all.next() {
            Some(_) => Err(wrong(format!("`{name}` stands more than once"))),
            None => Ok(first.map(|(_, value)| value.as_str())),
        }
    }

    /// A switch: `true` or nothing is on, `false` is off.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.one(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(wrong(format!("`{name}` is `{other}`, but must be true or false"))),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(format!("`{name}` is `{text}`, but must be a whole number from {least} to {most}"))),
        }
    }

    /// A point in time.
    pub(super) fn time(&self, name: &str) -> Result<Option<UnixMs>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        UnixMs::parse_rfc3339(text).map(Some).map_err(|why| wrong(format!("`{name}`: {why}")))
    }

    /// How long to wait for a job's end.
    pub(super) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.one("wait")? else { return Ok(None) };
        let ms = parse_duration_ms(text).map_err(|why| wrong(format!("`wait`: {why}")))?;
        let wait = Duration::from_millis(ms);
        if wait > WAIT_MAX {
            return Err(wrong(format!("`wait` is `{text}`, but 10m at most; ask again when it is over")));
        }
        Ok(Some(wait))
    }

    /// Whether to answer at once from this node's own ledger.
    pub(super) fn local(&self) -> Result<bool, Problem> {
        match self.one("consistency")? {
            None | Some("linearizable") => Ok(false),
            Some("local") => Ok(true),
            Some(other) => Err(wrong(format!("`consistency` is `{other}`, but must be linearizable or local"))),
        }
    }
}
