//! The spawner's end of the socket pair: frames and descriptors in, events out, never blocking.

use super::frame::{Event, FrameBuffer, Request, encode};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many descriptors one message may carry; the kernel's own limit is 253.
pub(super) const DESCRIPTORS_MAX: usize = 240;

/// The connection to the node.
pub(super) struct Link {
    socket: OwnedFd,
    incoming: FrameBuffer,
    /// What came along with each frame that brings descriptors, in the order of the frames.
    descriptors: VecDeque<Vec<OwnedFd>>,
    outgoing: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link {
    /// Takes over standard input, which must be the socket.
    ///
    /// # Errors
    /// When it is no socket.
    pub(super) fn from_stdin() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::net::sockopt::socket_type(&socket)?;
        Ok(Self {
            socket,
            incoming: FrameBuffer::default(),
            descriptors: VecDeque::new(),
            outgoing: Vec::new(),
            buffer: vec![0; 64 * 1024],
        })
    }

    /// For polling.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads what is there; false once the node is gone.
    ///
    /// # Errors
    /// Any but "nothing there yet".
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let (count, cut) = match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags) {
            Ok(message) => (message.bytes, message.flags.contains(ReturnFlags::CTRUNC)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(true),
            Err(rustix::io::Errno::CONNRESET) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut came = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                came.extend(descriptors);
            }
        }
        // The system drops what it has no free number for: that frame then has too few, and only that one.
        if cut || !came.is_empty() {
            self.descriptors.push_back(came);
        }
        self.incoming.push(&self.buffer[..count]);
        Ok(count > 0)
    }

    /// The next whole batch of requests.
    ///
    /// # Errors
    /// When the node sent nonsense.
    pub(super) fn requests(&mut self) -> io::Result<Option<Vec<Request>>> {
        self.incoming.next()
    }

    /// The descriptors that came with the oldest frame that brings some and was not asked about yet.
    pub(super) fn descriptors(&mut self) -> std::vec::IntoIter<OwnedFd> {
        self.descriptors.pop_front().unwrap_or_default().into_iter()
    }

    /// Puts events in line to be written.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub(super) fn queue(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        if !events.is_empty() {
            self.outgoing.extend(encode(events)?);
            events.clear();
        }
        Ok(())
    }

    /// Writes what the socket takes; false once the node is gone.
    pub(super) fn flush(&mut self) -> bool {
        while !self.outgoing.is_empty() {
            match rustix::net::send(&self.socket, &self.outgoing, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
