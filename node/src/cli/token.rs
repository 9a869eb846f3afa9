//! `relais token`: makes, lists and revokes join tokens and API tokens.

use super::client::{Answer, Call, Client};
use super::failure::Failure;
use super::remote::{self, Remote};
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::ago;
use super::view;
use relais_protocol::time::duration_text;
use serde_json::json;
use std::time::Duration;

/// Make, list and revoke tokens: to join the cluster, or to use its API
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais token create                      # prints the command that joins a node
  relais token create --role submit --name ci
  relais token ls
  relais token revoke 7f3a")]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a join token, or with --role an API token; it is shown once
    #[command(
        after_help = "Examples:\n  relais token create --ttl 1h\n  relais token create --role read --name grafana"
    )]
    Create {
        /// Make an API token of this role instead of a join token
        #[arg(long, value_parser = ["admin", "submit", "read"])]
        role: Option<String>,
        /// What the API token is for
        #[arg(long, requires = "role")]
        name: Option<String>,
        /// How long nodes may join with it
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = remote::duration,
              conflicts_with = "role")]
        ttl: Duration,
    },
    /// List tokens, without their secrets
    #[command(after_help = "Example:\n  relais token ls -o json")]
    Ls,
    /// Make tokens useless from now on
    #[command(after_help = "Example:\n  relais token revoke 7f3a")]
    Revoke {
        /// The tokens' ids, of `relais token ls`
        #[arg(required = true, value_name = "ID", value_parser = token_id)]
        ids: Vec<String>,
    },
}

impl Token {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        match self.command {
            Command::Create { role, name, ttl } => create(screen, &client, role, name, ttl).await?,
            Command::Ls => list(screen, &client).await?,
            Command::Revoke { ids } => {
                for id in &ids {
                    revoke(screen, &client, id).await?;
                }
            }
        }
        Ok(0)
    }
}

/// The body that asks for a join token.
pub(crate) fn join_token_body(ttl: Duration) -> String {
    let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    json!({ "kind": "join", "ttl": duration_text(ms) }).to_string()
}

async fn create(
    screen: Screen,
    client: &Client,
    role: Option<String>,
    name: Option<String>,
    ttl: Duration,
) -> Result<(), Failure> {
    let body = match (role, name) {
        (None, _) => join_token_body(ttl),
        (Some(role), None) => json!({ "role": role }).to_string(),
        (Some(role), Some(name)) => json!({ "role": role, "name": name }).to_string(),
    };
    let answer = client.call(&Call::post("/v1/tokens", body)).await?;
    match screen.format {
        Format::Json => return screen.json(&answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet | Format::Table => {}
    }
    let token: view::Token = answer.json()?;
    let secret = token.token.unwrap_or_default();
    match token.join {
        Some(join) if screen.format == Format::Table => {
            screen.line(&format!("relais start --join {join} --token {secret}"))?;
            screen.note(&format!(
                "run it on the new machine; good until {}; `relais token revoke {}` ends it",
                token.expires_at.as_deref().unwrap_or("revoked"),
                token.id
            ));
        }
        _ => {
            screen.line(&secret)?;
            screen.note(&format!("shown this once; put it into RELAIS_TOKEN; its id is {}", token.id));
        }
    }
    Ok(())
}

async fn list(screen: Screen, client: &Client) -> Result<(), Failure> {
    let answer = client.call(&Call::read("/v1/tokens")).await?;
    match screen.format {
        Format::Json => screen.json(&answer),
        Format::Jsonl => screen.rows(&answer, "tokens"),
        Format::Quiet => {
            view::rows::<view::Token>(&answer, "tokens")?.iter().try_for_each(|token| screen.line(&token.id))
        }
        Format::Table => print(screen, &answer),
    }
}

fn print(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    let tokens: Vec<view::Token> = view::rows(answer, "tokens")?;
    if tokens.is_empty() {
        screen.note("no tokens; make one: relais token create");
        return Ok(());
    }
    let mut table = Table::new(screen, &["ID", "FOR", "NAME", "CREATED", "EXPIRES", "STATE"]);
    for token in &tokens {
        let expires = token.expires_at.as_deref();
        table.row([
            token.id.as_str(),
            token.role.as_deref().or(token.kind.as_deref()).unwrap_or("-"),
            token.name.as_deref().unwrap_or("-"),
            &ago(token.created_at.as_deref(), answer.date),
            &expires.map_or_else(|| "never".to_owned(), |time| ago(Some(time), answer.date)),
            if token.revoked_at.is_some() { "revoked" } else { "good" },
        ]);
    }
    table.print()
}

async fn revoke(screen: Screen, client: &Client, id: &str) -> Result<(), Failure> {
    let answer = client.call(&Call::delete(format!("/v1/tokens/{id}"))).await?;
    match screen.format {
        Format::Json => screen.json(&answer),
        Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet => screen.line(id),
        Format::Table => screen.line(&format!("{id} is revoked")),
    }
}

fn token_id(text: &str) -> Result<String, String> {
    if text.starts_with("rl1.") || text.starts_with("rlt_") {
        return Err("the secret itself is no id; `relais token ls` shows ids".to_owned());
    }
    let clean = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.is_empty() || !text.chars().all(clean) {
        return Err("no token id; `relais token ls` shows ids".to_owned());
    }
    Ok(text.to_owned())
}
