//! What nodes come to know of each other.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..20;

#[test]
fn all_learn_of_each_other_and_of_vitals() {
    for seed in SEEDS {
        for (loss, limit_ms) in [(0, 3_000), (20, 8_000)] {
            let mut world = World::new(5, loss, seed);
            world.until(limit_ms, &format!("all alive, seed {seed}, loss {loss}"), World::all_see_all);
            world.until(limit_ms, &format!("all vitals, seed {seed}, loss {loss}"), World::all_have_vitals);
        }
    }
}

#[test]
fn without_loss_nobody_is_ever_suspected() {
    let mut world = World::new(5, 0, 7);
    world.until(3_000, "all alive", World::all_see_all);
    world.run(60_000);
    let ups = world.news.iter().filter(|(_, _, effect)| matches!(effect, Effect::Up(..))).count();
    assert_eq!((ups, world.news.len()), (20, 20), "{:?}", world.news);
}

#[test]
fn new_figures_replace_old_ones_and_keep_coming() {
    let mut world = World::new(5, 20, 3);
    world.until(8_000, "all vitals", World::all_have_vitals);
    world.input(NodeId(2), Input::Vitals(vitals(99)));
    world.until(8_000, "the new figure everywhere", |world| {
        [1, 3, 4, 5].map(NodeId).iter().all(|viewer| {
            let rows = world.rows(*viewer);
            rows.iter().any(|row| row.node == NodeId(2) && row.vitals.as_ref().is_some_and(|v| v.running == 99))
        })
    });
    world.run(30_000);
    for row in world.rows(NodeId(1)) {
        assert!(row.heard_ms.is_some_and(|ms| ms < 5_000), "{row:?}");
    }
}

#[test]
fn a_silent_node_is_suspected_and_then_down_on_all() {
    for seed in SEEDS {
        for (loss, limit_ms) in [(0, 6_000), (20, 12_000)] {
            let mut world = World::new(5, loss, seed);
            world.until(8_000, "all alive", World::all_see_all);
            world.nodes.remove(&NodeId(3));
            world.news.clear();
            world.until(limit_ms, &format!("down on all, seed {seed}, loss {loss}"), |world| {
                world.all_say(NodeId(3), MemberState::Down)
            });
            let first = |wanted: &Effect| world.news.iter().find(|(_, _, effect)| effect == wanted).map(|(at, ..)| *at);
            let suspect = first(&Effect::Suspect(NodeId(3), Incarnation(100))).expect("a suspicion");
            let down = first(&Effect::Down(NodeId(3), Incarnation(100))).expect("a verdict");
            assert!(down.since(suspect) >= 2_000, "{suspect:?} {down:?}");
        }
    }
}

#[test]
fn a_restart_with_a_higher_incarnation_is_up_again() {
    for seed in SEEDS {
        let mut world = World::new(5, 20, seed);
        world.until(8_000, "all vitals", World::all_have_vitals);
        world.news.clear();
        // Too soon for anyone to have missed the old run.
        world.start(NodeId(4), Incarnation(101), 5);
        world.until(8_000, &format!("the new run on all, seed {seed}"), World::all_see_all);
        world.until(8_000, &format!("its figures, seed {seed}"), World::all_have_vitals);
        for viewer in [1, 2, 3, 5].map(NodeId) {
            assert!(world.told(viewer, &Effect::Down(NodeId(4), Incarnation(100))), "seed {seed}");
            assert!(world.told(viewer, &Effect::Up(NodeId(4), Incarnation(101))), "seed {seed}");
        }
    }
}

#[test]
fn one_that_was_down_comes_back() {
    let mut world = World::new(5, 0, 11);
    world.until(3_000, "all alive", World::all_see_all);
    world.nodes.remove(&NodeId(1));
    world.until(6_000, "down on all", |world| world.all_say(NodeId(1), MemberState::Down));
    world.start(NodeId(1), Incarnation(200), 5);
    world.until(4_000, "up on all", World::all_see_all);
}

#[test]
fn a_goodbye_is_quick() {
    for seed in SEEDS {
        for (nodes, loss, limit_ms) in [(5, 0, 700), (5, 20, 1_500), (2, 20, 700)] {
            let mut world = World::new(nodes, loss, seed);
            world.until(8_000, "all alive", World::all_see_all);
            world.input(NodeId(nodes), Input::Leave);
            assert_eq!(world.nodes[&NodeId(nodes)].next_deadline(), None);
            world.until(limit_ms, &format!("down on all {nodes}, seed {seed}, loss {loss}"), |world| {
                world.all_say(NodeId(nodes), MemberState::Down)
            });
        }
    }
}

#[test]
fn both_sides_of_a_healed_split_find_each_other_in_the_same_run() {
    for seed in SEEDS {
        let mut world = World::new(5, 0, seed);
        world.until(3_000, "all alive", World::all_see_all);
        world.split = true;
        world.until(15_000, &format!("each side gives up the other, seed {seed}"), |world| {
            let rows = |viewer| world.rows(NodeId(viewer)).into_iter().filter(|r| r.state == MemberState::Down).count();
            [1, 3, 5].iter().all(|viewer| rows(*viewer) == 2) && [2, 4].iter().all(|viewer| rows(*viewer) == 3)
        });
        world.run(10_000);
        world.split = false;
        world.until(15_000, &format!("all alive again, seed {seed}"), World::all_see_all);
        assert!(world.news.iter().any(|(_, _, effect)| *effect == Effect::Rejoined), "seed {seed}");
    }
}

#[test]
fn a_process_that_was_stopped_and_goes_on_is_up_again_in_the_same_run() {
    for seed in SEEDS {
        let mut world = World::new(5, 20, seed);
        world.until(8_000, "all alive", World::all_see_all);
        let stopped = world.nodes.remove(&NodeId(2)).expect("the node");
        world.until(12_000, "down on all", |world| world.all_say(NodeId(2), MemberState::Down));
        world.run(20_000);
        world.nodes.insert(NodeId(2), stopped);
        world.until(15_000, &format!("all alive again, seed {seed}"), World::all_see_all);
        assert!(world.told(NodeId(2), &Effect::Rejoined), "seed {seed}");
    }
}

#[test]
fn a_lone_node_finds_its_way_back_after_all_others_gave_it_up() {
    for seed in SEEDS {
        let mut world = World::new(2, 0, seed);
        world.until(3_000, "both alive", World::all_see_all);
        world.split = true;
        world.run(20_000);
        world.split = false;
        world.until(10_000, &format!("both alive again, seed {seed}"), World::all_see_all);
    }
}

#[test]
fn a_forgotten_node_is_neither_listed_nor_greeted() {
    let mut world = World::new(3, 0, 5);
    world.until(3_000, "all alive", World::all_see_all);
    world.nodes.remove(&NodeId(3));
    world.until(6_000, "down on all", |world| world.all_say(NodeId(3), MemberState::Down));
    world.input(NodeId(1), Input::Forget(vec![NodeId(3)]));
    world.input(NodeId(2), Input::Forget(vec![NodeId(3)]));
    assert_eq!(world.rows(NodeId(1)).len(), 1);
    // A verdict is sent to whom it is about, once for each probe that had failed before it.
    world.run(3_000);
    world.flying.clear();
    let end = world.now.plus(10_000);
    while world.step(end) {
        for (_, to, bytes) in world.flying.values() {
            assert_ne!(*to, NodeId(3), "{:?}", crate::membership::wire::inspect(bytes));
        }
    }
}

#[test]
fn two_processes_under_one_id_do_not_storm() {
    let mut world = World::new(3, 0, 9);
    world.until(3_000, "all alive", World::all_see_all);
    // A run older than the one that the others know: they refuse it for ever.
    world.start(NodeId(3), Incarnation(1), 3);
    let before = world.sent;
    world.run(10_000);
    assert!(world.sent - before < 3 * 10 * 40, "{} datagrams in 10 s", world.sent - before);
}

#[test]
fn sixty_three_nodes_settle_and_cost_little() {
    let mut world = World::new(63, 0, 1);
    world.until(15_000, "all alive", World::all_see_all);
    world.until(30_000, "all vitals", World::all_have_vitals);
    let before = world.sent;
    world.run(10_000);
    let per_node_and_second = (world.sent - before) / 63 / 10;
    assert!(per_node_and_second <= 20, "{per_node_and_second} datagrams");
    assert!(!world.news.iter().any(|(_, _, effect)| matches!(effect, Effect::Down(..))));
}
