//! The way back: a node whose journal is no part of the history that is dispatched gives it what it alone
//! has, puts its journal aside and comes back with an empty one.
//!
//! ```text
//!   a higher history is heard ─► nothing is dispatched or read here any more; the worker goes on for its lease
//!     ─► ask the dispatcher for its lineage ─► export what changed here since the common point, to a file
//!     ─► have the dispatcher merge it, chunk by chunk ─► the file is done
//!     ─► an empty journal under the next raft id ─► the worker reports to the new dispatcher
//! ```
//!
//! Each step can be repeated: merging twice changes nothing, and until the journal is put aside all of it
//! begins again. The worker is told of the new dispatcher last, so that what it runs is in the new ledger
//! when it reports; its lease ends what runs here if that takes too long. What is merged how is the ledger's.

use super::Hub;
use relais_dispatcher::journal::{Fork, Journal, Role};
use relais_protocol::codec;
use relais_protocol::history::{Stamp, common_point};
use relais_protocol::ids::{Generation, NodeId, Reign};
use relais_protocol::merge::{Merge, Merged};
use relais_protocol::message::{CALL_BYTES_MAX, Call, Reply};
use relais_protocol::record::{Outcome, Record};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often it is looked whether there is a way to go back.
const EVERY: Duration = Duration::from_millis(100);
/// The pause after a step that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the dispatcher may take for one question or chunk.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long the last entries of an own history may take to be applied.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two looks whether they are.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

impl Hub {
    /// Finds the way back into a higher history whenever one is heard, until the node is gone.
    pub async fn watch_history(self: Arc<Self>) {
        loop {
            self.rest(EVERY).await;
            let view = self.pulse.view();
            let Some(dispatcher) = view.dispatcher.filter(|node| *node != self.me.node) else { continue };
            if self.history.follows().is_none_or(|follows| view.reign.generation <= follows) {
                continue;
            }
            self.history.set_heals(Some(
                "this node comes back from a history of its own; the dispatcher takes in what it alone has",
            ));
            let healed = self.clone().heal(dispatcher, view.reign).await;
            self.history.set_heals(None);
            if let Err(why) = healed {
                tracing::warn!(why, "the way back into the cluster's history failed; it is tried again");
                sleep(PAUSE).await;
            }
        }
    }

    async fn heal(self: Arc<Self>, dispatcher: NodeId, reign: Reign) -> Result<(), String> {
        let _turn = self.journal_turn.lock().await;
        let journal = self.journal().ok_or("the journal has not started")?;
        tracing::warn!(%dispatcher, %reign, follows = ?self.history.follows(), "a higher history is heard");
        self.settle(&*journal, reign).await?;
        let (from, since) = self.common_point_with(dispatcher).await?;
        let file = self.folders.path().join(format!("heal-{}-{}", from.generation, from.epoch));
        let (hub, path) = (self.clone(), file.clone());
        let written = tokio::task::spawn_blocking(move || hub.export(&path, from, since)).await;
        let chunks = written.map_err(|e| e.to_string())?.map_err(|e| format!("the export can't be written: {e}"))?;
        let merged = self.send_export(dispatcher, &file).await?;
        std::fs::rename(&file, file.with_extension("done")).map_err(|e| format!("the export can't be renamed: {e}"))?;
        tracing::warn!(chunks, jobs = merged.jobs, duplicates = merged.duplicates, aliases = merged.aliases,
            conflicts = merged.conflicts, file = %file.with_extension("done").display(),
            "the dispatcher has taken in what this node alone had");
        let number = self.next_journal().await?;
        let held = self.history.hold();
        let id = journal.reset(number).await.map_err(|error| error.to_string())?;
        self.note_journal().await?;
        drop(held);
        tracing::warn!(journal = %id, "comes back with an empty journal");
        Ok(())
    }

    /// Has all that may have been acknowledged here applied, so that it is exported.
    ///
    /// An only voter commits its tail by leading once more. Of a voter among several, whose majority was given
    /// up by hand, the tail may be acknowledged and in no other journal: it becomes a history of its own, far
    /// below the one that is dispatched. The tail of a pair's voter is either in the other journal or was
    /// never acknowledged. No reign begins here meanwhile, since a higher history is heard.
    async fn settle(&self, journal: &dyn Journal, reign: Reign) -> Result<(), String> {
        let status = journal.status().borrow().clone();
        let own = Generation(self.history.follows().unwrap_or_default().0 + 1);
        let is_sole = status.voters.len() == 1 && status.voters.contains(&status.id);
        let has_tail = status.last_log.map(|at| at.index) != status.applied.map(|index| index.0);
        let is_one_of_many = status.voters.contains(&status.id) && status.voters.len() > 2;
        if has_tail && is_one_of_many && own < reign.generation {
            let number = self.next_journal().await?;
            let _held = self.history.hold();
            journal.fork(Fork { generation: own, journal: number }).await.map_err(|error| error.to_string())?;
            self.note_journal().await?;
        } else if !is_sole {
            return Ok(());
        }
        if journal.status().borrow().role != Role::Leader {
            journal.stand().await.map_err(|error| error.to_string())?;
        }
        let settled = timeout(SETTLE_LIMIT, settled(journal)).await;
        settled.map_err(|_| "the last entries of this node's own history were not applied in time".to_owned())
    }

    /// This ledger's reign, and the point up to which the dispatcher's ledger and this one are the same.
    async fn common_point_with(&self, dispatcher: NodeId) -> Result<(Reign, Stamp), String> {
        let answer = self.call(dispatcher, &Call::Lineage, CALL_LIMIT).await;
        let Some(Reply::Lineage { lineage: theirs, applied: reached }) = answer else {
            return Err("the dispatcher did not say which histories it has".to_owned());
        };
        let ledger = self.machine.own();
        Ok((ledger.reign(), common_point((ledger.lineage(), ledger.applied()), (&theirs, reached))))
    }

    /// Writes the rows that changed here after `since`, as the records that have them merged, each behind
    /// its length; how many. On stable storage when it returns.
    fn export(&self, path: &Path, from: Reign, since: Stamp) -> std::io::Result<u64> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut out = BufWriter::new(file);
        let (mut cursor, mut chunks) = (None, 0);
        loop {
            let ledger = self.machine.own();
            let (chunk, now) = (ledger.export_since(since, cursor.as_ref()), ledger.now());
            drop(ledger);
            let last = chunk.next.is_none();
            cursor = chunk.next;
            let bytes = codec::encode(codec::FORMAT, &Merge { from, since, rows: chunk.rows, last, now });
            out.write_all(&(bytes.len() as u64).to_be_bytes())?;
            out.write_all(&bytes)?;
            chunks += 1;
            if last {
                break;
            }
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(chunks)
    }

    async fn send_export(self: &Arc<Self>, dispatcher: NodeId, path: &PathBuf) -> Result<Merged, String> {
        let read = |error: std::io::Error| format!("the export can't be read: {error}");
        let mut file = BufReader::new(File::open(path).map_err(read)?);
        let mut total = Merged::default();
        loop {
            let merge = next_chunk(&mut file).map_err(read)?;
            let last = merge.last;
            let call = Call::Propose(vec![Record::Merge(Box::new(merge))]);
            match self.call(dispatcher, &call, CALL_LIMIT).await {
                Some(Reply::Committed { outcomes, .. }) => match outcomes.each.first() {
                    Some(Outcome::Merged(merged)) => {
                        total.jobs += merged.jobs;
                        total.duplicates += merged.duplicates;
                        total.aliases += merged.aliases;
                        total.conflicts += merged.conflicts;
                    }
                    other => return Err(format!("the dispatcher did not merge what was sent: {other:?}")),
                },
                other => return Err(format!("the dispatcher did not take what was sent: {other:?}")),
            }
            if last {
                return Ok(total);
            }
        }
    }
}

fn next_chunk(file: &mut impl Read) -> std::io::Result<Merge> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > CALL_BYTES_MAX {
        return Err(std::io::Error::other("a chunk of it is too long"));
    }
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    codec::decode(codec::FORMAT, &bytes, CALL_BYTES_MAX).map_err(std::io::Error::other)
}

/// Waits until all that an only voter has written is applied: what it has in flight may be told to somebody.
async fn settled(journal: &dyn Journal) {
    loop {
        {
            let status = journal.status();
            let status = status.borrow();
            let last = status.last_log.map(|at| at.index);
            if status.role == Role::Leader && last == status.applied.map(|index| index.0) {
                return;
            }
        }
        sleep(SETTLE_PAUSE).await;
    }
}
