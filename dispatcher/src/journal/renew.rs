//! Ending one instance of openraft and going on with another: on the same log, forked, or on an empty one.
//!
//! Both run on a task of their own to their end. A failure in the middle of either is a failure of the
//! store: the process ends, and the next open finishes what was begun.

use super::fork::{Fork, ForkError, ForkMark, ResetError};
use super::instance::{Instance, Stored};
use super::machine::Position;
use super::raft::{Current, Shared};
use super::store::{self, Opened};
use relais_protocol::ids::{Generation, RaftId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See [`super::Journal::fork`].
pub(super) async fn fork(shared: Arc<Shared>, fork: Fork) -> Result<ForkMark, ForkError> {
    let _alone = shared.changing.lock().await;
    let stored = shared.current.read().stored.clone();
    let own = check(&shared, &stored, fork.journal)
        .map_err(|refused| refused.map_or(ForkError::Stopped, ForkError::Refused))?;
    if stored.log.is_empty() {
        return Err(ForkError::Empty);
    }
    let history = stored.log.ballot().history.unwrap_or_default();
    if fork.generation <= history {
        return Err(ForkError::Refused(format!("generation {} is not above {history}", fork.generation)));
    }
    let at = stop(&shared).await.ok_or(ForkError::Stopped)?;
    let new = RaftId::new(own.node(), fork.journal);
    let forked = log_forked(&stored, fork.generation, new, &at).await;
    let (log, mark) = forked.ok_or(ForkError::Stopped)?;
    let stored = Stored { log, ..stored };
    shared.current.write().stored = stored.clone();
    go_on(&shared, new, &stored, at).await.ok_or(ForkError::Stopped)?;
    tracing::info!(%new, generation = %mark.generation, index = %mark.index, "the journal goes on alone");
    Ok(mark)
}

async fn log_forked(
    stored: &Stored,
    generation: Generation,
    new: RaftId,
    at: &Position,
) -> Option<(super::log::Log, ForkMark)> {
    let log = if crate::planted::tail_dropped() { drop_tail(stored, at).await? } else { stored.log.clone() };
    log.fork(generation, new, at.applied).await.ok().flatten()
}

/// The planted bug: what is not known to be committed is forgotten.
async fn drop_tail(stored: &Stored, at: &Position) -> Option<super::log::Log> {
    use openraft::storage::RaftLogStorage;
    let mut log = stored.log.clone();
    let applied = at.applied?;
    log.truncate(super::types::LogId::new(applied.leader_id, applied.index + 1)).await.ok()?;
    Some(log)
}

/// See [`super::Journal::reset`].
pub(super) async fn reset(shared: Arc<Shared>, journal: u32) -> Result<RaftId, ResetError> {
    let _alone = shared.changing.lock().await;
    let stored = shared.current.read().stored.clone();
    let own =
        check(&shared, &stored, journal).map_err(|refused| refused.map_or(ResetError::Stopped, ResetError::Refused))?;
    let new = RaftId::new(own.node(), journal);
    let mut options = shared.current.read().options.clone();
    let dir = options.dir.clone();
    let prepared = blocking(move || store::prepare(&dir, new)).await;
    prepared.map_err(|why| ResetError::Failed(why.to_string()))?;
    let fatal = |why: String| {
        stored.guard.fail(format!("the journal cannot be begun anew: {why}"));
        ResetError::Stopped
    };
    stop(&shared).await.ok_or(ResetError::Stopped)?;
    close(&shared).await;
    let dir = options.dir.clone();
    blocking(move || Ok(store::replace(&dir)?)).await.map_err(&fatal)?;
    options.id = new;
    let store = match store::open(options).await {
        Ok(Opened::Clean(store)) => store,
        Ok(Opened::Damaged { reason, .. }) => return Err(fatal(reason)),
        Err(e) => return Err(fatal(e.to_string())),
    };
    let current = Current::of(store);
    let stored = current.stored.clone();
    *shared.current.write() = current;
    let at = shared.load(&stored).await.map_err(|e| fatal(e.to_string()))?;
    go_on(&shared, new, &stored, at).await.ok_or(ResetError::Stopped)?;
    Ok(new)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, super::book::BookError> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// The present id, if the journal runs and `journal` is above its number; else why not, or `None` if it has
/// stopped.
fn check(shared: &Shared, stored: &Stored, journal: u32) -> Result<RaftId, Option<String>> {
    let own = shared.current.read().instance.as_ref().map(|instance| instance.id);
    let is_closed = shared.is_closed.load(Ordering::Acquire) || stored.guard.has_failed();
    let own = own.filter(|_| !is_closed).ok_or(None)?;
    if journal > own.journal() {
        return Ok(own);
    }
    Err(Some(format!("journal number {journal} is not above {}", own.journal())))
}

/// Ends the instance. Meanwhile the status says that this node neither leads nor follows.
async fn stop(shared: &Shared) -> Option<Position> {
    let mut instance = shared.current.write().instance.take()?;
    instance.silence().await;
    shared.lasting.herald.pause();
    instance.stop().await
}

async fn go_on(shared: &Shared, id: RaftId, stored: &Stored, at: Position) -> Option<()> {
    match Instance::start(id, &shared.lasting, stored, at).await {
        Ok(instance) => {
            shared.current.write().instance = Some(instance);
            Some(())
        }
        Err(e) => {
            stored.guard.fail(e.to_string());
            None
        }
    }
}

/// Closes the store.
pub(super) async fn close(shared: &Shared) {
    let (stored, threads) = {
        let mut current = shared.current.write();
        (current.stored.clone(), current.threads.take())
    };
    let Some(threads) = threads else { return };
    stored.ledger_jobs.close().await;
    threads.end(stored.ledger).await;
}
