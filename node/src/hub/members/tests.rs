//! Who is to vote: tables of situations.

use super::*;

const RULES: Rules = Rules { voters: 5, replace_after_ms: 60_000 };

fn raft(node: u32) -> RaftId {
    RaftId::new(NodeId(node), 1)
}

fn rafts(nodes: &[u32]) -> BTreeSet<RaftId> {
    nodes.iter().copied().map(raft).collect()
}

fn node(node: u32) -> Applicant {
    Applicant { raft: raft(node), domain: format!("m{node}"), witness: false, up: true, gone_ms: 0 }
}

fn gone(id: u32, ms: u64) -> Applicant {
    Applicant { up: false, gone_ms: ms, ..node(id) }
}

fn witness(id: u32) -> Applicant {
    Applicant { witness: true, ..node(id) }
}

fn members(voters: &[u32], learners: &[u32]) -> Members {
    Members { voters: rafts(voters), learners: rafts(learners) }
}

fn voters(now: &Members, nodes: &[Applicant], rules: Rules) -> Vec<u32> {
    wanted(raft(1), now, nodes, rules).voters.iter().map(|raft| raft.node().0).collect()
}

fn up(count: u32) -> Vec<Applicant> {
    (1..=count).map(node).collect()
}

#[test]
fn a_cluster_grows_by_odd_sizes_but_for_the_pair() {
    let cases: &[(&[u32], &[u32], usize, &[u32])] = &[
        (&[1], &[], 5, &[1]),
        (&[1], &[2], 5, &[1, 2]),
        (&[1, 2], &[], 5, &[1, 2]),
        (&[1, 2], &[3], 5, &[1, 2, 3]),
        (&[1], &[2, 3], 5, &[1, 2, 3]),
        (&[1, 2, 3], &[4], 5, &[1, 2, 3]),
        (&[1, 2, 3], &[4, 5], 5, &[1, 2, 3, 4, 5]),
        (&[1, 2, 3], &[4, 5], 3, &[1, 2, 3]),
        (&[1, 2, 3, 4, 5], &[6, 7], 5, &[1, 2, 3, 4, 5]),
        (&[1, 2, 3, 4, 5], &[6, 7], 7, &[1, 2, 3, 4, 5, 6, 7]),
        (&[1, 2, 3, 4, 5], &[], 3, &[1, 2, 3]),
        (&[1], &[2, 3], 1, &[1]),
        (&[1, 2, 3], &[], 1, &[1]),
        (&[1, 2], &[], 1, &[1]),
    ];
    for (voting, following, wished, expected) in cases {
        let now = members(voting, following);
        let count = (voting.len() + following.len()) as u32;
        assert_eq!(voters(&now, &up(count), Rules { voters: *wished, ..RULES }), *expected, "{now:?} of {wished}");
    }
}

#[test]
fn a_seat_is_kept_for_a_while_and_then_given_away() {
    let now = members(&[1, 2, 3], &[4]);
    let nodes = |ms| vec![node(1), node(2), gone(3, ms), node(4)];
    assert_eq!(voters(&now, &nodes(60_000), RULES), [1, 2, 3]);
    assert_eq!(voters(&now, &nodes(60_001), RULES), [1, 2, 4]);
    // Back again, it follows, and is the next to be called.
    assert_eq!(voters(&members(&[1, 2, 4], &[3]), &up(4), RULES), [1, 2, 4]);
    // Nobody is there to take it: it stays.
    assert_eq!(voters(&members(&[1, 2, 3], &[]), &[node(1), node(2), gone(3, 99_999)], RULES), [1, 2, 3]);
    let down = [node(1), node(2), gone(3, 99_999), gone(4, 1)];
    assert_eq!(voters(&now, &down, RULES), [1, 2, 3]);
}

#[test]
fn a_quorum_never_shrinks_by_itself() {
    let five = members(&[1, 2, 3, 4, 5], &[6]);
    let nodes = [node(1), node(2), node(3), gone(4, 70_000), gone(5, 80_000), node(6)];
    assert_eq!(voters(&five, &nodes, RULES), [1, 2, 3, 4, 6]);
    let three = members(&[1, 2, 3], &[]);
    assert_eq!(voters(&three, &[node(1), gone(2, 1), gone(3, 99_999)], RULES), [1, 2, 3]);
    // A pair does not give its second seat to nobody either.
    assert_eq!(voters(&members(&[1, 2], &[]), &[node(1), gone(2, 99_999)], RULES), [1, 2]);
}

#[test]
fn a_dead_voter_is_replaced_before_the_cluster_grows_around_it() {
    let now = members(&[1, 2, 3], &[4, 5]);
    let nodes = [node(1), node(2), gone(3, 70_000), node(4), node(5)];
    assert_eq!(voters(&now, &nodes, RULES), [1, 2, 4]);
}

#[test]
fn a_journal_put_aside_is_replaced_by_its_nodes_next_one() {
    let again = Applicant { raft: RaftId::new(NodeId(3), 2), ..node(3) };
    let nodes = [node(1), node(2), again.clone()];
    let first = wanted(raft(1), &members(&[1, 2, 3], &[]), &nodes, RULES);
    assert_eq!((first.learner, &first.voters), (Some(again.raft), &rafts(&[1, 2, 3])));
    let mut now = members(&[1, 2, 3], &[]);
    now.learners.insert(again.raft);
    let then = wanted(raft(1), &now, &nodes, RULES);
    assert_eq!(then.voters, BTreeSet::from([raft(1), raft(2), again.raft]));
    let mut end = members(&[1, 2], &[3]);
    end.voters.insert(again.raft);
    assert_eq!(wanted(raft(1), &end, &nodes, RULES).gone, Some(raft(3)));
}

#[test]
fn the_leaders_own_row_may_be_old() {
    let me = RaftId::new(NodeId(1), 7);
    let now = Members { voters: BTreeSet::from([me]), learners: rafts(&[2]) };
    let next = wanted(me, &now, &up(2), RULES);
    assert_eq!((next.learner, next.voters), (None, BTreeSet::from([me, raft(2)])));
}

#[test]
fn voters_are_spread_over_what_falls_together() {
    let rack = |id: u32, rack: &str| Applicant { domain: rack.into(), ..node(id) };
    let nodes = [rack(1, "a"), rack(2, "a"), rack(3, "a"), rack(4, "b"), rack(5, "c")];
    assert_eq!(voters(&members(&[1], &[2, 3, 4, 5]), &nodes, Rules { voters: 3, ..RULES }), [1, 4, 5]);
    let nodes = [
        rack(1, "a"),
        rack(2, "b"),
        Applicant { up: false, gone_ms: 70_000, ..rack(3, "c") },
        rack(4, "a"),
        rack(5, "c"),
    ];
    assert_eq!(voters(&members(&[1, 2, 3], &[4, 5]), &nodes, RULES), [1, 2, 5]);
}

#[test]
fn a_witness_makes_a_third_and_never_a_pair() {
    let nodes = [node(1), node(2), witness(3)];
    assert_eq!(voters(&members(&[1], &[3]), &[node(1), witness(3)], RULES), [1]);
    assert_eq!(voters(&members(&[1, 2], &[3]), &nodes, RULES), [1, 2, 3]);
    assert_eq!(voters(&members(&[1], &[2, 3]), &nodes, RULES), [1, 2, 3]);
    let two = [node(1), witness(2), witness(3)];
    assert_eq!(voters(&members(&[1], &[2, 3]), &two, RULES), [1]);
    let many = [node(1), node(2), node(3), witness(4), witness(5), witness(6)];
    assert_eq!(voters(&members(&[1], &[2, 3, 4, 5, 6]), &many, RULES), [1, 2, 3, 4, 5]);
}

#[test]
fn a_change_left_half_done_is_carried_to_its_end() {
    let nodes = [node(1), node(2), gone(3, 70_000), node(4)];
    assert_eq!(voters(&members(&[1, 2, 3, 4], &[]), &nodes, RULES), [1, 2, 4]);
    assert_eq!(voters(&members(&[1, 2, 3, 4, 5], &[]), &up(5), RULES), [1, 2, 3, 4, 5]);
}

#[test]
fn absences_are_counted_from_when_they_were_seen() {
    let mut absences = Absences::default();
    let node = NodeId(2);
    assert_eq!(absences.note(Mono(1_000), node, false), 0);
    assert_eq!(absences.note(Mono(4_000), node, false), 3_000);
    assert_eq!(absences.note(Mono(5_000), node, true), 0);
    assert_eq!(absences.note(Mono(6_000), node, false), 0);
    assert_eq!((absences.half_done_ms(Mono(1)), absences.half_done_ms(Mono(9))), (0, 8));
    absences.is_whole();
    assert_eq!(absences.half_done_ms(Mono(20)), 0);
}

/// The leader stays, sizes are right, and no seat goes to who is down.
#[test]
fn every_small_situation_keeps_the_rules() {
    for voting in 1..=5u32 {
        for following in 0..=3u32 {
            let all = voting + following;
            for state in 0..3u32.pow(all - 1) {
                let of = |id: u32| match if id == 1 { 0 } else { state / 3u32.pow(id - 2) % 3 } {
                    0 => node(id),
                    1 => gone(id, 1),
                    _ => gone(id, 70_000),
                };
                let nodes: Vec<Applicant> = (1..=all).map(of).collect();
                let now = members(&(1..=voting).collect::<Vec<_>>(), &(voting + 1..=all).collect::<Vec<_>>());
                let next = voters(&now, &nodes, RULES);
                let pair = voting <= 2 && next.len() == 2;
                assert!(
                    next.contains(&1) && (pair || [1, 3, 5, 7].contains(&next.len())),
                    "{now:?} {nodes:?}: {next:?}"
                );
                assert!(next.len() >= voting as usize || voting == 4, "{now:?} {nodes:?}: {next:?}");
                let taken_in_down = next.iter().any(|id| *id > voting && !nodes[*id as usize - 1].up);
                assert!(!taken_in_down, "{now:?} {nodes:?}: {next:?}");
            }
        }
    }
}

fn next(now: &Members, nodes: &[Applicant]) -> (Option<u32>, Option<u32>) {
    let wanted = wanted(raft(1), now, nodes, Rules { voters: 3, ..RULES });
    (wanted.learner.map(|raft| raft.node().0), wanted.gone.map(|raft| raft.node().0))
}

#[test]
fn two_follow_beside_the_voters_and_no_more() {
    assert_eq!(next(&members(&[1], &[]), &up(8)), (Some(2), None));
    assert_eq!(next(&members(&[1, 2, 3], &[]), &up(8)), (Some(4), None));
    assert_eq!(next(&members(&[1, 2, 3], &[4]), &up(8)), (Some(5), None));
    assert_eq!(next(&members(&[1, 2, 3], &[4, 5]), &up(8)), (None, None));
    assert_eq!(next(&members(&[1, 2, 3], &[4, 5, 6, 7]), &up(8)), (None, Some(6)));
}

#[test]
fn who_follows_keeps_its_place_for_a_while() {
    let with_4 = |four: Applicant| vec![node(1), node(2), node(3), four, node(5), node(6)];
    let now = members(&[1, 2, 3], &[4, 5]);
    assert_eq!(next(&now, &with_4(gone(4, 60_000))), (None, None));
    assert_eq!(next(&now, &with_4(gone(4, 60_001))), (Some(6), None));
    // Back again it is one too many, and the older ones are kept.
    assert_eq!(next(&members(&[1, 2, 3], &[4, 5, 6]), &up(6)), (None, Some(6)));
    // Who is away is not taken out: it could not be told.
    assert_eq!(next(&members(&[1, 2, 3], &[4, 5, 6]), &with_4(gone(4, 70_000))), (None, None));
}

#[test]
fn those_who_follow_fall_with_others_than_the_voters_where_they_can() {
    let rack = |id: u32, rack: &str| Applicant { domain: rack.into(), ..node(id) };
    let nodes = [rack(1, "a"), rack(2, "b"), rack(3, "c"), rack(4, "a"), rack(5, "a"), rack(6, "d"), rack(7, "b")];
    assert_eq!(next(&members(&[1, 2, 3], &[]), &nodes), (Some(4), None));
    assert_eq!(next(&members(&[1, 2, 3], &[4]), &nodes), (Some(6), None));
    // A journal that follows is not given up for one that would have to catch up.
    assert_eq!(next(&members(&[1, 2, 3], &[5, 6]), &nodes), (None, None));
}
