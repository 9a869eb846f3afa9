//! Tests of the election: three cores on one clock, with beats, questions and answers passed by hand.

mod histories;
mod words;

use super::*;
use relais_protocol::ids::{Epoch, Incarnation, RaftId};
use relais_protocol::message::{Beat, Confirm, ConfirmAnswer, Verdict};

/// The first journals of these nodes.
fn journals(nodes: impl IntoIterator<Item = u32>) -> BTreeSet<RaftId> {
    nodes.into_iter().map(|node| RaftId::new(NodeId(node), 1)).collect()
}

/// The first question of a node whose log ends there, and in which five vote.
fn asked_by(candidate: u32, last_log: LogPosition) -> Confirm {
    Confirm { candidate: NodeId(candidate), round: 1, last_log, reign: Reign::default(), journals: journals(1..=5) }
}

/// Three elections and a journal that lets whoever stands with a majority up win at once.
struct World {
    now: u64,
    nodes: BTreeMap<NodeId, Election>,
    down: BTreeSet<NodeId>,
    leader: Option<NodeId>,
    reign: Reign,
    term: u64,
    stands: u32,
    logs: BTreeMap<NodeId, u64>,
    unready: BTreeSet<NodeId>,
    promoted: BTreeSet<NodeId>,
    effects: Vec<(NodeId, Effect)>,
}

impl World {
    fn new() -> Self {
        let ids = [1, 2, 3].map(NodeId);
        let nodes = ids.map(|id| (id, Election::new(ElectionConfig::default(), id, u64::from(id.0), Mono(0))));
        let mut world = Self {
            now: 0,
            nodes: nodes.into(),
            down: BTreeSet::new(),
            leader: None,
            reign: Reign::default(),
            term: 1,
            stands: 0,
            logs: BTreeMap::new(),
            unready: BTreeSet::new(),
            promoted: BTreeSet::new(),
            effects: Vec::new(),
        };
        for id in ids {
            world.view(id);
        }
        world
    }

    /// The third node is a witness.
    fn with_witness() -> Self {
        let mut world = Self::new();
        let config = ElectionConfig { witness: true, ..ElectionConfig::default() };
        world.nodes.insert(NodeId(3), Election::new(config, NodeId(3), 3, Mono(0)));
        world.unready.insert(NodeId(3));
        world.view(NodeId(3));
        world
    }

    fn log(&self, id: NodeId) -> LogPosition {
        LogPosition { term: 1, index: self.logs.get(&id).copied().unwrap_or(5) }
    }

    fn view(&mut self, id: NodeId) {
        let view = JournalView {
            leads: self.leader == Some(id),
            term: self.term,
            last_log: self.log(id),
            voters: [1, 2, 3].map(NodeId).into(),
            id: RaftId::new(id, 1),
            journals: journals(1..=3),
            ..JournalView::default()
        };
        self.input(id, Input::Journal(view));
    }

    fn input(&mut self, id: NodeId, input: Input) {
        if self.down.contains(&id) {
            return;
        }
        let now = Mono(self.now);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let effects = node.handle(now, input);
        for effect in effects {
            self.effects.push((id, effect.clone()));
            self.does(id, effect);
        }
    }

    fn does(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Ask(others, question) => {
                for other in others {
                    self.input(other, Input::Asked(question.clone()));
                }
            }
            Effect::Answer(to, answer) => self.input(to, Input::Answered(answer)),
            Effect::Probe(node) => {
                if self.down.contains(&node) {
                    self.input(id, Input::Gone(node));
                }
            }
            Effect::Stand => {
                self.stands += 1;
                self.term += 1;
                let old = self.leader.replace(id);
                if let Some(old) = old {
                    self.view(old);
                }
                self.view(id);
            }
            Effect::HandOn(heir) if !self.down.contains(&heir) => {
                let all = self.log(id).index;
                self.logs.insert(heir, all);
                self.view(heir);
                self.input(heir, Input::StandNow);
            }
            Effect::HandOn(_) => {}
            Effect::Promote => {
                self.promoted.insert(id);
                self.reign.epoch = Epoch(self.reign.epoch.0 + 1);
                for node in [1, 2, 3].map(NodeId) {
                    self.input(node, Input::Promoted { reign: self.reign, node: id, ours: node == id });
                }
            }
            Effect::Resign(_) => {}
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 5 {
            self.now += 5;
            if self.now % 25 == 0 {
                self.beats();
            }
            for id in [1, 2, 3].map(NodeId) {
                self.input(id, Input::Tick);
            }
        }
    }

    fn beats(&mut self) {
        for id in [1, 2, 3].map(NodeId).into_iter().filter(|id| !self.down.contains(id)).collect::<Vec<_>>() {
            let node = &self.nodes[&id];
            let beat = Beat {
                from: id,
                incarnation: Incarnation(1),
                reign: node.reign(),
                dispatcher: node.leads(),
                goodbye: false,
                voter: true,
                ready: !self.unready.contains(&id),
                last_log: self.log(id),
                hears: node.heard_dispatcher(Mono(self.now)),
            };
            for other in [1, 2, 3].map(NodeId) {
                self.input(other, Input::Beat(beat.clone()));
            }
        }
    }

    fn leaders(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(id, n)| n.leads() && !self.down.contains(id)).map(|(id, _)| *id).collect()
    }
}

#[test]
fn a_cold_cluster_elects_its_best_after_a_lease_and_keeps_it() {
    let mut world = World::new();
    world.run(1_000);
    assert_eq!(world.leaders(), [NodeId(3)]);
    let reign = world.reign;
    world.run(5_000);
    assert_eq!((world.leaders(), world.reign, world.stands), (vec![NodeId(3)], reign, 1));
}

#[test]
fn a_killed_dispatcher_is_followed_within_a_tenth_of_a_second_and_comes_back_as_a_worker() {
    let mut world = World::new();
    world.run(1_000);
    world.down.insert(NodeId(3));
    world.run(120);
    assert_eq!(world.leaders(), [NodeId(2)]);
    world.down.clear();
    world.nodes.insert(NodeId(3), Election::new(ElectionConfig::default(), NodeId(3), 3, Mono(world.now)));
    world.view(NodeId(3));
    let reign = world.reign;
    world.run(3_000);
    assert_eq!((world.leaders(), world.reign), (vec![NodeId(2)], reign), "sticky");
}

#[test]
fn one_false_suspicion_deposes_nobody() {
    let mut world = World::new();
    world.run(1_000);
    let reign = world.reign;
    world.input(NodeId(2), Input::Gone(NodeId(3)));
    world.run(20);
    let asked = world.effects.iter().any(|(id, e)| *id == NodeId(2) && matches!(e, Effect::Ask(..)));
    world.run(500);
    assert_eq!((world.leaders(), world.reign, world.stands, asked), (vec![NodeId(3)], reign, 1, true));
}

#[test]
fn a_paused_dispatcher_resigns_before_it_does_anything_else() {
    let mut world = World::new();
    world.run(1_000);
    world.now += 10_000;
    let effects = world.nodes.get_mut(&NodeId(3)).unwrap().handle(Mono(world.now), Input::Tick);
    assert!(matches!(effects[..], [Effect::Resign(_)]), "{effects:?}");
    assert!(!world.nodes[&NodeId(3)].leads());
}

#[test]
fn a_promotion_of_an_earlier_run_gives_nobody_the_role() {
    let mut world = World::new();
    world.run(1_000);
    let now = Mono(world.now);
    let mut restarted = Election::new(ElectionConfig::default(), NodeId(3), 3, now);
    let voters = [1, 2, 3].map(NodeId).into();
    let last_log = LogPosition { term: 9, index: 6 };
    let view = JournalView { leads: true, term: 9, last_log, voters, ..JournalView::default() };
    assert_eq!(restarted.handle(now, Input::Journal(view)), [Effect::Promote]);
    let reign = |epoch| Reign { epoch: Epoch(epoch), ..Reign::default() };
    let met_again = Input::Promoted { reign: reign(1), node: NodeId(3), ours: false };
    assert_eq!(restarted.handle(now, met_again), []);
    assert!(!restarted.leads());
    let own = Input::Promoted { reign: reign(2), node: NodeId(3), ours: true };
    assert_eq!(restarted.handle(now, own), []);
    assert!(restarted.leads());
}

#[test]
fn two_promotions_of_the_same_run_leave_it_the_role() {
    let mut world = World::new();
    world.run(1_000);
    let now = Mono(world.now);
    let leader = world.nodes.get_mut(&NodeId(3)).unwrap();
    let reign = Reign { epoch: Epoch(world.reign.epoch.0 + 1), ..world.reign };
    assert_eq!(leader.handle(now, Input::Promoted { reign, node: NodeId(3), ours: true }), []);
    assert_eq!((leader.leads(), leader.reign()), (true, reign));
}

#[test]
fn a_witness_lets_the_other_take_over() {
    let mut world = World::with_witness();
    world.run(1_000);
    assert_eq!(world.leaders(), [NodeId(2)]);
    world.down.insert(NodeId(2));
    world.run(120);
    assert_eq!(world.leaders(), [NodeId(1)]);
    world.run(2_000);
    assert_eq!((world.leaders(), world.stands), (vec![NodeId(1)], 2), "the witness never stood");
}

#[test]
fn a_witness_with_more_in_its_log_catches_the_other_up_and_hands_over() {
    let mut world = World::with_witness();
    world.run(1_000);
    for id in [2, 3].map(NodeId) {
        world.logs.insert(id, 6);
        world.view(id);
    }
    world.down.insert(NodeId(2));
    world.run(700);
    assert_eq!(world.leaders(), [NodeId(1)]);
    assert_eq!(world.log(NodeId(1)).index, 6);
    assert!(world.effects.contains(&(NodeId(3), Effect::HandOn(NodeId(1)))));
    assert!(!world.promoted.contains(&NodeId(3)), "a witness never reigns");
}

#[test]
fn a_witness_alone_with_a_majority_but_nobody_to_hand_on_to_waits() {
    let mut world = World::with_witness();
    world.run(1_000);
    let stands = world.stands;
    world.unready.insert(NodeId(1));
    world.input(NodeId(1), Input::Ready(false));
    world.logs.insert(NodeId(3), 6);
    world.view(NodeId(3));
    world.down.insert(NodeId(2));
    world.run(3_000);
    assert_eq!((world.leaders(), world.stands), (vec![], stands));
    world.unready.remove(&NodeId(1));
    world.input(NodeId(1), Input::Ready(true));
    world.run(700);
    assert_eq!(world.leaders(), [NodeId(1)]);
}

#[test]
fn who_is_not_ready_gives_way_to_who_is() {
    let mut world = World::new();
    world.unready.insert(NodeId(3));
    world.input(NodeId(3), Input::Ready(false));
    world.run(1_000);
    assert_eq!(world.leaders(), [NodeId(2)]);
}

#[test]
fn a_yes_that_is_read_after_a_pause_moves_nobody_to_stand() {
    let mut world = World::new();
    let me = NodeId(3);
    world.now = 1_000;
    let asked = world.nodes.get_mut(&me).unwrap().handle(Mono(1_000), Input::Tick);
    let Some(Effect::Ask(_, question)) = asked.last() else { panic!("{asked:?}") };
    let yes = |from| {
        Input::Answered(ConfirmAnswer {
            round: question.round,
            from: NodeId(from),
            verdict: Verdict::Yes,
            refuses_votes_ms: 0,
        })
    };
    let node = world.nodes.get_mut(&me).unwrap();
    let late = [node.handle(Mono(9_000), yes(1)), node.handle(Mono(9_000), yes(2))].concat();
    assert!(!late.contains(&Effect::Stand), "{late:?}");
}

#[test]
fn while_voters_change_a_majority_of_the_old_and_of_the_new_must_confirm() {
    let sets = vec![[1, 3].map(NodeId).into(), [1, 2, 3].map(NodeId).into()];
    let stands = |yes: &[u32]| {
        let view = JournalView { voters: [1, 2, 3].map(NodeId).into(), sets: sets.clone(), ..JournalView::default() };
        let mut node = Election::new(ElectionConfig::default(), NodeId(3), 3, Mono(0));
        node.handle(Mono(1_000), Input::Journal(view));
        let mut effects = Vec::new();
        for from in yes.iter().copied().map(NodeId) {
            let answer = ConfirmAnswer { round: 1, from, verdict: Verdict::Yes, refuses_votes_ms: 0 };
            effects.extend(node.handle(Mono(1_001), Input::Answered(answer)));
        }
        effects.contains(&Effect::Stand)
    };
    assert!(!stands(&[2]), "a majority of the new ones only");
    assert!(stands(&[1]), "of both");
    assert!(stands(&[2, 1]), "of both, one after the other");
}

#[test]
fn a_longer_log_is_never_confirmed_away() {
    let mut world = World::new();
    world.now = 1_000;
    let question = asked_by(1, LogPosition { term: 1, index: 4 });
    let effects = world.nodes.get_mut(&NodeId(2)).unwrap().handle(Mono(1_000), Input::Asked(question));
    let verdict = |effects: &[Effect]| match &effects[0] {
        Effect::Answer(_, answer) => answer.verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(verdict(&effects), Verdict::LogLonger);
}

#[test]
fn whoever_was_restarted_with_the_longest_log_is_confirmed_though_it_knows_of_no_reign() {
    let mut world = World::new();
    world.run(1_000);
    world.down.insert(NodeId(3));
    world.now += 1_000;
    let question = asked_by(1, LogPosition { term: 1, index: 9 });
    let now = Mono(world.now);
    let effects = world.nodes.get_mut(&NodeId(2)).unwrap().handle(now, Input::Asked(question));
    let says = |verdict| effects.iter().any(|e| matches!(e, Effect::Answer(_, answer) if answer.verdict == verdict));
    assert!(says(Verdict::Yes), "{effects:?}");
}

#[test]
fn a_candidate_with_a_shorter_log_gives_way_to_the_better_one_at_once() {
    let mut world = World::new();
    world.run(1_000);
    world.down.insert(NodeId(3));
    // 2 has the higher id, and so would be first; but 1 has one entry more, and nobody knows it yet.
    world.logs.insert(NodeId(1), 6);
    world.view(NodeId(1));
    world.run(130);
    assert_eq!(world.leaders(), [NodeId(1)]);
}
