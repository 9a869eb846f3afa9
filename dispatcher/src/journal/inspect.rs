//! Looking into a journal without taking part in it: is it whole, and what is in it?
//!
//! A stopped node's journal is copied first and the copy is opened, by the very code that a node opens it
//! with: opening heals what a crash can leave, and nothing of that is to touch the original, which may be
//! evidence. So a look needs as much free space as the journal has bytes, and never changes it.

use super::Rows;
use super::checkpoint::{Checkpoint, LedgerMeta};
use super::fork::ForkMark;
use super::guard::OnFatal;
use super::ledger::Ledger;
use super::log::Log;
use super::packed;
use super::store::{self, OpenError, Opened, StoreOptions, Threads};
use super::types::Types;
use crate::ledger::dump::{self, DumpRow};
use openraft::storage::RaftLogReader;
use openraft::{Entry, EntryPayload};
use relais_protocol::codec;
use relais_protocol::ids::{Generation, Index, RaftId};
use relais_protocol::record::{BATCH_DECODE_CAP, Batch};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries read at a time.
const PAGE: u64 = 64;

/// Why a journal can't be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It can't be copied.
    #[error("{path} cannot be copied: {error}")]
    Copy {
        /// What of it.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The copy can't be opened, for a reason that says nothing of the journal.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is damaged.
    #[error("{0}")]
    Damaged(String),
}

/// What a whole journal is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose it is.
    pub id: RaftId,
    /// The history of its entries.
    pub history: Option<Generation>,
    /// The last fork that it went through.
    pub fork: Option<ForkMark>,
    /// The term of its vote.
    pub term: u64,
    /// Entries in the log, and bytes of their frames.
    pub entries: u64,
    /// See `entries`.
    pub bytes: u64,
    /// The first and the last entry in the log.
    pub span: Option<(Index, Index)>,
    /// The last entry that it knows to be committed.
    pub committed: Option<Index>,
    /// The last checkpoint: its rows were counted and hashed anew.
    pub checkpoint: Option<Checkpoint>,
    /// Who votes, by the last members in it.
    pub voters: Vec<RaftId>,
}

/// An entry of the log, to be shown.
#[derive(Debug, Serialize)]
pub struct DumpEntry {
    /// Where.
    pub index: Index,
    /// In which term.
    pub term: u64,
    /// Who led it, as `node.journal`.
    pub leader: String,
    /// Whether it is known to be committed.
    pub committed: bool,
    /// What it is.
    #[serde(flatten)]
    pub content: DumpContent,
}

/// What an entry is.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DumpContent {
    /// A term began.
    Blank,
    /// The members changed.
    Members {
        /// Who votes since, as `node.journal`.
        voters: Vec<String>,
        /// Who learns.
        learners: Vec<String>,
    },
    /// Records.
    Batch {
        /// They.
        batch: Box<Batch>,
    },
    /// Bytes that this build can't read.
    Unknown {
        /// How many.
        bytes: usize,
    },
}

/// A look at a stopped node's journal. The copy is removed when this is dropped.
pub struct Inspection {
    id: RaftId,
    log: Log,
    ledger: Arc<Ledger>,
    threads: Option<Threads>,
    copy: Scratch,
}

/// A folder that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind in a folder for temporary files does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.close(&self.ledger);
        }
    }
}

impl Inspection {
    /// Copies the journal in `dir` to `scratch`, which must not exist, and opens the copy: reads and
    /// verifies all frames, their chain, the marks, the vote and the ledger's rows.
    ///
    /// # Errors
    /// [`InspectError::Damaged`] with the first thing found wrong.
    pub async fn of(dir: &Path, scratch: &Path) -> Result<Self, InspectError> {
        let copy = Scratch(scratch.to_path_buf());
        copy_folder(dir, &copy.0)?;
        let id = store::whose(&copy.0).ok_or_else(|| {
            InspectError::Damaged("whose journal it is can't be read: its `vote` is damaged".to_owned())
        })?;
        let on_fatal: OnFatal = Arc::new(|_| {});
        match store::open(StoreOptions::new(&copy.0, id, on_fatal)).await? {
            Opened::Clean(store) => {
                let (log, ledger) = (store.log, store.ledger);
                store.ledger_jobs.close().await;
                Ok(Self { id, log, ledger, threads: Some(store.threads), copy })
            }
            Opened::Damaged { reason, .. } => Err(InspectError::Damaged(reason)),
        }
    }

    /// Reads all of it once more, loads the ledger and checks its indexes.
    ///
    /// # Errors
    /// [`InspectError::Damaged`] with the first thing found wrong.
    pub async fn verify(&self) -> Result<Report, InspectError> {
        let ballot = self.log.ballot();
        let meta = self.ledger.meta();
        self.recount(&meta)?;
        dump::check(self.ledger.clone()).map_err(InspectError::Damaged)?;
        let members = meta.membership.membership().voter_ids();
        let mut voters: Vec<RaftId> = members.map(RaftId).collect();
        let (mut entries, mut first, mut last) = (0, None, None);
        self.each::<InspectError>(|entry| {
            entries += 1;
            let index = Index(entry.log_id.index);
            first.get_or_insert(index);
            last = Some(index);
            if let EntryPayload::Membership(members) = &entry.payload {
                voters = members.voter_ids().map(RaftId).collect();
            }
            Ok(())
        })
        .await?;
        Ok(Report {
            id: self.id,
            history: ballot.history,
            fork: ballot.fork,
            term: ballot.vote.map_or(0, |vote| vote.leader_id.term),
            entries,
            bytes: self.log.bytes(),
            span: first.zip(last),
            committed: self.committed(),
            checkpoint: meta.checkpoint(),
            voters,
        })
    }

    /// Visits each entry of the log, in order, then each row of the last checkpoint.
    ///
    /// # Errors
    /// What `entry` and `row` say, or what can't be read.
    pub async fn export<E: From<InspectError>>(
        &self,
        mut entry: impl FnMut(DumpEntry) -> Result<(), E>,
        mut row: impl FnMut(DumpRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let committed = self.committed();
        self.each(|raw| entry(dump_entry(raw, committed))).await?;
        let mut failed = None;
        self.ledger.scan(&[], &[], false, &mut |key, bytes| {
            let shown = match dump::dump(key, bytes) {
                Ok(Some(shown)) => row(shown),
                Ok(None) => Ok(()),
                Err(e) => Err(InspectError::Damaged(e.to_string()).into()),
            };
            failed = shown.err();
            failed.is_none()
        });
        failed.map_or(Ok(()), Err)
    }

    fn committed(&self) -> Option<Index> {
        let applied = self.ledger.meta().next_index();
        self.log.committed_next().max(applied).checked_sub(1).map(Index)
    }

    async fn each<E: From<InspectError>>(&self, mut visit: impl FnMut(Entry<Types>) -> Result<(), E>) -> Result<(), E> {
        let mut log = self.log.clone();
        let (mut at, end) = (log.purged_next(), log.next_index());
        while at < end {
            let page = log.try_get_log_entries(at..end.min(at + PAGE)).await;
            let page = page.map_err(|e| InspectError::Damaged(e.to_string()))?;
            let Some(last) = page.last().map(|entry| entry.log_id.index) else {
                return Err(InspectError::Damaged(format!("entry {at} is not there")).into());
            };
            page.into_iter().try_for_each(&mut visit)?;
            at = last + 1;
        }
        Ok(())
    }

    /// Counts and hashes the rows as a snapshot would carry them.
    fn recount(&self, meta: &LedgerMeta) -> Result<(), InspectError> {
        let damaged = |what: &dyn std::fmt::Display| InspectError::Damaged(what.to_string());
        let Some(transfer) = self.ledger.transfer() else { return Ok(()) };
        let mut found = LedgerMeta::default();
        while let Some(page) = transfer.next_page().map_err(|e| damaged(&e))? {
            for (key, row) in packed::unpack(&page).map_err(|e| damaged(&e))? {
                found.add(&key, &row.unwrap_or_default());
            }
        }
        if (found.rows, found.hash) == (meta.rows, meta.hash) {
            return Ok(());
        }
        Err(InspectError::Damaged(format!(
            "the ledger has {} rows, or others than the {} written",
            found.rows, meta.rows
        )))
    }

    /// Where the copy is.
    #[must_use]
    pub fn copy(&self) -> &Path {
        &self.copy.0
    }
}

fn dump_entry(entry: Entry<Types>, committed: Option<Index>) -> DumpEntry {
    let index = Index(entry.log_id.index);
    let content = match entry.payload {
        EntryPayload::Blank => DumpContent::Blank,
        EntryPayload::Membership(members) => DumpContent::Members {
            voters: members.voter_ids().map(|id| RaftId(id).to_string()).collect(),
            learners: members.learner_ids().map(|id| RaftId(id).to_string()).collect(),
        },
        EntryPayload::Normal(payload) => {
            match codec::decode_packed::<Batch>(codec::FORMAT, &payload.bytes, BATCH_DECODE_CAP) {
                Ok(batch) => DumpContent::Batch { batch: Box::new(batch) },
                Err(_) => DumpContent::Unknown { bytes: payload.bytes.len() },
            }
        }
    };
    let leader = entry.log_id.leader_id;
    DumpEntry {
        index,
        term: leader.term,
        leader: RaftId(leader.node_id).to_string(),
        committed: Some(index) <= committed,
        content,
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), InspectError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| InspectError::Copy { path, error }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(failed(&path))?.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(failed(&path))?;
        }
    }
    Ok(())
}
