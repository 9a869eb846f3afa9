//! The format of a journal folder: a number in a file of its own, looked at before anything in the folder is
//! opened for writing. A newer one is refused, and not a byte of it is touched.
//!
//! Folders made before there was such a file have format 1, in which each row of the ledger has a key of its own;
//! since format 2 they are packed into blocks. The number is checksummed, so that a flipped bit
//! is damage and not a newer version.

use super::guard::sync_dir;
use super::slots;
use relais_protocol::codec;
use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// The newest format that this build reads, and the one that it writes.
pub const FORMAT: u32 = 2;
const NAME: &str = "format";

/// What a folder says of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// This build reads it.
    Known,
    /// This build reads it, and leaves it in a newer form.
    Older,
    /// The folder is not there, or it was made before there was a format file.
    Unsaid,
    /// A newer build made it.
    Newer(u32),
    /// The number is not as it was written.
    Damaged,
}

fn line(format: u32) -> String {
    let text = format!("relais journal {format}");
    format!("{text} {:016x}\n", xxh3_64(text.as_bytes()))
}

/// Reads what the journal folder `dir` says of itself; writes nothing.
pub(super) fn look(dir: &Path) -> io::Result<Found> {
    let said = match fs::read(dir.join(NAME)) {
        Ok(bytes) => String::from_utf8(bytes).ok().and_then(|text| number(&text)).map_or(Found::Damaged, judge),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Found::Unsaid,
        Err(e) => return Err(e),
    };
    // A folder that lost the file still says it in each small file, checksummed, by the first byte.
    match slots::peek(&dir.join("vote")) {
        Some(first) if first > codec::FORMAT => Ok(Found::Newer(u32::from(first))),
        _ => Ok(said),
    }
}

fn number(text: &str) -> Option<u32> {
    let format = text.split(' ').nth(2)?.parse().ok()?;
    (text == line(format)).then_some(format)
}

fn judge(format: u32) -> Found {
    match format.cmp(&FORMAT) {
        Ordering::Less => Found::Older,
        Ordering::Equal => Found::Known,
        Ordering::Greater => Found::Newer(format),
    }
}

/// Puts the present format on record.
pub(super) fn write(dir: &Path) -> io::Result<()> {
    put(dir, FORMAT)
}

/// Puts a format on record, whatever it is: for tests, which can't wait for the next one.
///
/// # Errors
/// As the system says.
#[doc(hidden)]
pub fn put(dir: &Path, format: u32) -> io::Result<()> {
    let temporary = dir.join("format.new");
    let mut file = File::create(&temporary)?;
    file.write_all(line(format).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(NAME))?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_told_from_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Unsaid);
        write(dir.path()).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Known);
        fs::write(dir.path().join(NAME), line(1)).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Older);
        fs::write(dir.path().join(NAME), line(FORMAT + 1)).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Newer(FORMAT + 1));
        fs::write(dir.path().join(NAME), line(FORMAT).replace(" 2 ", " 3 ")).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Damaged);
    }

    #[test]
    fn a_folder_without_the_file_says_it_by_its_vote() {
        let dir = tempfile::tempdir().unwrap();
        slots::SlotFile::create(&dir.path().join("vote"), &[codec::FORMAT + 1, 0]).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Newer(u32::from(codec::FORMAT) + 1));
    }
}
