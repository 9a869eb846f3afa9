//! The gap that clients see when the dispatcher dies, falls silent, or hands its role over.

use crate::Failed;
use crate::cluster::{Cluster, until};
use crate::figure::ms;
use crate::load::{Load, Wish};
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::Instant;

const GAP_LIMIT: Duration = Duration::from_secs(30);

/// What happens to the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// SIGKILL; the process comes back on the same data after the gap.
    Kill,
    /// SIGSTOP until the gap is over.
    Pause,
    /// `POST /v1/cluster:handover`.
    Handover,
}

/// What clients saw of it, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Until the next acknowledgement.
    pub acknowledged: f64,
    /// Until the next completion.
    pub done: f64,
}

/// One round. It ends with a whole cluster and another dispatcher.
///
/// # Errors
/// When no other node takes over, or the node hit does not come back.
pub fn round(cluster: &mut Cluster, load: &Load, hit: Hit) -> Result<Gap, Failed> {
    let before = cluster.await_whole()?;
    load.avoid(before.dispatcher)?;
    let gap = match hit {
        Hit::Kill => {
            let at = Instant::now();
            cluster.nodes[before.dispatcher].signal(Signal::SIGKILL)?;
            let gap = until_served(load, at)?;
            cluster.nodes[before.dispatcher].reap()?;
            cluster.restart(before.dispatcher)?;
            gap
        }
        Hit::Pause => {
            let at = Instant::now();
            cluster.nodes[before.dispatcher].signal(Signal::SIGSTOP)?;
            let gap = until_served(load, at);
            cluster.nodes[before.dispatcher].signal(Signal::SIGCONT)?;
            gap?
        }
        Hit::Handover => handover(cluster, load, before.dispatcher)?,
    };
    let after = cluster.await_whole()?;
    load.avoid_nobody();
    if after.epoch <= before.epoch {
        return Err(Failed::Answer(format!("epoch {} did not end by {hit:?}", before.epoch)));
    }
    Ok(gap)
}

/// Until the first acknowledgement, and the first end, of a job that was sent after `at`.
fn until_served(load: &Load, at: Instant) -> Result<Gap, Failed> {
    let first = |wish| {
        until("clients to be served after the dispatcher was hit", GAP_LIMIT, || {
            load.sent_after(at, wish).iter().map(|sent| sent.answered - at).min()
        })
    };
    Ok(Gap { acknowledged: ms(first(Wish::Acknowledged)?), done: ms(first(Wish::Done)?) })
}

/// The longest silence between two answers around a handover: the old dispatcher goes on to answer until it
/// hands over, so the first answer says nothing.
fn handover(cluster: &Cluster, load: &Load, dispatcher: usize) -> Result<Gap, Failed> {
    let at = Instant::now();
    let answer = cluster.nodes[dispatcher].ask("POST", "/v1/cluster:handover", "{}")?;
    if answer.status != 200 {
        return Err(Failed::Answer(format!("the handover was answered {}: {}", answer.status, answer.text())));
    }
    let answered = Instant::now();
    let silence = |wish| {
        until("clients to be served after the handover", GAP_LIMIT, || {
            (load.sent_after(answered, wish).len() >= 2 * crate::load::CLIENTS).then_some(())
        })?;
        Ok::<f64, Failed>(ms(longest_silence(at, &load.answers_from(at, wish))))
    };
    Ok(Gap { acknowledged: silence(Wish::Acknowledged)?, done: silence(Wish::Done)? })
}

/// The longest time without an answer, from `at` on.
#[must_use]
pub fn longest_silence(at: Instant, answers: &[Instant]) -> Duration {
    let silences = answers.iter().zip(std::iter::once(&at).chain(answers)).map(|(this, last)| *this - *last);
    silences.max().unwrap_or_default()
}
