//! Stopping a node in good order: hand the role over, say goodbye, close the journal.

use super::start::Running;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// How long what runs here may still run.
const FINISH_LIMIT: Duration = Duration::from_secs(5);
/// How long the worker's goodbye may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// How long the HTTP server and the journal may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Waits for SIGTERM or SIGINT, then stops: what runs may finish for [`FINISH_LIMIT`], or until told again.
pub(super) async fn run_until_told(node: Running) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals can't be listened to");
        return std::future::pending().await;
    };
    told(&mut term, &mut int).await;
    tracing::info!("stops; told again, it does not wait for what runs here");
    hand_over(&node).await;
    if let Err(why) = node.hub.clone().leave_voters().await {
        tracing::warn!(why, "could not go out of the voters; the other node takes over when this one is silent");
    }
    tokio::select! {
        () = node.hub.clone().finish() => {}
        () = told(&mut term, &mut int) => {}
        () = tokio::time::sleep(FINISH_LIMIT) => {}
    }
    stop(node).await;
}

async fn told(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

async fn hand_over(node: &Running) {
    if node.hub.pulse.view().leads {
        match node.hub.clone().hand_over_from_here(None).await {
            Ok(node) => tracing::info!(%node, "handed over"),
            Err(reason) => tracing::warn!(reason, "could not hand over"),
        }
    }
}

async fn stop(node: Running) {
    let Running { hub, journal, net, server, stopping } = node;
    stopping.begin();
    let left = hub.clone().leave();
    if timeout(LEAVE_LIMIT, left).await.is_err() {
        tracing::warn!("goodbye was not answered; the leases of this node run out by themselves");
    }
    hub.pulse.goodbye();
    let _ = timeout(CLOSE_LIMIT, server.stop(false)).await;
    let close = relais_dispatcher::journal::Journal::shutdown(&*journal);
    let _ = timeout(CLOSE_LIMIT, close).await;
    net.close().await;
    if timeout(CLOSE_LIMIT, hub.notebook.flush()).await.is_err() {
        tracing::warn!("the disk did not take the last notes in time; results that are unsettled may be forgotten");
    }
    if let Some(system) = actix_rt::System::try_current() {
        system.stop();
    }
}
