//! Whether the machine itself stood still during a run: a thread that was not let run, a sync that took
//! seconds. A cluster on such a machine rightly takes its nodes for dead; a run that fails then says nothing.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Looks between two syncs.
const SYNC_EVERY: u32 = 10;
/// A dispatcher's silence is noticed after 400 ms: a machine that stands still for most of that is not calm.
const STILL_MAX: Duration = Duration::from_millis(250);
/// A node whose disk does not answer for a second does not turn.
const SYNC_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Worst {
    still_ms: AtomicU64,
    sync_ms: AtomicU64,
    end: AtomicBool,
}

/// A look at the machine while a run goes on.
#[derive(Debug)]
pub(super) struct Calm {
    worst: Arc<Worst>,
    threads: [JoinHandle<()>; 2],
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Calm {
    pub(super) fn watch() -> Self {
        let worst = Arc::new(Worst::default());
        let threads = [worst.clone(), worst.clone()];
        let [still, sync] = threads;
        let threads = [std::thread::spawn(move || still.stand()), std::thread::spawn(move || sync.sync())];
        Self { worst, threads }
    }

    /// Ends it; how the machine was not calm, if it was not.
    pub(super) fn end(self) -> Option<String> {
        self.worst.end.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("a look at the machine ends well");
        }
        let (still, sync) = (self.worst.still_ms.load(Ordering::Relaxed), self.worst.sync_ms.load(Ordering::Relaxed));
        let calm = still <= ms(STILL_MAX) && sync <= ms(SYNC_MAX);
        (!calm).then(|| format!("the machine stood still for {still} ms, a sync took {sync} ms"))
    }
}

impl Worst {
    fn stand(&self) {
        while !self.end.load(Ordering::Acquire) {
            let began = Instant::now();
            std::thread::sleep(PAUSE);
            self.still_ms.fetch_max(ms(began.elapsed().saturating_sub(PAUSE)), Ordering::Relaxed);
        }
    }

    fn sync(&self) {
        let mut file = tempfile::tempfile().expect("a file");
        while !self.end.load(Ordering::Acquire) {
            let began = Instant::now();
            file.write_all(b"calm?\n").and_then(|()| file.sync_data()).expect("a file can be synced");
            self.sync_ms.fetch_max(ms(began.elapsed()), Ordering::Relaxed);
            std::thread::sleep(PAUSE * SYNC_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_standstill_is_told() {
        let calm = Calm::watch();
        calm.worst.still_ms.store(0, Ordering::Relaxed);
        calm.worst.still_ms.fetch_max(ms(STILL_MAX) + 5_000, Ordering::Relaxed);
        assert!(calm.end().is_some_and(|why| why.contains("stood still for")));
    }
}
