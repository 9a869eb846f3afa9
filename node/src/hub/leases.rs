//! External workers: their asks and beats go to the dispatcher, wherever it is, and to the next one when it dies.
//!
//! An ask whose client has gone is withdrawn, so that no job is given to nobody: it would wait for the end of a
//! lease that no one holds. For the same reason it waits at the dispatcher a little at a time, so that those of a
//! node that dies are soon forgotten there.

use super::Hub;
use super::calls::{HELD, PAUSE};
use crate::backend::ProposeFailed;
use relais_dispatcher::core::Rejection;
use relais_protocol::lease::{AskId, BeatAnswer, Granted, LeaseAsk, LeaseBeat, LeaseWish};
use relais_protocol::message::{Call, Reply};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// What an ask's answer may take beside its wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long an ask waits at the dispatcher at a time.
const SLICE: Duration = Duration::from_secs(2);
/// Asks of one node that wait at the dispatcher at once; more wait here. Each takes a stream to the dispatcher, and
/// all else that is asked of it needs some, too.
pub(super) const ASKING_MAX: usize = 128;

/// Withdraws an ask, unless it was answered.
struct Asking {
    hub: Arc<Hub>,
    ask: AskId,
    answered: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.hub.engine.spawn(self.hub.clone().withdraw_anywhere(self.ask));
        }
    }
}

impl Hub {
    /// Asks for jobs; answered when there are some, or `wait` is over. Who drops it withdraws it.
    pub(super) async fn ask_anywhere(self: Arc<Self>, ask: LeaseAsk, wait: Duration) -> Result<Granted, ProposeFailed> {
        let mut asking = Asking { hub: self.clone(), ask: ask.id, answered: false };
        let deadline = Instant::now() + wait;
        let held_until = deadline.max(Instant::now() + HELD);
        let mut again = false;
        loop {
            if self.limits.majority_is_full() {
                return Err(ProposeFailed::DiskFull);
            }
            let mut changed = self.pulse.changed();
            let tried = tokio::select! {
                tried = self.try_ask(&ask, deadline, again) => tried,
                // Whoever was asked is not the dispatcher any more: an answer may never come.
                () = changed.dispatcher_changes() => None,
            };
            again = tried.is_none();
            match tried {
                Some(granted) if granted.leases.is_empty() && Instant::now() < deadline => {}
                Some(granted) => {
                    asking.answered = true;
                    return Ok(granted);
                }
                None if Instant::now() >= held_until => {
                    return Err(ProposeFailed::NoDispatcher(self.why_no_dispatcher()));
                }
                None => sleep(PAUSE).await,
            }
        }
    }

    /// One try, for as long as an ask waits at a time; `None` when no answer came.
    async fn try_ask(&self, ask: &LeaseAsk, deadline: Instant, again: bool) -> Option<Granted> {
        let at_once = Instant::now() + PAUSE;
        let Ok(Ok(_turn)) = timeout_at(deadline.max(at_once), self.asking.acquire()).await else {
            return Some(Granted::default());
        };
        let dispatcher = self.pulse.view().dispatcher?;
        let wait = deadline.saturating_duration_since(Instant::now()).min(SLICE);
        let (wish, limit) =
            (LeaseWish { ask: ask.clone(), wait_ms: wait.as_millis() as u64, again }, wait + ANSWER_LIMIT);
        if dispatcher == self.me.node {
            return self.desk.ask(wish).await.ok();
        }
        self.counts.passed_on.fetch_add(1, Ordering::Relaxed);
        match self.call(dispatcher, &Call::Lease(Box::new(wish)), limit).await? {
            Reply::Granted(granted) => Some(granted),
            _ => None,
        }
    }

    async fn withdraw_anywhere(self: Arc<Self>, ask: AskId) {
        let deadline = Instant::now() + HELD;
        while Instant::now() < deadline {
            match self.pulse.view().dispatcher {
                Some(dispatcher) if dispatcher == self.me.node => return self.desk.withdraw(ask),
                Some(dispatcher) if self.call(dispatcher, &Call::Withdraw(ask), HELD).await.is_some() => return,
                _ => sleep(PAUSE).await,
            }
        }
    }

    /// Tells that a worker is still at it.
    pub(super) async fn beat_anywhere(self: Arc<Self>, beat: LeaseBeat) -> Result<BeatAnswer, ProposeFailed> {
        let deadline = Instant::now() + HELD;
        loop {
            let mut changed = self.pulse.changed();
            let tried = tokio::select! {
                tried = timeout_at(deadline, self.try_beat(&beat)) => tried.unwrap_or_default(),
                () = changed.dispatcher_changes() => None,
            };
            match tried {
                Some(answer) if answer != BeatAnswer::Busy => return Ok(answer),
                _ if Instant::now() < deadline => sleep(PAUSE).await,
                _ => return Err(ProposeFailed::NoDispatcher(self.why_no_dispatcher())),
            }
        }
    }

    async fn try_beat(&self, beat: &LeaseBeat) -> Option<BeatAnswer> {
        let dispatcher = self.pulse.view().dispatcher?;
        if dispatcher == self.me.node {
            return Some(self.desk.beat(beat.clone()).await);
        }
        match self.call(dispatcher, &Call::Beat(beat.clone()), HELD).await? {
            Reply::Beaten(answer) => Some(answer),
            _ => None,
        }
    }

    /// Answers an ask that another node passed on.
    pub(super) async fn ask_here(&self, wish: LeaseWish) -> Reply {
        match self.desk.ask(wish).await {
            Ok(granted) => Reply::Granted(granted),
            Err(Rejection::Unknown) => Reply::Unknown,
            Err(Rejection::NotDispatcher) => Reply::NotDispatcher(self.pulse.view().dispatcher),
            Err(Rejection::Full) => Reply::Failed("a majority of the voters has no disk space left".to_owned()),
        }
    }
}
