//! How openraft reaches a peer, over [`Link`], and how a peer's request reaches openraft.
//!
//! Every failure of the link is "unreachable", whatever its cause: only then does openraft wait a little
//! before it tries again.

use super::Link;
use super::guard::Guard;
use super::ledger_writer::{Job, LedgerJobs};
use super::log::Log;
use super::pace::Pace;
use super::rpc::{self, Envelope, Request, Response};
use super::snapshot::SnapshotData;
use super::status::JournalStatus;
use super::types::{LogId, SnapshotMeta, Types, Vote};
use bytes::Bytes;
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{EmptyNode, OptionalSend, Raft, Snapshot};
use relais_protocol::ids::RaftId;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two tries to reach a peer.
const BACKOFF: Duration = Duration::from_millis(15);
/// Between two tries while the peer has no room: each carries entries for nothing.
const FULL_BACKOFF: Duration = Duration::from_millis(500);
/// For one part of a snapshot to be taken; for all of it to be installed, or the rest of one that failed
/// to be cleared away.
const PART_TIMEOUT: Duration = Duration::from_secs(10);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);

type RpcError = RPCError<u64, EmptyNode, RaftError<u64>>;

/// Why a peer did not do as asked.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Link(#[from] super::LinkError),
    #[error(transparent)]
    Codec(#[from] relais_protocol::codec::CodecError),
    #[error("the peer failed: {0}")]
    Peer(String),
    #[error("the peer gave an answer to another question")]
    Answer,
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the peer has no room on its disk")]
    Full,
    #[error("the log here has failed")]
    Log,
    #[error("the checkpoint cannot be read: {0}")]
    Rows(String),
}

fn unreachable(error: &CallError) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

/// Makes [`Peer`]s.
pub(super) struct Peers {
    /// This journal.
    pub(super) id: RaftId,
    /// The way to all of them.
    pub(super) link: Arc<dyn Link>,
    /// Knows the history.
    pub(super) log: Log,
    /// What the journal here is at.
    pub(super) status: watch::Receiver<JournalStatus>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        let (link, log, to) = (self.link.clone(), self.log.clone(), RaftId(target));
        let (pace, confirmed, told) = (Pace::new(to, self.status.clone()), None, None);
        Peer { link, log, from: self.id, to, is_full: false, pace, confirmed, told }
    }
}

/// One peer.
pub(super) struct Peer {
    link: Arc<dyn Link>,
    log: Log,
    from: RaftId,
    to: RaftId,
    /// Whether it last said that it has no room.
    is_full: bool,
    pace: Pace,
    /// Up to where it last said that it has the log, and to whose vote.
    confirmed: Option<(Vote, Option<LogId>)>,
    /// What it was last told is committed.
    told: Option<LogId>,
}

impl Peer {
    fn envelope(&self, request: Request) -> Bytes {
        let history = self.log.ballot().history;
        rpc::encode(&Envelope { from: self.from.0, to: self.to.0, history, request })
    }

    /// Whether a request says only that more of what it has is committed. A heartbeat does not, and the question
    /// whether this node still leads is the first that its [`Peer`] is asked.
    fn is_notice(&self, rpc: &AppendEntriesRequest<Types>) -> bool {
        let is_known = self.confirmed == Some((rpc.vote, rpc.prev_log_id));
        rpc.entries.is_empty() && is_known && rpc.leader_commit > self.told
    }

    async fn ask(&self, request: Request) -> Result<Response, CallError> {
        let answer = self.link.call(self.to, self.envelope(request)).await?;
        match rpc::decode(&answer)? {
            Response::Failed(reason) => Err(CallError::Peer(reason)),
            Response::Full => Err(CallError::Full),
            response => Ok(response),
        }
    }

    async fn ask_within(&self, limit: Duration, request: Request) -> Result<Response, CallError> {
        tokio::time::timeout(limit, self.ask(request)).await.map_err(|_| CallError::Late(limit))?
    }

    async fn send(&self, vote: Vote, snapshot: Snapshot<Types>) -> Result<Vote, CallError> {
        let SnapshotData::Outgoing(transfer) = *snapshot.snapshot else {
            return Err(CallError::Rows("there are none".to_owned()));
        };
        let stage = match self.ask_within(INSTALL_TIMEOUT, Request::Begin { vote }).await? {
            Response::Begun { stage } => stage,
            Response::Voted { vote } => return Ok(vote),
            _ => return Err(CallError::Answer),
        };
        loop {
            let pages = transfer.clone();
            let page = tokio::task::spawn_blocking(move || pages.next_page()).await;
            let page = page.map_err(|e| CallError::Rows(e.to_string()))?;
            let Some(rows) = page.map_err(|e| CallError::Rows(e.to_string()))? else { break };
            let request = Request::Rows { stage, rows: rows.into() };
            match self.ask_within(PART_TIMEOUT, request).await? {
                Response::Taken => {}
                _ => return Err(CallError::Answer),
            }
        }
        let meta = transfer.meta();
        let end = Request::End { stage, vote, meta: snapshot.meta, rows: meta.rows, hash: meta.hash };
        match self.ask_within(INSTALL_TIMEOUT, end).await? {
            Response::Voted { vote } => Ok(vote),
            _ => Err(CallError::Answer),
        }
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RpcError> {
        if let Some(committed) = rpc.leader_commit {
            self.log.until_committed(committed.index).await.map_err(|_| unreachable(&CallError::Log))?;
        }
        self.pace.before(&rpc).await;
        let is_notice = self.is_notice(&rpc);
        self.told = rpc.leader_commit;
        if is_notice {
            // It said already that it has all this: the next entries need not wait until it says so again.
            self.link.tell(self.to, self.envelope(Request::Append(rpc)));
            return Ok(AppendEntriesResponse::Success);
        }
        let last = rpc.entries.last().map(|entry| entry.log_id);
        let asked = (rpc.vote, last.or(rpc.prev_log_id));
        self.confirmed = None;
        let began = Instant::now();
        let answer = self.ask(Request::Append(rpc)).await;
        self.is_full = matches!(answer, Err(CallError::Full));
        self.confirmed = matches!(answer, Ok(Response::Append(AppendEntriesResponse::Success))).then_some(asked);
        match answer {
            Ok(Response::Append(response)) => {
                self.pace.after(last.map(|last| last.index), began.elapsed()).await;
                Ok(response)
            }
            other => {
                self.pace.failed();
                Err(unreachable(&other.err().unwrap_or(CallError::Answer)))
            }
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, _option: RPCOption) -> Result<VoteResponse<u64>, RpcError> {
        match self.ask(Request::Vote(rpc)).await {
            Ok(Response::Vote(response)) => Ok(response),
            Ok(_) => Err(unreachable(&CallError::Answer)),
            Err(e) => Err(unreachable(&e)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send(vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(e) => {
                    self.is_full = matches!(e, CallError::Full);
                    Err(StreamingError::Unreachable(Unreachable::new(&e)))
                }
            },
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(if self.is_full { FULL_BACKOFF } else { BACKOFF }))
    }
}

/// A journal that is asked.
pub(super) struct Host {
    /// Its openraft.
    pub(super) raft: Raft<Types>,
    /// The writer of its ledger.
    pub(super) jobs: LedgerJobs,
    /// Its log.
    pub(super) log: Log,
    /// Counts, and says whether there is room.
    pub(super) guard: Arc<Guard>,
    /// Its id.
    pub(super) own: RaftId,
}

impl Host {
    /// Answers the peer `from`.
    pub(super) async fn answer(&self, from: RaftId, bytes: &[u8]) -> Bytes {
        let response = match rpc::decode::<Envelope>(bytes) {
            Ok(envelope) if envelope.to != self.own.0 => {
                Response::Failed(format!("this is journal {}, the request is for {}", self.own, RaftId(envelope.to)))
            }
            Ok(envelope) if !is_from(&envelope, from) => {
                Response::Failed(format!("{from} speaks for {}", RaftId(envelope.from)))
            }
            Ok(envelope) if self.guard.is_closed() && envelope.request.needs_room() => Response::Full,
            Ok(envelope) => match self.same_history(&envelope).await {
                Ok(()) => respond(&self.raft, &self.jobs, &self.guard, envelope.request).await,
                Err(why) => Response::Failed(why),
            },
            Err(e) => Response::Failed(format!("the request was not understood: {e}")),
        };
        rpc::encode(&response)
    }

    /// Entries of one history must never replace those of another, though openraft would let them: what
    /// was acknowledged on either side is only kept by a merge. An empty journal takes its leader's.
    async fn same_history(&self, envelope: &Envelope) -> Result<(), String> {
        let own = self.log.ballot().history.filter(|_| !self.log.is_empty());
        match (own, envelope.history) {
            (Some(own), Some(other)) if own == other => Ok(()),
            (Some(own), other) => {
                let other = other.map_or_else(|| "none".to_owned(), |other| other.to_string());
                Err(format!("journal {} is of history {own}, the request of {other}", self.own))
            }
            (None, Some(other)) if envelope.request.is_leaders() => {
                self.log.adopt(other).await.map_err(|e| e.to_string())
            }
            (None, _) => Ok(()),
        }
    }
}

fn is_from(envelope: &Envelope, from: RaftId) -> bool {
    let is_own_vote = envelope.request.speaker().is_none_or(|speaker| speaker == envelope.from);
    is_own_vote && RaftId(envelope.from).node() == from.node()
}

async fn respond(raft: &Raft<Types>, jobs: &LedgerJobs, guard: &Guard, request: Request) -> Response {
    let failed = |what: &str| Response::Failed(what.to_owned());
    match request {
        Request::Append(append) => match raft.append_entries(append).await {
            Ok(response) => Response::Append(response),
            Err(e) => Response::Failed(e.to_string()),
        },
        Request::Vote(vote) => match raft.vote(vote).await {
            Ok(response) => {
                guard.counters.votes_granted.fetch_add(u64::from(response.vote_granted), Ordering::Relaxed);
                Response::Vote(response)
            }
            Err(e) => Response::Failed(e.to_string()),
        },
        Request::Begin { vote } => match raft.with_raft_state(|state| *state.vote_ref()).await {
            Ok(own) if vote < own => Response::Voted { vote: own },
            Ok(_) => match jobs.ask(Job::Begin).await {
                Some(Some(stage)) => Response::Begun { stage },
                Some(None) => failed("a snapshot is being installed"),
                None => failed("the ledger has failed"),
            },
            Err(e) => Response::Failed(e.to_string()),
        },
        Request::Rows { stage, rows } => match jobs.ask(|done| Job::Rows(stage, rows, done)).await {
            Some(true) => Response::Taken,
            Some(false) => failed("another snapshot began since"),
            None => failed("the ledger has failed"),
        },
        Request::End { stage, vote, meta, rows, hash } => {
            match jobs.ask(|done| Job::Verify(stage, (rows, hash), done)).await {
                Some(true) => {
                    // On its own task: openraft cannot do without the rows once it was told of them, and
                    // this answer may be dropped.
                    let task = tokio::spawn(install(raft.clone(), jobs.clone(), stage, vote, meta));
                    task.await.unwrap_or_else(|e| Response::Failed(e.to_string()))
                }
                Some(false) => failed("the rows are not those that were sent"),
                None => failed("the ledger has failed"),
            }
        }
    }
}

async fn install(raft: Raft<Types>, jobs: LedgerJobs, stage: u64, vote: Vote, meta: SnapshotMeta) -> Response {
    let snapshot = Snapshot { meta, snapshot: Box::new(SnapshotData::Staged(stage)) };
    let installed = raft.install_full_snapshot(vote, snapshot).await;
    jobs.ask(|done| Job::Release(stage, done)).await;
    match installed {
        Ok(response) => Response::Voted { vote: response.vote },
        Err(e) => Response::Failed(e.to_string()),
    }
}
