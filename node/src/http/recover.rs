//! Recovery by hand: what the journals of the survivors hold, and going on from the most complete of them.
//! Needs no dispatcher: there is none when it is asked for.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::Names;
use super::{Api, json};
use crate::backend::RecoverPlan;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::ids::NodeId;
use relais_protocol::message::Holdings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Jobs in doubt that are listed; the rest is counted.
const DOUBTS_MAX: usize = 100;

#[derive(Serialize, ToSchema)]
#[schema(as = Journal)]
pub(in crate::http) struct JournalView {
    node: String,
    journal: String,
    generation: Option<u64>,
    last_log: Position,
    committed: Option<u64>,
    applied: Option<u64>,
    voters: Vec<String>,
    dispatcher: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JournalPosition)]
struct Position {
    term: u64,
    index: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryPlan)]
pub(in crate::http) struct PlanView {
    /// What each survivor holds.
    journals: Vec<JournalView>,
    /// Whose journal the cluster would go on from.
    most_complete: Option<String>,
    /// Why it is refused, if it is.
    refused: Option<String>,
    /// Entries at the end of that journal that are not known to be committed: all of them are kept.
    uncommitted_entries: u64,
    jobs_in_doubt: Vec<Doubt>,
    jobs_in_doubt_total: usize,
}

/// An attempt on a node that is given up: it may have ended, and nobody can say.
#[derive(Serialize, ToSchema)]
#[schema(as = JobInDoubt)]
struct Doubt {
    id: String,
    node: String,
    attempt: u16,
}

fn journal(held: &Holdings, names: &Names) -> JournalView {
    JournalView {
        node: held.name.clone(),
        journal: held.journal.to_string(),
        generation: held.history.map(|history| history.0),
        last_log: Position { term: held.last_log.term, index: held.last_log.index },
        committed: held.committed.map(|index| index.0),
        applied: held.applied.map(|index| index.0),
        voters: held.voters.iter().map(|node| names.name(*node)).collect(),
        dispatcher: held.dispatcher.map(|node| names.name(node)),
    }
}

/// `GET /v1/cluster/journal`: what the journal of this node holds.
pub(super) fn show(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let held = api.backend.holdings();
    let names = Names::of(&api.backend.ledger());
    Answer::json(&journal(&held, &names))
}

/// Who has the role now.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Recovered {
    dispatcher: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RecoverSpec)]
pub(in crate::http) struct RecoverBody {
    #[schema(min_items = 1)]
    lost: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/cluster:recover` `{"lost": ["n2"], "dry_run": true}`: with `dry_run` the plan, else the cluster goes
/// on without the lost voters, in a new generation.
pub(super) async fn recover(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let body: RecoverBody = json::read(&request.body)?;
    if body.lost.is_empty() {
        return Err(Problem::field("/lost", "names nobody; name each voter that is lost for good"));
    }
    let lost = lost(&body.lost, &Names::of(&api.backend.ledger()))?;
    if body.dry_run {
        let plan = api.backend.plan_recovery(lost.clone()).await;
        return Answer::json(&view(&plan, &lost, &api.backend.ledger()));
    }
    let node = api.backend.recover(lost).await.map_err(|why| Problem::new(Kind::Conflict, why))?;
    let name = Names::of(&api.backend.ledger()).name(node);
    Answer::json(&Recovered { dispatcher: name })
}

fn lost(given: &[String], names: &Names) -> Result<BTreeSet<NodeId>, Problem> {
    let id = |(place, name): (usize, &String)| {
        let unknown = || Problem::field(&format!("/lost/{place}"), format!("there is no node `{name}`"));
        names.id(name).ok_or_else(unknown)
    };
    given.iter().enumerate().map(id).collect()
}

fn view(plan: &RecoverPlan, lost: &BTreeSet<NodeId>, ledger: &Ledger) -> PlanView {
    let names = Names::of(ledger);
    let best = plan.holdings.iter().find(|held| plan.best == Some(held.node));
    let tail = |held: &Holdings| held.last_log.index.saturating_sub(held.committed.map_or(0, |index| index.0));
    let doubts = lost.iter().flat_map(|node| ledger.running_on(*node).map(move |(job, fence)| (job, *node, fence)));
    let doubts: Vec<_> = doubts.collect();
    PlanView {
        journals: plan.holdings.iter().map(|held| journal(held, &names)).collect(),
        most_complete: plan.best.map(|node| names.name(node)),
        refused: plan.refused.clone(),
        uncommitted_entries: best.map_or(0, tail),
        jobs_in_doubt_total: doubts.len(),
        jobs_in_doubt: doubts
            .into_iter()
            .take(DOUBTS_MAX)
            .map(|(job, node, fence)| Doubt { id: job.to_string(), node: names.name(node), attempt: fence.number() })
            .collect(),
    }
}
