//! The bytes of a gossip datagram: items of the house codec, each behind one byte of length.
//!
//! ```text
//! header | count: u16 | member × count | (length: u16, telling)…
//! ```
//!
//! [`inspect`] reads a datagram whole before the library sees any of it: the library applies the first
//! half before it reads the second, and a datagram that is malformed anywhere shall change nothing.

use super::peer::Peer;
use super::vitals::Telling;
use bytes::{Buf, BufMut};
use foca::{Header, Member, Message};
use relais_protocol::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of a gossip datagram. With its own envelope, or that of a node that passes it on, it is no longer
/// than the transport takes.
pub(super) const PACKET_BYTES_MAX: usize = crate::net::DATAGRAM_BYTES_MAX - 30;
/// The most bytes of a header or a member.
const ITEM_BYTES_MAX: usize = 128;

/// Why bytes are no gossip, or do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// An item does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It ends in the middle of an item, or goes on after the last.
    #[error("it is cut short or has a tail")]
    Ragged,
    /// It is over the limit of a datagram.
    #[error("it has {0} bytes, over the limit of a datagram")]
    TooLong(usize),
    /// The item to write does not fit into what is left of the datagram.
    #[error("it does not fit into the datagram")]
    Full,
}

/// The codec for the library.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire;

fn put<T: Serialize>(item: &T, mut buf: impl BufMut) -> Result<(), WireError> {
    let bytes = codec::encode(codec::FORMAT, item);
    let length = u8::try_from(bytes.len()).map_err(|_| WireError::Full)?;
    if buf.remaining_mut() < bytes.len() + 1 {
        return Err(WireError::Full);
    }
    buf.put_u8(length);
    buf.put_slice(&bytes);
    Ok(())
}

fn take<T: DeserializeOwned>(mut buf: impl Buf) -> Result<T, WireError> {
    if !buf.has_remaining() {
        return Err(WireError::Ragged);
    }
    let length = usize::from(buf.get_u8());
    let item = buf.chunk().get(..length).ok_or(WireError::Ragged)?;
    let value = codec::decode(codec::FORMAT, item, ITEM_BYTES_MAX)?;
    buf.advance(length);
    Ok(value)
}

impl foca::Codec<Peer> for Wire {
    type Error = WireError;

    fn encode_header(&mut self, header: &Header<Peer>, buf: impl BufMut) -> Result<(), WireError> {
        put(header, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Peer>, WireError> {
        take(buf)
    }

    fn encode_member(&mut self, member: &Member<Peer>, buf: impl BufMut) -> Result<(), WireError> {
        put(member, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Peer>, WireError> {
        take(buf)
    }
}

/// What a well-formed datagram holds, without its members.
#[derive(Debug)]
pub(super) struct Packet {
    /// From whom to whom, and what it is about.
    pub(super) header: Header<Peer>,
    /// Figures that came with it.
    pub(super) tellings: Vec<Telling>,
}

/// Reads a datagram to its last byte.
pub(super) fn inspect(bytes: &[u8]) -> Result<Packet, WireError> {
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    let mut rest = bytes;
    let header: Header<Peer> = take(&mut rest)?;
    match header.message {
        Message::Announce | Message::TurnUndead if rest.is_empty() => {}
        Message::Announce | Message::TurnUndead => return Err(WireError::Ragged),
        Message::Broadcast => {}
        _ => {
            let count = rest.try_get_u16().map_err(|_| WireError::Ragged)?;
            for _ in 0..count {
                take::<Member<Peer>>(&mut rest)?;
            }
        }
    }
    let mut tellings = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(rest.try_get_u16().map_err(|_| WireError::Ragged)?);
        let (telling, after) = rest.split_at_checked(length).ok_or(WireError::Ragged)?;
        tellings.push(Telling::read(telling)?);
        rest = after;
    }
    Ok(Packet { header, tellings })
}
