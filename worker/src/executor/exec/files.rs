//! The files of one attempt under the node's work folder: its private folder, progress and result.
//!
//! ```text
//!   <work>/<job>-<fence>/          private folder, mode 0700, only if the job names no cwd
//!          <job>-<fence>.progress  made by the attempt itself, if it cares
//!          <job>-<fence>.result
//! ```
//!
//! What an attempt leaves is hostile: links are not followed, pipes are not waited for, size is bounded.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How long a result may be.
const RESULT_BYTES_MAX: usize = 64 * 1024;
/// How much of the progress file counts.
const PROGRESS_BYTES_MAX: usize = 1024;

/// Why a result file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultFault {
    #[error("it is longer than 64 KiB; write a shorter result, or leave the data elsewhere and name the place")]
    TooLong,
    #[error("it is no JSON: {0}")]
    NoJson(serde_json::Error),
    #[error("it could not be read: {0}")]
    Unreadable(io::Error),
}

/// Where one attempt's files are.
pub(super) struct Files {
    /// The private folder, if it has one.
    pub(super) folder: Option<PathBuf>,
    /// For `RELAIS_PROGRESS_FILE`.
    pub(super) progress: PathBuf,
    /// For `RELAIS_RESULT_FILE`.
    pub(super) result: PathBuf,
}

impl Files {
    /// Names the files and makes the private folder, if one is wanted; leftovers of the same name go first.
    ///
    /// # Errors
    /// When a folder cannot be made or a leftover not be removed.
    pub(super) fn make(work: &Path, name: &str, private: bool) -> io::Result<Self> {
        let folder = work.join(name);
        let files = Self {
            progress: work.join(format!("{name}.progress")),
            result: work.join(format!("{name}.result")),
            folder: private.then_some(folder),
        };
        files.remove()?;
        if let Some(folder) = &files.folder {
            make_folder(folder)?;
        } else if !work.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(work)?;
        }
        Ok(files)
    }

    /// What the progress file says now, trimmed; nothing if it says nothing or is no plain file.
    pub(super) fn progress(&self) -> Option<String> {
        let bytes = read_plain(&self.progress, PROGRESS_BYTES_MAX).ok()??;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// The JSON text of the result, if there is one.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub(super) fn result(&self) -> Result<Option<String>, ResultFault> {
        let bytes = read_plain(&self.result, RESULT_BYTES_MAX + 1).map_err(ResultFault::Unreadable)?;
        let Some(bytes) = bytes.filter(|bytes| !bytes.trim_ascii().is_empty()) else { return Ok(None) };
        if bytes.len() > RESULT_BYTES_MAX {
            return Err(ResultFault::TooLong);
        }
        let json: &serde_json::value::RawValue = serde_json::from_slice(&bytes).map_err(ResultFault::NoJson)?;
        Ok(Some(json.get().to_owned()))
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// When something resists even after it was made writable.
    pub(super) fn remove(&self) -> io::Result<()> {
        for path in self.folder.iter().chain([&self.progress, &self.result]) {
            remove_tree(path)?;
        }
        Ok(())
    }
}

/// Removes what attempts of an earlier run of this node left in its work folder; a missing one is empty.
/// Returns how many files and folders went. To be called before the first attempt.
///
/// # Errors
/// When something cannot be removed.
pub fn clear_work_folder(work: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(work) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut count = 0;
    for entry in entries {
        remove_tree(&entry?.path())?;
        count += 1;
    }
    Ok(count)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let make = |recursive| DirBuilder::new().recursive(recursive).mode(0o700).create(path);
    match make(false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(true),
        made => made,
    }
}

/// The first bytes of a plain file; nothing for one that is missing or is anything else.
fn read_plain(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    // A link would lead out of the folder; a pipe would block the open.
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Removes a file, a link or a whole folder, also one with unwritable folders in it. Links are removed and
/// not followed.
fn remove_tree(path: &Path) -> io::Result<()> {
    // Most private folders are empty.
    match fs::remove_dir(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return fs::remove_file(path),
        Err(_) => {}
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    make_writable(path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes every folder of a tree writable. Nothing of the attempt runs any more that could swap one for a link.
fn make_writable(folder: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Ok(());
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(work: &Path) -> Files {
        Files::make(work, "job-1", true).unwrap()
    }

    #[test]
    fn a_tree_with_unwritable_folders_and_links_goes_alone() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let files = files(&place.path().join("work"));
        let folder = files.folder.clone().unwrap();
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("a/link")).unwrap();
        fs::set_permissions(folder.join("a/b"), Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(folder.join("a"), Permissions::from_mode(0o000)).unwrap();
        make_writable(&folder).unwrap();
        assert_eq!(fs::metadata(folder.join("a/b")).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(folder.join("a"), Permissions::from_mode(0o000)).unwrap();
        files.remove().unwrap();
        assert!(!folder.exists());
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    }

    #[test]
    fn results_are_json_and_bounded() {
        let place = tempfile::tempdir().unwrap();
        let files = files(place.path());
        assert_eq!(files.result().unwrap(), None);
        fs::write(&files.result, " {\"rows\": 3}\n").unwrap();
        assert_eq!(files.result().unwrap().as_deref(), Some("{\"rows\": 3}"));
        fs::write(&files.result, "rows: 3").unwrap();
        assert!(matches!(files.result(), Err(ResultFault::NoJson(_))));
        fs::write(&files.result, vec![b' '; RESULT_BYTES_MAX + 1]).unwrap();
        assert_eq!(files.result().unwrap(), None);
        fs::write(&files.result, format!("\"{}\"", "x".repeat(RESULT_BYTES_MAX))).unwrap();
        assert!(matches!(files.result(), Err(ResultFault::TooLong)));
    }

    #[test]
    fn links_and_pipes_are_not_read() {
        let place = tempfile::tempdir().unwrap();
        let files = files(place.path());
        let secret = place.path().join("secret");
        fs::write(&secret, "1").unwrap();
        std::os::unix::fs::symlink(&secret, &files.result).unwrap();
        assert!(matches!(files.result(), Err(ResultFault::Unreadable(_))));
        nix::unistd::mkfifo(&files.progress, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(files.progress(), None);
        files.remove().unwrap();
        assert_eq!(fs::read_to_string(secret).unwrap(), "1");
    }
}
