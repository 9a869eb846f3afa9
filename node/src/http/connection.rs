//! A connection of a client, with an eye on how long things take that a client has in its hand.
//!
//! ```text
//!   silent  ──first byte──►  head  ──handler begins──►  handled  ──answer written──►  idle ──byte──► head …
//!   5 s                      5 to 10 s                  (no limit here)               80 s
//!                            an answer that the client does not take: 15 to 20 s
//! ```
//!
//! The HTTP library times the first head of a connection only. Here each one is, and a client that does not read
//! what it asked for is thrown out, too. It knows no HTTP: bytes come and go, and [`Turn`] is told when a request is
//! in a handler's hands. Bodies are timed where they are read ([`super::body`]).
//!
//! And the library makes a request of each head that it finds in what was read, however many there are: so no more
//! than [`HEADS_MAX`] may be on their way at once on one connection.
//!
//! Time is counted in beats of one timer, so that a request on the fast path reads no clock.

use nix::sys::socket::{setsockopt, sockopt};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A beat.
const BEAT: Duration = Duration::from_secs(5);
/// Beats after which a head that began to arrive must be whole.
const HEAD_BEATS: u32 = 2;
/// Beats that may go by while the client takes nothing of an answer.
const STUCK_BEATS: u32 = 4;
/// Beats that may go by while nothing comes, goes, or is done: a little more than keep-alive is.
const IDLE_BEATS: u32 = 16;

/// Bytes that are read between two looks at what is done with them. The library reads on as long as there is
/// something, 128 KiB and more, before it sees that nobody takes the body.
const BREATH_BYTES: usize = 16 << 10;
/// Heads that a client may send ahead of their answers.
const HEADS_MAX: u32 = 64;

/// Whose turn it is: the client's, or a handler's.
#[derive(Clone, Default)]
pub(super) struct Turn(Rc<State>);

#[derive(Default)]
struct State {
    /// Requests in the hands of handlers, and answers that are still being made.
    taken: Cell<u32>,
    /// The beat in which a head began to arrive.
    head: Cell<Option<u32>>,
    /// Heads that came and that no handler has yet.
    ahead: Cell<u32>,
}

/// A request in a handler's hands, until this is dropped.
pub(super) struct Taken(Turn);

impl Turn {
    /// A handler has the head of a request.
    pub(super) fn take(&self) -> Taken {
        self.0.taken.set(self.0.taken.get() + 1);
        self.0.head.set(None);
        self.0.ahead.set(self.0.ahead.get().saturating_sub(1));
        Taken(self.clone())
    }

    fn is_clients(&self) -> bool {
        self.0.taken.get() == 0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let state = &self.0.0;
        state.taken.set(state.taken.get().saturating_sub(1));
    }
}

/// Looks for the first lines of requests: ` HTTP/1.x` before the end of a line. What comes between heads is JSON, in
/// which no line ends so.
#[derive(Clone, Copy, Debug, Default)]
struct Heads {
    /// Bytes of the version that were seen last.
    seen: usize,
}

impl Heads {
    const VERSION: &[u8] = b" HTTP/1.";

    /// How many first lines end in these bytes.
    fn count(&mut self, bytes: &[u8]) -> u32 {
        // A long line is not read through: only its end matters.
        let ends = bytes.contains(&b'\n');
        let from = if ends { 0 } else { bytes.len().saturating_sub(Self::VERSION.len() + 2) };
        let mut count = 0;
        for byte in &bytes[from..] {
            let digit = Self::VERSION.len();
            self.seen = match (self.seen, byte) {
                (seen, byte) if Self::VERSION.get(seen) == Some(byte) => seen + 1,
                (seen, b'0'..=b'9') if seen == digit => seen + 1,
                (seen, b'\r') if seen > digit => seen,
                (seen, b'\n') if seen > digit => {
                    count += 1;
                    0
                }
                (_, byte) => usize::from(*byte == b' '),
            };
        }
        count
    }
}

/// The beats of a connection, and when what happened last.
#[derive(Clone, Copy, Debug, Default)]
struct Beats {
    now: u32,
    moved: u32,
    stuck: Option<u32>,
}

impl Beats {
    /// What took too long, if anything did.
    fn over(self, head: Option<u32>, is_clients: bool) -> Option<&'static str> {
        let since = |then: u32| self.now.saturating_sub(then);
        if head.is_some_and(|began| since(began) >= HEAD_BEATS) {
            return Some("the head of a request did not come in time");
        }
        if self.stuck.is_some_and(|began| since(began) >= STUCK_BEATS) {
            return Some("the client does not take its answer");
        }
        (is_clients && since(self.moved) >= IDLE_BEATS).then_some("nothing was said for too long")
    }
}

/// The connection.
pub(super) struct Connection {
    io: TcpStream,
    turn: Turn,
    timer: Pin<Box<Sleep>>,
    beats: Beats,
    heads: Heads,
    /// Bytes read since the last look.
    breath: usize,
}

impl Connection {
    /// Of a stream whose client has begun to speak.
    pub(super) fn of(io: TcpStream) -> Self {
        Self {
            io,
            turn: Turn::default(),
            timer: Box::pin(sleep(BEAT)),
            beats: Beats::default(),
            heads: Heads::default(),
            breath: 0,
        }
    }

    /// For its handlers.
    pub(super) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(Instant::now() + BEAT);
            self.beats.now += 1;
            if let Some(why) = self.beats.over(self.turn.0.head.get(), self.turn.is_clients()) {
                if self.beats.stuck.is_some() {
                    self.forget_unsent();
                }
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        Ok(())
    }

    /// What the client did not take is not kept for it by the kernel, either.
    fn forget_unsent(&self) {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        if let Err(error) = setsockopt(&self.io, sockopt::Linger, &at_once) {
            tracing::debug!(%error, "a connection that is given up lingers");
        }
    }

    /// Notes how a write went.
    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if polled.is_pending() {
            self.beats.stuck.get_or_insert(self.beats.now);
        } else {
            self.beats.stuck = None;
            self.beats.moved = self.beats.now;
        }
        polled
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        if this.breath >= BREATH_BYTES {
            this.breath = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, into))?;
        let came = &into.filled()[before..];
        this.breath += came.len();
        if came.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let state = &this.turn.0;
        this.beats.moved = this.beats.now;
        if this.turn.is_clients() {
            state.head.set(state.head.get().or(Some(this.beats.now)));
        }
        state.ahead.set(state.ahead.get() + this.heads.count(came));
        if state.ahead.get() > HEADS_MAX {
            return Poll::Ready(Err(io::Error::other("more requests were sent ahead than are taken")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, pieces);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_its_own_time() {
        let at = |now, moved, stuck| Beats { now, moved, stuck };
        assert_eq!(at(9, 9, None).over(None, true), None);
        assert!(at(11, 11, None).over(Some(10), true).is_none() && at(12, 12, None).over(Some(10), true).is_some());
        assert!(at(13, 10, Some(10)).over(None, false).is_none() && at(14, 10, Some(10)).over(None, false).is_some());
        assert!(at(25, 10, None).over(None, true).is_none() && at(26, 10, None).over(None, true).is_some());
        assert_eq!(at(9_999, 0, None).over(None, false), None, "a handler has all the time that it needs");
    }

    #[test]
    fn heads_are_counted_however_they_are_cut() {
        let text = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nPOST /v1/jobs HTTP/1.0\n\n{\"a\": \"GET HTTP/1.1\"}\nGET  HTTP/1.1\r\n";
        assert_eq!(Heads::default().count(text), 3);
        for size in 1..text.len() {
            let mut heads = Heads::default();
            assert_eq!(text.chunks(size).map(|piece| heads.count(piece)).sum::<u32>(), 3, "in pieces of {size}");
        }
        let mut heads = Heads::default();
        assert_eq!(heads.count(&[b'x'; 5_000]) + heads.count(b" HTTP/1.1\r") + heads.count(b"\n"), 1);
    }

    #[test]
    fn a_head_is_over_when_a_handler_has_it() {
        let turn = Turn::default();
        turn.0.head.set(Some(3));
        let (first, second) = (turn.take(), turn.take());
        assert!(turn.0.head.get().is_none() && !turn.is_clients());
        drop(first);
        assert!(!turn.is_clients());
        drop(second);
        assert!(turn.is_clients());
    }
}
