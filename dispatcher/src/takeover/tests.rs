//! Tests of the takeover rule: one node, its clock and what it hears.

use super::*;
use relais_protocol::ids::{Epoch, Incarnation, Reign};

const PEER: NodeId = NodeId(2);

struct Node {
    rule: Rule,
    now: u64,
    journal: JournalSight,
    effects: Vec<Effect>,
}

impl Node {
    fn new(takeover: Takeover) -> Self {
        Self::with(NodeId(1), PEER, takeover)
    }

    fn with(me: NodeId, peer: NodeId, takeover: Takeover) -> Self {
        let mut rule = Rule::new(TakeoverConfig::default(), me, Mono(0));
        rule.terms(Terms { takeover, after_ms: 3_000 });
        let last_log = LogPosition { term: 1, index: 9 };
        let journal = JournalSight { voters: [me, peer].into(), last_log, ..JournalSight::default() };
        rule.journal(Mono(0), journal.clone());
        Self { rule, now: 0, journal, effects: Vec::new() }
    }

    fn run(&mut self, ms: u64) -> &mut Self {
        for _ in 0..ms / 100 {
            self.now += 100;
            self.effects.extend(self.rule.tick(Mono(self.now)));
        }
        self
    }

    fn hear(&mut self, change: impl FnOnce(&mut Beat)) -> &mut Self {
        let from = self.journal.voters.iter().copied().find(|node| *node != self.rule.me).unwrap_or(PEER);
        let mut beat = Beat {
            from,
            incarnation: Incarnation(1),
            reign: Reign { generation: self.journal.generation, epoch: Epoch(4) },
            dispatcher: false,
            goodbye: false,
            voter: true,
            ready: true,
            last_log: self.journal.last_log,
            hears: None,
        };
        change(&mut beat);
        self.rule.beat(Mono(self.now), &beat);
        self
    }

    fn waits(&self) -> Option<Wait> {
        self.rule.waits(Mono(self.now))
    }
}

fn take(generation: u64, silent_since: u64) -> Effect {
    Effect::TakeOver { peer: PEER, generation: Generation(generation), silent_since: Mono(silent_since) }
}

#[test]
fn a_peer_that_falls_silent_is_taken_over_from_once_and_not_sooner() {
    let mut node = Node::new(Takeover::Available);
    node.run(100).hear(|_| ()).run(2_900);
    assert_eq!((node.effects.len(), node.waits()), (0, Some(Wait::Silence { peer: PEER, after_ms: 3_000 })));
    node.run(2_000);
    assert_eq!(node.effects, [take(1, 100)]);
    assert_eq!(node.waits(), Some(Wait::TakingOver(PEER)));
    node.journal = JournalSight { voters: [NodeId(1)].into(), generation: Generation(1), ..JournalSight::default() };
    node.rule.journal(Mono(node.now), node.journal.clone());
    node.run(9_000);
    assert_eq!((node.effects.len(), node.waits()), (1, None), "alone, there is nobody to wait for");
}

#[test]
fn a_cold_node_waits_and_names_the_command_that_forces_it() {
    let mut node = Node::new(Takeover::Available);
    node.run(60_000);
    assert_eq!((node.effects.len(), node.waits()), (0, Some(Wait::NeverSeen(PEER))));
    let told = node.waits().unwrap().told("n2").to_string();
    assert!(told.contains("relais cluster recover --lost n2"), "{told}");
}

#[test]
fn a_node_that_leads_has_seen_its_peer() {
    let mut node = Node::new(Takeover::Available);
    node.journal.leads = true;
    node.rule.journal(Mono(0), node.journal.clone());
    node.run(3_000);
    assert_eq!(node.effects, [take(1, 0)]);
}

#[test]
fn a_pause_of_this_process_is_no_silence_of_its_peer() {
    let mut node = Node::new(Takeover::Available);
    node.run(100).hear(|_| ()).run(1_000);
    node.now += 60_000;
    node.run(2_900);
    assert_eq!(node.effects, []);
    node.run(300);
    assert_eq!(node.effects, [take(1, 61_200)]);
}

#[test]
fn off_refuses_and_says_so() {
    let mut node = Node::new(Takeover::Off);
    node.hear(|_| ()).run(60_000);
    assert_eq!((node.effects.len(), node.waits()), (0, Some(Wait::Off(PEER))));
    assert!(node.waits().unwrap().told("n2").to_string().contains("`off`"));
}

#[test]
fn a_peer_with_a_longer_log_was_not_in_step() {
    let mut node = Node::new(Takeover::Available);
    node.hear(|beat| beat.last_log.index = 10).run(10_000);
    assert_eq!((node.effects.len(), node.waits()), (0, Some(Wait::NotInStep(PEER))));
    node.hear(|_| ()).run(3_000);
    assert_eq!(node.effects.len(), 1, "once it had all, it may");
}

#[test]
fn a_peer_that_went_on_alone_is_never_taken_over_from_by_the_stale_one() {
    let mut node = Node::new(Takeover::Available);
    node.hear(|_| ()).run(1_000);
    node.hear(|beat| beat.reign.generation = Generation(2)).run(10_000);
    assert_eq!((node.effects.len(), node.waits()), (0, Some(Wait::NotInStep(PEER))));
}

#[test]
fn a_peer_that_has_lost_its_journal_counts_as_lost_though_it_is_heard() {
    let mut node = Node::new(Takeover::Available);
    node.hear(|_| ());
    for _ in 0..40 {
        node.run(100).hear(|beat| beat.voter = false);
    }
    assert_eq!(node.effects, [take(1, 0)]);
}

#[test]
fn a_planned_stop_is_waited_for() {
    let mut node = Node::new(Takeover::Available);
    node.hear(|_| ());
    node.rule.stopping(true);
    node.run(9_000);
    assert_eq!((node.effects.len(), node.waits()), (0, Some(Wait::Stopping(PEER))));
    node.rule.stopping(false);
    node.run(100);
    assert_eq!(node.effects.len(), 1, "a stop that came to nothing is a loss like any other");
}

#[test]
fn the_tie_break_is_asked_first_and_again_after_a_no() {
    let tiebreak = Takeover::TieBreak("gw:22".to_owned());
    let mut node = Node::new(tiebreak.clone());
    node.hear(|_| ()).run(3_500);
    assert_eq!(node.effects, [Effect::Check(PEER, tiebreak.clone())]);
    let no = node.rule.checked(Mono(node.now), Err("gw:22 did not answer".to_owned()));
    assert_eq!((no, node.waits()), (None, Some(Wait::Refused(PEER, "gw:22 did not answer".to_owned()))));
    node.run(1_000);
    assert_eq!(node.effects.len(), 2);
    assert_eq!(node.rule.checked(Mono(node.now), Ok(())), Some(take(1, 0)));
}

#[test]
fn a_yes_that_comes_when_the_peer_is_back_is_void() {
    let mut node = Node::new(Takeover::Fence("true".to_owned()));
    node.hear(|_| ()).run(3_500).hear(|_| ());
    assert_eq!(node.rule.checked(Mono(node.now), Ok(())), None);
}

#[test]
fn a_takeover_that_fails_is_tried_again() {
    let mut node = Node::new(Takeover::Available);
    node.hear(|_| ()).run(3_000);
    node.rule.failed(Mono(node.now), "the disk".to_owned());
    assert_eq!(node.waits(), Some(Wait::Failed(PEER, "the disk".to_owned())));
    node.run(1_000);
    assert_eq!(node.effects, [take(1, 0), take(1, 0)]);
}

#[test]
fn three_voters_and_a_witness_are_no_pair() {
    for change in [
        |journal: &mut JournalSight| journal.voters = [1, 2, 3].map(NodeId).into(),
        |journal: &mut JournalSight| journal.voters = [1].map(NodeId).into(),
        |journal: &mut JournalSight| journal.voters = [2, 3].map(NodeId).into(),
        |journal: &mut JournalSight| journal.has_witness = true,
    ] {
        let mut node = Node::new(Takeover::Available);
        node.hear(|_| ());
        change(&mut node.journal);
        node.rule.journal(Mono(0), node.journal.clone());
        node.run(60_000);
        assert_eq!((node.effects.len(), node.waits()), (0, None), "{:?}", node.journal);
    }
}

#[test]
fn a_change_of_voters_that_is_half_done_leaves_it_to_the_leader() {
    for leads in [false, true] {
        let mut node = Node::new(Takeover::Available);
        node.hear(|_| ());
        (node.journal.is_joint, node.journal.leads) = (true, leads);
        node.rule.journal(Mono(0), node.journal.clone());
        node.run(4_000);
        assert_eq!(node.effects.len(), usize::from(leads));
    }
}

#[test]
fn a_survivor_that_gave_way_goes_on_above_when_the_higher_one_is_gone() {
    let mut node = Node::new(Takeover::Available);
    node.journal = JournalSight { voters: [NodeId(1)].into(), generation: Generation(3), ..JournalSight::default() };
    node.rule.journal(Mono(0), node.journal.clone());
    node.hear(|beat| {
        beat.reign.generation = Generation(4);
        beat.dispatcher = true;
    });
    node.run(2_900);
    assert_eq!(node.effects, []);
    node.run(200);
    assert_eq!(node.effects, [take(5, 0)]);
}

#[test]
fn no_two_sides_ever_share_a_generation() {
    for highest in 0..50 {
        let (low, high) = (NodeId(3), NodeId(8));
        let odd = next_generation(low, high, Generation(highest)).0;
        let even = next_generation(high, low, Generation(highest)).0;
        assert_eq!((odd % 2, even % 2), (1, 0));
        assert!(odd > highest && even > highest && odd <= highest + 2 && even <= highest + 2);
    }
}
