//! The failovers that the journal tells of: phase by phase, and job by job.

use super::answer::{Answer, Answered};
use super::request::Request;
use super::view::{Names, Time};
use super::{Api, read};
use crate::http::openapi::words;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::failover::FailoverTale;
use relais_protocol::record::Failover;
use relais_protocol::time::UnixMs;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = Failover)]
struct FailoverView {
    epoch: u64,
    generation: u64,
    from: Option<String>,
    to: String,
    cause: String,
    suspected_at: Time,
    confirmed_at: Option<Time>,
    elected_at: Time,
    reconciled_at: Option<Time>,
    first_dispatch_at: Option<Time>,
    unavailable_ms: u64,
    phases_ms: Phases,
    jobs: JobsMoved,
    fates: Vec<FateView>,
    fates_left_out: u64,
}

/// When each phase ended, counted from the suspicion.
#[derive(Serialize, ToSchema)]
#[schema(as = FailoverPhases)]
struct Phases {
    suspected: u64,
    confirmed: Option<u64>,
    elected: u64,
    reconciled: Option<u64>,
    first_dispatch: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FailoverJobs)]
struct JobsMoved {
    running: Option<u32>,
    kept: u32,
    adopted: u32,
    retried: u32,
    duplicate: u32,
    lost_attempts: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobFate)]
struct FateView {
    job: String,
    node: String,
    #[schema(value_type = words::Fate)]
    fate: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FailoverPage)]
pub(in crate::http) struct Failovers {
    failovers: Vec<FailoverView>,
}

/// `GET /v1/cluster/failovers`, newest first.
pub(super) async fn list(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let ledger = api.backend.ledger();
    let failovers = Failovers { failovers: views(&ledger) };
    drop(ledger);
    Ok(Answer::json(&failovers)?.stale(sight.stale_ms))
}

fn views(ledger: &Ledger) -> Vec<FailoverView> {
    let names = Names::of(ledger);
    ledger.failovers().rev().map(|one| view(one, ledger.failover_tale(one.epoch), &names)).collect()
}

fn view(failover: &Failover, tale: Option<&FailoverTale>, names: &Names) -> FailoverView {
    let confirmed_at = tale.and_then(|tale| tale.confirmed_at);
    let reconciled_at = tale.and_then(|tale| tale.reconciled_at);
    let after = |at: UnixMs| at.since(failover.suspected_at);
    let fates: Vec<FateView> = tale
        .into_iter()
        .flat_map(|tale| &tale.fates)
        .map(|fate| FateView { job: fate.job.to_string(), node: names.name(fate.node), fate: fate.fate.as_str() })
        .collect();
    let running = tale.map(|tale| tale.running);
    FailoverView {
        epoch: failover.epoch.0,
        generation: failover.generation.0,
        from: failover.from.map(|node| names.name(node)),
        to: names.name(failover.to),
        cause: failover.cause.clone(),
        suspected_at: Time(failover.suspected_at),
        confirmed_at: confirmed_at.map(Time),
        elected_at: Time(failover.elected_at),
        reconciled_at: reconciled_at.map(Time),
        first_dispatch_at: failover.first_dispatch_at.map(Time),
        unavailable_ms: failover.unavailable_ms,
        phases_ms: Phases {
            suspected: 0,
            confirmed: confirmed_at.map(after),
            elected: after(failover.elected_at),
            reconciled: reconciled_at.map(after),
            first_dispatch: failover.first_dispatch_at.map(after),
        },
        jobs: JobsMoved {
            running,
            kept: tale.map_or(0, |tale| tale.kept),
            adopted: failover.adopted,
            retried: failover.retried,
            duplicate: tale.map_or(0, |tale| tale.duplicate),
            lost_attempts: failover.lost_attempts,
        },
        fates_left_out: u64::from(running.unwrap_or(0)).saturating_sub(fates.len() as u64),
        fates,
    }
}
