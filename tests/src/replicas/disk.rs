//! The disk of one host: what was synced, what was only written, and the moment at which the power goes.
//!
//! Files lie in a folder of memory, so a sync costs nothing there and says nothing: what a power cut would
//! leave is worked out here. From the moment a cut is announced each synced file is copied aside; at the
//! cut, everything is copied as it is then. What the host starts from again is the synced copy with an
//! arbitrary part of the pages that were written since.

use crate::world::dice::Dice;
use parking_lot::Mutex;
use relais_dispatcher::journal::{Disk, Synced};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// What comes to disk whole or not at all.
const PAGE: usize = 4_096;

/// The disk under one run of a host's process.
pub(super) struct HostDisk {
    journal: PathBuf,
    synced: PathBuf,
    written: PathBuf,
    /// Whether the process lives; shared with all that speaks for it.
    alive: Arc<AtomicBool>,
    died: Notify,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    /// How long a job of a writer takes, in µs.
    pace_us: (u64, u64),
    announced: bool,
    /// Moments around syncs until the power goes.
    countdown: Option<u64>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All that it wrote is there.
    Killed,
    /// What it had not synced is there in part.
    PowerCut,
}

impl HostDisk {
    pub(super) fn new(home: &Path, alive: Arc<AtomicBool>, dice: Dice) -> Self {
        let state = State { dice, pace_us: (50, 1_500), announced: false, countdown: None };
        Self {
            journal: home.join("journal"),
            synced: home.join("synced"),
            written: home.join("written"),
            alive,
            died: Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// Each job of a writer takes between so many µs from now on.
    pub(super) fn set_pace(&self, pace_us: (u64, u64)) {
        self.state.lock().pace_us = pace_us;
    }

    /// A cut is to come: from now on it is known what is synced. What is written already counts as synced.
    pub(super) fn announce_cut(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if self.alive.load(Ordering::Acquire) && !state.announced {
            copy(&self.journal, &self.synced)?;
            state.announced = true;
        }
        Ok(())
    }

    /// The power goes after so many moments before and after syncs.
    pub(super) fn cut_after(&self, moments: u64) {
        self.state.lock().countdown = Some(moments);
    }

    /// Waits for the power to go.
    pub(super) async fn died(&self) {
        if self.alive.load(Ordering::Acquire) {
            self.died.notified().await;
        }
    }

    /// The process ends here and now.
    pub(super) fn die(&self) -> io::Result<()> {
        if !self.alive.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        copy(&self.journal, &self.written)?;
        self.died.notify_one();
        Ok(())
    }

    fn moment(&self) -> io::Result<()> {
        let is_over = {
            let mut state = self.state.lock();
            match &mut state.countdown {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if is_over {
            self.die()?;
        }
        if self.alive.load(Ordering::Acquire) { Ok(()) } else { Err(io::Error::other("the power is gone")) }
    }

    fn file(what: Synced) -> &'static str {
        match what {
            Synced::Log => "log/db",
            Synced::LogMark => "log.mark",
            Synced::LogTail => "log.tail",
            Synced::Vote => "vote",
            Synced::Ledger => "ledger/db",
            Synced::LedgerMark => "ledger.mark",
        }
    }

    /// Puts into the journal's folder what an end leaves there. The store is closed.
    pub(super) fn after(&self, end: End) -> io::Result<()> {
        let mut state = self.state.lock();
        fs::remove_dir_all(&self.journal)?;
        if end == End::Killed || !state.announced {
            return fs::rename(&self.written, &self.journal);
        }
        let kept = state.dice.pick(&[0, 30, 70, 100]).unwrap_or(0);
        let (mut before, mut now) = (BTreeSet::new(), BTreeSet::new());
        list(&self.synced, Path::new(""), &mut before)?;
        list(&self.written, Path::new(""), &mut now)?;
        for path in &now {
            let target = self.journal.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&self.journal))?;
            let written = fs::read(self.written.join(path))?;
            // The redo file is synced where it is made, before it gets its name.
            let is_whole = path.ends_with("redo.blocks");
            if is_whole || !before.contains(path) && state.dice.chance(kept) {
                fs::write(target, written)?;
            } else if before.contains(path) {
                let synced = fs::read(self.synced.join(path))?;
                fs::write(target, torn(synced, &written, kept, &mut state.dice))?;
            }
        }
        fs::remove_dir_all(&self.written)?;
        fs::remove_dir_all(&self.synced)
    }
}

impl Disk for HostDisk {
    fn pace(&self) -> Duration {
        let mut state = self.state.lock();
        let (short, long) = state.pace_us;
        Duration::from_micros(state.dice.range(short, long))
    }

    fn before_sync(&self, _what: Synced) -> io::Result<()> {
        self.moment()
    }

    fn after_sync(&self, what: Synced) -> io::Result<()> {
        if self.state.lock().announced && self.alive.load(Ordering::Acquire) {
            fs::copy(self.journal.join(Self::file(what)), self.synced.join(Self::file(what)))?;
        }
        self.moment()
    }
}

/// `synced` with `kept` of 100 pages that differ in `written`.
fn torn(mut synced: Vec<u8>, written: &[u8], kept: u64, dice: &mut Dice) -> Vec<u8> {
    for (number, page) in written.chunks(PAGE).enumerate() {
        let at = number * PAGE;
        if synced.get(at..at + page.len()) != Some(page) && dice.chance(kept) {
            synced.resize(synced.len().max(at + page.len()), 0);
            synced[at..at + page.len()].copy_from_slice(page);
        }
    }
    synced
}

/// Copies a folder over another one.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if let Err(error) = fs::copy(entry.path(), target)
            && error.kind() != io::ErrorKind::NotFound
        {
            // A file that the store's own threads removed meanwhile is no loss.
            return Err(error);
        }
    }
    Ok(())
}

/// The paths of all files below `folder`, from there.
pub(super) fn list(root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_what_was_synced_and_drops_the_rest() {
        let home = tempfile::tempdir().unwrap();
        let journal = home.path().join("journal");
        fs::create_dir_all(journal.join("log")).unwrap();
        fs::write(journal.join("log/db"), [1; 3 * PAGE]).unwrap();
        fs::write(journal.join("vote"), b"old").unwrap();
        for seed in 0..20 {
            let alive = Arc::new(AtomicBool::new(true));
            let disk = HostDisk::new(home.path(), alive.clone(), Dice::new(seed));
            disk.announce_cut().unwrap();
            fs::write(journal.join("log/db"), [2; 3 * PAGE]).unwrap();
            disk.after_sync(Synced::Log).unwrap();
            fs::write(journal.join("log/db"), [[3; PAGE], [3; PAGE], [2; PAGE]].concat()).unwrap();
            disk.cut_after(0);
            assert!(disk.before_sync(Synced::Log).is_err() && !alive.load(Ordering::Acquire));
            fs::write(journal.join("log/db"), b"after the end").unwrap();
            disk.after(End::PowerCut).unwrap();
            let left = fs::read(journal.join("log/db")).unwrap();
            assert_eq!(left.len(), 3 * PAGE);
            assert!(left.chunks(PAGE).all(|page| page.iter().all(|byte| *byte == page[0] && [2, 3].contains(byte))));
            assert_eq!(left[2 * PAGE], 2);
        }
    }
}
