//! How QUIC is set: time-outs, windows, buffers and the keys that outlive a restart.

use super::congestion::FlooredCubic;
use crate::identity::NodeKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use std::sync::Arc;
use std::time::Duration;

/// Nothing heard for so long: the path is dead. Well under a worker's lease (3 s).
const NEAR_IDLE_MS: u32 = 1_500;
const NEAR_ALIVE: Duration = Duration::from_millis(400);
/// The same between nodes of which nothing hangs on the other. Who dials decides: the shorter time holds for both.
const FAR_IDLE_MS: u32 = 15_000;
const FAR_ALIVE: Duration = Duration::from_secs(5);
/// Who is dialled as far tells what it has received after so many packets, or so long: sixty nodes that thanked for each
/// heartbeat by itself would keep a core busy. What is lost is sent again that much later.
const FAR_PACKETS: u32 = 10;
const FAR_THANKS: Duration = Duration::from_millis(150);
/// First guess of a round trip: decides how soon a lost first packet is sent again.
const FIRST_RTT: Duration = Duration::from_millis(100);
/// Queued datagrams beyond this push the oldest out: an old heartbeat is worth nothing.
const DATAGRAMS_OUT: usize = 4 * 1024;
const DATAGRAMS_IN: usize = 64 * 1024;

const MIB: u32 = 1024 * 1024;
/// Before the peer is known, it may send so much and open so many streams.
const STRANGER_WINDOW: u32 = 256 * 1024;
const STRANGER_STREAMS: u32 = 2;
/// Once it is known.
const PEER_WINDOW: u32 = 64 * MIB;
const PEER_STREAMS: u32 = 1_024;
const STREAM_WINDOW: u32 = 8 * MIB;
const SEND_WINDOW: u64 = 16 * MIB as u64;

fn transport(idle_ms: u32, alive: Option<Duration>) -> Arc<TransportConfig> {
    Arc::new(settings(idle_ms, alive))
}

fn settings(idle_ms: u32, alive: Option<Duration>) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .keep_alive_interval(alive)
        .initial_rtt(FIRST_RTT)
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        .congestion_controller_factory(Arc::new(FlooredCubic::default()))
        .datagram_send_buffer_size(DATAGRAMS_OUT)
        .datagram_receive_buffer_size(Some(DATAGRAMS_IN));
    config
}

/// Gives a peer that proved who it is the room that peers have.
pub(super) fn widen(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(PEER_STREAMS));
}

pub(super) fn server(tls: QuicServerConfig) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(transport(FAR_IDLE_MS, None))
        .max_incoming(1_024)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(4 * u64::from(MIB));
    config
}

/// For dialling a node that is near.
pub(super) fn client(tls: QuicClientConfig) -> quinn::ClientConfig {
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(transport(NEAR_IDLE_MS, Some(NEAR_ALIVE)));
    config
}

/// The same for one that is far.
pub(super) fn far(near: &quinn::ClientConfig) -> quinn::ClientConfig {
    let mut config = near.clone();
    let mut thanks = AckFrequencyConfig::default();
    thanks.ack_eliciting_threshold(VarInt::from_u32(FAR_PACKETS)).max_ack_delay(Some(FAR_THANKS));
    let mut settings = settings(FAR_IDLE_MS, Some(FAR_ALIVE));
    settings.ack_frequency_config(Some(thanks));
    config.transport_config(Arc::new(settings));
    config
}

/// Endpoint settings. Both keys follow from the node's key: after a restart the node knows the connection
/// ids of the run before, and answers them with a reset that their other end believes and redials after.
pub(super) fn endpoint(key: &NodeKey) -> EndpointConfig {
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key.derive("relais stateless reset"));
    let mut ids = [0; 8];
    ids.copy_from_slice(&key.derive("relais connection ids")[..8]);
    let ids = u64::from_be_bytes(ids);
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}
