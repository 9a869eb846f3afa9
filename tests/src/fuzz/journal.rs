//! A journal's folder with any damage: opened as damaged, refused, or open with all that was acknowledged.
//! Never silently with less.
//!
//! A store that is whole is made once for each process; each input is a list of things to do to a copy.

use super::Came;
use bytes::Bytes;
use relais_dispatcher::journal::memory::Switchboard;
use relais_dispatcher::journal::{
    Applied, Changes, Journal, LoadError, Machine, Opened, RaftJournal, Role, Rows, Store, StoreOptions, open,
};
use relais_protocol::ids::{Index, RaftId};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Whose journal it is.
const ID: RaftId = RaftId(1);
/// Entries in the whole store.
const ENTRIES: u64 = 60;
/// Bytes of one thing to do.
const STEP: usize = 8;
/// Things that are done to one copy, at most.
const STEPS_MAX: usize = 12;
/// A page of a disk.
const PAGE: u64 = 4_096;
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Each 8 bytes say what to do to which file, and where.
pub(super) fn take(bytes: &[u8]) -> Came {
    static QUIET: Once = Once::new();
    QUIET.call_once(quiet);
    let whole = whole();
    let copy = TempDir::new().expect("a folder for the copy");
    let dir = copy.path().join("journal");
    copy_all(&whole.path().join("journal"), &dir);
    for step in bytes.chunks_exact(STEP).take(STEPS_MAX) {
        damage(&dir, step);
    }
    let runtime = runtime();
    runtime.block_on(async {
        match open(StoreOptions::new(&dir, ID, Arc::new(|_| ()))).await {
            Ok(Opened::Clean(store)) => {
                let found = read(store).await;
                let missing: Vec<_> = (0..ENTRIES).filter(|number| !found.contains(number)).collect();
                assert!(missing.is_empty(), "opened as whole without the acknowledged entries {missing:?}");
                Came::Taken
            }
            Ok(Opened::Damaged { .. }) | Err(_) => Came::Refused,
        }
    })
}

/// The store panics on some damage, on a thread of its own, and that is caught: no reason to end the
/// process, as the fuzzer's hook would, nor to fill the screen.
fn quiet() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some("journal-open") {
            before(panic);
        }
    }));
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Keeps the numbers of the entries that it applied, a row each.
#[derive(Default)]
struct Numbers(Mutex<(BTreeSet<u64>, BTreeSet<u64>)>);

impl Numbers {
    fn with<T>(&self, look: impl FnOnce(&mut (BTreeSet<u64>, BTreeSet<u64>)) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?))
}

impl Machine for Numbers {
    fn apply(&self, _: Index, payload: &[u8]) -> Applied {
        let number = number(payload);
        self.with(|(all, changed)| {
            all.extend(number);
            changed.extend(number);
        });
        // Some of the entries are in a checkpoint, the rest in the log alone.
        Applied { checkpoint: number == Some(ENTRIES / 2), ..Applied::default() }
    }

    fn drain_changes(&self) -> Arc<Changes> {
        let changed = self.with(|(_, changed)| std::mem::take(changed));
        Arc::new(changed.into_iter().map(|number| (number.to_be_bytes().to_vec(), Some(vec![7; 300]))).collect())
    }

    fn pending_bytes(&self) -> usize {
        self.with(|(_, changed)| changed.len() * 308)
    }

    fn load(&self, rows: Arc<dyn Rows>) -> Result<(), LoadError> {
        let mut loaded = BTreeSet::new();
        rows.scan(b"", b"", false, &mut |key, _| {
            loaded.extend(number(key));
            true
        });
        self.with(|state| *state = (loaded, BTreeSet::new()));
        Ok(())
    }
}

/// A folder with a whole store under `journal`, stopped.
fn whole() -> &'static TempDir {
    static WHOLE: OnceLock<TempDir> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = TempDir::new().expect("a folder for the store");
        let dir = folder.path().join("journal");
        runtime().block_on(async {
            let Ok(Opened::Clean(store)) = open(StoreOptions::new(&dir, ID, Arc::new(|_| ()))).await else {
                panic!("a new store is not opened");
            };
            let (journal, _) = start(store).await;
            journal.found().await.expect("a journal of one");
            until_it_leads(&journal).await;
            for number in 0..ENTRIES {
                let payload = [&number.to_be_bytes()[..], &[9; 200]].concat();
                journal.propose(Bytes::from(payload)).await.expect("an acknowledged entry");
            }
            let mut made = journal.audit();
            drop(tokio::time::timeout(LIMIT, made.wait_for(Option::is_some)).await.expect("a checkpoint"));
            journal.shutdown().await;
        });
        folder
    })
}

async fn start(store: Store) -> (RaftJournal, Arc<Numbers>) {
    let machine = Arc::new(Numbers::default());
    let link = Switchboard::new().link(ID);
    let journal = RaftJournal::start(store, machine.clone(), link).await.expect("a journal that starts");
    (journal, machine)
}

async fn until_it_leads(journal: &RaftJournal) {
    let mut status = journal.status();
    let leads = tokio::time::timeout(LIMIT, status.wait_for(|status| status.role == Role::Leader));
    drop(leads.await.expect("a leader in time").expect("a journal that goes on"));
}

/// The numbers of all entries of a store, once its node leads and has applied them.
async fn read(store: Store) -> BTreeSet<u64> {
    let (journal, machine) = start(store).await;
    journal.stand().await.expect("a stand");
    until_it_leads(&journal).await;
    let last = tokio::time::timeout(LIMIT, journal.read_index()).await.expect("in time").expect("an index");
    journal.wait_applied(last).await.expect("all applied");
    journal.shutdown().await;
    machine.with(|(all, _)| all.clone())
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copied file");
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Does one thing to one file. What the system does not allow is not done.
fn damage(dir: &Path, step: &[u8]) {
    let all = files(dir);
    let Some(path) = all.get(usize::from(step[1]) % all.len().max(1)) else { return };
    let Ok(file) = fs::OpenOptions::new().read(true).write(true).open(path) else { return };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let place = u64::from(u32::from_le_bytes([step[2], step[3], step[4], step[5]])) % length.max(1);
    let some = vec![step[7]; usize::from(step[6])];
    let done = match step[0] % 7 {
        0 => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, place)
                .and_then(|()| file.write_all_at(&[byte[0] ^ (1 << (step[7] % 8))], place))
        }
        1 => file.write_all_at(&[0; PAGE as usize], place / PAGE * PAGE),
        2 => file.set_len(place),
        3 => file.write_all_at(&some, length),
        4 => file.write_all_at(&some, place),
        5 => fs::remove_file(path),
        _ => file.set_len(0).and_then(|()| file.write_all_at(&some, 0)),
    };
    drop(done);
}
