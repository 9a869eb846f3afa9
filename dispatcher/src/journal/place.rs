//! The folder of a journal as a whole: put aside, or replaced by one that was prepared beside it.

use super::guard::sync_dir;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// The folder that a journal's folder is in.
pub(super) fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
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

/// Where the next one is prepared.
pub(super) fn successor(dir: &Path) -> PathBuf {
    dir.with_extension("next")
}
