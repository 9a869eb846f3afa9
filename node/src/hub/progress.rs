//! The progress of running attempts, asked of the node that runs them. What was answered is shown again to whoever
//! asks within half a second: however many look, a node is asked for an attempt twice a second at most by each.

use super::Hub;
use parking_lot::Mutex;
use relais_protocol::ids::{Fence, JobId, NodeId};
use relais_protocol::message::{Call, Reply};
use relais_protocol::time::Mono;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long another node may take to say it: nobody is to wait long for what is only nice to know.
const PROGRESS_LIMIT: Duration = Duration::from_millis(500);
/// How long an answer is shown again.
const SHOWN_MS: u64 = 500;
/// Attempts that one question may be about, and answers that are kept.
const ATTEMPTS_MAX: usize = 1_000;

/// What other nodes said lately.
#[derive(Default)]
pub(super) struct Said(Mutex<BTreeMap<(JobId, Fence), (Mono, Option<String>)>>);

impl Said {
    fn read(&self, key: (JobId, Fence), now: Mono) -> Option<Option<String>> {
        let said = self.0.lock();
        said.get(&key).filter(|(at, _)| now.since(*at) < SHOWN_MS).map(|(_, said)| said.clone())
    }

    fn keep(&self, keys: &[(JobId, Fence)], answers: &[Option<String>], now: Mono) {
        let mut said = self.0.lock();
        if said.len() + keys.len() > ATTEMPTS_MAX {
            said.retain(|_, (at, _)| now.since(*at) < SHOWN_MS);
        }
        if said.len() + keys.len() <= ATTEMPTS_MAX {
            said.extend(keys.iter().copied().zip(answers.iter().map(|answer| (now, answer.clone()))));
        }
    }
}

impl Hub {
    /// What attempts that run on `node` say of their progress, one each; nothing of one that does not run there,
    /// and of none when the node does not answer.
    pub(super) async fn progress_of(
        self: Arc<Self>,
        node: NodeId,
        attempts: Vec<(JobId, Fence)>,
    ) -> Vec<Option<String>> {
        // What runs outside of the nodes tells the dispatcher.
        let node = if node == NodeId::OUTSIDE { self.pulse.view().dispatcher } else { Some(node) };
        let Some(node) = node else { return Vec::new() };
        if node == self.me.node {
            return self.progress_here(&attempts).await;
        }
        let now = self.clock.mono();
        let known: Vec<Option<Option<String>>> = attempts.iter().map(|key| self.said.read(*key, now)).collect();
        let asked: Vec<_> =
            attempts.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| *key).collect();
        let mut answers = Vec::new();
        if !asked.is_empty()
            && let Some(Reply::Progress(said)) = self.call(node, &Call::Progress(asked.clone()), PROGRESS_LIMIT).await
        {
            self.said.keep(&asked, &said, self.clock.mono());
            answers = said;
        }
        let mut answers = answers.into_iter();
        known.into_iter().map(|known| known.unwrap_or_else(|| answers.next().flatten())).collect()
    }

    /// What attempts that run here say, and those that run outside of the nodes while this one dispatches.
    pub(super) async fn progress_here(&self, attempts: &[(JobId, Fence)]) -> Vec<Option<String>> {
        let attempts = &attempts[..attempts.len().min(ATTEMPTS_MAX)];
        let mut said: Vec<_> = attempts.iter().map(|(job, fence)| self.bench.progress(*job, *fence)).collect();
        if self.pulse.view().leads && said.iter().any(Option::is_none) {
            for (said, outside) in said.iter_mut().zip(self.desk.progress(attempts.to_vec()).await) {
                *said = said.take().or(outside);
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_again_for_a_while_and_not_kept_for_ever() {
        let said = Said::default();
        let key = |n: u128| (JobId(n), Fence(1));
        said.keep(&[key(1), key(2)], &[Some("1 %".into()), None], Mono(1_000));
        assert_eq!(said.read(key(1), Mono(1_499)), Some(Some("1 %".to_owned())));
        assert_eq!((said.read(key(2), Mono(1_499)), said.read(key(3), Mono(1_499))), (Some(None), None));
        assert_eq!(said.read(key(1), Mono(1_500)), None);
        let many: Vec<_> = (10..10 + ATTEMPTS_MAX as u128).map(key).collect();
        said.keep(&many, &vec![None; many.len()], Mono(2_000));
        assert_eq!(said.0.lock().len(), ATTEMPTS_MAX, "what is old went");
        said.keep(&[key(5)], &[None], Mono(2_001));
        assert_eq!(said.0.lock().len(), ATTEMPTS_MAX);
    }
}
