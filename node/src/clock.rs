//! The one clock of the workspace. Everything else is handed its time as a value.
//!
//! [`Clock::mono`] never jumps and is what leases and deadlines count in; [`Clock::unix`] is the wall
//! clock, for stamps, schedules and certificates, and for nothing that must not jump.
//!
//! **For tests only**, the wall clock can be put wrong: `RELAIS_TEST_CLOCK_SKEW_MS` holds a signed number
//! of milliseconds that is added to it, and `RELAIS_TEST_CLOCK_FILE` the path of a file with such a number,
//! read again while the process runs (at most ten times a second), which wins over the former. The
//! monotonic clock cannot be skewed.

use relais_protocol::time::{Mono, UnixMs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Environment variable (tests only): milliseconds, signed, added to the wall clock.
pub const TEST_SKEW_ENV: &str = "RELAIS_TEST_CLOCK_SKEW_MS";
/// Environment variable (tests only): path of a file that holds such a number, followed while running.
pub const TEST_FILE_ENV: &str = "RELAIS_TEST_CLOCK_FILE";

/// How long a number read from the test file is believed.
const FILE_REREAD_MS: u64 = 100;

static START: OnceLock<Instant> = OnceLock::new();

/// A handle on the process's clock; cheap to clone. All handles of a process count from the same start.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Set only where a test put the wall clock wrong.
    skew: Option<Arc<Skew>>,
}

#[derive(Debug)]
struct Skew {
    ms: AtomicI64,
    file: Option<PathBuf>,
    read_at: AtomicU64,
}

impl Clock {
    /// The clock of this process, without any test skew.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self { skew: None };
        // The first clock of a process starts the count.
        let _ = clock.mono_us();
        clock
    }

    /// The clock of this process, skewed as the two test variables of the environment say.
    #[must_use]
    pub fn from_env() -> Self {
        let ms = std::env::var(TEST_SKEW_ENV).ok().and_then(|text| text.trim().parse::<i64>().ok());
        let file = std::env::var_os(TEST_FILE_ENV).map(PathBuf::from);
        match (ms, file) {
            (None, None) => Self::new(),
            (ms, file) => Self::skewed(ms.unwrap_or(0), file),
        }
    }

    /// A clock whose wall time is off by `ms`, or by what `file` says while it can be read. For tests.
    #[must_use]
    pub fn skewed(ms: i64, file: Option<PathBuf>) -> Self {
        let skew = Skew { ms: AtomicI64::new(ms), file, read_at: AtomicU64::new(u64::MAX) };
        Self { skew: Some(Arc::new(skew)) }
    }

    /// Milliseconds since the start of this process.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono(self.mono_us() / 1_000)
    }

    /// Microseconds since the start of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the monotonic clock is read")]
    pub fn mono_us(&self) -> u64 {
        let start = *START.get_or_init(Instant::now);
        u64::try_from(Instant::now().saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX)
    }

    /// The wall clock, with the test skew if there is one.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn unix(&self) -> UnixMs {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let real = u64::try_from(real).unwrap_or(u64::MAX);
        UnixMs(real.saturating_add_signed(self.skew_ms()))
    }

    fn skew_ms(&self) -> i64 {
        let Some(skew) = &self.skew else { return 0 };
        if let Some(file) = &skew.file {
            let now = self.mono().0;
            let read_at = skew.read_at.load(Ordering::Relaxed);
            if read_at == u64::MAX || now.saturating_sub(read_at) >= FILE_REREAD_MS {
                skew.read_at.store(now, Ordering::Relaxed);
                if let Some(ms) = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok()) {
                    skew.ms.store(ms, Ordering::Relaxed);
                }
            }
        }
        skew.ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_is_shared() {
        let (a, b) = (Clock::new(), Clock::skewed(-3_600_000, None));
        let mut last = 0;
        for _ in 0..1_000 {
            let (first, second) = (a.mono_us(), b.mono_us());
            assert!(last <= first && first <= second);
            last = second;
        }
        assert!(b.mono().0.abs_diff(a.mono().0) < 1_000, "a skew moves the wall clock only");
    }

    #[test]
    fn a_skew_moves_the_wall_clock_and_follows_its_file() {
        let real = Clock::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "3600000\n").unwrap();
        let skewed = Clock::skewed(0, Some(file.path().to_path_buf()));
        let ahead = skewed.unix().since(real.unix());
        assert!((3_599_000..3_601_000).contains(&ahead), "{ahead}");
        std::fs::write(file.path(), "-60000").unwrap();
        let until = real.mono().plus(10_000);
        while real.unix().since(skewed.unix()) < 59_000 {
            assert!(real.mono() < until, "the file was never read again");
            std::thread::yield_now();
        }
    }
}
