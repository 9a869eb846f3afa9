//! Figures of the machine and of this process, read from `/proc`.
//!
//! One sample opens three small files, keeps nothing but the counters of the sample before, and starts
//! no thread. It reads no clock: rates are differences over the times that the caller hands in. Without
//! `/proc` it says so; it does not guess.

mod memory;
mod parse;

pub use memory::memory_total;

use relais_protocol::time::Mono;
use std::io;
use std::path::{Path, PathBuf};

/// File descriptors that are not for clients of the API: where few may be open, the journal, the other nodes and
/// what jobs write come first.
pub const FILES_KEPT: u64 = 112;

/// A figure that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The file could not be read.
    #[error("`{}` could not be read: {source}; figures of the machine need Linux with /proc mounted", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has another form than the kernel documents.
    #[error("`{}` has no {wanted} where the kernel documents it", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
}

/// Figures of the machine at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Busy share of all cores since the sample before, 0 to 100, one decimal.
    pub cpu_percent: f32,
    /// Memory that programs could still take without swapping.
    pub memory_available_bytes: u64,
    /// Received by all interfaces but the loopback, since the sample before.
    pub net_in_bytes_per_second: u64,
    /// Sent by all interfaces but the loopback, since the sample before.
    pub net_out_bytes_per_second: u64,
}

/// Figures of this process, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Memory of it that is in RAM.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
}

/// What this process has used since it started, for metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessTimes {
    /// Seconds on a core, in user and kernel mode together.
    pub cpu_seconds: f64,
    /// Threads that it has now.
    pub threads: u64,
    /// When it started, in seconds since 1970.
    pub started_at_seconds: f64,
}

/// Ticks of all cores since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    busy: u64,
    total: u64,
}

/// Bytes of all interfaces but the loopback since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NetBytes {
    received: u64,
    sent: u64,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    at: Mono,
    cpu: CpuTicks,
    net: NetBytes,
}

/// Samples the machine; remembers the counters of its last sample.
#[derive(Debug, Default)]
pub struct Gauge {
    last: Option<Counters>,
    figures: Figures,
}

impl Gauge {
    /// A gauge whose first sample has no rates yet: they are 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the machine's figures; well under a millisecond, so it may block. Rates within one
    /// millisecond of the sample before are those of that sample.
    ///
    /// # Errors
    /// See [`FigureError`]; the gauge is then as before.
    pub fn sample(&mut self, now: Mono) -> Result<Figures, FigureError> {
        let cpu = figure("/proc/stat", "cpu line", parse::cpu_ticks)?;
        let available = figure("/proc/meminfo", "MemAvailable", parse::memory_available)?;
        let net = figure("/proc/net/dev", "interface counters", parse::net_bytes)?;
        let counters = Counters { at: now, cpu, net };
        self.figures.memory_available_bytes = available;
        match self.last {
            None => self.last = Some(counters),
            Some(last) if now > last.at => {
                self.figures = rates(&last, &counters, available);
                self.last = Some(counters);
            }
            Some(_) => {}
        }
        Ok(self.figures)
    }
}

/// The figures between two samples. A counter that went back (an interface that is gone) counts as 0.
fn rates(last: &Counters, now: &Counters, memory_available_bytes: u64) -> Figures {
    let elapsed_ms = now.at.since(last.at).max(1);
    let per_second = |before: u64, after: u64| {
        let bytes = u128::from(after.saturating_sub(before)) * 1_000 / u128::from(elapsed_ms);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    let busy = now.cpu.busy.saturating_sub(last.cpu.busy) as f64;
    let total = now.cpu.total.saturating_sub(last.cpu.total) as f64;
    let percent = if total > 0.0 { (busy / total * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    Figures {
        cpu_percent: ((percent * 10.0).round() / 10.0) as f32,
        memory_available_bytes,
        net_in_bytes_per_second: per_second(last.net.received, now.net.received),
        net_out_bytes_per_second: per_second(last.net.sent, now.net.sent),
    }
}

/// Memory and descriptors of this process.
///
/// # Errors
/// See [`FigureError`].
pub fn process_figures() -> Result<ProcessFigures, FigureError> {
    let pages = figure("/proc/self/statm", "resident pages", parse::resident_pages)?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let page_bytes = page.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096);
    let path = Path::new("/proc/self/fd");
    let listed = std::fs::read_dir(path).map_err(|source| FigureError::Unreadable { path: path.into(), source })?;
    // The listing itself holds one descriptor open.
    let open_fds = (listed.count() as u64).saturating_sub(1);
    Ok(ProcessFigures { resident_bytes: pages * page_bytes, open_fds })
}

/// Processor time, threads and start of this process.
///
/// # Errors
/// See [`FigureError`].
pub fn process_times() -> Result<ProcessTimes, FigureError> {
    let (busy, threads, started) = figure("/proc/self/stat", "times of the process", parse::process_ticks)?;
    let booted = figure("/proc/stat", "time of boot", parse::booted_at)?;
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    let a_second = ticks.filter(|ticks| *ticks > 0).unwrap_or(100) as f64;
    let started_at_seconds = booted as f64 + started as f64 / a_second;
    Ok(ProcessTimes { cpu_seconds: busy as f64 / a_second, threads, started_at_seconds })
}

/// Bytes that this user may still write to the filesystem that `path` is on.
///
/// # Errors
/// [`FigureError::Unreadable`], for example when there is no such path.
pub fn free_bytes(path: &Path) -> Result<u64, FigureError> {
    let stat = nix::sys::statvfs::statvfs(path)
        .map_err(|errno| FigureError::Unreadable { path: path.into(), source: errno.into() })?;
    #[expect(clippy::useless_conversion, reason = "the width of the two differs between platforms")]
    let (blocks, bytes) = (u64::from(stat.blocks_available()), u64::from(stat.fragment_size()));
    Ok(blocks.saturating_mul(bytes))
}

/// How many file descriptors this process may have open.
///
/// # Errors
/// See [`FigureError`].
pub fn open_files_max() -> Result<u64, FigureError> {
    figure("/proc/self/limits", "limit on open files", parse::open_files_max)
}

/// Names the machine, so that nodes on one machine can be told: 16 hexadecimal digits, the same for each
/// process on it. It is a hash, as the machine's own id is not to be shown around.
///
/// Taken from `/etc/machine-id`; without one (a container) from the kernel's boot id, which all containers
/// of a machine share and which a reboot changes; at last from the host name.
#[must_use]
pub fn machine_id() -> String {
    let sources = ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"];
    let read = |path: &&str| std::fs::read_to_string(path).ok();
    let id = sources.iter().filter_map(read).find_map(|text| parse::machine_id(&text));
    let id = id.or_else(|| hostname::get().ok().map(|name| name.to_string_lossy().into_owned()));
    hashed(&id.unwrap_or_default())
}

fn hashed(id: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("relais machine {id}").as_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn figure<T>(path: &str, wanted: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, FigureError> {
    let text = std::fs::read_to_string(path).map_err(|source| FigureError::Unreadable { path: path.into(), source })?;
    parse(&text).ok_or_else(|| FigureError::Unknown { path: path.into(), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(at: u64, busy: u64, total: u64, received: u64, sent: u64) -> Counters {
        Counters { at: Mono(at), cpu: CpuTicks { busy, total }, net: NetBytes { received, sent } }
    }

    #[test]
    fn rates_are_differences_over_time() {
        let figures = rates(&counters(1_000, 100, 1_000, 5_000, 0), &counters(3_000, 150, 1_200, 9_000, 1_000), 7);
        let wanted = Figures {
            cpu_percent: 25.0,
            memory_available_bytes: 7,
            net_in_bytes_per_second: 2_000,
            net_out_bytes_per_second: 500,
        };
        assert_eq!(figures, wanted);
    }

    #[test]
    fn a_counter_that_went_back_is_no_traffic() {
        let figures = rates(&counters(0, 9, 90, 5_000, 900), &counters(1_000, 3, 30, 10, 1), 0);
        assert_eq!(figures, Figures::default());
    }

    #[test]
    fn this_machine_has_figures() {
        let mut gauge = Gauge::new();
        let first = gauge.sample(Mono(1)).expect("the machine's figures");
        assert!(first.memory_available_bytes > 0);
        assert_eq!((first.cpu_percent, first.net_in_bytes_per_second), (0.0, 0));
        let second = gauge.sample(Mono(2)).expect("the machine's figures");
        assert!((0.0..=100.0).contains(&second.cpu_percent), "{second:?}");
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let before = process_figures().expect("figures of the process");
        assert!(before.resident_bytes > 100_000 && before.open_fds > 0, "{before:?}");
        let times = process_times().expect("times of the process");
        assert!(times.threads >= 1 && times.started_at_seconds > 1e9, "{times:?}");
    }

    #[test]
    fn a_filesystem_has_free_bytes_and_a_missing_path_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(folder.path()).expect("its free bytes") > 0);
        let missing = folder.path().join("missing");
        let error = free_bytes(&missing).expect_err("no such path").to_string();
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn a_machine_keeps_its_name_and_hides_its_id() {
        let id = machine_id();
        assert_eq!(id, machine_id());
        assert_eq!(id.len(), 16);
        assert!(id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        assert_ne!(hashed("one"), hashed("two"));
        let own = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        assert!(own.trim().is_empty() || !own.contains(&id));
    }
}
