//! Are all ports free? Asked before anything is started, so that nothing is left half up.

use super::plan::Plan;
use crate::cli::failure::Failure;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Binds each port once, and lets it go.
///
/// # Errors
/// With the first port that can't be had, whose it would be, and what to do.
pub(crate) fn check(plan: &Plan) -> Result<(), Failure> {
    for node in &plan.nodes {
        let http = TcpListener::bind(node.http).map(drop);
        free(http, &node.name, "HTTP", "TCP", node.http, "--http")?;
        let quic = UdpSocket::bind(node.quic).map(drop);
        free(quic, &node.name, "QUIC", "UDP", node.quic, "--listen")?;
    }
    Ok(())
}

fn free(
    bound: io::Result<()>,
    node: &str,
    purpose: &str,
    protocol: &str,
    address: SocketAddr,
    flag: &str,
) -> Result<(), Failure> {
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::Local(format!(
            "{protocol} port {} is in use, and {node} needs it for {purpose}; stop what listens there \
             (another `relais dev`?), or choose others with {flag}",
            address.port()
        )),
        _ => Failure::Local(format!(
            "{node} can't listen on {address} for {purpose}: {error}; choose another address with {flag}"
        )),
    })
}
