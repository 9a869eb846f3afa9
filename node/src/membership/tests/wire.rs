//! Datagrams: their form, and that a bad one changes nothing.

use super::*;
use crate::membership::peer::Peer;
use crate::membership::vitals::Telling;
use crate::membership::wire::{Wire, WireError, inspect};
use foca::{Codec, Header, Member, Message, State};
use proptest::prelude::*;

fn peer(node: u32) -> Peer {
    Peer { node: NodeId(node), incarnation: Incarnation(0x0102), life: 3 }
}

fn header(message: Message<Peer>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { src: peer(1), src_incarnation: 5, dst: peer(2), message };
    Wire.encode_header(&header, &mut bytes).expect("a header");
    bytes
}

/// A settled cluster and a datagram from node 2 to node 1 that says something new.
fn settled() -> (World, Vec<u8>) {
    let mut world = World::new(5, 0, 21);
    world.until(3_000, "all alive", World::all_see_all);
    world.until(3_000, "all vitals", World::all_have_vitals);
    world.input(NodeId(2), Input::Vitals(vitals(77)));
    let end = world.now.plus(10_000);
    loop {
        assert!(world.step(end), "a datagram with figures");
        let wanted = world.flying.values().find(|(from, to, bytes)| {
            let fresh = |bytes| inspect(bytes).is_ok_and(|p| p.tellings.iter().any(|t| t.vitals.running == 77));
            (*from, *to) == (NodeId(2), NodeId(1)) && fresh(bytes)
        });
        if let Some((_, _, bytes)) = wanted {
            let bytes = bytes.clone();
            return (world, bytes);
        }
    }
}

#[test]
fn the_form_on_the_wire_stays() {
    let mut bytes = header(Message::Ping(9));
    Wire.encode_member(&Member::new(peer(3), 7, State::Suspect), &mut bytes).expect("a member");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted = concat!(
        "24",
        "01",
        "01000000",
        "0201000000000000",
        "0300",
        "0500",
        "02000000",
        "0201000000000000",
        "0300",
        "00000000",
        "09",
        "15",
        "01",
        "03000000",
        "0201000000000000",
        "0300",
        "0700",
        "01000000",
    );
    assert_eq!(hex, wanted);
}

#[test]
fn a_member_that_does_not_fit_leaves_no_trace() {
    let mut bytes = Vec::new();
    let room = bytes::BufMut::limit(&mut bytes, 10);
    assert_eq!(Wire.encode_member(&Member::alive(peer(3)), room), Err(WireError::Full));
    assert!(bytes.is_empty());
}

#[test]
fn a_telling_is_bounded_and_a_share_is_a_number() {
    let long = Vitals { version: "é".repeat(400), ..vitals(1) };
    let telling = Telling::new(NodeId(1), 1, long);
    assert_eq!(telling.vitals.version.len(), 48);
    assert_eq!(Telling::read(&telling.to_bytes()), Ok(telling));
    for share in [f32::NAN, f32::INFINITY, -1.0, 101.0] {
        let telling = Telling::new(NodeId(1), 1, Vitals { cpu_percent: share, ..vitals(1) });
        assert!(Telling::read(&telling.to_bytes()).is_err(), "{share}");
    }
}

#[test]
fn the_form_of_a_telling_stays() {
    let bytes = Telling::new(NodeId(1), 6, Vitals { incarnation: Incarnation(0x0102), ..vitals(5) }).to_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted = concat!(
        "01",
        "01000000",
        "0600000000000000",
        "0201000000000000",
        "00000000",
        "01",
        "08000000",
        "05000000",
        "00004841",
        "0000004000000000",
        "0a00000000000000",
        "1400000000000000",
        "2a00000000000000",
        "0300000000000000",
        "2a00000000000000",
        "0500000000000000",
        "302e312e30",
        "01000000",
        "0000000000010000",
        "00",
        "01",
        "2c01000000000000",
    );
    assert_eq!(hex, wanted);
}

#[test]
fn a_bad_telling_behind_a_good_header_spoils_the_whole_datagram() {
    let good = Telling::new(NodeId(1), 1, vitals(1)).to_bytes();
    for (telling, refused) in [(good.clone(), 0), (good[..20].to_vec(), 1), (vec![7; 3], 1), (Vec::new(), 1)] {
        let mut bytes = header(Message::Gossip);
        bytes.extend([0, 0]);
        bytes.extend(u16::try_from(telling.len()).expect("a length").to_be_bytes());
        bytes.extend(telling);
        let mut member = Membership::new(Identity { node: NodeId(2), incarnation: Incarnation(0x0102) }, 1);
        // It is addressed to another life of node 2, so that even the good one has no answer.
        let effects = member.handle(Mono(1), Input::Datagram { from: NodeId(1), bytes });
        assert_eq!((effects, member.refused()), (Vec::new(), refused));
        assert_eq!(member.board.heard(NodeId(1)).is_some(), refused == 0);
    }
}

#[test]
fn a_datagram_of_another_sender_or_for_another_is_refused() {
    let (mut world, bytes) = settled();
    for (to, from) in [(1, 3), (3, 2), (2, 2)] {
        let member = world.nodes.get_mut(&NodeId(to)).expect("the node");
        let (before, rows) = (member.refused(), member.members(world.now));
        let input = Input::Datagram { from: NodeId(from), bytes: bytes.clone() };
        assert_eq!(member.handle(world.now, input), Vec::new());
        assert_eq!((member.refused(), member.members(world.now)), (before + 1, rows));
    }
    let member = world.nodes.get_mut(&NodeId(1)).expect("the node");
    member.handle(world.now, Input::Datagram { from: NodeId(2), bytes });
    assert_eq!(member.refused(), 1, "only the one that said another sender");
}

#[test]
fn trailing_or_missing_bytes_are_refused_wherever_they_are() {
    let (world, bytes) = settled();
    for end in 0..bytes.len() {
        let mut member = Membership::new(Identity { node: NodeId(1), incarnation: Incarnation(100) }, 1);
        let effects = member.handle(world.now, Input::Datagram { from: NodeId(2), bytes: bytes[..end].to_vec() });
        // A cut between two tellings leaves a whole datagram.
        if inspect(&bytes[..end]).is_err() {
            assert_eq!((effects, member.refused(), member.members(world.now)), (Vec::new(), 1, Vec::new()), "{end}");
        }
    }
    let whole = (0..bytes.len()).filter(|end| inspect(&bytes[..*end]).is_ok()).count();
    assert!(whole <= 5, "{whole} prefixes are whole");
    let tailed = [header(Message::Announce), vec![0, 0]].concat();
    assert!(matches!(inspect(&tailed), Err(WireError::Ragged)));
    assert!(matches!(inspect(&[0; 1_151]), Err(WireError::TooLong(1_151))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..1_300)) {
        let mut world = World::new(2, 0, 1);
        world.until(3_000, "both alive", World::all_see_all);
        let now = world.now;
        let member = world.nodes.get_mut(&NodeId(1)).expect("the node");
        let (rows, deadline) = (member.members(now), member.next_deadline());
        prop_assert_eq!(member.handle(now, Input::Datagram { from: NodeId(2), bytes }), Vec::new());
        prop_assert_eq!(member.refused(), 1);
        prop_assert_eq!((member.members(now), member.next_deadline()), (rows, deadline));
    }

    #[test]
    fn a_damaged_datagram_never_panics_and_is_either_whole_or_nothing(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        settle_ms in 0u64..3_000,
    ) {
        let (mut world, mut bytes) = settled();
        for (index, value) in damage {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let now = world.now;
        let member = world.nodes.get_mut(&NodeId(1)).expect("the node");
        let (before, rows) = (member.refused(), member.members(now));
        let effects = member.handle(now, Input::Datagram { from: NodeId(2), bytes });
        if member.refused() > before {
            prop_assert_eq!((effects, member.members(now)), (Vec::new(), rows));
        }
        world.run(settle_ms);
    }
}
