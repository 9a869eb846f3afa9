//! Streams that peers open: read on the transport's thread, worked on by the main runtime. What is short, and only
//! handed on and waited for, stays on this thread: to wake another for it would cost more than it does.

use super::call::answer_parts;
use super::counters::count;
use super::frame::{FrameReceiver, FrameSender};
use super::link::{CLOSE_REFUSED, Link};
use super::mux::{Gathered, NUMBER, STATUS};
use super::purpose::{Kind, Purpose};
use super::shared::Shared;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use quinn::{RecvStream, SendStream, VarInt};
use relais_protocol::ids::NodeId;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Calls of one long-lived stream that are worked on at once; more wait in the stream.
const AT_ONCE: usize = 1_024;
/// Requests over a long-lived stream that are not longer stay on the transport's thread.
const SHORT_BYTES: usize = 16 * 1024;

/// Accepts the streams of a peer until the connection is over.
pub(super) async fn accept_streams(shared: Arc<Shared>, link: Arc<Link>) {
    while let Ok((send, recv)) = link.connection.accept_bi().await {
        tokio::spawn(serve(shared.clone(), link.peer, send, recv));
    }
}

async fn serve(shared: Arc<Shared>, from: NodeId, mut send: SendStream, mut recv: RecvStream) {
    let mut first = [0; 2];
    if recv.read_exact(&mut first).await.is_err() {
        return;
    }
    let (Some(purpose), Some(kind)) = (Purpose::from_byte(first[0]), Kind::from_byte(first[1])) else {
        tracing::debug!(%from, purpose = first[0], kind = first[1], "a stream of unknown purpose was refused");
        let _ = send.reset(VarInt::from_u32(CLOSE_REFUSED));
        let _ = recv.stop(VarInt::from_u32(CLOSE_REFUSED));
        return;
    };
    let _ = send.set_priority(purpose.priority());
    match kind {
        Kind::Hello => {}
        Kind::Call => {
            let main = shared.main_runtime.clone();
            main.spawn(serve_call(shared, from, purpose, send, recv));
        }
        Kind::Calls => serve_calls(shared, from, purpose, send, recv).await,
        Kind::Frames => {
            let (send, recv) = (FrameSender::new(send, purpose), FrameReceiver::new(recv, purpose));
            shared.tell(|node| node.stream(from, purpose, send, recv));
        }
    }
}

/// One call on a stream of its own.
async fn serve_call(shared: Arc<Shared>, from: NodeId, purpose: Purpose, send: SendStream, recv: RecvStream) {
    let max = purpose.frame_bytes_max();
    let request = match FrameReceiver::limited(recv, max).next().await {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(e) => {
            tracing::debug!(%from, ?purpose, "a request was refused: {e}");
            return;
        }
    };
    let (status, content) = answer_parts(handle(&shared, from, purpose, request).await, max);
    let mut answer = BytesMut::with_capacity(STATUS + content.len());
    answer.put_u8(status);
    answer.put_slice(&content);
    let mut send = FrameSender::limited(send, STATUS + max);
    // Who called may be gone; nobody else is to be told.
    if send.send(answer.freeze()).await.is_ok() {
        send.finish();
    }
}

/// The long-lived stream of a purpose.
async fn serve_calls(shared: Arc<Shared>, from: NodeId, purpose: Purpose, send: SendStream, recv: RecvStream) {
    let max = purpose.frame_bytes_max();
    let (answers, queue) = mpsc::channel(AT_ONCE);
    let recv = FrameReceiver::limited(recv, NUMBER + max);
    tokio::select! {
        () = read_requests(&shared, from, purpose, recv, answers) => {}
        () = write_answers(send, queue, max) => {}
    }
}

type Numbered = (u64, Result<Bytes, String>);

async fn read_requests(
    shared: &Arc<Shared>,
    from: NodeId,
    purpose: Purpose,
    mut recv: FrameReceiver,
    answers: mpsc::Sender<Numbered>,
) {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let mut request = match recv.next().await {
            Ok(Some(request)) if request.len() >= NUMBER => request,
            Ok(_) => return,
            Err(e) => {
                tracing::debug!(%from, ?purpose, "the stream of requests ended: {e}");
                return;
            }
        };
        let number = request.get_u64();
        let Ok(permit) = at_once.clone().acquire_owned().await else {
            return;
        };
        let (shared, answers) = (shared.clone(), answers.clone());
        let main = shared.main_runtime.clone();
        let is_short = request.len() <= SHORT_BYTES && purpose.is_handed_on();
        let work = async move {
            let answer = handle(&shared, from, purpose, request).await;
            let _ = answers.send((number, answer)).await;
            drop(permit);
        };
        if is_short {
            tokio::spawn(work);
        } else {
            main.spawn(work);
        }
    }
}

async fn write_answers(mut send: SendStream, mut queue: mpsc::Receiver<Numbered>, max: usize) {
    let mut gathered = Gathered::new(NUMBER + STATUS + max);
    let put = |gathered: &mut Gathered, (number, answer): Numbered| {
        let (status, content) = answer_parts(answer, max);
        let mut head = [0; NUMBER + STATUS];
        head[..NUMBER].copy_from_slice(&number.to_be_bytes());
        head[NUMBER] = status;
        gathered.put(&head, content).is_ok()
    };
    while let Some(answer) = queue.recv().await {
        let mut fits = put(&mut gathered, answer);
        while fits
            && !gathered.is_full()
            && let Ok(answer) = queue.try_recv()
        {
            fits = put(&mut gathered, answer);
        }
        if !fits || gathered.write(&mut send).await.is_err() {
            return;
        }
    }
}

/// Has the node answer; a panic there is an answer too, and no stream is lost by it.
async fn handle(shared: &Shared, from: NodeId, purpose: Purpose, request: Bytes) -> Result<Bytes, String> {
    count(&shared.counting.calls_in, 1);
    let inbound = shared.inbound.clone();
    let work = AssertUnwindSafe(async move { inbound.call(from, purpose, request).await });
    match work.catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
            tracing::error!(%from, ?purpose, "the handler of a call panicked");
            Err("internal error: the handler panicked".to_owned())
        }
    }
}
