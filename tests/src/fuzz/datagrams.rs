//! Datagrams: heartbeats into an election, gossip into a membership. What is malformed changes nothing.

use super::Came;
use relais_dispatcher::election::{Election, ElectionConfig, Input as ElectionInput};
use relais_node::membership::{Identity, Input, Membership};
use relais_protocol::codec;
use relais_protocol::ids::{Incarnation, NodeId};
use relais_protocol::message::{DATAGRAM_BYTES_MAX, Datagram};
use relais_protocol::time::Mono;

/// The whole input is one datagram.
pub(super) fn take(bytes: &[u8]) -> Came {
    let Ok(datagram) = codec::decode::<Datagram>(codec::FORMAT, bytes, DATAGRAM_BYTES_MAX) else {
        return Came::from(gossip(bytes.to_vec()));
    };
    assert_eq!(codec::encode(codec::FORMAT, &datagram), bytes, "a datagram is written otherwise than it was read");
    match datagram {
        Datagram::Gossip(bytes) | Datagram::Passed { bytes, .. } => Came::from(gossip(bytes)),
        Datagram::Beat(beat) => {
            let mut election = Election::new(ElectionConfig::default(), NodeId(2), 7, Mono(0));
            drop(election.handle(Mono(1), ElectionInput::Beat(beat)));
            for now in [2, 500, 1_000] {
                drop(election.handle(Mono(now), ElectionInput::Tick));
            }
            Came::Taken
        }
    }
}

/// Whether a membership took it.
fn gossip(bytes: Vec<u8>) -> bool {
    let me = Identity { node: NodeId(2), incarnation: Incarnation(1) };
    let mut membership = Membership::new(me, 7);
    let effects = membership.handle(Mono(1), Input::Datagram { from: NodeId(1), bytes });
    let refused = membership.refused() > 0;
    assert!(!refused || effects.is_empty(), "a refused datagram had effects: {effects:?}");
    drop(membership.handle(Mono(5_000), Input::Tick));
    !refused
}
