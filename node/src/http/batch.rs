//! `POST /v1/jobs:batch`: many jobs in one request, as a JSON array or as NDJSON, answered in order.
//!
//! The body is read in place, line by line or item by item, straight into records: nothing is kept for a
//! job but its record, or the problem that it is.

use super::Api;
use super::answer::{Answer, Answered};
use super::graph;
use super::problem::{Kind, Problem};
use super::request::Request;
use super::spec::{self, Checked, Local};
use super::submit::record;
use super::trace;
use actix_web::http::StatusCode;
use relais_protocol::codec;
use relais_protocol::group::GroupSize;
use relais_protocol::ids::JobId;
use relais_protocol::record::{BATCH_BYTES_MAX, Outcome, Record, Refusal};
use relais_protocol::spec::JobSpec;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Jobs in one batch.
const JOBS_MAX: usize = 10_000;
/// Jobs in an atomic one.
const ATOMIC_JOBS_MAX: usize = 1_000;
/// Bytes of an atomic one.
const ATOMIC_BYTES_MAX: usize = 1 << 20;

/// What a batch came to before it was proposed.
#[derive(Default)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    /// One for each item: which record it is, or what is wrong with it.
    pub(super) items: Vec<Result<usize, Problem>>,
    /// What items say by names of the batch, those that do.
    pub(super) locals: Vec<(usize, Local)>,
}

/// Answers a batch when all of it is committed.
pub(super) async fn submit(api: &Api, request: &Request) -> Answered {
    request.query.only(&["atomic"])?;
    let atomic = request.query.switch("atomic")?;
    if atomic && request.body.len() > ATOMIC_BYTES_MAX {
        return Err(Problem::new(Kind::TooLarge, "an atomic batch has at most 1 MiB; leave out atomic, or send less"));
    }
    if let Some(key) = &request.key
        && key.chars().count() + 6 > spec::KEY_CHARS_MAX
    {
        let detail = "the Idempotency-Key of a batch has at most 250 characters: each item gets it with its number";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    let jobs_max = if atomic { ATOMIC_JOBS_MAX } else { JOBS_MAX };
    let mut read = read(api, request, jobs_max)?;
    graph::resolve(&mut read);
    if atomic {
        return all_or_none(api, read).await;
    }
    let outcomes = if read.locals.is_empty() {
        propose(api, read.records).await?
    } else {
        graph::propose(api, read.records).await?
    };
    Ok(Answer::json_text(StatusCode::OK, results(&read.items, outcomes, api.backend.durability())))
}

pub(super) async fn propose(api: &Api, records: Vec<Record>) -> Result<Vec<Outcome>, Problem> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let count = records.len();
    let committed = api.backend.propose(records).await?;
    if committed.outcomes.each.len() == count {
        return Ok(committed.outcomes.each);
    }
    let detail = format!("{count} records came to {} outcomes", committed.outcomes.each.len());
    Err(Problem::new(Kind::Internal, detail))
}

fn read(api: &Api, request: &Request, jobs_max: usize) -> Result<Read, Problem> {
    let items = items(&request.body, request.ndjson, jobs_max)?;
    let (records, places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    let mut read = Read { records, items: places, locals: Vec::new() };
    for item in items {
        let key = item_key(request, read.items.len());
        read.take(api, request, spec::check(item, key));
    }
    Ok(read)
}

/// What `POST /v1/jobs:batch` makes of a body: for each item its spec or the problem document that stands
/// in its place, or the one that is answered to the whole.
///
/// # Errors
/// The problem document, as JSON text.
pub fn specs_of(body: &[u8], ndjson: bool) -> Result<Vec<Result<JobSpec, String>>, String> {
    let items = items(body, ndjson, JOBS_MAX).map_err(|problem| problem.to_json(None))?;
    Ok(items.into_iter().map(spec::spec_of).collect())
}

/// The items of a body, each still as text.
fn items(body: &[u8], ndjson: bool, jobs_max: usize) -> Result<Vec<&[u8]>, Problem> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(Problem::new(Kind::Malformed, "the body is empty; send a JSON array of jobs, or a job a line")),
        Some(b'[') if !ndjson => array(body, jobs_max),
        // Lines are taken whatever they are called, as long as they look like it; a bad one spoils only itself.
        Some(first) if ndjson || *first == b'{' => lines(body, jobs_max),
        Some(_) => {
            Err(Problem::new(Kind::Malformed, "the body is neither a JSON array of jobs nor a job a line; send one"))
        }
    }
}

fn array(body: &[u8], jobs_max: usize) -> Result<Vec<&[u8]>, Problem> {
    let items: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Kind::Malformed, format!("the body is no JSON array: {error}")))?;
    if items.len() > jobs_max {
        return Err(too_many(jobs_max));
    }
    Ok(items.into_iter().map(|item| item.get().as_bytes()).collect())
}

fn lines(body: &[u8], jobs_max: usize) -> Result<Vec<&[u8]>, Problem> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let lines: Vec<&[u8]> = lines.take(jobs_max + 1).collect();
    if lines.len() > jobs_max { Err(too_many(jobs_max)) } else { Ok(lines) }
}

fn item_key(request: &Request, place: usize) -> Option<String> {
    request.key.as_ref().map(|key| format!("{key}/{place}"))
}

fn too_many(jobs_max: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the batch has more than {jobs_max} jobs; send it in parts"))
}

impl Read {
    fn take(&mut self, api: &Api, request: &Request, checked: Result<Checked, Problem>) {
        match checked {
            Ok(checked) if checked.array.is_some() => {
                let pointer = if checked.array.is_some_and(|array| array.size == GroupSize::EveryNode) {
                    "/placement"
                } else {
                    "/array"
                };
                let detail = "makes a group of jobs; submit it by itself, to POST /v1/jobs";
                self.items.push(Err(Problem::field(pointer, detail)));
            }
            Ok(mut checked) => {
                let local = std::mem::take(&mut checked.local);
                if !local.is_empty() {
                    self.locals.push((self.items.len(), local));
                }
                trace::keep(&mut checked.spec, request.trace.as_ref());
                self.items.push(Ok(self.records.len()));
                self.records.push(record(api.backend.new_job_id(), checked, &request.caller.name));
            }
            Err(problem) => self.items.push(Err(problem)),
        }
    }
}

/// Commits all jobs as one entry. A key that turns out to be another body's is seen only when the entry
/// is applied: the jobs made with it are then cancelled again.
async fn all_or_none(api: &Api, read: Read) -> Answered {
    if let Some((place, problem)) = first_problem(&read.items) {
        return Err(none(place, problem));
    }
    let bytes: usize = read.records.iter().map(|record| codec::encode(codec::FORMAT, record).len()).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(Problem::new(Kind::TooLarge, "the batch is too large to be one entry of the journal; send less"));
    }
    check_keys(&read)?;
    let outcomes = propose(api, read.records).await?;
    let refused = outcomes.iter().enumerate().find_map(|(place, outcome)| match outcome {
        Outcome::Refused(refusal) => Some((item_of(&read.items, place), refusal.clone())),
        _ => None,
    });
    if let Some((place, refusal)) = refused {
        take_back(api, &outcomes).await?;
        return Err(none(place, &refusal.into()));
    }
    Ok(Answer::json_text(StatusCode::OK, results(&read.items, outcomes, api.backend.durability())))
}

fn first_problem(items: &[Result<usize, Problem>]) -> Option<(usize, &Problem)> {
    items.iter().enumerate().find_map(|(place, item)| Some((place, item.as_ref().err()?)))
}

/// The item that a record was made of.
fn item_of(items: &[Result<usize, Problem>], record: usize) -> usize {
    items.iter().position(|item| item.as_ref().ok() == Some(&record)).unwrap_or(record)
}

fn none(place: usize, problem: &Problem) -> Problem {
    problem.clone().of_item(place)
}

/// Two items under one key with different bodies can't both be had.
fn check_keys(read: &Read) -> Result<(), Problem> {
    let mut seen: HashMap<&str, (u64, JobId)> = HashMap::new();
    for (place, record) in read.records.iter().enumerate() {
        let Record::Submit(submit) = record else { continue };
        let Some(key) = submit.spec.options().idempotency_key.as_deref() else { continue };
        let (hash, job) = *seen.entry(key).or_insert((submit.body_hash, submit.id));
        if hash != submit.body_hash {
            return Err(none(item_of(&read.items, place), &Refusal::KeyReused(job).into()));
        }
    }
    Ok(())
}

async fn take_back(api: &Api, outcomes: &[Outcome]) -> Result<(), Problem> {
    let reason = "another item of its atomic batch was refused";
    let made = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Submitted { id, deduplicated: false, .. } => {
            Some(Record::Cancel { job: *id, reason: reason.to_owned() })
        }
        _ => None,
    });
    propose(api, made.collect()).await.map(drop)
}

/// The answer, written straight as text: it can have ten thousand items.
fn results(items: &[Result<usize, Problem>], outcomes: Vec<Outcome>, durability: &str) -> String {
    let mut text = String::with_capacity(16 + items.len() * 72);
    let mut outcomes: Vec<Option<Outcome>> = outcomes.into_iter().map(Some).collect();
    text.push_str("{\"results\":[");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        match item {
            Err(problem) => refused(&mut text, problem),
            Ok(record) => result(&mut text, outcomes.get_mut(*record).and_then(Option::take)),
        }
    }
    // Writing to a `String` can't fail.
    let _ = write!(text, "],\"durability\":\"{durability}\"}}");
    text
}

fn result(text: &mut String, outcome: Option<Outcome>) {
    // Writing to a `String` can't fail.
    let written = match outcome {
        Some(Outcome::Submitted { id, deduplicated: false, .. }) => write!(text, "{{\"status\":201,\"id\":\"{id}\"}}"),
        Some(Outcome::Submitted { id, .. }) => {
            write!(text, "{{\"status\":200,\"id\":\"{id}\",\"deduplicated\":true}}")
        }
        Some(Outcome::Refused(refusal)) => {
            refused(text, &refusal.into());
            Ok(())
        }
        other => {
            refused(text, &Problem::new(Kind::Internal, format!("a submit came to {other:?}")));
            Ok(())
        }
    };
    let _ = written;
}

fn refused(text: &mut String, problem: &Problem) {
    let _ = write!(text, "{{\"status\":{},\"problem\":", problem.status());
    text.push_str(&problem.to_json(None));
    text.push('}');
}
