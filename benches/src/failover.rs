//! The gap that clients see when the dispatcher dies, falls silent, or hands its role over.

use crate::Failed;
use crate::cluster::{Cluster, until};
use crate::figure::ms;
use crate::load::Load;
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

/// One round; the gap in milliseconds. It ends with a whole cluster and another dispatcher.
///
/// # Errors
/// When no other node takes over, or the node hit does not come back.
pub fn round(cluster: &mut Cluster, load: &Load, hit: Hit) -> Result<f64, Failed> {
    let before = cluster.await_whole()?;
    load.avoid(before.dispatcher)?;
    let gap = match hit {
        Hit::Kill => {
            let at = Instant::now();
            cluster.nodes[before.dispatcher].signal(Signal::SIGKILL)?;
            let gap = until_acknowledged(load, at)?;
            cluster.nodes[before.dispatcher].reap()?;
            cluster.restart(before.dispatcher)?;
            gap
        }
        Hit::Pause => {
            let at = Instant::now();
            cluster.nodes[before.dispatcher].signal(Signal::SIGSTOP)?;
            let gap = until_acknowledged(load, at);
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
    Ok(ms(gap))
}

/// Until the first acknowledgement of a submit that was sent after `at`.
fn until_acknowledged(load: &Load, at: Instant) -> Result<Duration, Failed> {
    until("an acknowledgement after the dispatcher was hit", GAP_LIMIT, || {
        load.sent_after(at).iter().map(|sent| sent.acked - at).min()
    })
}

/// The longest silence between two acknowledgements around a handover: the old dispatcher goes on to
/// acknowledge until it hands over, so the first acknowledgement says nothing.
fn handover(cluster: &Cluster, load: &Load, dispatcher: usize) -> Result<Duration, Failed> {
    let at = Instant::now();
    let answer = cluster.nodes[dispatcher].ask("POST", "/v1/cluster:handover", "{}")?;
    if answer.status != 200 {
        return Err(Failed::Answer(format!("the handover was answered {}: {}", answer.status, answer.text())));
    }
    let answered = Instant::now();
    until("acknowledgements after the handover", GAP_LIMIT, || {
        (load.sent_after(answered).len() >= 2 * crate::load::CLIENTS).then_some(())
    })?;
    let acked = load.acknowledgements_from(at);
    let silences = acked.iter().zip(std::iter::once(&at).chain(&acked)).map(|(this, last)| *this - *last);
    Ok(silences.max().unwrap_or_default())
}
