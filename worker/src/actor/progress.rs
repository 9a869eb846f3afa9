//! What running attempts last said of their progress. Kept in memory alone and for whoever asks: nobody is told of
//! each change, so that progress costs nothing while nobody looks. What was said last goes into the attempt's end.

use crate::executor::ProgressSink;
use parking_lot::Mutex;
use relais_protocol::ids::{Fence, JobId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of it is kept.
const PROGRESS_BYTES_MAX: usize = 1_024;

/// The progress of all attempts that run here. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Mutex<BTreeMap<(JobId, Fence), Option<String>>>>);

impl Progress {
    /// An attempt begins: where it can say something.
    pub(super) fn begin(&self, key: (JobId, Fence)) -> ProgressSink {
        self.0.lock().insert(key, None);
        let all = Arc::clone(&self.0);
        Arc::new(move |said| {
            // Who has ended has nothing more to say.
            if let Some(last) = all.lock().get_mut(&key) {
                *last = Some(bounded(said));
            }
        })
    }

    /// It has ended.
    pub(super) fn end(&self, key: (JobId, Fence)) {
        self.0.lock().remove(&key);
    }

    /// What it last said.
    pub(super) fn read(&self, key: (JobId, Fence)) -> Option<String> {
        self.0.lock().get(&key).cloned().flatten()
    }
}

/// The beginning of it, whole characters.
pub(super) fn bounded(mut said: String) -> String {
    let mut end = said.len().min(PROGRESS_BYTES_MAX);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    said.truncate(end);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_kept_until_the_end() {
        let progress = Progress::default();
        let (one, two) = ((JobId(1), Fence(1)), (JobId(1), Fence(2)));
        let say = progress.begin(one);
        assert_eq!(progress.read(one), None);
        say("10 %".to_owned());
        say("20 %".to_owned());
        assert_eq!((progress.read(one).as_deref(), progress.read(two)), (Some("20 %"), None));
        say("ü".repeat(1_000));
        assert_eq!(progress.read(one).map(|said| said.len()), Some(1_024));
        say("x".to_owned() + &"ü".repeat(1_000));
        assert_eq!(progress.read(one).map(|said| said.len()), Some(1_023), "no half character");
        progress.end(one);
        say("30 %".to_owned());
        assert_eq!(progress.read(one), None);
    }
}
