//! The marker file: says that a directory is ours, and notices a copied or moved one where it can.
//!
//! A copy has another inode, or lies on another machine. A device number is compared only within one boot
//! of the machine, since it may change across boots. A copied disk image on the same machine after a
//! reboot is not noticed: nothing that a directory knows of itself differs.

use super::{DataDirError, write_atomically};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const NAME: &str = "relais";
const FORMAT: u32 = 1;

/// Where a directory lies, as far as the system tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The machine's id (`/etc/machine-id`), if it has one.
    pub machine: Option<String>,
    /// Which boot of the machine this is, if known.
    pub boot: Option<String>,
    /// The device number of the directory.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    format: u32,
    #[serde(flatten)]
    place: Place,
}

impl Place {
    /// Asks the system where `dir` lies.
    ///
    /// # Errors
    /// If the directory cannot be looked at.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let meta = fs::metadata(dir)?;
        Ok(Self {
            machine: first_line("/etc/machine-id").or_else(|| first_line("/var/lib/dbus/machine-id")),
            boot: first_line("/proc/sys/kernel/random/boot_id"),
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// What speaks against `now` being the same directory, if anything does.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        if let (Some(then), Some(now)) = (&self.machine, &now.machine)
            && then != now
        {
            return Some(format!("made on machine {then}, this is machine {now}"));
        }
        if self.inode != now.inode {
            return Some(format!("made as inode {}, it is now inode {}", self.inode, now.inode));
        }
        let same_boot = self.boot.is_some() && self.boot == now.boot;
        (same_boot && self.device != now.device)
            .then(|| format!("made on device {}, it is now on device {}", self.device, now.device))
    }
}

impl Marker {
    pub(super) fn exists(dir: &Path) -> bool {
        dir.join(NAME).is_file()
    }

    /// Whether `name` is what a crash leaves of writing the first marker.
    pub(super) fn is_remnant(name: &OsStr) -> bool {
        name == "relais.new"
    }

    pub(super) fn write(dir: &Path, place: Place) -> Result<(), DataDirError> {
        let file = dir.join(NAME);
        let bytes = serde_json::to_vec_pretty(&Self { format: FORMAT, place })
            .map_err(|e| DataDirError::Damaged { file: file.clone(), reason: e.to_string() })?;
        write_atomically(&file, &bytes, 0o600).map_err(DataDirError::io("write", &file))
    }

    /// Refuses a directory that was made elsewhere, unless told to accept it; remembers the present place.
    /// Whether it was made elsewhere.
    pub(super) fn check(dir: &Path, here: &Place, accept_moved: bool) -> Result<bool, DataDirError> {
        let marker = Self::read(&dir.join(NAME))?;
        let difference = marker.place.difference(here);
        let is_moved = difference.is_some();
        if let Some(difference) = difference.filter(|_| !accept_moved) {
            return Err(DataDirError::Moved { dir: dir.to_path_buf(), difference });
        }
        if marker.place != *here {
            Self::write(dir, here.clone())?;
        }
        Ok(is_moved)
    }

    /// Refuses the marker of a newer version.
    pub(super) fn check_format(dir: &Path) -> Result<(), DataDirError> {
        Self::read(&dir.join(NAME)).map(drop)
    }

    fn read(file: &PathBuf) -> Result<Self, DataDirError> {
        let bytes = fs::read(file).map_err(DataDirError::io("read", file))?;
        let damaged = |e: serde_json::Error| DataDirError::Damaged { file: file.clone(), reason: e.to_string() };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found > u64::from(FORMAT) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(DataDirError::TooNew { file: file.clone(), found, known: FORMAT });
        }
        serde_json::from_value(value).map_err(damaged)
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty() && line != "uninitialized").then(|| line.to_owned())
}
