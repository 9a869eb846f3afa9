//! How often a journal that has no vote is written to.
//!
//! Nobody waits for a learner: no majority counts it. Yet openraft writes to it as often as to a voter, each
//! entry and each heartbeat by itself, so that sixty workers would cost the leader more than all its jobs. Here
//! entries for a learner are gathered for a moment, which grows with the number of learners, and a heartbeat
//! that says nothing new is held back. It never delays what a voter gets, and a learner that is far behind only
//! as much as it is slow itself.

use super::status::JournalStatus;
use super::types::Types;
use openraft::raft::AppendEntriesRequest;
use relais_protocol::ids::{Index, RaftId};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// For each learner of the journal, entries for one of them are gathered for so long.
const GATHER_PER_LEARNER: Duration = Duration::from_millis(2);
/// But no longer than that.
const GATHER_MAX: Duration = Duration::from_millis(150);
/// A learner is left alone for so many times as long as it took to answer: where it shares its machine with those
/// who vote, or is short of time, the copy must not be what the jobs wait for.
const REST_PER_WORK: u32 = 3;
/// But no longer than that, with what it took to answer: well below the limit of a call.
const CYCLE_MAX: Duration = Duration::from_millis(1_500);
/// A learner that lacks more entries than this is behind, and is not kept waiting.
const BEHIND: u64 = 64;
/// A heartbeat that says nothing new is held back for so long. Well below the limit of a call.
const REST: Duration = Duration::from_secs(1);

/// What one peer is written.
pub(super) struct Pace {
    to: RaftId,
    status: watch::Receiver<JournalStatus>,
    /// Up to where the peer was told that entries are committed.
    told: Option<Option<u64>>,
}

impl Pace {
    /// For `to`; `status` is that of the journal here.
    pub(super) fn new(to: RaftId, status: watch::Receiver<JournalStatus>) -> Self {
        Self { to, status, told: None }
    }

    /// Before a request is sent. May be dropped at any time.
    pub(super) async fn before(&mut self, request: &AppendEntriesRequest<Types>) {
        let commit = request.leader_commit.map(|at| at.index);
        if request.entries.is_empty() && self.told == Some(commit) {
            let (to, ends) = (self.to, ends(&self.status.borrow()));
            let news = |now: &JournalStatus| now.voters.contains(&to) || self::ends(now) != ends;
            // Without news, or without a journal to have any, it is sent after the rest.
            let _ = timeout(REST, self.status.wait_for(news)).await;
        }
        self.told = Some(commit);
    }

    /// After it was answered, which took so long: `last` is the last entry that it carried.
    pub(super) async fn after(&self, last: Option<u64>, took: Duration) {
        let pause = match last {
            Some(last) => self.pause(last, took),
            None => Duration::ZERO,
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }

    fn pause(&self, last: u64, took: Duration) -> Duration {
        let status = self.status.borrow();
        if status.voters.contains(&self.to) {
            return Duration::ZERO;
        }
        let rest = took.saturating_mul(REST_PER_WORK).min(CYCLE_MAX.saturating_sub(took));
        if status.last_log.is_some_and(|end| end.index > last.saturating_add(BEHIND)) {
            return rest;
        }
        let learners = u32::try_from(status.learners.len()).unwrap_or(u32::MAX);
        let gather = GATHER_PER_LEARNER.saturating_mul(learners).min(GATHER_MAX);
        // By half more or less, so that they do not all wake at once.
        let spread = gather * (self.to.node().0.wrapping_mul(37) % 64) / 64;
        rest.max(gather / 2 + spread)
    }

    /// It did not get the request: nothing is known of what it was told.
    pub(super) fn failed(&mut self) {
        self.told = None;
    }
}

fn ends(status: &JournalStatus) -> (Option<u64>, Option<Index>) {
    (status.last_log.map(|end| end.index), status.committed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::types::{LogId, LogPosition, Vote};
    use futures::FutureExt;
    use openraft::CommittedLeaderId;

    const VOTER: RaftId = RaftId(1);
    const LEARNER: RaftId = RaftId(64 << 32);

    fn status(last: u64) -> JournalStatus {
        JournalStatus {
            last_log: Some(LogPosition { term: 1, leader: VOTER, index: last }),
            voters: [VOTER].into(),
            learners: [LEARNER].into(),
            ..JournalStatus::default()
        }
    }

    fn heartbeat(commit: u64) -> AppendEntriesRequest<Types> {
        let at = LogId::new(CommittedLeaderId::new(1, 1), commit);
        AppendEntriesRequest { vote: Vote::new(1, 1), prev_log_id: None, entries: Vec::new(), leader_commit: Some(at) }
    }

    #[tokio::test]
    async fn a_heartbeat_to_a_learner_waits_for_news_and_no_other_does() {
        let (tell, seen) = watch::channel(status(5));
        let (mut learner, mut voter) = (Pace::new(LEARNER, seen.clone()), Pace::new(VOTER, seen));
        for commit in [5, 6] {
            assert_eq!(learner.before(&heartbeat(commit)).now_or_never(), Some(()), "it says something new");
        }
        for _ in 0..3 {
            assert_eq!(voter.before(&heartbeat(6)).now_or_never(), Some(()), "a voter's");
        }
        let request = heartbeat(6);
        let mut waits = Box::pin(learner.before(&request));
        assert_eq!((&mut waits).now_or_never(), None, "nothing new");
        tell.send_replace(status(6));
        assert_eq!((&mut waits).now_or_never(), Some(()), "there is an entry");
        drop(waits);
        learner.failed();
        assert_eq!(learner.before(&request).now_or_never(), Some(()), "it may not have come");
    }

    #[test]
    fn a_learner_is_written_to_in_gathered_entries_unless_it_is_behind() {
        let (_tell, seen) = watch::channel(status(500));
        let (learner, voter) = (Pace::new(LEARNER, seen.clone()), Pace::new(VOTER, seen));
        let quick = Duration::from_micros(100);
        assert_eq!(voter.pause(500, quick), Duration::ZERO);
        let gathers = learner.pause(500, quick);
        assert!(gathers >= GATHER_PER_LEARNER / 2 && gathers < GATHER_PER_LEARNER * 2, "{gathers:?}");
        assert_eq!(learner.pause(100, quick), quick * REST_PER_WORK, "behind");
        let slow = CYCLE_MAX - Duration::from_millis(10);
        assert_eq!(learner.pause(500, slow), Duration::from_millis(10), "its call must not be late for all that");
    }
}
