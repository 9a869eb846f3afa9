//! The work without faults: durable submits in batches and one by one, submit to done, one job at a time,
//! memory. One function a row; each is one round and says how long what took.

use crate::Failed;
use crate::cluster::{Cluster, Node, until};
use crate::figure::{ms, quantile};
use crate::http::{Answer, Connection, request};
use crate::record::Record;
use std::sync::Barrier;
use std::time::Duration;
use tokio::time::Instant;

/// Jobs in a batch.
pub const BATCH_JOBS: usize = 1_000;
/// Connections that send batches.
pub const BATCH_CONNECTIONS: usize = 4;
/// Connections that send single jobs.
pub const SINGLE_CONNECTIONS: usize = 64;
/// Bytes of a job's spec, about.
pub const JOB_BYTES: usize = 100;
const END_LIMIT: Duration = Duration::from_secs(600);

/// How long each took of one round's requests that went one after the other, in milliseconds. Not for
/// requests that come by themselves: see [`crate::open`].
#[derive(Clone, Debug)]
pub struct Closed(pub Vec<f64>);

impl Closed {
    /// The value below which a part `share` is.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        quantile(&self.0, share)
    }
}

/// A job of about [`JOB_BYTES`].
#[must_use]
pub fn job() -> String {
    let job = r#"{"kind":"noop","payload":{},"queue":"bench","name":"a job of about a hundred bytes, as they are"}"#;
    debug_assert!(job.len().abs_diff(JOB_BYTES) < 10);
    job.to_owned()
}

/// Batches of one job again and again.
#[derive(Clone, Copy, Debug)]
pub struct Batches<'a> {
    /// The job's spec.
    pub spec: &'a str,
    /// Jobs in a batch.
    pub jobs: usize,
    /// Batches over each connection.
    pub count: usize,
}

/// Submits `batches` batches over each of [`BATCH_CONNECTIONS`] connections to all nodes in turn; how long it
/// took until all were acknowledged.
///
/// # Errors
/// When one was not.
pub fn submit_batches(cluster: &Cluster, record: &Record, batches: usize) -> Result<Duration, Failed> {
    submit_specs(cluster, record, Batches { spec: &job(), jobs: BATCH_JOBS, count: batches })
}

/// Submits batches of any job over each of [`BATCH_CONNECTIONS`] connections to the voters in turn.
///
/// # Errors
/// When one was not acknowledged.
pub fn submit_specs(cluster: &Cluster, record: &Record, batches: Batches<'_>) -> Result<Duration, Failed> {
    let body = format!("{}\n", batches.spec).repeat(batches.jobs);
    let whole = request("POST", "/v1/jobs:batch", "Content-Type: application/x-ndjson\r\n", body.as_bytes());
    together(cluster, BATCH_CONNECTIONS, |connection| {
        for _ in 0..batches.count {
            let answer = connection.send(&whole)?;
            let before = record.len();
            let ids: Vec<u128> = answer.ids().collect();
            if answer.status != 200 || ids.len() != batches.jobs || created_of(&answer.body) != batches.jobs {
                return Err(unexpected(&answer, &format!("a batch, after {before} jobs")));
            }
            record.note(ids);
        }
        Ok(())
    })
    .map(|(took, _)| took)
}

/// How many jobs of a batch are there. A node that had no answer from the dispatcher in time asks again, and is told
/// of the jobs that its first try made: the record at the end says whether each is there once.
fn created_of(body: &[u8]) -> usize {
    const CREATED: &[u8] = b"\"status\":201";
    const THERE: &[u8] = b"\"status\":200";
    body.windows(CREATED.len()).filter(|text| [CREATED, THERE].contains(text)).count()
}

/// Submits single jobs over [`SINGLE_CONNECTIONS`] connections for so long. How long it took, and how many.
///
/// # Errors
/// When one was not acknowledged.
pub fn submit_singles(cluster: &Cluster, record: &Record, time: Duration) -> Result<(Duration, usize), Failed> {
    let whole = request("POST", "/v1/jobs", "Content-Type: application/json\r\n", job().as_bytes());
    let (took, each) = together(cluster, SINGLE_CONNECTIONS, |connection| {
        let (start, mut ids) = (Instant::now(), Vec::new());
        while start.elapsed() < time {
            ids.push(created(&connection.send(&whole)?)?);
        }
        let count = ids.len();
        record.note(ids);
        Ok(count)
    })?;
    Ok((took, each.into_iter().sum()))
}

/// Submits jobs in batches and waits until all in the record have succeeded; how long both took.
///
/// # Errors
/// When that does not come about.
pub fn submit_to_done(cluster: &Cluster, record: &Record, jobs: usize) -> Result<Duration, Failed> {
    let start = Instant::now();
    submit_batches(cluster, record, jobs / (BATCH_JOBS * BATCH_CONNECTIONS))?;
    await_done(&cluster.nodes[0], record)?;
    Ok(start.elapsed())
}

/// Waits until as many jobs have succeeded as were acknowledged.
///
/// # Errors
/// When that takes too long.
pub fn await_done(node: &Node, record: &Record) -> Result<(), Failed> {
    await_count(node, record.len() as u64)
}

/// Waits until so many jobs have succeeded.
///
/// # Errors
/// When that takes too long.
pub fn await_count(node: &Node, done: u64) -> Result<(), Failed> {
    let ask = request("GET", "/v1/jobs:count?group_by=state", "", b"");
    let mut connection = node.connect()?;
    until("all jobs to succeed", END_LIMIT, || {
        let counts = connection.send(&ask).ok()?.json();
        (counts["groups"]["succeeded"].as_u64()? >= done).then_some(())
    })
}

/// Submits `jobs` jobs to a node, each after the one before it has succeeded; how long each took.
///
/// # Errors
/// When one did not succeed.
pub fn one_at_a_time(node: &Node, record: &Record, jobs: usize) -> Result<Closed, Failed> {
    let whole = request("POST", "/v1/jobs?wait=10s", "Content-Type: application/json\r\n", job().as_bytes());
    let mut connection = node.connect()?;
    let mut each = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        let sent = Instant::now();
        let answer = connection.send(&whole)?;
        each.push(ms(sent.elapsed()));
        record.note([created(&answer)?]);
        if answer.json()["state"] != "succeeded" {
            return Err(unexpected(&answer, "a job that waits for its end"));
        }
    }
    Ok(Closed(each))
}

/// Resident memory of each node, in MB.
///
/// # Errors
/// When one does not answer.
pub fn memory_mb(cluster: &Cluster) -> Result<Vec<f64>, Failed> {
    let bytes = cluster.nodes.iter().map(|node| node.figure("process_resident_memory_bytes"));
    bytes.map(|bytes| Ok(bytes? / 1e6)).collect()
}

/// Syncs of all nodes' journals so far: of the log, and of its mark.
///
/// # Errors
/// When one does not answer.
pub fn syncs(cluster: &Cluster) -> Result<f64, Failed> {
    Ok(cluster.sum("relais_journal_syncs_total")? + cluster.sum("relais_journal_mark_syncs_total")?)
}

/// Runs `work` on `count` connections to all nodes in turn, started together; how long the whole took.
fn together<T: Send>(
    cluster: &Cluster,
    count: usize,
    work: impl Fn(&mut Connection) -> Result<T, Failed> + Sync,
) -> Result<(Duration, Vec<T>), Failed> {
    let mut connections = Vec::with_capacity(count);
    for node in cluster.voters().iter().cycle().take(count) {
        connections.push(node.connect()?);
    }
    let start_line = Barrier::new(count + 1);
    std::thread::scope(|scope| {
        let run = |mut connection| {
            start_line.wait();
            work(&mut connection)
        };
        let threads: Vec<_> = connections.into_iter().map(|connection| scope.spawn(move || run(connection))).collect();
        start_line.wait();
        let start = Instant::now();
        let ended: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let took = start.elapsed();
        let results =
            ended.into_iter().map(|end| end.unwrap_or_else(|_| Err(Failed::Answer("a client panicked".into()))));
        Ok((took, results.collect::<Result<_, _>>()?))
    })
}

/// The id of the job that was made.
pub(crate) fn created(answer: &Answer) -> Result<u128, Failed> {
    let id = answer.ids().next().filter(|_| answer.status == 201);
    id.ok_or_else(|| unexpected(answer, "a submit"))
}

fn unexpected(answer: &Answer, to: &str) -> Failed {
    let text: String = answer.text().chars().take(300).collect();
    Failed::Answer(format!("the answer to {to} was {}: {text}", answer.status))
}
