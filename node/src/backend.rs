//! What the HTTP API asks of its node: the seam between the two.
//!
//! The API knows jobs, JSON and status codes; it knows nothing of QUIC, elections or actors. Behind this
//! trait it does not matter whether the node is the dispatcher, a voter, or only works.

use crate::figures::Page;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::RwLockReadGuard;
use relais_dispatcher::ledger::{Event, Ledger};
use relais_protocol::ids::{Fence, Index, JobId, NodeId, Reign};
use relais_protocol::lease::{BeatAnswer, Granted, LeaseAsk, LeaseBeat};
use relais_protocol::message::{DrillFault, Holdings};
use relais_protocol::record::{Committed, Record, TokenRole};
use relais_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Who answers, and under whom: the headers of every answer.
#[derive(Clone, Debug, Default)]
pub struct Standpoint {
    /// The highest reign that this node knows.
    pub reign: Reign,
    /// This node's name.
    pub node: String,
    /// The dispatcher's name, if there is one.
    pub dispatcher: Option<String>,
    /// How long ago this node heard that its ledger is current, in ms.
    pub staleness_ms: u64,
}

/// Why nothing was committed, or nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeFailed {
    /// No dispatcher took it in the time that was given. Nothing was done, or it was and will be found
    /// under the same ids.
    #[error("there is no dispatcher: {0}")]
    NoDispatcher(String),
    /// A majority of voters has no disk space left.
    #[error("a majority of the voters has no disk space left")]
    DiskFull,
}

/// Why a read can't be vouched for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("there is no dispatcher to ask for the commit index: {0}")]
pub struct NotFresh(pub String);

/// Live figures of one node, beside its row in the ledger. What is not known is `None`.
#[derive(Clone, Debug, Default)]
pub struct NodeVitals {
    /// Its id.
    pub id: NodeId,
    /// Milliseconds since it was last heard of; `None` for this node itself.
    pub last_heard_ms: Option<u64>,
    /// Whether it holds the dispatcher role now.
    pub dispatcher: bool,
    /// Whether it votes.
    pub voter: bool,
    /// Whether gossip suspects it.
    pub suspect: bool,
    /// Why it is limited, if it is.
    pub limited: Option<String>,
    /// What is wrong with its wall clock, if anything is.
    pub clock: Option<String>,
    /// CPU use of its machine, in percent of all cores.
    pub cpu_percent: Option<f32>,
    /// Memory that its machine has left.
    pub memory_available_bytes: Option<u64>,
    /// Received on its machine's network.
    pub net_in_bytes_per_second: Option<u64>,
    /// Sent on its machine's network.
    pub net_out_bytes_per_second: Option<u64>,
    /// The last index that it has applied.
    pub journal_index: Option<Index>,
}

/// The state of the cluster, as this node sees it now.
#[derive(Clone, Debug, Default)]
pub struct ClusterVitals {
    /// The cluster's id in hex.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running`, `running (limited)`, `no dispatcher` or `offline`.
    pub status: String,
    /// Why it is not `running`, or empty.
    pub reason: String,
    /// `single`, `pair`, `witness` or `quorum`.
    pub mode: String,
    /// The reign.
    pub reign: Reign,
    /// The dispatcher, if there is one.
    pub dispatcher: Option<NodeId>,
    /// Nodes that serve.
    pub online: usize,
    /// Nodes admitted and not gone for good.
    pub registered: usize,
    /// Whether the loss of any one machine would be survived; of any one node, where all share one machine.
    pub high_availability: bool,
    /// Which losses would be survived, in a sentence.
    pub survives: String,
    /// Who would follow, in order, each with why or why not.
    pub succession: Vec<(String, String)>,
    /// One row for each node.
    pub nodes: Vec<NodeVitals>,
}

/// What a recovery by hand would do.
#[derive(Clone, Debug, Default)]
pub struct RecoverPlan {
    /// What the journal of each voter holds that can be reached, this node's first.
    pub holdings: Vec<Holdings>,
    /// Whose is the most complete.
    pub best: Option<NodeId>,
    /// Why it is refused, if it is: cause and next step.
    pub refused: Option<String>,
}

/// A piece of captured output.
#[derive(Clone, Debug, Default)]
pub struct OutputChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where in the stream they start; more than asked for where the middle was dropped.
    pub offset: u64,
    /// How long the stream is now.
    pub total: u64,
    /// Whether the attempt has ended, so that no more will come.
    pub ended: bool,
    /// Whether a part of the stream was dropped for its size.
    pub truncated: bool,
}

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why output can't be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutputFailed {
    /// The node that holds it is out of reach.
    #[error("its output is on node `{0}`, which is out of reach")]
    OutOfReach(String),
    /// The node that held it has it no more.
    #[error("its output is gone: {0}")]
    Gone(String),
}

/// One of a node's actors and threads, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorState {
    /// `dispatcher`, `worker`, `election`, `notebook`, `net` or `journal`.
    pub name: String,
    /// What waits for it: inputs in its mailbox, of `net` tasks, of the journal entries in the log that are not applied.
    pub depth: u64,
    /// For how long it has not had its turn, in ms; `None` of one that wakes only for work.
    pub idle_ms: Option<u64>,
    /// How often it died and was started again, in this run of the process.
    pub restarts: u64,
    /// Why it is not well, if it is not.
    pub ailing: Option<String>,
}

/// Whether this node is fit to serve, part by part.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Each part: name, whether it is healthy, and in words.
    pub parts: Vec<(String, bool, String)>,
}

/// A request that was let in here and is to be answered by another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOn {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether to ask a second node does no harm when the first took it and did not answer.
    pub repeatable: bool,
    /// The id that a submit gives its job: the same at whoever answers.
    pub id: Option<JobId>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// `traceparent` and `tracestate`.
    pub trace: Option<(String, Option<String>)>,
    /// Whether `Prefer: return=minimal` was sent.
    pub minimal: bool,
    /// `Last-Event-ID`.
    pub last_event_id: Option<String>,
    /// The name of the caller's token, and what it may do.
    pub caller: (String, TokenRole),
}

/// The head of an answer to [`PassedOn`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedHead {
    /// The status code.
    pub status: u16,
    /// The content type.
    pub content_type: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Set when it was read from one ledger alone, and may be old by so much.
    pub stale_ms: Option<u64>,
    /// Whether the whole body is there already.
    pub whole: bool,
}

/// The answer to [`PassedOn`].
pub struct Passed {
    /// Its head.
    pub head: PassedHead,
    /// The body, piece by piece.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl Passed {
    /// Keeps `held` until the body has ended.
    #[must_use]
    pub fn with(self, held: impl Send + 'static) -> Self {
        let body = self.body.inspect(move |_| {
            let _ = &held;
        });
        Self { head: self.head, body: body.boxed() }
    }
}

/// What the HTTP API asks of its node.
pub trait Backend: Send + Sync + 'static {
    /// Who answers, and under whom.
    fn standpoint(&self) -> Standpoint;
    /// The wall clock.
    fn now(&self) -> UnixMs;
    /// A fresh job id.
    fn new_job_id(&self) -> JobId;
    /// 128 random bits.
    fn random(&self) -> u128;
    /// The ledger of this node. Hold it briefly: applying waits for it.
    fn ledger(&self) -> RwLockReadGuard<'_, Ledger>;
    /// Whether this node keeps a ledger; if not, requests are passed on by [`Backend::pass_on`].
    fn has_ledger(&self) -> bool;
    /// Passes a whole HTTP request to a node that can answer it.
    fn pass_on(&self, request: PassedOn) -> BoxFuture<'static, Result<Passed, NotFresh>>;
    /// How a token stands, by the hex of its hash, as another node knows it: JSON text.
    fn token_elsewhere(&self, hex: String) -> BoxFuture<'static, Result<Vec<u8>, NotFresh>>;
    /// Has records committed, by the dispatcher wherever it is; while there is none, holds them up to 3 s
    /// and sends them again. At most [`relais_protocol::record::BATCH_RECORDS_MAX`] records and about
    /// [`relais_protocol::record::BATCH_BYTES_MAX`] bytes become one atomic entry; more become several.
    fn propose(&self, records: Vec<Record>) -> BoxFuture<'static, Result<Committed, ProposeFailed>>;
    /// Asks for jobs for an external worker, of the dispatcher wherever it is; answered when there are some, or
    /// `wait` is over. Who drops the future withdraws the ask: what was granted goes back.
    fn lease(&self, ask: LeaseAsk, wait: Duration) -> BoxFuture<'static, Result<Granted, ProposeFailed>>;
    /// Tells the dispatcher that an external worker is still at it.
    fn beat(&self, beat: LeaseBeat) -> BoxFuture<'static, Result<BeatAnswer, ProposeFailed>>;
    /// On how many disks what is acknowledged now is: `majority` of the voters, or a `single` one.
    fn durability(&self) -> &'static str;
    /// Waits until the ledger here has all that was committed before the call.
    fn fresh(&self) -> BoxFuture<'static, Result<(), NotFresh>>;
    /// Waits until the ledger here has what was committed at `index`.
    fn has_applied(&self, index: Index) -> BoxFuture<'static, ()>;
    /// What is applied from now on, with its index. A slow reader loses the oldest.
    fn events(&self) -> tokio::sync::broadcast::Receiver<Arc<(Index, Vec<Event>)>>;
    /// The state of the cluster and of its nodes.
    fn vitals(&self) -> ClusterVitals;
    /// Moves the dispatcher role; returns who has it then.
    fn hand_over(&self, to: Option<NodeId>) -> BoxFuture<'static, Result<NodeId, String>>;
    /// Lets a node do `fault` to itself for `for_ms`, for a rehearsal; returns when it is about to.
    fn drill(&self, node: NodeId, fault: DrillFault, for_ms: u64) -> BoxFuture<'static, Result<(), String>>;
    /// What the journal of this node holds.
    fn holdings(&self) -> Holdings;
    /// What a recovery without these voters would do. Changes nothing.
    fn plan_recovery(&self, lost: BTreeSet<NodeId>) -> BoxFuture<'static, RecoverPlan>;
    /// Goes on without these voters, from the most complete journal; returns who dispatches then.
    fn recover(&self, lost: BTreeSet<NodeId>) -> BoxFuture<'static, Result<NodeId, String>>;
    /// Captured output, from whichever node holds it; at most 1 MiB at a time.
    fn output(
        &self,
        node: NodeId,
        job: JobId,
        attempt: u16,
        stream: OutputStream,
        offset: u64,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<OutputChunk, OutputFailed>>;
    /// What attempts that run on `node` say of their progress, one each; nothing where the node does not answer.
    fn progress(&self, node: NodeId, attempts: Vec<(JobId, Fence)>) -> BoxFuture<'static, Vec<Option<String>>>;
    /// Whether this node is fit to serve.
    fn readiness(&self) -> Readiness;
    /// How a node's actors are; `None` when it does not answer.
    fn actors(&self, _node: NodeId) -> BoxFuture<'static, Option<Vec<ActorState>>> {
        async { None }.boxed()
    }
    /// Adds the figures that are not the ledger's.
    fn metrics(&self, page: &mut Page);
    /// A new join token and the address to join at.
    fn join_token(&self, ends_at: UnixMs) -> Result<(String, [u8; 32], String), String>;
}
