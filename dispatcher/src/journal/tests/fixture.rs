//! A toy ledger, and nodes over a link in memory.

use super::super::memory::Switchboard;
use super::super::*;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nothing in these tests takes longer.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// A map: a payload is a key of 8 bytes and a value; without a value the key is deleted. A payload that
/// begins with `!` asks for a checkpoint.
#[derive(Default)]
pub(super) struct Map {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    applied: Vec<u64>,
    loads: u32,
}

impl Map {
    pub(super) fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.state.lock().rows.clone()
    }

    pub(super) fn applied(&self) -> Vec<u64> {
        self.state.lock().applied.clone()
    }

    pub(super) fn loads(&self) -> u32 {
        self.state.lock().loads
    }
}

impl Machine for Map {
    fn apply(&self, index: Index, payload: &[u8]) -> Applied {
        let mut state = self.state.lock();
        let (key, value) = payload.split_at(8);
        let row = (!value.is_empty()).then(|| value.to_vec());
        match &row {
            Some(value) => drop(state.rows.insert(key.to_vec(), value.clone())),
            None => drop(state.rows.remove(key)),
        }
        state.bytes += payload.len();
        state.changed.insert(key.to_vec(), row);
        state.applied.push(index.0);
        let outcomes = Outcomes { each: Vec::new(), epoch: relais_protocol::ids::Epoch(index.0) };
        Applied { outcomes, checkpoint: payload[0] == b'!' }
    }

    fn drain_changes(&self) -> Arc<Changes> {
        let mut state = self.state.lock();
        state.bytes = 0;
        Arc::new(std::mem::take(&mut state.changed))
    }

    fn pending_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    fn load(&self, rows: Arc<dyn Rows>) -> Result<(), LoadError> {
        let mut state = self.state.lock();
        *state = State { loads: state.loads + 1, ..State::default() };
        rows.scan(b"", b"", false, &mut |key, value| {
            state.rows.insert(key.to_vec(), value.to_vec());
            true
        });
        Ok(())
    }
}

/// A payload that sets `key` to `value`.
pub(super) fn set(key: u64, value: &[u8]) -> Bytes {
    [&key.to_be_bytes()[..], value].concat().into()
}

/// A running node.
pub(super) struct Node {
    pub(super) id: RaftId,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) machine: Arc<Map>,
    pub(super) dir: PathBuf,
    beat: tokio::task::JoinHandle<()>,
}

impl Node {
    pub(super) async fn start(board: &Arc<Switchboard>, dir: &Path, id: u64, sync: SyncMode) -> Self {
        Self::start_with(board, dir, id, sync, Arc::new(|reason| panic!("fatal: {reason}"))).await
    }

    pub(super) async fn start_with(
        board: &Arc<Switchboard>,
        dir: &Path,
        id: u64,
        sync: SyncMode,
        on_fatal: OnFatal,
    ) -> Self {
        let dir = dir.join(format!("journal-{id}"));
        let mut options = StoreOptions::new(&dir, RaftId(id), on_fatal);
        options.sync = sync;
        let store = match open(options).await.unwrap() {
            Opened::Clean(store) => store,
            Opened::Damaged { reason, .. } => panic!("damaged: {reason}"),
        };
        let id = store.id();
        let machine = Arc::new(Map::default());
        let journal = RaftJournal::start(store, machine.clone(), board.link(id)).await.unwrap();
        let journal: Arc<dyn Journal> = Arc::new(journal);
        board.connect(id, &journal);
        let beating = journal.clone();
        let beat = tokio::spawn(async move {
            loop {
                beating.heartbeat().await.ok();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { id, journal, machine, dir, beat }
    }

    /// Stops the node as a crash would look to its peers, but with the folder free afterwards.
    pub(super) async fn stop(self, board: &Switchboard) {
        board.disconnect(self.id);
        self.beat.abort();
        self.journal.shutdown().await;
    }

    pub(super) async fn until(&self, what: &str, condition: impl FnMut(&JournalStatus) -> bool) -> JournalStatus {
        let mut status = self.journal.status();
        let waited = tokio::time::timeout(LIMIT, status.wait_for(condition)).await;
        match waited {
            Ok(Ok(status)) => status.clone(),
            _ => panic!("{what} did not come about: {:?}", *self.journal.status().borrow()),
        }
    }

    pub(super) async fn leads(&self) {
        self.until("leadership", |status| status.role == Role::Leader).await;
        // The first entry of its term is committed.
        tokio::time::timeout(LIMIT, self.journal.read_index()).await.unwrap().unwrap();
    }

    /// Stands again and again, as the election's watchdog would, until it leads.
    pub(super) async fn stand_until_leader(&self) {
        for _ in 0..200 {
            self.journal.stand().await.unwrap();
            let mut status = self.journal.status();
            let leads = status.wait_for(|status| status.role == Role::Leader);
            if tokio::time::timeout(Duration::from_millis(300), leads).await.is_ok() {
                return self.leads().await;
            }
        }
        panic!("never elected: {:?}", *self.journal.status().borrow());
    }

    pub(super) async fn propose(&self, payload: Bytes) -> (Index, Outcomes) {
        tokio::time::timeout(LIMIT, self.journal.propose(payload)).await.unwrap().unwrap()
    }

    pub(super) async fn applies(&self, index: Index) {
        tokio::time::timeout(LIMIT, self.journal.wait_applied(index)).await.unwrap().unwrap();
    }

    pub(super) fn term(&self) -> u64 {
        self.journal.status().borrow().term
    }
}

/// Nodes 1 to `count`, all voters, led by node 1.
pub(super) async fn cluster(board: &Arc<Switchboard>, dir: &Path, count: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in 1..=count {
        nodes.push(Node::start(board, dir, id, SyncMode::default()).await);
    }
    nodes[0].journal.found().await.unwrap();
    nodes[0].leads().await;
    if count > 1 {
        let voters = (1..=count).map(RaftId).collect();
        tokio::time::timeout(LIMIT, nodes[0].journal.change_voters(voters)).await.unwrap().unwrap();
    }
    nodes
}
