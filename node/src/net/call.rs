//! Calls from this node: over the long-lived stream of a purpose, or over a stream of their own.
//!
//! A call may be dropped at any time. Whether the other side did what was asked is then not known.

use super::frame::{FrameError, FrameReceiver, FrameSender, header};
use super::link::Link;
use super::purpose::{Kind, Purpose};
use super::shared::Shared;
use bytes::{Buf, Bytes};
use quinn::Connection;
use relais_protocol::ids::NodeId;
use std::sync::Arc;

/// First byte of an answer.
pub(super) const ANSWERED: u8 = 0;
pub(super) const REFUSED: u8 = 1;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection; nothing was sent.
    #[error("not connected to node {0}")]
    NotConnected(NodeId),
    /// No answer in time; whether the other side did it is not known.
    #[error("no answer within {0} ms")]
    TimedOut(u64),
    /// The connection broke; whether the other side did it is not known.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// Request or answer is longer than the purpose allows; a request is not sent then.
    #[error("{0}")]
    TooBig(FrameError),
    /// The other side answered with a reason instead of a result.
    #[error("refused: {0}")]
    Refused(String),
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooBig { .. } => Self::TooBig(error),
            FrameError::Cut | FrameError::Lost(_) => Self::Lost(error.to_string()),
        }
    }
}

impl CallError {
    pub(super) fn lost(error: impl ToString) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Makes a call over `link`.
pub(super) async fn call(
    shared: Arc<Shared>,
    link: Arc<Link>,
    purpose: Purpose,
    request: Bytes,
) -> Result<Bytes, CallError> {
    header(request.len(), purpose.frame_bytes_max())?;
    if !purpose.is_long_lived() {
        return call_alone(&link.connection, purpose, request).await;
    }
    let mux = link.mux(purpose, &shared);
    // The link stays alive by the mux's task, not by the call.
    drop(link);
    mux.call(request).await
}

/// Sends what needs no answer over `link`.
pub(super) fn tell(shared: &Shared, link: &Link, purpose: Purpose, request: Bytes) -> bool {
    let fits = purpose.is_long_lived() && header(request.len(), purpose.frame_bytes_max()).is_ok();
    fits && link.mux(purpose, shared).tell(request)
}

async fn call_alone(connection: &Connection, purpose: Purpose, request: Bytes) -> Result<Bytes, CallError> {
    let (mut send, recv) = connection.open_bi().await.map_err(CallError::lost)?;
    let _ = send.set_priority(purpose.priority());
    let length = header(request.len(), purpose.frame_bytes_max())?;
    let mut first = vec![purpose as u8, Kind::Call as u8];
    first.extend_from_slice(&length);
    send.write_all_chunks(&mut [first.into(), request]).await.map_err(CallError::lost)?;
    let _ = send.finish();
    let mut recv = FrameReceiver::limited(recv, purpose.frame_bytes_max() + 1);
    let answer = recv.next().await?.ok_or_else(|| CallError::lost("the answer was cut short"))?;
    read_answer(answer)
}

/// Opens a framed stream.
pub(super) async fn open(link: &Link, purpose: Purpose) -> Result<(FrameSender, FrameReceiver), CallError> {
    let (mut send, recv) = link.connection.open_bi().await.map_err(CallError::lost)?;
    let _ = send.set_priority(purpose.priority());
    send.write_all(&[purpose as u8, Kind::Frames as u8]).await.map_err(CallError::lost)?;
    Ok((FrameSender::new(send, purpose), FrameReceiver::new(recv, purpose)))
}

/// Takes the status off an answer.
pub(super) fn read_answer(mut answer: Bytes) -> Result<Bytes, CallError> {
    match answer.first().copied() {
        Some(ANSWERED) => {
            answer.advance(1);
            Ok(answer)
        }
        Some(REFUSED) => Err(CallError::Refused(String::from_utf8_lossy(&answer[1..]).into_owned())),
        _ => Err(CallError::lost("the answer has no status")),
    }
}

/// Status and content of an answer; one that is too long becomes a refusal that says so.
pub(super) fn answer_parts(answer: Result<Bytes, String>, max: usize) -> (u8, Bytes) {
    match answer {
        Ok(bytes) if bytes.len() <= max => (ANSWERED, bytes),
        Ok(bytes) => (REFUSED, format!("the answer of {} bytes is over the limit of {max}", bytes.len()).into()),
        Err(mut reason) => {
            reason.truncate(reason.floor_char_boundary(max.min(4096)));
            (REFUSED, reason.into())
        }
    }
}
