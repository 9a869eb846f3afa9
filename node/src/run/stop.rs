//! Stopping a node in good order: hand the role over, say goodbye, close the journal.

use super::start::Running;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long the worker's goodbye may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// How long the HTTP server and the journal may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Waits for SIGTERM or SIGINT, then stops.
pub(super) async fn run_until_told(node: Running) {
    let told = async {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::error!("signals can't be listened to");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    };
    let signal = told.await;
    tracing::info!(signal, "stops");
    stop(node).await;
}

async fn stop(node: Running) {
    let Running { hub, journal, net, server, stopping, engine } = node;
    stopping.begin();
    let left = hub.clone().leave();
    if timeout(LEAVE_LIMIT, left).await.is_err() {
        tracing::warn!("goodbye was not answered; the leases of this node run out by themselves");
    }
    if hub.pulse.view().leads {
        match hub.clone().hand_over_from_here(None).await {
            Ok(node) => tracing::info!(%node, "handed over"),
            Err(reason) => tracing::warn!(reason, "could not hand over"),
        }
    }
    hub.pulse.goodbye();
    let _ = timeout(CLOSE_LIMIT, server.stop(false)).await;
    let close = relais_dispatcher::journal::Journal::shutdown(&*journal);
    let _ = timeout(CLOSE_LIMIT, close).await;
    net.close().await;
    engine.shutdown_background();
    if let Some(system) = actix_rt::System::try_current() {
        system.stop();
    }
}
