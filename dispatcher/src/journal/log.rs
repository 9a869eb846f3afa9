//! The log as openraft sees it: entries in memory as long as they are recent, on disk always.
//!
//! An append is readable at once and acknowledged by [`super::log_writer`], after the syncs. A leader's own is
//! acknowledged at once, so that it goes to the peers meanwhile; what comes of that waits: [`super::flushed`].

use super::book::{Book, BookError};
use super::fork::ForkMark;
use super::frame;
use super::guard::Guard;
use super::log_job::{Append, Ballot, LogJob};
use super::log_memory::{Memory, payload_bytes};
use super::long::Space;
use super::threads::LogJobs;
use super::types::{LogId, StorageError, Types, Vote, read_error, write_error};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, EntryPayload, LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use relais_protocol::ids::{Generation, Index, RaftId};
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// Where frames are.
pub(super) const FRAMES: Space = Space { main: b'l', over: b'L' };
/// The key of [`Base`].
pub(super) const BASE_KEY: &[u8] = b"m.base";
/// The key of the last log id known to be committed when the last append was written.
pub(super) const COMMITTED_KEY: &[u8] = b"m.committed";
/// Bytes of entries read for one append to a follower.
const APPEND_BYTES: usize = 1 << 20;

/// The log; clones share it.
#[derive(Clone)]
pub(super) struct Log {
    memory: Arc<Mutex<Memory>>,
    book: Arc<Book>,
    guard: Arc<Guard>,
    jobs: LogJobs,
    ballot: Arc<Mutex<Ballot>>,
    committed: Arc<AtomicU64>,
    own_id: u64,
}

impl Log {
    /// A log that was read and verified, and whose writer runs.
    pub(super) fn new(book: Arc<Book>, guard: Arc<Guard>, jobs: LogJobs, memory: Memory, ballot: Ballot) -> Self {
        let committed = Arc::new(AtomicU64::new(memory.committed.map_or(0, |id| id.index + 1)));
        let own_id = ballot.raft_id;
        let ballot = Arc::new(Mutex::new(ballot));
        Self { memory: Arc::new(Mutex::new(memory)), book, guard, jobs, ballot, committed, own_id }
    }

    /// Whose log it is, its vote and its history.
    pub(super) fn ballot(&self) -> Ballot {
        *self.ballot.lock()
    }

    /// Whether there never was an entry.
    pub(super) fn is_empty(&self) -> bool {
        self.memory.lock().last().is_none()
    }

    /// Says which history the first entries to come belong to. Does nothing once there is one.
    pub(super) async fn adopt(&self, history: Generation) -> Result<(), StorageError> {
        if self.ballot().history == Some(history) || !self.is_empty() {
            return Ok(());
        }
        let (tx, rx) = oneshot::channel();
        self.send(LogJob::Adopt(history, tx)).map_err(write_error)?;
        self.done(rx).await?;
        self.ballot.lock().history = Some(history);
        Ok(())
    }

    /// Makes all that is here a history of `new` alone; nobody else may use the log meanwhile. The log that
    /// is given back is that journal's. `None`, with nothing changed, if there is no entry.
    pub(super) async fn fork(
        &self,
        generation: Generation,
        new: RaftId,
        applied: Option<LogId>,
    ) -> Result<Option<(Self, ForkMark)>, StorageError> {
        let mut ballot = self.ballot();
        let (append, mark) = {
            let mut memory = self.memory.lock();
            let Some(last) = memory.last() else { return Ok(None) };
            let voted = ballot.vote.map_or(0, |vote| vote.leader_id.term);
            let mark = ForkMark {
                generation,
                index: Index(last.index + 1),
                hash: memory.last_hash(),
                term: voted.max(last.leader_id.term) + 1,
                common: Index(memory.committed.max(applied).map_or(0, |committed| committed.index)),
                old: RaftId(self.own_id),
                new,
            };
            (Append::new(memory.frame(vec![mark.entry()]), &memory), mark)
        };
        let vote = Vote::new(mark.term, new.0);
        ballot = Ballot { raft_id: new.0, vote: Some(vote), history: Some(generation), fork: Some(mark), ..ballot };
        let (tx, rx) = oneshot::channel();
        self.send(LogJob::Fork(append, ballot, tx)).map_err(write_error)?;
        self.done(rx).await?;
        *self.ballot.lock() = ballot;
        Ok(Some((Self { own_id: new.0, ..self.clone() }, mark)))
    }

    /// The last index known to be committed, plus one.
    pub(super) fn committed_next(&self) -> u64 {
        self.committed.load(Ordering::Acquire).min(self.guard.flushed.true_next())
    }

    /// Waits until the entry at `index`, which openraft takes for committed, is.
    pub(super) async fn until_committed(&self, index: u64) -> Result<(), StorageError> {
        self.guard.flushed.until_true(index).await
    }

    /// Whether what is appended now is this node's own: a vote for another is kept before its entries come.
    fn leads(&self) -> bool {
        self.ballot.lock().vote.is_some_and(|vote| vote.leader_id.node_id == self.own_id)
    }

    /// The index up to which to purge so that what stays has at most `bytes`; `None` if it has no more.
    pub(super) fn purge_for_bytes(&self, bytes: u64) -> Option<u64> {
        let memory = self.memory.lock();
        let mut excess = memory.bytes.checked_sub(bytes).filter(|excess| *excess > 0)?;
        let last = memory.known.iter().find(|entry| {
            let enough = excess <= u64::from(entry.bytes);
            excess = excess.saturating_sub(u64::from(entry.bytes));
            enough
        })?;
        Some(last.id.index)
    }

    /// The index that the next entry has.
    pub(super) fn next_index(&self) -> u64 {
        self.memory.lock().next_index()
    }

    /// The first index that was not purged.
    pub(super) fn purged_next(&self) -> u64 {
        self.memory.lock().base.next_index()
    }

    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> u64 {
        self.memory.lock().bytes
    }

    /// Tells the writer that a checkpoint was made, so that a purge may go on.
    pub(super) fn nudge(&self) {
        self.jobs.nudge();
    }

    fn send(&self, job: LogJob) -> Result<(), BookError> {
        self.jobs.send(job).ok_or(BookError::Closed)
    }

    async fn done(&self, answer: oneshot::Receiver<()>) -> Result<(), StorageError> {
        answer.await.map_err(|_| write_error("the log has failed"))
    }

    /// That there is no gap is openraft's to see to, whose own test suite makes some.
    fn take(&self, entries: Vec<Entry<Types>>) -> Append {
        for entry in &entries {
            if let EntryPayload::Normal(payload) = &entry.payload {
                payload.mark_taken();
            }
        }
        let mut memory = self.memory.lock();
        Append::new(memory.frame(entries), &memory)
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry<Types>>, BookError> {
        let (from, to, cached) = {
            let memory = self.memory.lock();
            let from = from.max(memory.first_index());
            let to = to.min(memory.last().map_or(0, |last| last.index + 1));
            let cached: Vec<_> = (from..to).map_while(|index| memory.recent_at(index).cloned()).collect();
            (from, to, cached)
        };
        let mut entries = Vec::with_capacity(to.saturating_sub(from) as usize);
        let mut bytes = 0;
        let mut cached = cached.into_iter();
        for index in from..to {
            let entry = match cached.next() {
                Some(entry) => entry,
                None => match self.read_one(index)? {
                    Some(entry) => entry,
                    None => continue,
                },
            };
            bytes += payload_bytes(&entry);
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// From memory or disk; `None` if it was purged meanwhile.
    fn read_one(&self, index: u64) -> Result<Option<Entry<Types>>, BookError> {
        let (known, cached) = {
            let memory = self.memory.lock();
            (memory.known_at(index), memory.recent_at(index).cloned())
        };
        if cached.is_some() || known.is_none() {
            return Ok(cached);
        }
        let stored = FRAMES.read(&self.book, &index.to_be_bytes()).map_err(|e| match e {
            BookError::Closed => e,
            e => self.unreadable(index, &e),
        })?;
        let Some(stored) = stored else {
            let is_purged = self.memory.lock().known_at(index).is_none();
            return if is_purged { Ok(None) } else { Err(self.unreadable(index, &"it is not there")) };
        };
        match frame::decode(&stored, None) {
            Ok(framed) if known.is_some_and(|known| known.hash == framed.hash) => Ok(Some(framed.entry)),
            Ok(_) => Err(self.unreadable(index, &"it is another one")),
            Err(e) => Err(self.unreadable(index, &e)),
        }
    }

    fn unreadable(&self, index: u64, why: &dyn std::fmt::Display) -> BookError {
        let reason = format!("cannot read entry {index} of the log: {why}");
        self.guard.fail(reason.clone());
        BookError::Damaged(reason)
    }
}

/// `from..to` of a range.
fn ends(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(from) => from + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(to) => to + 1,
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StorageError> {
        let (from, to) = ends(&range);
        self.read(from, to, usize::MAX).map_err(read_error)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry<Types>>, StorageError> {
        self.read(start, end, APPEND_BYTES).map_err(read_error)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let memory = self.memory.lock();
        Ok(LogState { last_purged_log_id: memory.base.purged, last_log_id: memory.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let (tx, rx) = oneshot::channel();
        self.send(LogJob::Vote(*vote, tx)).map_err(write_error)?;
        self.done(rx).await?;
        self.ballot.lock().vote = Some(*vote);
        Ok(())
    }

    /// A vote for this node itself comes back as not given by a majority, since openraft would have a
    /// node with a committed vote for itself lead again at once, in its old term, unasked.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let vote = self.ballot().vote;
        Ok(vote.map(|vote| Vote { committed: vote.committed && vote.leader_id.node_id != self.own_id, ..vote }))
    }

    /// Kept in memory and written with the next append: it saves a sync, and a leader tells it anyway.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.memory.lock().committed = committed;
        self.committed.store(committed.map_or(0, |id| id.index + 1), Ordering::Release);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.memory.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let append = self.take(entries.into_iter().collect());
        if !self.leads() {
            return self.send(LogJob::Append(append, Some(callback))).map_err(write_error);
        }
        self.guard.flushed.say(append.next());
        self.send(LogJob::Append(append, None)).map_err(write_error)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let (mark, end) = {
            let mut memory = self.memory.lock();
            let end = memory.last().map_or(0, |last| last.index + 1);
            memory.truncate(log_id.index);
            (memory.known.back().map(|entry| (entry.id.index, entry.hash)), end)
        };
        let (tx, rx) = oneshot::channel();
        self.send(LogJob::Truncate { since: log_id.index, end, mark, done: tx }).map_err(write_error)?;
        self.done(rx).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let base = {
            let mut memory = self.memory.lock();
            if memory.base.purged.is_some_and(|purged| purged >= log_id) {
                return Ok(());
            }
            memory.purge(log_id);
            memory.base
        };
        self.send(LogJob::Purge(base)).map_err(write_error)
    }
}
