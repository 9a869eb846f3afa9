//! The socket of the transport, with a switch that drops every packet: the cut cable of a rehearsal. While
//! the switch is off it only passes on. It tells nobody: neither side is to know that it is not the network.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Whether the cable is cut; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Cuts the cable, or mends it. Whether that changed anything.
    pub(super) fn set(&self, cut: bool) -> bool {
        self.0.swap(cut, Ordering::AcqRel) != cut
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A UDP socket behind the switch.
#[derive(Debug)]
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    cut: Cut,
}

impl Socket {
    /// Puts `socket` behind `cut`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket can't be used asynchronously.
    pub(super) fn wrap(socket: UdpSocket, cut: Cut) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { inner: TokioRuntime.wrap_udp_socket(socket)?, cut }))
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.cut.is_cut() { Ok(()) } else { self.inner.try_send(transmit) }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.inner.poll_recv(context, buffers, meta) {
                // Read and thrown away, until the socket has no more and will wake us.
                Poll::Ready(Ok(_)) if self.cut.is_cut() => {}
                other => return other,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
