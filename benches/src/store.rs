//! The journal of a single voter on a disk, with a machine that keeps nothing: what an append costs by itself.

use crate::Failed;
use bytes::Bytes;
use relais_dispatcher::journal::memory::Switchboard;
use relais_dispatcher::journal::{
    Applied, Changes, Journal, LoadError, Machine, Opened, RaftJournal, Role, Rows, StoreOptions, open,
};
use relais_protocol::ids::{Index, RaftId};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const LEAD_LIMIT: Duration = Duration::from_secs(30);

/// A journal that leads.
pub struct Stored {
    journal: Option<RaftJournal>,
    runtime: Runtime,
    _folder: TempDir,
}

/// Applies to nothing.
struct Nothing;

impl Machine for Nothing {
    fn apply(&self, _: Index, _: &[u8]) -> Applied {
        Applied::default()
    }

    fn drain_changes(&self) -> Arc<Changes> {
        Arc::default()
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn load(&self, _: Arc<dyn Rows>) -> Result<(), LoadError> {
        Ok(())
    }
}

impl Stored {
    /// A new one, below the folder that `RELAIS_BENCH_DIR` names, else the system's own.
    ///
    /// # Errors
    /// When the disk does not allow it.
    pub fn open() -> Result<Self, Failed> {
        let below = std::env::var_os("RELAIS_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
        let folder = tempfile::Builder::new().prefix("store-").tempdir_in(below)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let failed = |what: &str, error: &dyn std::fmt::Display| Failed::Answer(format!("{what}: {error}"));
        let journal = runtime.block_on(async {
            let on_fatal: relais_dispatcher::journal::OnFatal = Arc::new(|reason| panic!("the store failed: {reason}"));
            let options = StoreOptions::new(folder.path().join("journal"), RaftId(1), on_fatal);
            let store = match open(options).await.map_err(|error| failed("the store", &error))? {
                Opened::Clean(store) => store,
                Opened::Damaged { reason, .. } => {
                    return Err(Failed::Answer(format!("a new store is damaged: {reason}")));
                }
            };
            let link = Switchboard::new().link(RaftId(1));
            let journal = RaftJournal::start(store, Arc::new(Nothing), link).await;
            let journal = journal.map_err(|error| failed("the journal", &error))?;
            journal.found().await.map_err(|error| failed("the journal", &error))?;
            let mut status = journal.status();
            let leads = tokio::time::timeout(LEAD_LIMIT, status.wait_for(|status| status.role == Role::Leader)).await;
            leads
                .map_err(|_| Failed::Late("the journal to lead".to_owned()))?
                .map_err(|error| failed("the journal", &error))?;
            Ok(journal)
        })?;
        Ok(Self { journal: Some(journal), runtime, _folder: folder })
    }

    /// Appends an entry, and waits until it is synced, committed and applied.
    ///
    /// # Panics
    /// When the disk fails.
    pub fn append(&self, entry: &Bytes) {
        let Some(journal) = &self.journal else { return };
        self.runtime.block_on(journal.propose(entry.clone())).expect("a disk that works");
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(journal) = self.journal.take() {
            self.runtime.block_on(journal.shutdown());
        }
    }
}
