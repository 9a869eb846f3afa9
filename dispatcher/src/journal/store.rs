//! The store on disk: opened with suspicion, put aside when damaged.
//!
//! ```text
//!   journal/log.tail   the newest frames, before sled has them
//!   journal/log/       sled: frames, base, committed       journal/log.mark     last acknowledged entry
//!   journal/ledger/    sled: rows of the checkpoint, meta  journal/ledger.mark  last installed snapshot
//!   journal/ledger/redo.blocks  the checkpoint being made   journal/vote        whose journal, and its vote
//!   journal/format     which format all of it has        journal/ballast      room to give back when the disk is full
//! ```
//! A new store is made under another name and renamed when whole, so a store lacks files only by damage.

use super::ballast;
use super::book::{Book, BookError};
use super::checkpoint::LedgerMeta;
use super::format::{self, Found};
pub use super::guard::{Counters, Disk, OnFatal, PlantedBug, SyncMode, Synced};
use super::guard::{Guard, sync_dir};
use super::ledger::{Ledger, META_KEY, Outlook};
use super::ledger_writer::LedgerJobs;
use super::log::{BASE_KEY, Log};
use super::log_job::{Append, Ballot, Mark};
use super::log_memory::{Base, Memory};
use super::log_writer::LogWriter;
pub use super::place::put_aside;
pub(super) use super::place::replace;
use super::place::{parent, successor};
use super::slots::{SlotError, SlotFile};
use super::tail::{self, Tail};
pub(super) use super::threads::Threads;
use super::verify;
use relais_protocol::codec;
use relais_protocol::ids::RaftId;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Entries kept behind a checkpoint.
const KEPT_ENTRIES: u64 = 5_000;
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
    /// Entries kept behind a checkpoint, for followers that are behind.
    pub kept_entries: u64,
    /// Set by simulations: the writers are tasks of the runtime over this disk, not threads, and nothing
    /// of the store is ahead of or behind a clock that is simulated, too.
    pub disk: Option<Arc<dyn Disk>>,
    /// Goes on from store to store.
    pub(super) outlook: Arc<Outlook>,
}

impl StoreOptions {
    /// Honest syncs, and two minutes to open.
    pub fn new(dir: impl Into<PathBuf>, id: RaftId, on_fatal: OnFatal) -> Self {
        let (sync, open_limit) = (SyncMode::default(), Duration::from_secs(120));
        let (kept_entries, disk, outlook) = (KEPT_ENTRIES, None, Arc::default());
        Self { dir: dir.into(), id, sync, open_limit, on_fatal, kept_entries, disk, outlook }
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
    /// A newer version made it. Nothing in it was changed.
    #[error(
        "the journal in {dir} has format {found}, this version reads formats up to {known}; start the newer version again, or, to begin without this journal, move its folder away"
    )]
    TooNew {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known.
        known: u32,
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
    last: Option<u64>,
    pub(super) log: Log,
    pub(super) ledger: Arc<Ledger>,
    pub(super) ledger_jobs: LedgerJobs,
    pub(super) guard: Arc<Guard>,
    pub(super) threads: Threads,
}

impl Store {
    /// The last entry in its log when it was opened.
    #[must_use]
    pub fn last_index(&self) -> Option<u64> {
        self.last
    }

    /// Whose journal it is: the one asked for, or a later one of the same node, if it was forked or begun
    /// anew and the process ended before the caller had written that down.
    #[must_use]
    pub fn id(&self) -> RaftId {
        self.id
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
    let is_simulated = options.disk.is_some();
    let opening = move || {
        // sled panics on some damage.
        let opened = catch_unwind(AssertUnwindSafe(|| open_patiently(&options))).unwrap_or_else(|panic| {
            Ok(Opened::Damaged { reason: panic_text(panic.as_ref()), found: whose(&options.dir) })
        });
        drop(tx.send(opened));
    };
    if is_simulated {
        // A simulated clock stands still for this kind of thread only.
        drop(tokio::task::spawn_blocking(opening));
    } else {
        std::thread::Builder::new().name("journal-open".to_owned()).spawn(opening).map_err(io_error)?;
    }
    match tokio::time::timeout(limit, rx).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => Ok(Opened::Damaged { reason: "it could not be opened".to_owned(), found: whose(&dir) }),
        Err(_) => {
            Ok(Opened::Damaged { reason: format!("it was not open after {} s", limit.as_secs()), found: whose(&dir) })
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    format!("its store panicked: {text}")
}

/// Makes an empty store for `id` beside the one in `dir`. Once it is there it takes the other's place: by
/// [`replace`], or at the next open.
pub(super) fn prepare(dir: &Path, id: RaftId) -> Result<(), BookError> {
    create(&successor(dir), id)
}

/// Refuses a journal that a newer version made, without changing anything.
///
/// # Errors
/// [`OpenError::TooNew`], or that the folder can't be read.
pub fn check_format(dir: &Path) -> Result<(), OpenError> {
    let dir = dir.to_path_buf();
    match format::look(&dir) {
        Ok(Found::Newer(found)) => Err(OpenError::TooNew { dir, found, known: format::FORMAT }),
        Ok(Found::Known | Found::Older | Found::Unsaid | Found::Damaged) => Ok(()),
        Err(error) => Err(OpenError::Io { dir, error }),
    }
}

fn open_patiently(options: &StoreOptions) -> Result<Opened, OpenError> {
    let dir = options.dir.clone();
    check_format(&dir)?;
    let (mut tries, mut released) = (0, false);
    loop {
        let error = match open_once(options) {
            Ok(store) => {
                // Where it was just given back there is no room for it; it is made again when there is.
                if let Err(error) = if released { Ok(()) } else { ballast::keep(&dir) } {
                    tracing::warn!(%error, "no room for the journal's ballast");
                }
                return Ok(Opened::Clean(store));
            }
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
        } else if is_full && ballast::release(&dir) {
            released = true;
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
    verify::ballot(&bytes).ok().map(|ballot| RaftId(ballot.raft_id))
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
    match format::look(dir)? {
        Found::Unsaid | Found::Older => format::write(dir)?,
        Found::Damaged => {
            return Err(Trouble::Book(BookError::Damaged("the format file is not as written".to_owned())));
        }
        Found::Known | Found::Newer(_) => {}
    }
    let (vote, bytes) = SlotFile::open(&dir.join("vote"))?;
    let ballot = verify::ballot(&bytes)?;
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
    let (mut memory, log_tail) = open_log(dir, &log_book, acknowledged, &meta)?;

    let (counters, outlook) = (options.outlook.counters.clone(), options.outlook.clone());
    let disk = options.disk.clone();
    let guard = Arc::new(Guard::new(options.sync, disk, dir.clone(), options.on_fatal.clone(), counters));
    let ledger = Arc::new(Ledger::new(ledger_book, ledger_dir, guard.clone(), ledger_mark, meta, outlook));
    let mut writer = LogWriter {
        book: log_book.clone(),
        tail: log_tail,
        unsettled: Vec::new(),
        settled: memory.settled.clone(),
        guard: guard.clone(),
        ledger: ledger.clone(),
        mark: log_mark,
        vote,
        ballot,
        base: memory.base,
        end: memory.next_index(),
        lags: false,
    };
    finish_fork(&mut writer, &mut memory)?;
    let (log_jobs, ledger_jobs, threads) = Threads::start(writer, options.disk.is_some())?;
    let last = memory.last().map(|last| last.index);
    let log = Log::new(log_book, guard.clone(), log_jobs, memory, ballot);
    Ok(Store { id, last, options: options.clone(), log, ledger, ledger_jobs, guard, threads })
}

/// Verifies the log, with all that is in its tail, which is empty afterwards.
fn open_log(dir: &Path, book: &Book, acknowledged: Mark, meta: &LedgerMeta) -> Result<(Memory, Tail), BookError> {
    let (mut tail, found) = Tail::open(&dir.join(tail::NAME))?;
    verify::tail(book, &found)?;
    let memory = verify::log(book, acknowledged, meta)?;
    if !found.frames.is_empty() {
        tail.clear()?;
    }
    // Also that it is there.
    tail.sync()?;
    sync_dir(dir)?;
    Ok((memory, tail))
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
    format::write(&new)?;
    ballast::keep(&new)?;
    sync_dir(&new)?;
    fs::rename(&new, dir)?;
    sync_dir(parent(dir))?;
    Ok(())
}
