//! What is looked at in the cluster, with the API's answers only.

use super::{Finding, Level};
use crate::cli::address::Address;
use crate::cli::client::{Answer, Call, Client};
use crate::cli::failure::Failure;
use crate::cli::remote::Remote;
use crate::cli::time_text::span;
use crate::cli::view;
use crate::clock::Clock;
use futures::stream::{self, StreamExt};
use relais_protocol::time::UnixMs;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;

/// A node that is well answers sooner.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
const PROBES_AT_ONCE: usize = 16;
/// A `Date` has whole seconds; more than this apart, two clocks do differ.
const CLOCKS_APART_MS: u64 = 3_000;
const DAY_MS: u64 = 24 * 3_600_000;
/// Causes that somebody wanted.
const PLANNED: [&str; 2] = ["start", "handover"];
const FAILOVERS_MANY: usize = 3;
/// A job that waits so long in a queue that is open is worth a look.
const OLD_MS: u64 = 3_600_000;

/// Looks at all of it. What can't be looked at because no node answers is left out, and that is told.
///
/// # Errors
/// When the token can't be read.
pub(super) async fn look(remote: &Remote) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut answering = 0;
    for address in &remote.addr {
        let client = remote.client_of(address.clone())?;
        let version = client.call(&Call::probe("/v1/version", PROBE_LIMIT)).await;
        answering += usize::from(version.is_ok());
        findings.push(address_finding(address, version));
    }
    if answering == 0 {
        return Ok(findings);
    }
    let client = remote.client()?;
    match read::<view::Cluster>(&client, "/v1/cluster").await {
        Ok((cluster, _)) => findings.extend(of_cluster(&cluster)),
        Err(failure) => {
            findings.push(Finding::bad("cluster", failure.to_string(), "nothing more can be looked at without it"));
            return Ok(findings);
        }
    }
    findings.extend(nodes(remote, &client).await?);
    findings.extend(listed(&client, "/v1/queues", "queues", of_queues).await);
    findings.extend(listed(&client, "/v1/cluster/failovers", "failovers", of_failovers).await);
    Ok(findings)
}

fn address_finding(address: &Address, answer: Result<Answer, Failure>) -> Finding {
    let what = format!("address {address}");
    match answer {
        Ok(answer) if answer.status == 401 || answer.status == 403 => Finding::bad(
            what,
            "asks for an API token",
            "give one in RELAIS_TOKEN; `relais token create --role read` on a node makes one",
        ),
        Ok(answer) if answer.status >= 400 => {
            Finding::bad(what, format!("answers with status {}", answer.status), "is it a Relais node?")
        }
        Ok(_) => Finding::good(what, "answers"),
        Err(failure) => Finding::bad(what, failure.to_string(), "is the node up, and the address right?"),
    }
}

async fn read<T: DeserializeOwned>(client: &Client, path: &str) -> Result<(T, Option<UnixMs>), Failure> {
    let answer = client.call(&Call::read(path)).await?;
    Ok((answer.json()?, answer.date))
}

async fn listed<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    key: &str,
    judge: impl Fn(&[T], Option<UnixMs>) -> Vec<Finding>,
) -> Vec<Finding> {
    let rows = match client.call(&Call::read(path)).await {
        Ok(answer) => view::rows::<T>(&answer, key).map(|rows| (rows, answer.date)),
        Err(failure) => Err(failure),
    };
    match rows {
        Ok((rows, now)) => judge(&rows, now),
        Err(failure) => vec![Finding::bad(key, failure.to_string(), "try again when the cluster runs")],
    }
}

fn of_cluster(cluster: &view::Cluster) -> Vec<Finding> {
    let reason = cluster.reason.as_deref().filter(|reason| !reason.is_empty());
    let said = reason.map_or_else(|| cluster.status.clone(), |reason| format!("{}: {reason}", cluster.status));
    let status = match cluster.status.as_str() {
        "running" => Finding::good("cluster", format!("{said}, mode {}", cluster.mode)),
        "running (limited)" => Finding::warning("cluster", said, "bring the missing nodes back; `relais nodes`"),
        _ => Finding::bad("cluster", said, "bring nodes back until a majority of the voters is up; `relais nodes`"),
    };
    let survives = cluster.survives.clone().unwrap_or_default();
    let availability = if cluster.high_availability {
        Finding::good("high availability", survives)
    } else {
        Finding::warning("high availability", format!("no. {survives}"), "three nodes on three machines give it")
    };
    let dispatcher = match &cluster.dispatcher {
        Some(name) => Finding::good("dispatcher", format!("{name}, epoch {}", cluster.epoch.unwrap_or(0))),
        None => Finding::bad("dispatcher", "none", "`relais cluster status` says what is missing"),
    };
    vec![status, dispatcher, availability]
}

async fn nodes(remote: &Remote, client: &Client) -> Result<Vec<Finding>, Failure> {
    let nodes = match client.call(&Call::read("/v1/nodes")).await {
        Ok(answer) => view::rows::<view::Node>(&answer, "nodes")?,
        Err(failure) => return Ok(vec![Finding::bad("nodes", failure.to_string(), "try again")]),
    };
    let mut findings = vec![versions(&nodes)];
    let asked = nodes.iter().filter(|node| node.status != "offline" && node.status != "left");
    let probes = stream::iter(asked).map(|node| probe(remote, node)).buffered(PROBES_AT_ONCE).collect::<Vec<_>>().await;
    findings.extend(nodes.iter().filter_map(of_status));
    let own = Clock::new().unix();
    let dates = probes.iter().filter_map(|(name, _, date)| Some((name.clone(), (*date)?))).collect::<Vec<_>>();
    findings.extend(probes.into_iter().map(|(_, finding, _)| finding));
    findings.push(clocks(own, &dates));
    Ok(findings)
}

fn of_status(node: &view::Node) -> Option<Finding> {
    let what = format!("node {}", node.name);
    let reason = node.reason.clone().unwrap_or_default();
    let said = format!("{} {reason}", node.status);
    match node.status.as_str() {
        "online" | "joining" | "left" => None,
        "draining" => Some(Finding::warning(what, said, format!("`relais node undrain {}` ends it", node.name))),
        "limited" | "suspect" => Some(Finding::warning(what, said, "look at its log, disk and network")),
        _ => Some(Finding::bad(what, said, "start it again; if it is gone for good, its place is taken after a while")),
    }
}

/// Asks a node how its parts are.
async fn probe(remote: &Remote, node: &view::Node) -> (String, Finding, Option<UnixMs>) {
    let what = format!("node {}", node.name);
    let Some(url) = node.http.clone().filter(|url| !url.is_empty()) else {
        return (node.name.clone(), Finding::warning(what, "its address is not known yet", "look again soon"), None);
    };
    let client = url.parse::<Address>().map_err(Failure::Local).and_then(|address| remote.client_of(address));
    let answer = match client {
        Ok(client) => client.call(&Call::probe("/readyz?verbose", PROBE_LIMIT)).await,
        Err(failure) => Err(failure),
    };
    let finding = match &answer {
        Ok(answer) => of_readiness(&what, answer.json().unwrap_or_default()),
        Err(_) => Finding::warning(
            &what,
            format!("its address {url} does not answer from here"),
            "clients that fail over need it: see --advertise-http, and the firewall",
        ),
    };
    (node.name.clone(), finding, answer.ok().and_then(|answer| answer.date))
}

fn of_readiness(what: &str, readiness: view::Readiness) -> Finding {
    let sick = readiness.parts.iter().filter(|part| !part.healthy);
    let sick: Vec<String> = sick.map(|part| format!("{}: {}", part.name, part.detail)).collect();
    if readiness.ready && sick.is_empty() {
        return Finding::good(what, format!("ready, all {} parts are well", readiness.parts.len()));
    }
    Finding::bad(what, format!("not ready: {}", sick.join("; ")), "its log has the cause")
}

fn versions(nodes: &[view::Node]) -> Finding {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // A node that was never heard of by this one has none.
    let told = nodes.iter().filter(|node| node.status != "left");
    for (version, node) in told.filter_map(|node| Some((node.version.as_deref()?, node))).filter(|(v, _)| !v.is_empty())
    {
        known.entry(version).or_default().push(&node.name);
    }
    let said: Vec<String> = known.iter().map(|(version, names)| format!("{version} on {}", names.join(", "))).collect();
    if known.len() > 1 {
        return Finding::warning("versions", said.join("; "), "end the upgrade: all nodes should run one version");
    }
    Finding::good("versions", said.join("; "))
}

fn clocks(own: UnixMs, dates: &[(String, UnixMs)]) -> Finding {
    let apart = |date: UnixMs| own.since(date).max(date.since(own));
    let wrong = dates.iter().filter(|(_, date)| apart(*date) > CLOCKS_APART_MS);
    let wrong: Vec<String> = wrong.map(|(name, date)| format!("{name} by {}", span(apart(*date), false))).collect();
    if wrong.is_empty() {
        return Finding::good("clocks", format!("those of {} nodes agree with this machine's", dates.len()));
    }
    Finding::warning(
        "clocks",
        format!("not this machine's: {}", wrong.join(", ")),
        "let NTP run everywhere; a dispatcher 2 s off the other voters fires no schedule",
    )
}

fn of_queues(queues: &[view::Queue], _: Option<UnixMs>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for queue in queues.iter().filter(|queue| queue.queued > 0) {
        let what = format!("queue {}", queue.name);
        let oldest = queue.oldest_age_ms.unwrap_or(0);
        let waiting = format!("{} jobs wait, the oldest for {}", queue.queued, span(oldest, false));
        if queue.paused {
            let next = format!("`relais queues resume {}` lets them run", queue.name);
            findings.push(Finding::warning(what, format!("paused, and {waiting}"), next));
        } else if oldest > OLD_MS {
            findings.push(Finding::warning(what, waiting, "`relais explain ID` says why a job waits"));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("queues", format!("{} queues, none is stuck", queues.len())));
    }
    findings
}

fn of_failovers(failovers: &[view::Failover], now: Option<UnixMs>) -> Vec<Finding> {
    let recent = failovers.iter().filter(|failover| {
        let at = failover.elected_at.as_deref().and_then(|text| UnixMs::parse_rfc3339(text).ok());
        at.zip(now).is_some_and(|(at, now)| now.since(at) < DAY_MS)
    });
    let causes: Vec<&str> = recent.filter_map(|failover| failover.cause.as_deref()).collect();
    let unplanned = causes.iter().filter(|cause| !PLANNED.contains(cause)).count();
    let said = format!("{} in the last day", causes.len());
    let level = if unplanned >= FAILOVERS_MANY { Level::Warning } else { Level::Good };
    let next = if level == Level::Good { "" } else { "`relais cluster failovers` has the causes" };
    vec![Finding { level, what: "failovers".to_owned(), detail: said, next: next.to_owned() }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("a view")
    }

    #[test]
    fn a_cluster_is_judged_by_its_status() {
        for (status, level) in
            [("running", Level::Good), ("running (limited)", Level::Warning), ("no dispatcher", Level::Bad)]
        {
            let cluster = of(json!({ "status": status, "dispatcher": "n1", "high_availability": true }));
            assert_eq!(of_cluster(&cluster)[0].level, level, "{status}");
        }
        let alone = of_cluster(&of(json!({ "status": "running", "high_availability": false })));
        assert_eq!([alone[1].level, alone[2].level], [Level::Bad, Level::Warning]);
    }

    #[test]
    fn nodes_differ_in_version_clock_and_parts() {
        let nodes =
            |b: &str| of::<Vec<view::Node>>(json!([{"name": "a", "version": "1"}, {"name": "b", "version": b}]));
        assert_eq!(versions(&nodes("1")).level, Level::Good);
        assert_eq!(versions(&nodes("2")).level, Level::Warning);
        let now = UnixMs::parse_rfc3339("2026-11-22T10:00:00Z").expect("a time");
        assert_eq!(clocks(now, &[("a".to_owned(), now.plus(2_000))]).level, Level::Good);
        assert_eq!(clocks(now, &[("a".to_owned(), now.plus(60_000))]).level, Level::Warning);
        assert_eq!(clocks(now.plus(60_000), &[("a".to_owned(), now)]).level, Level::Warning);
        let sick = json!({"ready": false, "parts": [{"name": "journal", "healthy": false, "detail": "full"}]});
        let finding = of_readiness("node a", of(sick));
        assert_eq!((finding.level, finding.detail.as_str()), (Level::Bad, "not ready: journal: full"));
    }

    #[test]
    fn a_paused_queue_and_many_failovers_are_told() {
        let queue = json!([{"name": "q", "paused": true, "queued": 3, "oldest_age_ms": 5}]);
        assert_eq!(of_queues(&of::<Vec<_>>(queue), None)[0].level, Level::Warning);
        assert_eq!(of_queues(&of::<Vec<_>>(json!([{"name": "q", "paused": true}])), None)[0].level, Level::Good);
        let now = UnixMs::parse_rfc3339("2026-11-22T10:00:00Z").ok();
        let row = |at: &str| json!({"cause": "silent", "elected_at": at});
        let today = json!([row("2026-11-22T09:00:00Z"), row("2026-11-22T08:00:00Z"), row("2026-11-22T07:00:00Z")]);
        assert_eq!(of_failovers(&of::<Vec<_>>(today), now)[0].level, Level::Warning);
        let old = json!([row("2026-11-20T09:00:00Z"), row("2026-11-20T08:00:00Z"), row("2026-11-20T07:00:00Z")]);
        assert_eq!(of_failovers(&of::<Vec<_>>(old), now)[0].level, Level::Good);
    }
}
