//! Is there a process at that port at all? One byte to a UDP port that nobody holds is answered by the
//! kernel of the machine, and a connected socket is told.
//!
//! `Refused` is evidence that the process is dead. `NoAnswer` is evidence of nothing: the process may
//! live (it ignores the byte), the machine may be gone, a firewall may be silent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The kernel there says that nobody holds the port.
    Refused,
    /// Nothing came back in time.
    NoAnswer,
}

/// Asks a machine's kernel whether a UDP port is held.
#[derive(Clone, Copy, Debug)]
pub struct ClosedPortProbe {
    wait: Duration,
}

impl ClosedPortProbe {
    /// A probe that waits so long for the kernel's answer.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self { wait }
    }

    /// Probes `addr`. Anything that keeps the probe from being sent counts as no answer.
    pub async fn probe(&self, addr: SocketAddr) -> Probe {
        match tokio::time::timeout(self.wait, refused(addr)).await {
            Ok(Ok(true)) => Probe::Refused,
            Ok(Ok(false) | Err(_)) | Err(_) => Probe::NoAnswer,
        }
    }
}

async fn refused(addr: SocketAddr) -> io::Result<bool> {
    let any = if addr.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(addr).await?;
    socket.send(&[0]).await?;
    match socket.recv(&mut [0; 16]).await {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        other => other.map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_told_from_a_silent_one() {
        let held = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = held.local_addr().unwrap();
        let short = ClosedPortProbe::new(Duration::from_millis(50));
        assert_eq!(short.probe(addr).await, Probe::NoAnswer);
        drop(held);
        let patient = ClosedPortProbe::new(Duration::from_secs(5));
        assert_eq!(patient.probe(addr).await, Probe::Refused);
    }
}
