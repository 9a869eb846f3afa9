//! Queues hold what is set of them: no job of a paused queue starts, and in no window of its period do more start than
//! its rate says, by the ledger's time. What begins with an entry holds from the next one on.

use crate::history::{History, JobFacts, Step};
use relais_protocol::ids::Index;
use relais_protocol::job::StateName;
use relais_protocol::queue::Rate;
use relais_protocol::spec::QueueName;
use relais_protocol::time::UnixMs;

/// Starts in a pause, and above a rate.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    if history.queue_rates.is_empty() && history.queue_pauses.is_empty() {
        return Vec::new();
    }
    let runs = history.steps.iter().filter(|step| step.state == StateName::Running);
    let in_queue = |step: &Step| history.facts.get(&step.job).map(|facts: &JobFacts| (facts.queue.clone(), *step));
    let starts: Vec<(QueueName, Step)> = runs.filter_map(in_queue).collect();
    let mut seen = in_pauses(history, &starts);
    for (n, (from, queue, rate)) in history.queue_rates.iter().enumerate() {
        let Some(rate) = rate else { continue };
        let next = history.queue_rates[n + 1..].iter().find(|(_, other, _)| other == queue);
        let until = next.map_or(Index(u64::MAX), |(at, ..)| *at);
        let under_it = starts.iter().filter(|(of, step)| of == queue && step.index > *from && step.index < until);
        let times: Vec<UnixMs> = under_it.map(|(_, step)| history.stamp_at(step.index)).collect();
        seen.extend(above(queue, *rate, &times));
    }
    seen
}

fn in_pauses(history: &History, starts: &[(QueueName, Step)]) -> Vec<String> {
    let is_paused = |queue: &QueueName, index: Index| {
        let mut before = history.queue_pauses.iter().filter(|(at, of, _)| of == queue && *at < index);
        let here = history.queue_pauses.iter().any(|(at, of, _)| of == queue && *at == index);
        !here && before.next_back().is_some_and(|(.., on)| *on)
    };
    let wrong = starts.iter().filter(|(queue, step)| is_paused(queue, step.index));
    wrong.map(|(queue, step)| format!("{} of {queue} starts at index {}, in a pause", step.job, step.index)).collect()
}

fn above(queue: &QueueName, rate: Rate, times: &[UnixMs]) -> Option<String> {
    let most = |first: &UnixMs| times.iter().filter(|at| *at >= first && at.0 < first.0 + rate.per_ms).count();
    let (count, first) = times.iter().map(|first| (most(first), first)).max()?;
    (count > rate.count as usize).then(|| format!("{count} jobs of {queue} start within {rate:?} from {first} on"))
}
