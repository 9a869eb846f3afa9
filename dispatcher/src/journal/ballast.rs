//! The ballast: a file beside the journal that holds nothing but room. On a full disk it is given back, so
//! that the journal can be opened and brought to its end; it is made again once there is space.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Room for a database to be opened and its last checkpoint to be made.
const BYTES: usize = 4 << 20;
const NAME: &str = "ballast";

/// Makes the ballast in the journal folder `dir`, unless it is there. On failure nothing of it is left: half a
/// ballast would hold the last of the room.
///
/// # Errors
/// As the system says, above all that there is no space.
pub fn keep(dir: &Path) -> io::Result<()> {
    let path = dir.join(NAME);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == BYTES as u64) {
        return Ok(());
    }
    let made = fs::File::create(&path).and_then(|mut file| {
        // Not zeros, which some file systems keep without taking room.
        file.write_all(&[0xa5; 64 << 10].repeat(BYTES >> 16))?;
        file.sync_all()
    });
    made.inspect_err(|_| drop(fs::remove_file(&path)))
}

/// Gives the room back; whether there was any.
#[must_use]
pub fn release(dir: &Path) -> bool {
    fs::remove_file(dir.join(NAME)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_given_back_once_and_made_whole_again() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path()).unwrap();
        keep(dir.path()).unwrap();
        let bytes = || fs::metadata(dir.path().join(NAME)).map(|meta| meta.len()).ok();
        assert_eq!(bytes(), Some(BYTES as u64));
        assert!(release(dir.path()) && !release(dir.path()));
        fs::write(dir.path().join(NAME), b"half").unwrap();
        keep(dir.path()).unwrap();
        assert_eq!(bytes(), Some(BYTES as u64));
        assert!(keep(&dir.path().join("missing")).is_err());
    }
}
