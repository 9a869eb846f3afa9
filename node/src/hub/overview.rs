//! How a node sees the cluster whose journal follows nobody. Of many workers only a few follow the journal; the others
//! ask the dispatcher every few seconds for the small tables (nodes, settings, tokens) and for who votes, and have it
//! answer what they are asked about jobs. A node goes over to that, and back, by what it is told: a journal that follows
//! is known to whoever leads.

use super::Hub;
use parking_lot::Mutex;
use relais_dispatcher::journal::{JournalStatus, Role};
use relais_protocol::ids::{Index, JobId};
use relais_protocol::message::{Call, Reply};
use relais_protocol::overview::Overview;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Between two questions.
const EVERY: Duration = Duration::from_secs(2);
/// The same while the node waits for an answer, or for its journal to catch up.
const SOON: Duration = Duration::from_millis(100);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Beyond this what was last told is too old to serve by, in ms.
const TOLD_MS: u64 = 10_000;
/// Jobs that one question is about.
const JOBS_AT_ONCE: usize = 1_000;

/// What a node was last told.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: Mutex<Last>,
    /// The journal here has news: it may follow now.
    news: Notify,
}

#[derive(Debug, Default)]
struct Last {
    hash: u64,
    overview: Arc<Overview>,
    applied: Index,
    /// When, in ms of the own clock; `None` before the first answer.
    at: Option<u64>,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// This journal follows, and has what had been applied when the answer before was given.
    Follows,
    /// It follows, and has not got so far yet; or nothing can be told from this answer.
    Waits,
    /// It follows nobody.
    LooksOn,
}

/// What an answer means for the journal of `status`, of which `before` had been applied elsewhere a while ago, and
/// `applied` has now.
fn step(status: &JournalStatus, overview: &Overview, before: Index, applied: Index) -> Step {
    let own = status.applied.unwrap_or_default();
    let is_member = overview.voters.contains(&status.id) || overview.learners.contains(&status.id);
    match is_member {
        true if status.applied.is_some() && own >= before => Step::Follows,
        // Else whoever answered may not have heard of this journal yet.
        false if applied > own || !is_of(status) => Step::LooksOn,
        _ => Step::Waits,
    }
}

/// Whether a journal is one of the members, as it knows them itself.
fn is_of(status: &JournalStatus) -> bool {
    status.voters.contains(&status.id) || status.learners.contains(&status.id)
}

impl Hub {
    /// Keeps what this node knows of the cluster in order while it does not vote, for as long as it lives.
    pub async fn look_over(self: Arc<Self>) {
        loop {
            let pause = if self.pulse.view().leads { EVERY } else { self.ask_overview().await };
            tokio::select! {
                () = self.turn(pause) => {}
                () = self.told.news.notified() => {}
            }
        }
    }

    /// The journal's status has changed: whoever only looks on asks whether it follows now.
    pub(super) fn look_again(&self, own: &JournalStatus) {
        if self.machine.stands_in() && is_of(own) {
            self.told.news.notify_one();
        }
    }

    /// Asks the dispatcher once; how long to wait before the next time. Another one might not know of what was
    /// committed since, or never hear of it.
    async fn ask_overview(self: &Arc<Self>) -> Duration {
        let have = self.told.last.lock().hash;
        let Some(dispatcher) = self.pulse.view().dispatcher.filter(|node| *node != self.me.node) else { return SOON };
        match self.call(dispatcher, &Call::Overview { have }, ANSWER_LIMIT).await {
            Some(Reply::Overview { applied, news }) => self.note_overview(applied, news),
            _ => SOON,
        }
    }

    fn note_overview(self: &Arc<Self>, applied: Index, news: Option<Box<Overview>>) -> Duration {
        let Some(journal) = self.journal() else { return SOON };
        // A journal of a history that is over is brought back by its own way, and has rows that nobody else has.
        if self.is_overtaken() {
            return SOON;
        }
        let status = journal.status().borrow().clone();
        let is_news = news.is_some();
        let (overview, before) = {
            let mut last = self.told.last.lock();
            if let Some(news) = news {
                last.hash = news.hash();
                last.overview = Arc::from(news);
            }
            last.at = Some(self.clock.mono().0);
            (last.overview.clone(), std::mem::replace(&mut last.applied, applied))
        };
        if is_news {
            self.machine.overlook(&overview, applied);
        }
        let step = step(&status, &overview, before, applied);
        let (stood_in, stands_in) = (self.machine.stands_in(), step == Step::LooksOn);
        let stands_in = stands_in && status.role != Role::Leader;
        if step != Step::Waits && stands_in != stood_in {
            tracing::info!(follows = !stands_in, "whether this node's journal follows the cluster's has changed");
            self.machine.stand_in(stands_in);
        }
        if is_news || stands_in || stood_in {
            // As it is now: whoever is told of a change tells it under the same guard.
            self.pulse.journal(&self.status_to_go_by(&journal.status().borrow()));
        }
        if step == Step::Waits { SOON } else { EVERY }
    }

    /// Whether this journal votes by its own account, and that is not older than what was told. Such a one does so at
    /// once: there may be no dispatcher to ask. A voter whose seat was given away while it was gone never hears of it.
    pub(super) fn votes_by_own(&self, own: &JournalStatus) -> bool {
        let last = self.told.last.lock();
        let is_newer = own.last_log.is_some_and(|at| at.index > last.applied.0);
        own.voters.contains(&own.id) && (is_newer || last.overview.voters.contains(&own.id))
    }

    /// The journal's status; of one that follows nobody, with the voters as the dispatcher told of them.
    pub fn status_to_go_by(&self, own: &JournalStatus) -> JournalStatus {
        if !self.machine.stands_in() || self.votes_by_own(own) {
            return own.clone();
        }
        let overview = self.told.last.lock().overview.clone();
        JournalStatus {
            voters: overview.voters.clone(),
            voter_sets: vec![overview.voters.clone()],
            learners: overview.learners.clone(),
            is_joint: false,
            ..own.clone()
        }
    }

    /// Answers a node that asks.
    pub(super) fn overview_here(&self, have: u64) -> Reply {
        let view = self.pulse.view();
        let Some(journal) = self.journal().filter(|_| view.leads) else {
            return Reply::NotDispatcher(view.dispatcher);
        };
        let status = journal.status().borrow().clone();
        let applied = status.applied.unwrap_or_default();
        let mut overview = self.machine.own().overview();
        (overview.voters, overview.learners) = (status.voters, status.learners);
        let news = (overview.hash() != have).then(|| Box::new(overview));
        Reply::Overview { applied, news }
    }

    /// Why this node can't serve by what it was told, if it can't.
    pub(super) fn why_told_too_little(&self) -> Option<String> {
        let at = self.told.last.lock().at.unwrap_or_default();
        let ago = self.clock.mono().0.saturating_sub(at);
        (ago > TOLD_MS).then(|| format!("it keeps no journal, and the dispatcher has not answered it for {ago} ms"))
    }

    /// Which of `jobs` are in the record; nothing if nobody says.
    pub(super) async fn known_elsewhere(self: &Arc<Self>, jobs: &[JobId]) -> Option<Vec<bool>> {
        if self.is_overtaken() {
            // What is to be merged is not in the record yet.
            return None;
        }
        let mut known = Vec::new();
        for part in jobs.chunks(JOBS_AT_ONCE) {
            let dispatcher = self.pulse.view().dispatcher?;
            match self.call(dispatcher, &Call::Known(part.to_vec()), ANSWER_LIMIT).await? {
                Reply::Known(part_known) if part_known.len() == part.len() => known.extend(part_known),
                _ => return None,
            }
        }
        Some(known)
    }

    /// Says which of `jobs` are in the record, as the dispatcher knows it.
    pub(super) async fn known_here(self: &Arc<Self>, jobs: &[JobId]) -> Reply {
        if !self.pulse.view().leads || self.clone().make_fresh().await.is_err() {
            return Reply::NotDispatcher(self.pulse.view().dispatcher);
        }
        let ledger = self.machine.own();
        Reply::Known(jobs.iter().map(|job| ledger.job(*job).is_some()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_protocol::ids::RaftId;

    const ME: RaftId = RaftId(7 << 32 | 1);

    #[test]
    fn a_journal_follows_if_whoever_leads_knows_it_and_it_has_caught_up() {
        let status = |applied: Option<u64>| JournalStatus {
            id: ME,
            applied: applied.map(Index),
            learners: applied.map(|_| ME).into_iter().collect(),
            ..Default::default()
        };
        let told =
            |learners: &[RaftId]| Overview { learners: learners.iter().copied().collect(), ..Overview::default() };
        let cases = [
            (Some(50), &[ME][..], 50, 80, Step::Follows),
            (Some(49), &[ME], 50, 80, Step::Waits),
            (None, &[ME], 0, 80, Step::Waits),
            (None, &[], 0, 80, Step::LooksOn),
            (None, &[], 0, 0, Step::LooksOn),
            (Some(50), &[], 50, 51, Step::LooksOn),
            // Who answers may not have heard of it yet.
            (Some(50), &[], 50, 50, Step::Waits),
            (Some(50), &[RaftId(7 << 32 | 2)], 50, 51, Step::LooksOn),
        ];
        for (own, learners, before, applied, expected) in cases {
            let said = step(&status(own), &told(learners), Index(before), Index(applied));
            assert_eq!(said, expected, "{own:?} {learners:?} {before} {applied}");
        }
        let votes = Overview { voters: [ME].into(), ..Overview::default() };
        assert_eq!(step(&status(Some(9)), &votes, Index(9), Index(9)), Step::Follows);
    }
}
