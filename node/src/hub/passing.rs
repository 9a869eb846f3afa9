//! Requests that a node without a ledger passes on: it only works, or has just joined, or begins its journal anew. It
//! picks who answers; what is answered is the HTTP API's own affair. A node without a ledger passes nothing on for
//! another one, so that no request goes in circles.
//!
//! A request is one stream: the question in a frame, the head of the answer in another, then the body as it comes. Who
//! asked and has gone ends the stream, and what is done for it ends with it.

use super::Hub;
use super::calls::{HELD, PAUSE};
use crate::backend::{NotFresh, Passed, PassedHead, PassedOn};
use crate::net::{FrameReceiver, FrameSender, Purpose};
use crate::pulse::Changes;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use relais_protocol::codec;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{CALL_BYTES_MAX, Call, Reply};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The longest wait that a read may ask for, and the time for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(610);
/// How long a stream may take to begin: there is a limit to how many there are.
const OPEN_LIMIT: Duration = Duration::from_secs(1);
/// How long the body of an answer may take that was there as a whole when its head was sent.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Requests that a node has passed on at once; what the API and the journal need of a link beside them is left.
pub(super) const PASSED_ON_MAX: usize = 700;
/// How long an answer about a token may take.
const TOKEN_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of a body that one frame carries.
const PIECE_BYTES: usize = 256 << 10;

/// The HTTP API of this node, as other nodes ask it.
pub trait Front: Send + Sync {
    /// How a token stands, by the hex of its hash: JSON text.
    fn token(&self, hex: &[u8]) -> Vec<u8>;
    /// Answers a request that another node has let in.
    fn answer(&self, request: PassedOn) -> BoxFuture<'static, Passed>;
}

/// What became of a request at one node.
enum Tried {
    Answered(Passed),
    /// It did not take it.
    Untouched,
    /// It took it, and no answer came.
    Unknown,
}

impl Hub {
    /// The HTTP API is there.
    pub fn set_front(&self, front: Box<dyn Front>) {
        let _ = self.front.set(front);
    }

    /// Has another node answer a request: the dispatcher, or whoever can. A node that has just started is
    /// connected to none yet, so the request is held a while.
    pub(super) async fn pass_on_anywhere(self: Arc<Self>, request: PassedOn) -> Result<Passed, NotFresh> {
        let Ok(place) = self.passing.clone().try_acquire_owned() else {
            return Err(NotFresh(format!(
                "this node keeps no journal and has passed on {PASSED_ON_MAX} requests already; ask another"
            )));
        };
        let question = Bytes::from(codec::encode(codec::FORMAT, &request));
        let deadline = Instant::now() + HELD;
        loop {
            for node in self.others() {
                match self.pass_on_to(node, question.clone()).await {
                    Tried::Answered(passed) => return Ok(passed.with(place)),
                    Tried::Unknown if !request.repeatable => {
                        let name = self.name_of(node).unwrap_or_else(|| node.to_string());
                        let why = format!(
                            "`{name}` was asked and did not answer; whether it was done is not known, so look first"
                        );
                        return Err(NotFresh(why));
                    }
                    Tried::Unknown | Tried::Untouched => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(NotFresh(self.why_no_dispatcher()));
            }
            sleep(PAUSE).await;
        }
    }

    async fn pass_on_to(&self, node: NodeId, question: Bytes) -> Tried {
        // The link to a machine that died is noticed late: that another dispatches is known sooner.
        let mut changed = self.pulse.changed();
        let Some(net) = self.net() else { return Tried::Untouched };
        let Ok(Ok((mut send, mut recv))) = timeout(OPEN_LIMIT, net.open(node, Purpose::Api)).await else {
            return Tried::Untouched;
        };
        let asked = async {
            send.send(question).await.ok()?;
            send.finish();
            recv.next().await.ok()?
        };
        let answered = tokio::select! {
            biased;
            answered = timeout(ANSWER_LIMIT, asked) => answered,
            () = changed.dispatcher_changes() => return Tried::Unknown,
        };
        let Ok(Some(head)) = answered else { return Tried::Unknown };
        match codec::decode::<Option<PassedHead>>(codec::FORMAT, &head, CALL_BYTES_MAX) {
            Ok(Some(head)) if head.whole => match timeout(BODY_LIMIT, whole_of(recv)).await {
                Ok(Some(body)) => Tried::Answered(Passed { head, body: stream::iter([Ok(body)]).boxed() }),
                _ => Tried::Unknown,
            },
            Ok(Some(head)) => Tried::Answered(Passed { head, body: pieces_of(recv, changed) }),
            Ok(None) => Tried::Untouched,
            Err(_) => Tried::Unknown,
        }
    }

    /// How a token stands, by the hex of its hash, as another node knows it.
    pub(super) async fn token_elsewhere(self: Arc<Self>, hex: String) -> Result<Vec<u8>, NotFresh> {
        let call = Call::Http { method: String::new(), target: String::new(), body: hex.into_bytes() };
        let deadline = Instant::now() + HELD;
        loop {
            for node in self.others() {
                if let Some(Reply::Http { body, .. }) = self.call(node, &call, TOKEN_LIMIT).await {
                    return Ok(body);
                }
            }
            if Instant::now() >= deadline {
                return Err(NotFresh(self.why_no_dispatcher()));
            }
            sleep(PAUSE).await;
        }
    }

    /// All other nodes that are known here, the dispatcher first.
    fn others(&self) -> Vec<NodeId> {
        let dispatcher = self.pulse.view().dispatcher;
        let known: Vec<NodeId> = self.addresses.read().keys().copied().collect();
        let rest = known.into_iter().filter(|node| Some(*node) != dispatcher);
        dispatcher.into_iter().chain(rest).filter(|node| *node != self.me.node).collect()
    }

    /// Answers what another node asks about a token.
    pub(super) fn token_here(&self, hex: &[u8]) -> Reply {
        match self.front.get().filter(|_| self.ledger_is_here()) {
            Some(front) => {
                Reply::Http { status: 200, content_type: "application/json".to_owned(), body: front.token(hex) }
            }
            None => Reply::Failed("this node has no ledger either".to_owned()),
        }
    }

    /// Answers what another node passed on.
    pub(super) async fn answer_stream(self: Arc<Self>, mut send: FrameSender, mut recv: FrameReceiver) {
        let Ok(Some(question)) = recv.next().await else { return };
        let question = codec::decode::<PassedOn>(codec::FORMAT, &question, CALL_BYTES_MAX);
        let (Some(front), Ok(request)) = (self.front.get().filter(|_| self.ledger_is_here()), question) else {
            let nothing = codec::encode(codec::FORMAT, &None::<PassedHead>);
            let _ = send.send(nothing.into()).await;
            return send.finish();
        };
        let passed = tokio::select! {
            passed = front.answer(request) => passed,
            // Who asked has gone.
            () = send.closed() => return,
        };
        if send.send(codec::encode(codec::FORMAT, &Some(passed.head)).into()).await.is_ok() {
            write_body(send, passed.body).await;
        }
    }
}

/// Sends a body as it is made. One that breaks off does so there, too: its stream does not end in good order.
async fn write_body(mut send: FrameSender, mut body: stream::BoxStream<'static, io::Result<Bytes>>) {
    loop {
        let piece = tokio::select! {
            piece = body.next() => piece,
            () = send.closed() => return,
        };
        match piece {
            Some(Ok(mut piece)) => {
                while !piece.is_empty() {
                    let part = piece.split_to(piece.len().min(PIECE_BYTES));
                    if send.send(part).await.is_err() {
                        return;
                    }
                }
            }
            Some(Err(_)) => return send.abort(),
            None => return send.finish(),
        }
    }
}

/// The frames of a stream in one; nothing if it breaks off.
async fn whole_of(mut recv: FrameReceiver) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(piece) = recv.next().await.ok()? {
        whole.extend_from_slice(&piece);
    }
    Some(whole.freeze())
}

/// The frames of a stream as a body. It breaks off when the role moves: who follows something asks again, and does not
/// wait for a machine that may be gone.
fn pieces_of(recv: FrameReceiver, changed: Changes) -> stream::BoxStream<'static, io::Result<Bytes>> {
    stream::unfold(Some((recv, changed)), |from| async {
        let (mut recv, mut changed) = from?;
        let next = tokio::select! {
            biased;
            next = recv.next() => next.map_err(io::Error::other),
            () = changed.dispatcher_changes() => Err(io::Error::other("the dispatcher has changed")),
        };
        match next {
            Ok(piece) => piece.map(|piece| (Ok(piece), Some((recv, changed)))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}
