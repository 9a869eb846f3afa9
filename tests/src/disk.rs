//! Small disks of a test's own: ext4 images, loop-mounted, each for one node's data directory. They can be
//! filled, broken, and robbed of all that was not synced. Needs root; [`Disk::unavailable`] says why not.
//!
//! ```text
//!   small    image (sparse file) ── loop ── ext4: data
//!   failing  tmpfs of fixed size ── image ── loop ── ext4: data     a full tmpfs makes every new block EIO
//!   honest   outer image ── loop ── ext4 ── inner image ── loop ── ext4: data
//! ```
//!
//! # What a power cut leaves
//! A copy of a plain image would hold more than a power cut leaves: what the file system wrote to the loop
//! device, but never told it to flush, is in the image file all the same. Hence the *honest* disk has two
//! levels. The inner device's writes go to the inner image, a file on the outer file system, and stay in its
//! page cache; only a flush of the inner device is an fsync of that file, and only then is it in the outer
//! image. The copy is taken of the *outer* image, so it lacks (1) what the data directory's file system has not
//! written, and (2) what it has written but not flushed. Both file systems are mounted so that they commit by
//! themselves only every ten minutes. The kernel may still write some old page while the copy is made, which
//! would tear it: the copy is read again until two readings are equal.

use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const FILLER: &str = "filler";
/// What is left of a power cut is read again at most so often.
const READINGS: usize = 20;

/// What is below the file system of a [`Disk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image on the machine's disk.
    Small,
    /// An image on a tmpfs of fixed size, for I/O errors.
    Failing,
    /// An image within an image, for power cuts.
    Honest,
}

/// A mounted disk; gone with its value.
#[derive(Debug)]
pub struct Disk {
    kind: Kind,
    mib: u64,
    folder: TempDir,
}

fn try_run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", args.join(" "))) }
}

fn run(program: &str, args: &[&str]) {
    try_run(program, args).unwrap_or_else(|error| panic!("{error}"));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn make_image(path: &Path, mib: u64) {
    let file = File::create(path).expect("an image");
    file.set_len(mib << 20).expect("room for an image");
    run("mkfs.ext4", &["-q", "-m", "0", "-E", "lazy_itable_init=0", text(path)]);
}

fn mount_image(image: &Path, at: &Path) -> Result<(), String> {
    try_run("mount", &["-o", "loop,commit=600,errors=remount-ro", text(image), text(at)])
}

fn unmount(at: &Path) {
    // It may not be mounted; and a file in it may still be open, as of a process that is being reaped.
    if try_run("umount", &[text(at)]).is_err() {
        let _ = try_run("umount", &["-l", text(at)]);
    }
}

impl Disk {
    /// Why disks can't be made here, if they can't.
    #[must_use]
    pub fn unavailable() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("loop mounts need root".to_owned());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (image, at) = (folder.path().join("image"), folder.path().join("at"));
        fs::create_dir(&at).expect("a folder");
        File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("an image");
        let tried = try_run("mkfs.ext4", &["-q", text(&image)]).and_then(|()| mount_image(&image, &at));
        unmount(&at);
        tried.err()
    }

    /// A new disk of so many MiB, mounted.
    #[must_use]
    pub fn new(kind: Kind, mib: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("relais-disk-").tempdir().expect("a folder");
        let disk = Self { kind, mib, folder };
        for name in ["outer", "data"] {
            fs::create_dir(disk.folder.path().join(name)).expect("a folder");
        }
        match kind {
            Kind::Small => {}
            Kind::Failing => {
                let size = format!("size={}m", mib / 2);
                run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&disk.outer())]);
            }
            Kind::Honest => {
                make_image(&disk.outer_image(), mib + mib / 2);
                mount_image(&disk.outer_image(), &disk.outer()).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        make_image(&disk.image(), mib);
        disk.mount();
        disk
    }

    fn outer(&self) -> PathBuf {
        self.folder.path().join("outer")
    }

    fn outer_image(&self) -> PathBuf {
        self.folder.path().join("outer.img")
    }

    fn image(&self) -> PathBuf {
        self.outer().join("data.img")
    }

    /// Where it is mounted: for a data directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn mount(&self) {
        mount_image(&self.image(), &self.path()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Bytes that may still be written.
    #[must_use]
    pub fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.path()).expect("figures of a mounted disk");
        #[expect(clippy::useless_conversion, reason = "the width of the two differs between platforms")]
        let free = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
        free
    }

    /// Fills it until about `left` bytes are free.
    pub fn fill(&self, left: u64) {
        let filler = OpenOptions::new().create(true).append(true).open(self.path().join(FILLER)).expect("a filler");
        let mut length = i64::try_from(filler.metadata().expect("a filler").len()).expect("a length");
        // Large pieces first; others write meanwhile, so what is free is asked again and again.
        for piece in [1 << 20, 64 << 10, 4 << 10] {
            while self.free() >= left + piece {
                let bytes = i64::try_from(piece).expect("a length");
                if fallocate(&filler, FallocateFlags::empty(), length, bytes).is_err() {
                    break;
                }
                length += bytes;
            }
        }
    }

    /// Takes the filler away.
    pub fn empty(&self) {
        fs::remove_file(self.path().join(FILLER)).expect("a filler");
    }

    /// The file system finds itself in error, and from now on refuses every write.
    pub fn turn_read_only(&self) {
        let mounts = fs::read_to_string("/proc/mounts").expect("a list of mounts");
        let mine = |line: &&str| line.split(' ').nth(1) == Some(text(&self.path()));
        let device = mounts.lines().find(mine).and_then(|line| line.split(' ').next()).expect("its mount");
        let name = device.trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").expect("an error to be triggered");
    }

    /// Every block that was never written before can't be written from now on: the device answers EIO.
    pub fn fail_new_blocks(&self) {
        assert_eq!(self.kind, Kind::Failing, "made for it");
        let mut filler = File::create(self.outer().join(FILLER)).expect("a filler");
        let piece = vec![1u8; 64 << 10];
        while filler.write_all(&piece).is_ok() {}
    }

    /// Makes a broken disk good again: what is in it is what got there.
    pub fn mend(&self) {
        unmount(&self.path());
        if self.kind == Kind::Failing {
            let _ = fs::remove_file(self.outer().join(FILLER));
        }
        // Its exit code says that it has mended something.
        let _ = try_run("e2fsck", &["-f", "-y", text(&self.image())]);
        self.mount();
    }

    /// The disk as it is after the power failed just now: another one, with what had got to the first. Nobody
    /// may write to this one any more.
    #[must_use]
    pub fn after_power_cut(disks: &[Self]) -> Vec<Self> {
        let folder = || tempfile::Builder::new().prefix("relais-disk-").tempdir().expect("a folder");
        let copies: Vec<Self> =
            disks.iter().map(|disk| Self { kind: disk.kind, mib: disk.mib, folder: folder() }).collect();
        for (disk, copy) in disks.iter().zip(&copies) {
            assert_eq!(disk.kind, Kind::Honest, "made for it");
            copy_at_rest(&disk.outer_image(), &copy.outer_image());
        }
        for copy in &copies {
            for name in ["outer", "data"] {
                fs::create_dir(copy.folder.path().join(name)).expect("a folder");
            }
            mount_image(&copy.outer_image(), &copy.outer()).unwrap_or_else(|error| panic!("{error}"));
            copy.mount();
        }
        copies
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.path());
        if self.kind != Kind::Small {
            unmount(&self.outer());
        }
    }
}

/// Copies a file that may still be written to, until two readings are equal.
fn copy_at_rest(from: &Path, to: &Path) {
    for _ in 0..READINGS {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        if equal(from, to) {
            return;
        }
    }
    panic!("{} is never at rest", from.display());
}

fn equal(one: &Path, other: &Path) -> bool {
    let mut files = [one, other].map(|path| File::open(path).expect("an image"));
    let mut pieces = [vec![0u8; 1 << 20], vec![0u8; 1 << 20]];
    loop {
        let mut lengths = [0; 2];
        for (n, file) in files.iter_mut().enumerate() {
            while lengths[n] < pieces[n].len() {
                match file.read(&mut pieces[n][lengths[n]..]).expect("an image") {
                    0 => break,
                    read => lengths[n] += read,
                }
            }
        }
        if lengths[0] != lengths[1] || pieces[0][..lengths[0]] != pieces[1][..lengths[1]] {
            return false;
        }
        if lengths[0] == 0 {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_leaves_what_was() {
        if let Some(why) = Disk::unavailable() {
            println!("SKIPPED: {why}");
            return;
        }
        let disk = Disk::new(Kind::Honest, 24);
        let synced = |name: &str, bytes: &[u8]| {
            let mut file = File::create(disk.path().join(name)).unwrap();
            file.write_all(bytes).unwrap();
            file.sync_all().unwrap();
            File::open(disk.path()).unwrap().sync_all().unwrap();
            file
        };
        synced("synced", &[7; 100_000]);
        let file = synced("overwritten", &[1; 8_192]);
        std::os::unix::fs::FileExt::write_all_at(&file, &[2; 4_096], 0).unwrap();
        fs::write(disk.path().join("unsynced"), b"lost").unwrap();
        let after = Disk::after_power_cut(std::slice::from_ref(&disk));
        let read = |name: &str| fs::read(after[0].path().join(name)).ok();
        assert_eq!(read("synced"), Some(vec![7; 100_000]));
        assert_eq!(read("overwritten"), Some(vec![1; 8_192]));
        assert_eq!(read("unsynced"), None);
    }

    #[test]
    fn a_full_a_failing_and_a_read_only_disk_refuse_writes_and_can_be_mended() {
        if let Some(why) = Disk::unavailable() {
            println!("SKIPPED: {why}");
            return;
        }
        let write = |disk: &Disk, name: &str| {
            let mut file = File::create(disk.path().join(name))?;
            file.write_all(&[9; 1 << 20])?;
            file.sync_all()
        };
        let disk = Disk::new(Kind::Small, 24);
        disk.fill(512 << 10);
        assert!(disk.free() < 768 << 10, "{}", disk.free());
        assert!(write(&disk, "full").is_err());
        disk.empty();
        write(&disk, "room").unwrap();
        disk.turn_read_only();
        assert!(write(&disk, "read-only").is_err());
        disk.mend();
        write(&disk, "mended").unwrap();
        let disk = Disk::new(Kind::Failing, 24);
        write(&disk, "before").unwrap();
        disk.fail_new_blocks();
        assert!(write(&disk, "failing").is_err());
        disk.mend();
        write(&disk, "mended").unwrap();
        assert_eq!(fs::read(disk.path().join("before")).unwrap(), [9; 1 << 20]);
    }
}
