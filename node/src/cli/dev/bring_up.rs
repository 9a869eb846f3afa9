//! What dev asks the nodes while they come up: a join token, and whether all are there.

use crate::cli::client::{Call, Client};
use crate::cli::failure::{Failure, one_line};
use crate::cli::remote::Remote;
use crate::cli::{token::join_token_body, view};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the cluster may take to come up.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The exit code of who has no token, or not the right one.
const DENIED: u8 = 77;
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// With what a node joins.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Joining {
    /// The QUIC address of a node of the cluster.
    pub(crate) address: String,
    /// The secret.
    pub(crate) token: String,
}

/// The cluster as it came up.
pub(crate) struct Up {
    /// One sentence for the person at the terminal.
    pub(crate) sentence: String,
    /// The node table.
    pub(crate) nodes: Vec<view::Node>,
}

/// Gets a join token from whichever node answers first, if one is `needed`.
///
/// # Errors
/// When no node has a dispatcher within the limit, or the cluster asks for an API token.
pub(crate) async fn token(remote: Remote, needed: bool) -> Result<Option<Joining>, Failure> {
    if !needed {
        return Ok(None);
    }
    // Asked twice, it makes two tokens, which harms nobody: so it may be repeated.
    let call = Call::post("/v1/tokens", join_token_body(TOKEN_LIFE)).polling(LIMIT);
    let token: view::Token = remote.client()?.call(&call).await?.json()?;
    match (token.join, token.token) {
        (Some(address), Some(token)) => Ok(Some(Joining { address, token })),
        _ => Err(Failure::Local("the first node gave no join token; are all nodes of this version?".to_owned())),
    }
}

/// Waits until every node says that all of them run under one dispatcher. When the limit is over it says
/// what is missing instead: the nodes stay up, to be looked at. So they do when somebody made the first API token
/// meanwhile, and they can't be looked at from here any more.
///
/// # Errors
/// When no node answers at all.
pub(crate) async fn running(remote: Remote, count: usize) -> Result<Up, Failure> {
    match look(remote, count).await {
        Err(failure) if failure.exit_code() == DENIED => {
            let sentence =
                "The nodes run. They ask for an API token: with RELAIS_TOKEN set, `relais nodes` shows them.";
            Ok(Up { sentence: sentence.to_owned(), nodes: Vec::new() })
        }
        looked => looked,
    }
}

async fn look(remote: Remote, count: usize) -> Result<Up, Failure> {
    let each: Vec<Client> = remote
        .addr
        .iter()
        .map(|address| Remote { addr: vec![address.clone()], retry_for: Duration::ZERO, ..remote.clone() }.client())
        .collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let missing = loop {
        match missing(&each, count).await? {
            None => break None,
            Some(what) if begun.elapsed() > LIMIT => break Some(what),
            Some(_) => sleep(POLL_PAUSE).await,
        }
    };
    let client = remote.client()?;
    let cluster: view::Cluster = client.call(&Call::read("/v1/cluster")).await?.json()?;
    let nodes = view::rows(&client.call(&Call::read("/v1/nodes")).await?, "nodes")?;
    let sentence = match missing {
        None => format!(
            "The cluster is {}: {count} of {count} nodes, dispatcher {}, epoch {}, high availability: {}.",
            cluster.status,
            cluster.dispatcher.as_deref().unwrap_or("none"),
            cluster.epoch.unwrap_or_default(),
            if cluster.high_availability { "yes" } else { "no" }
        ),
        Some(what) => format!("The cluster is not whole after {} s: {what}.", LIMIT.as_secs()),
    };
    Ok(Up { sentence: one_line(&sentence), nodes })
}

/// What keeps the cluster from being whole, or `None`.
async fn missing(each: &[Client], count: usize) -> Result<Option<String>, Failure> {
    let mut dispatcher: Option<String> = None;
    for (at, client) in each.iter().enumerate() {
        let name = format!("n{}", at + 1);
        let cluster: view::Cluster = match client.call(&Call::read("/v1/cluster")).await {
            Ok(answer) => answer.json()?,
            Err(failure) if failure.exit_code() == DENIED => return Err(failure),
            Err(_) => return Ok(Some(format!("{name} does not answer"))),
        };
        if let Some(what) = missing_in(&cluster, count) {
            return Ok(Some(format!("{name} says {what}")));
        }
        if dispatcher.is_some() && dispatcher != cluster.dispatcher {
            return Ok(Some(format!("{name} sees another dispatcher than the others")));
        }
        dispatcher = cluster.dispatcher;
    }
    Ok(None)
}

fn missing_in(cluster: &view::Cluster, count: usize) -> Option<String> {
    let online = usize::try_from(cluster.nodes.online).unwrap_or(usize::MAX);
    if cluster.status != "running" || cluster.dispatcher.is_none() {
        let reason = cluster.reason.as_deref().unwrap_or_default();
        return Some(format!("`{}` {reason}", cluster.status).trim_end().to_owned());
    }
    if online < count {
        return Some(format!("{online} of {count} nodes are online"));
    }
    (count >= 3 && !cluster.high_availability).then(|| "there is no high availability yet".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_cluster_misses_nothing() {
        let json =
            r#"{"status":"running","dispatcher":"n1","nodes":{"online":3,"registered":3},"high_availability":true}"#;
        let whole: view::Cluster = serde_json::from_str(json).unwrap();
        assert_eq!(missing_in(&whole, 3), None);
        assert_eq!(missing_in(&whole, 4).unwrap(), "3 of 4 nodes are online");
        let headless = view::Cluster {
            dispatcher: None,
            status: "no dispatcher".to_owned(),
            reason: Some("no majority".to_owned()),
            ..whole.clone()
        };
        assert_eq!(missing_in(&headless, 3).unwrap(), "`no dispatcher` no majority");
        let alone = view::Cluster { high_availability: false, ..whole };
        assert_eq!(missing_in(&alone, 1), None);
        assert_eq!(missing_in(&alone, 3).unwrap(), "there is no high availability yet");
    }
}
