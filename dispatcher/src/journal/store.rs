//! The store on disk: opened with suspicion, put aside when damaged.
//!
//! ```text
//!   journal/log/       sled: frames, base, committed       journal/log.mark     last acknowledged entry
//!   journal/ledger/    sled: rows of the checkpoint, meta  journal/ledger.mark  last installed snapshot
//!   journal/ledger/redo  the checkpoint being made         journal/vote         whose journal, and its vote
//!   journal/ballast    1 MiB to give back when the disk is full
//! ```
//! A new store is made under another name and renamed when whole, so a store lacks files only by damage.

use super::book::{Book, BookError};
use super::checkpoint::LedgerMeta;
pub use super::guard::{Counters, OnFatal, PlantedBug, SyncMode};
use super::guard::{Guard, sync_dir};
use super::ledger::{Ledger, META_KEY, Outlook};
use super::ledger_writer::{self, LedgerJobs};
use super::log::{BASE_KEY, Log};
use super::log_memory::{Base, Memory};
use super::log_writer::{self, Append, Ballot, LogJob, LogWriter, Mark};
use super::slots::{SlotError, SlotFile};
use super::verify;
use relais_protocol::codec;
use relais_protocol::ids::RaftId;
use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

const BALLAST_BYTES: usize = 1 << 20;
/// How often, 50 ms apart, a store that is still locked is tried again.
const LOCK_TRIES: u32 = 100;

/// What to open, and how.
#[derive(Clone)]
pub struct StoreOptions {
    /// The journal's folder. Its parent must be there.
    pub dir: PathBuf,
    /// Whose journal it is: a new one is made for this id, another one's is refused.
    pub id: RaftId,
    /// How to sync.
    pub sync: SyncMode,
    /// A store not open after this long is damaged.
    pub open_limit: Duration,
    /// Called once when a write or sync fails.
    pub on_fatal: OnFatal,
    /// Goes on from store to store.
    pub(super) outlook: Arc<Outlook>,
}

impl StoreOptions {
    /// Honest syncs, and two minutes to open.
    pub fn new(dir: impl Into<PathBuf>, id: RaftId, on_fatal: OnFatal) -> Self {
        let (sync, open_limit) = (SyncMode::default(), Duration::from_secs(120));
        Self { dir: dir.into(), id, sync, open_limit, on_fatal, outlook: Arc::default() }
    }
}

/// What opening came to.
pub enum Opened {
    /// All that was acknowledged is there.
    Clean(Store),
    /// Something is not as it was written: [`put_aside`] the folder, and never vote under this id again.
    Damaged {
        /// The first thing found wrong.
        reason: String,
        /// Whose journal it was, if that can be read. It can be a later one than was asked for: go on with
        /// a number above both.
        found: Option<RaftId>,
    },
}

/// Why a store cannot be opened, without being damaged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk or the rights on it do not allow it.
    #[error("cannot open the journal in {dir}: {error}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it open.
    #[error("the journal in {dir} is in use by another process")]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// It is the journal of another raft id.
    #[error("the journal in {dir} belongs to {found}, not to {wanted}")]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        found: RaftId,
        /// Who wanted it.
        wanted: RaftId,
    },
}

/// An open store whose writers run; closed when dropped.
pub struct Store {
    pub(super) id: RaftId,
    pub(super) options: StoreOptions,
    pub(super) log: Log,
    pub(super) ledger: Arc<Ledger>,
    pub(super) ledger_jobs: LedgerJobs,
    pub(super) guard: Arc<Guard>,
    pub(super) threads: Threads,
}

impl Store {
    /// Whose journal it is: the one asked for, or a later one of the same node, if it was forked or begun
    /// anew and the process ended before the caller had written that down.
    #[must_use]
    pub fn id(&self) -> RaftId {
        self.id
    }
}

/// The writers, to end them.
pub(super) struct Threads {
    log_jobs: SyncSender<LogJob>,
    log_book: Arc<Book>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Ends the writers after what they were told to do, and closes the databases. Blocks.
    pub(super) fn close(self, ledger: &Ledger) {
        let _ = self.log_jobs.send(LogJob::Close);
        for handle in self.handles {
            let _ = handle.join();
        }
        self.log_book.close();
        ledger.book.close();
    }
}

/// Opens the store in `options.dir`, or makes one. Reads and verifies all of it, on a thread of its own.
///
/// # Errors
/// See [`OpenError`]; damage is no error but a result.
pub async fn open(options: StoreOptions) -> Result<Opened, OpenError> {
    let (tx, rx) = oneshot::channel();
    let (dir, limit) = (options.dir.clone(), options.open_limit);
    let io_error = |error| OpenError::Io { dir: dir.clone(), error };
    std::thread::Builder::new()
        .name("journal-open".to_owned())
        .spawn(move || {
            // sled panics on some damage.
            let opened = catch_unwind(AssertUnwindSafe(|| open_patiently(&options))).unwrap_or_else(|panic| {
                Ok(Opened::Damaged { reason: panic_text(panic.as_ref()), found: whose(&options.dir) })
            });
            drop(tx.send(opened));
        })
        .map_err(io_error)?;
    match tokio::time::timeout(limit, rx).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => Ok(Opened::Damaged { reason: "it could not be opened".to_owned(), found: whose(&dir) }),
        Err(_) => Ok(Opened::Damaged { reason: format!("it was not open after {} s", limit.as_secs()), found: whose(&dir) }),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    format!("its store panicked: {text}")
}

/// Moves a damaged journal out of the way, beside its old place, and returns where to.
///
/// # Errors
/// The folder cannot be renamed.
pub fn put_aside(dir: &Path) -> io::Result<PathBuf> {
    aside(dir, "damaged")
}

fn aside(dir: &Path, why: &str) -> io::Result<PathBuf> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut number = 1;
    let target = loop {
        let target = dir.with_file_name(format!("{name}.{why}-{number}"));
        if !target.exists() {
            break target;
        }
        number += 1;
    };
    fs::rename(dir, &target)?;
    sync_dir(parent(dir))?;
    Ok(target)
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes an empty store for `id` beside the one in `dir`. Once it is there it takes the other's place: by
/// [`replace`], or at the next open.
pub(super) fn prepare(dir: &Path, id: RaftId) -> Result<(), BookError> {
    create(&successor(dir), id)
}

/// Puts a store that was prepared in the place of the one in `dir`, which must be closed; does nothing if
/// there is none, or it was done.
pub(super) fn replace(dir: &Path) -> io::Result<()> {
    let next = successor(dir);
    if !next.exists() {
        return Ok(());
    }
    if dir.exists() {
        let aside = aside(dir, "healed")?;
        tracing::info!(aside = %aside.display(), "the journal was put aside, and an empty one begun");
    }
    fs::rename(&next, dir)?;
    sync_dir(parent(dir))
}

fn successor(dir: &Path) -> PathBuf {
    dir.with_extension("next")
}

fn open_patiently(options: &StoreOptions) -> Result<Opened, OpenError> {
    let dir = options.dir.clone();
    let mut tries = 0;
    loop {
        let error = match open_once(options) {
            Ok(store) => return Ok(Opened::Clean(store)),
            Err(Trouble::Foreign(found)) => return Err(OpenError::Foreign { dir, found, wanted: options.id }),
            Err(Trouble::Book(BookError::Io(error))) => error,
            Err(Trouble::Book(e)) => {
                return Ok(Opened::Damaged { reason: e.to_string(), found: whose(&options.dir) });
            }
        };
        tries += 1;
        let is_locked = error.to_string().contains("acquire lock");
        let is_full = error.kind() == io::ErrorKind::StorageFull;
        if is_locked && tries < LOCK_TRIES {
            std::thread::sleep(Duration::from_millis(50));
        } else if is_locked {
            return Err(OpenError::Locked { dir });
        } else if is_full && fs::remove_file(dir.join("ballast")).is_ok() {
            tracing::warn!("the disk is full; gave back the ballast to open the journal");
        } else if is_environment(&error) {
            return Err(OpenError::Io { dir, error });
        } else {
            return Ok(Opened::Damaged { reason: error.to_string(), found: whose(&options.dir) });
        }
    }
}

/// Whether an error speaks of the machine rather than of what is in the files.
fn is_environment(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    /// EIO, ENFILE, EMFILE.
    const OS: [i32; 3] = [5, 23, 24];
    matches!(error.kind(), OutOfMemory | PermissionDenied | ReadOnlyFilesystem | StorageFull)
        || error.raw_os_error().is_some_and(|code| OS.contains(&code))
}

enum Trouble {
    Book(BookError),
    Foreign(RaftId),
}

impl<E: Into<BookError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Book(error.into())
    }
}

impl From<SlotError> for BookError {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::Damaged => Self::Damaged("a slot file has no whole slot".to_owned()),
            SlotError::Io(e) => Self::Io(e),
        }
    }
}

/// Whose journal is in `dir`, if that can be read.
pub(super) fn whose(dir: &Path) -> Option<RaftId> {
    let (_, bytes) = SlotFile::open(&dir.join("vote")).ok()?;
    verify::decode("the vote", Some(&bytes)).ok().map(|ballot: Ballot| RaftId(ballot.raft_id))
}

/// A journal can be a later one than its node's own files say: of a fork or a reset that was not written
/// down any more.
fn is_own(found: RaftId, wanted: RaftId) -> bool {
    found.node() == wanted.node() && found.journal() >= wanted.journal()
}

fn open_once(options: &StoreOptions) -> Result<Store, Trouble> {
    let dir = &options.dir;
    replace(dir)?;
    if !dir.exists() {
        create(dir, options.id)?;
    }
    let (vote, bytes) = SlotFile::open(&dir.join("vote"))?;
    let ballot: Ballot = verify::decode("the vote", Some(&bytes))?;
    let id = RaftId(ballot.raft_id);
    if !is_own(id, options.id) {
        return Err(Trouble::Foreign(id));
    }
    let (ledger_mark, bytes) = SlotFile::open(&dir.join("ledger.mark"))?;
    let installed: u64 = verify::decode("the ledger's mark", Some(&bytes))?;
    let (log_mark, bytes) = SlotFile::open(&dir.join("log.mark"))?;
    let acknowledged: Mark = verify::decode("the log's mark", Some(&bytes))?;

    let ledger_dir = dir.join("ledger");
    let ledger_book = Book::open(&ledger_dir)?;
    let meta = verify::ledger(&ledger_dir, &ledger_book, installed)?;
    let log_book = Arc::new(Book::open(&dir.join("log"))?);
    let mut memory = verify::log(&log_book, acknowledged, &meta)?;

    let (counters, outlook) = (options.outlook.counters.clone(), options.outlook.clone());
    let guard = Arc::new(Guard::new(options.sync, dir.join("ballast"), options.on_fatal.clone(), counters));
    let ledger = Arc::new(Ledger::new(ledger_book, ledger_dir, guard.clone(), ledger_mark, meta, outlook));
    let mut writer = LogWriter {
        book: log_book.clone(),
        guard: guard.clone(),
        ledger: ledger.clone(),
        mark: log_mark,
        vote,
        ballot,
        base: memory.base,
        end: memory.next_index(),
    };
    finish_fork(&mut writer, &mut memory)?;
    let (ledger_jobs, ledger_thread) = ledger_writer::spawn(ledger.clone())?;
    let (log_jobs, log_thread) = log_writer::spawn(writer)?;
    if let Err(error) = ballast(dir) {
        tracing::warn!(%error, "no room for the journal's ballast");
    }
    let log = Log::new(log_book.clone(), guard.clone(), log_jobs.clone(), memory, ballot);
    let threads = Threads { log_jobs, log_book, handles: vec![log_thread, ledger_thread] };
    Ok(Store { id, options: options.clone(), log, ledger, ledger_jobs, guard, threads })
}

/// Writes the first entry of a fork that was begun, if it is not there.
fn finish_fork(writer: &mut LogWriter, memory: &mut Memory) -> Result<(), BookError> {
    let Some(mark) = writer.ballot.fork else { return Ok(()) };
    let Some(frames) = memory.finish_fork(&mark).map_err(BookError::Damaged)? else { return Ok(()) };
    // Perhaps only one of its two slots was written.
    writer.save_ballot(writer.ballot)?;
    writer.append(Append::new(frames, memory))
}

fn create(dir: &Path, id: RaftId) -> Result<(), BookError> {
    let new = dir.with_extension("new");
    match fs::remove_dir_all(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    fs::create_dir(&new)?;
    let ballot = Ballot::new(id.0);
    SlotFile::create(&new.join("vote"), &codec::encode(codec::FORMAT, &ballot))?;
    SlotFile::create(&new.join("log.mark"), &codec::encode(codec::FORMAT, &Mark { last: None }))?;
    SlotFile::create(&new.join("ledger.mark"), &codec::encode(codec::FORMAT, &0u64))?;
    let log = codec::encode(codec::FORMAT, &Base::default());
    let ledger = codec::encode(codec::FORMAT, &LedgerMeta::default());
    for (name, key, value) in [("log", BASE_KEY, log), ("ledger", META_KEY, ledger)] {
        let book = Book::open(&new.join(name))?;
        book.write(key, Some(&value))?;
        book.flush()?;
        book.file().sync_all()?;
        book.close();
        fs::File::open(new.join(name).join("conf"))?.sync_all()?;
        sync_dir(&new.join(name))?;
    }
    ballast(&new)?;
    sync_dir(&new)?;
    fs::rename(&new, dir)?;
    sync_dir(parent(dir))?;
    Ok(())
}

fn ballast(dir: &Path) -> io::Result<()> {
    let path = dir.join("ballast");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == BALLAST_BYTES as u64) {
        return Ok(());
    }
    // Not zeros, which some file systems keep without taking room.
    let mut file = fs::File::create(path)?;
    file.write_all(&[0xa5; BALLAST_BYTES])?;
    file.sync_all()
}
