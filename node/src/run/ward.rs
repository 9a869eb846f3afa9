//! Watching over actors. A panic ends an actor without a word; its ward notices, because it is dropped with
//! it, and the part is started again after a pause. Five ends in a minute, and the process gives up rather
//! than half-live.

use super::give_up;
use crate::clock::Clock;
use crate::hub::Health;
use parking_lot::Mutex;
use relais_protocol::time::Mono;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Ends within [`WINDOW_MS`] that are too many.
const ENDS_MAX: usize = 5;
const WINDOW_MS: u64 = 60_000;
/// The first pause; it doubles with each end in the window.
const PAUSE: Duration = Duration::from_millis(50);
/// A part that has lived on for so long is well again.
const STEADY: Duration = Duration::from_secs(10);

/// Told when a part ends, however it ends: it is dropped with it.
struct Ward {
    ended: UnboundedSender<()>,
    stopping: Arc<AtomicBool>,
}

impl Drop for Ward {
    fn drop(&mut self) {
        if !self.stopping.load(Ordering::Acquire) {
            // The watcher ends only with the process.
            let _ = self.ended.send(());
        }
    }
}

/// Whether the node is stopping, so that ends are meant.
#[derive(Clone, Default)]
pub(super) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// From here on ends are meant.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Starts a part and keeps it running. `start` is called with a ward to be dropped with the part; `ended`
/// when it has died.
pub(super) fn keep(
    name: &'static str,
    (clock, health): (Clock, Arc<Health>),
    stopping: Stopping,
    start: impl Fn(Box<dyn Send>) + Send + 'static,
    ended: impl Fn() + Send + 'static,
) {
    let (tell, mut told) = unbounded_channel();
    let ward = move || Box::new(Ward { ended: tell.clone(), stopping: stopping.0.clone() });
    start(ward());
    let ends: Mutex<VecDeque<Mono>> = Mutex::default();
    actix_rt::spawn(async move {
        loop {
            let Ok(next) = tokio::time::timeout(STEADY, told.recv()).await else {
                health.recovers(name);
                continue;
            };
            if next.is_none() {
                return;
            }
            ended();
            let now = clock.mono();
            let count = {
                let mut ends = ends.lock();
                ends.push_back(now);
                ends.retain(|at| now.since(*at) < WINDOW_MS);
                ends.len()
            };
            let pause = PAUSE * (1 << count);
            tracing::error!(part = name, count, ?pause, "a part died and is started again");
            health.ails(name, format!("died {count} times within a minute, and is started again"));
            if count >= ENDS_MAX {
                give_up(&format!("the {name} died {count} times within a minute; the log says why"));
            }
            tokio::time::sleep(pause).await;
            start(ward());
        }
    });
}
