//! The threads of the journal, executors and calls, and where the dispatcher lives.
//!
//! What they do for an entry are short steps that wait for each other. So where there are few cores one thread does
//! them all, the dispatcher's as well: to wake another would cost more than the step that it is woken for. Where
//! there are more, a long step of one must not hold up the others.

use super::StartFailed;
use actix_rt::{Arbiter, ArbiterHandle};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads where there are cores for them.
const THREADS: usize = 2;
/// Up to so many cores are few.
const FEW_CORES: usize = 2;

/// The engine.
pub(super) struct Engine {
    handle: Handle,
    arbiter: ArbiterHandle,
    /// `None` where it is the dispatcher's thread.
    runtime: Option<Runtime>,
}

impl Engine {
    /// Starts it. Must be called where an actix system is.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start() -> Result<Self, StartFailed> {
        let failed = |error| StartFailed(format!("cannot start threads: {error}"));
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        if cores > FEW_CORES {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(THREADS).thread_name("relais-engine").enable_all();
            let runtime = builder.build().map_err(failed)?;
            let arbiter = Arbiter::try_new().map_err(failed)?.handle();
            return Ok(Self { handle: runtime.handle().clone(), arbiter, runtime: Some(runtime) });
        }
        let (tell, told) = mpsc::channel();
        let arbiter = Arbiter::try_with_tokio_rt(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            // Who asked waits for it.
            let _ = tell.send(runtime.handle().clone());
            Ok(runtime)
        });
        let arbiter = arbiter.map_err(failed)?.handle();
        let handle = told.recv().map_err(|error| StartFailed(format!("cannot start threads: {error}")))?;
        Ok(Self { handle, arbiter, runtime: None })
    }

    /// Where futures run.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where the dispatcher lives.
    pub(super) fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiter
    }

    /// Ends it, without a wait for what still runs.
    pub(super) fn end(self) {
        self.arbiter.stop();
        if let Some(runtime) = self.runtime {
            runtime.shutdown_background();
        }
    }
}
