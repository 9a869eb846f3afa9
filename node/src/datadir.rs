//! The data directory of a node: who may use it, and the small files that outlive a journal.
//!
//! ```text
//! DIR/relais       marker: this is ours, and where it was made (machine, inode)
//! DIR/lock         held while a process uses it; names the pid
//! DIR/node.json    node id, incarnation, journal number, peers, highest reign seen
//! DIR/identity/    certificates and keys (see `identity`)
//! DIR/journal/     the replicated log; may be put aside when damaged
//! DIR/output/      job output
//! DIR/work         private folders of running jobs, one each
//! ```
//!
//! It refuses to share: a second process, a directory of somebody else, a copy of another node's
//! directory. It does not look into the journal; the store does that.

mod folders;
mod marker;
mod node_file;

pub use folders::Folders;
pub use marker::Place;
pub use node_file::{KnownPeer, NodeFile};

use marker::Marker;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";
const NODE_FILE: &str = "node.json";

/// Why a data directory cannot be used. Nothing in it was changed, unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error(
        "data directory {} is in use by process {pid}; stop that process, or start this node with another --data-dir",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The holder, as it wrote it itself, or `?`.
        pid: String,
    },
    /// Another process holds the lock of a directory that is only to be looked into.
    #[error(
        "data directory {} is in use by process {pid}; stop that node first, or copy the folder and name the copy with \
         --data-dir",
        dir.display()
    )]
    Busy {
        /// The directory.
        dir: PathBuf,
        /// The holder, as it wrote it itself, or `?`.
        pid: String,
    },
    /// It holds files, and none of them says that it is ours.
    #[error(
        "{} is not empty and no relais data directory (it holds `{example}`); choose an empty or new directory with --data-dir",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// A file in it.
        example: String,
    },
    /// It was made at another place: copied, or moved to another machine.
    #[error(
        "data directory {} was copied or moved ({difference}); two nodes with one identity would count votes twice: \
         use an empty --data-dir and join as a new node, or, if the original is gone for good, start once with RELAIS_ACCEPT_MOVED=1 in the environment",
        dir.display()
    )]
    Moved {
        /// The directory.
        dir: PathBuf,
        /// What differs.
        difference: String,
    },
    /// A file of ours cannot be understood.
    #[error("{} is damaged ({reason}); restore it from a backup, or join as a new node with an empty --data-dir", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version wrote it.
    #[error("{} has format {found}, this version knows formats up to {known}; start the newer version again", file.display())]
    TooNew {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we know.
        known: u32,
    },
    /// The operating system refused. The directory may have been created.
    #[error("cannot {doing} {}: {source}; check the owner, the mode and the free space of it", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DataDirError {
    /// Whether there was no space for it.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }

    /// The same, told to somebody who does not want to start a node.
    fn of_looking(self) -> Self {
        match self {
            Self::InUse { dir, pid } => Self::Busy { dir, pid },
            other => other,
        }
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}

/// How to open a data directory.
#[derive(Clone, Debug, Default)]
pub struct DirOptions {
    /// Take a directory that was copied or moved for the original, and mark it so (`RELAIS_ACCEPT_MOVED=1`).
    pub accept_moved: bool,
    /// Where this process runs, instead of asking the system. For tests.
    pub place: Option<Place>,
}

/// An open, locked data directory. The lock goes with it.
#[derive(Debug)]
pub struct DataDir {
    folders: Folders,
    node: NodeFile,
    is_moved: bool,
    _lock: Flock<File>,
}

impl DataDir {
    /// Opens `path`, creating it if needed (mode 0700), locks it, and counts a new incarnation (synced).
    ///
    /// # Errors
    /// See [`DataDirError`]; each says cause and next step.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        Self::open_with(path, &DirOptions::default())
    }

    /// Refuses a directory whose files a newer version wrote; changes nothing. One that is not there is fine.
    ///
    /// # Errors
    /// See [`DataDirError`], above all [`DataDirError::TooNew`].
    pub fn refuse_newer(path: &Path) -> Result<(), DataDirError> {
        if Marker::exists(path) {
            Marker::check_format(path)?;
            NodeFile::load(&path.join(NODE_FILE))?;
        }
        Ok(())
    }

    /// Like [`DataDir::open`], with options.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_with(path: impl AsRef<Path>, options: &DirOptions) -> Result<Self, DataDirError> {
        let path = create(path.as_ref())?;
        let marked = Marker::exists(&path);
        if !marked {
            refuse_foreign(&path)?;
        }
        let lock = lock(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))
            .map_err(DataDirError::io("set the mode of", &path))?;
        let here = match &options.place {
            Some(place) => place.clone(),
            None => Place::of(&path).map_err(DataDirError::io("look at", &path))?,
        };
        let is_moved = marked && Marker::check(&path, &here, options.accept_moved)?;
        if !marked {
            Marker::write(&path, here)?;
        }
        let folders = Folders::of(path);
        for folder in folders.all() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(DataDirError::io("create", &folder))?;
        }
        let mut node = NodeFile::load(&folders.path().join(NODE_FILE))?;
        node.incarnation.0 += 1;
        let dir = Self { folders, node, is_moved, _lock: lock };
        dir.store_node()?;
        Ok(dir)
    }

    /// Where things lie in it.
    #[must_use]
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Whether it was made at another place, and accepted at this one just now.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// What `node.json` holds now.
    #[must_use]
    pub fn node(&self) -> &NodeFile {
        &self.node
    }

    /// Changes `node.json`; when this returns, the change is on stable storage.
    ///
    /// # Errors
    /// If it cannot be written; then neither file nor memory changed.
    pub fn update(&mut self, change: impl FnOnce(&mut NodeFile)) -> Result<(), DataDirError> {
        let before = self.node.clone();
        change(&mut self.node);
        if self.node == before {
            return Ok(());
        }
        self.store_node().inspect_err(|_| self.node = before)
    }

    fn store_node(&self) -> Result<(), DataDirError> {
        let file = self.folders.path().join(NODE_FILE);
        write_atomically(&file, &self.node.to_bytes(), 0o600).map_err(DataDirError::io("write", &file))
    }
}

/// The data directory of a stopped node, held so that it stays stopped. Nothing in it is changed.
#[derive(Debug)]
pub struct HeldDir {
    folders: Folders,
    _lock: Flock<File>,
}

impl HeldDir {
    /// Locks `path`, which must be there and ours. It counts as no start of the node.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn hold(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        let path = path.as_ref();
        let path = path.canonicalize().map_err(DataDirError::io("find", path))?;
        if !Marker::exists(&path) {
            refuse_foreign(&path)?;
            let none = io::Error::new(io::ErrorKind::NotFound, "no node was ever started with it");
            return Err(DataDirError::io("use", &path)(none));
        }
        let lock = lock(&path).map_err(DataDirError::of_looking)?;
        Ok(Self { folders: Folders::of(path), _lock: lock })
    }

    /// The folder of the replicated log.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.folders.journal()
    }
}

/// Writes `bytes` to `file` so that a crash leaves the old content or the new, never a mixture: temporary
/// file, fsync, rename, fsync of the folder.
///
/// # Errors
/// As the system says; the old file is then still there.
pub fn write_atomically(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = file.parent().ok_or_else(|| io::Error::other("a file without a folder"))?;
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = folder.join(name);
    let _ = fs::remove_file(&new);
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    handle.write_all(bytes)?;
    handle.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

fn create(path: &Path) -> Result<PathBuf, DataDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(DataDirError::io("create", path))?;
    path.canonicalize().map_err(DataDirError::io("find", path))
}

fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    for entry in fs::read_dir(path).map_err(DataDirError::io("read", path))? {
        let name = entry.map_err(DataDirError::io("read", path))?.file_name();
        // A lock file alone is a start of ours that was cut short; `lost+found` is a fresh file system.
        if name != LOCK_FILE && name != "lost+found" && !Marker::is_remnant(&name) {
            let example = name.to_string_lossy().into_owned();
            return Err(DataDirError::Foreign { dir: path.to_path_buf(), example });
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<Flock<File>, DataDirError> {
    let file = dir.join(LOCK_FILE);
    let handle = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(DataDirError::io("open", &file))?;
    let mut lock = match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut handle, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = handle.read_to_string(&mut pid);
            let pid = pid.trim();
            let pid = if pid.is_empty() { "?" } else { pid }.to_owned();
            return Err(DataDirError::InUse { dir: dir.to_path_buf(), pid });
        }
        Err((_, errno)) => return Err(DataDirError::io("lock", &file)(errno.into())),
    };
    let written = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .and_then(|()| lock.sync_all());
    written.map_err(DataDirError::io("write", &file))?;
    Ok(lock)
}

#[cfg(test)]
mod tests;
