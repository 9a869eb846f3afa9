//! Many calls over one long-lived stream: each frame carries the call's number, answers come in any order.
//!
//! ```text
//! call ──(number, request)──► bounded queue ──► task that owns the stream ══► peer
//!   ▲                                                    │
//!   └───────────── oneshot, found by number ◄────────────┘
//! ```
//!
//! The stream is owned by its task on the transport's thread and never by a call, so a dropped call cannot
//! cut a frame in two.

use super::call::{CallError, read_answer};
use super::frame::{FrameReceiver, HEADER, header};
use super::purpose::{Kind, Purpose};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use quinn::{Connection, SendStream};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Bytes before the content of a request (its number) and of an answer (number and status).
pub(super) const NUMBER: usize = 8;
pub(super) const STATUS: usize = 1;
const QUEUED_MAX: usize = 1_024;
/// Frames are gathered into one write up to so many bytes.
const GATHER: usize = 64 * 1024;
/// Longer contents are handed over as they are instead of being copied.
const COPY_MAX: usize = 8 * 1024;

/// The calling end of one long-lived stream.
pub(super) struct Mux {
    requests: mpsc::Sender<(u64, Bytes)>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, oneshot::Sender<Bytes>>,
    /// Why the stream is of no more use, once it is not.
    over: Option<String>,
}

/// Forgets a call that ended or was dropped.
struct Forget<'a>(&'a Mux, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().calls.remove(&self.1);
    }
}

impl Mux {
    /// Begins a stream on `connection`; it is opened in the background.
    pub(super) fn open(connection: Connection, purpose: Purpose, net_runtime: &Handle) -> Arc<Self> {
        let (requests, queue) = mpsc::channel(QUEUED_MAX);
        let waiting = Arc::<Mutex<Waiting>>::default();
        let mux = Arc::new(Self { requests, waiting: waiting.clone(), next: AtomicU64::new(0) });
        net_runtime.spawn(async move {
            let why = drive(&connection, purpose, queue, &waiting).await;
            let mut waiting = waiting.lock();
            waiting.over = Some(why.to_string());
            waiting.calls.clear();
        });
        mux
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.lock().over.is_some()
    }

    /// Makes one call.
    pub(super) async fn call(&self, request: Bytes) -> Result<Bytes, CallError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if let Some(why) = &waiting.over {
                return Err(CallError::lost(why));
            }
            waiting.calls.insert(number, answer);
        }
        let _forget = Forget(self, number);
        let lost =
            || CallError::Lost(self.waiting.lock().over.clone().unwrap_or_else(|| "the stream ended".to_owned()));
        self.requests.send((number, request)).await.map_err(|_| lost())?;
        read_answer(answered.await.map_err(|_| lost())?)
    }

    /// Sends a request whose answer is of no interest: it comes under a number that nobody waits for. `false` if
    /// there is no room for it.
    pub(super) fn tell(&self, request: Bytes) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.requests.try_send((number, request)).is_ok()
    }
}

async fn drive(
    connection: &Connection,
    purpose: Purpose,
    queue: mpsc::Receiver<(u64, Bytes)>,
    waiting: &Mutex<Waiting>,
) -> CallError {
    let (mut send, recv) = match connection.open_bi().await {
        Ok(stream) => stream,
        Err(e) => return CallError::lost(e),
    };
    let _ = send.set_priority(purpose.priority());
    if let Err(e) = send.write_all(&[purpose as u8, Kind::Calls as u8]).await {
        return CallError::lost(e);
    }
    let max = purpose.frame_bytes_max();
    let recv = FrameReceiver::limited(recv, NUMBER + STATUS + max);
    tokio::select! {
        e = write_requests(send, queue, max) => e,
        e = read_answers(recv, waiting) => e,
    }
}

async fn write_requests(mut send: SendStream, mut queue: mpsc::Receiver<(u64, Bytes)>, max: usize) -> CallError {
    let mut gathered = Gathered::new(NUMBER + max);
    while let Some((number, request)) = queue.recv().await {
        if let Err(e) = gathered.put(&number.to_be_bytes(), request) {
            return e;
        }
        while !gathered.is_full()
            && let Ok((number, request)) = queue.try_recv()
        {
            if let Err(e) = gathered.put(&number.to_be_bytes(), request) {
                return e;
            }
        }
        if let Err(e) = gathered.write(&mut send).await {
            return e;
        }
    }
    CallError::lost("no longer used")
}

async fn read_answers(mut recv: FrameReceiver, waiting: &Mutex<Waiting>) -> CallError {
    loop {
        let mut answer = match recv.next().await {
            Ok(Some(answer)) if answer.len() >= NUMBER + STATUS => answer,
            Ok(Some(_)) => return CallError::lost("an answer without a number"),
            Ok(None) => return CallError::lost("the peer ended the stream"),
            Err(e) => return e.into(),
        };
        let call = waiting.lock().calls.remove(&answer.get_u64());
        // A call that was dropped waits no longer.
        if let Some(call) = call {
            let _ = call.send(answer);
        }
    }
}

/// Frames on their way into one write.
pub(super) struct Gathered {
    max: usize,
    parts: Vec<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Gathered {
    pub(super) fn new(max: usize) -> Self {
        Self { max, parts: Vec::new(), tail: BytesMut::new(), bytes: 0 }
    }

    pub(super) fn put(&mut self, head: &[u8], content: Bytes) -> Result<(), CallError> {
        let length = header(head.len() + content.len(), self.max)?;
        self.tail.put_slice(&length);
        self.tail.put_slice(head);
        self.bytes += HEADER + head.len() + content.len();
        if content.len() <= COPY_MAX {
            self.tail.put_slice(&content);
        } else {
            self.parts.push(self.tail.split().freeze());
            self.parts.push(content);
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= GATHER
    }

    pub(super) async fn write(&mut self, send: &mut SendStream) -> Result<(), CallError> {
        self.parts.push(self.tail.split().freeze());
        self.bytes = 0;
        let mut parts = std::mem::take(&mut self.parts);
        send.write_all_chunks(&mut parts).await.map_err(CallError::lost)
    }
}
