//! Tests of what a voter's word is worth: whom it holds off, for how long, and that nobody who can't win keeps
//! it from who can.

use super::*;

fn position(index: u64) -> LogPosition {
    LogPosition { term: 2, index }
}

/// A voter of five that hears nobody, whose log ends there.
fn voter(id: u32, index: u64) -> Election {
    let mut node = Election::new(ElectionConfig::default(), NodeId(id), u64::from(id), Mono(0));
    let voters = [1, 2, 3, 4, 5].map(NodeId).into();
    let (id, journals, last_log) = (RaftId::new(NodeId(id), 1), journals(1..=5), position(index));
    let view = JournalView { voters, id, journals, term: 2, last_log, ..JournalView::default() };
    node.handle(Mono(0), Input::Journal(view));
    node
}

fn question(candidate: u32, index: u64) -> Confirm {
    asked_by(candidate, position(index))
}

#[test]
fn a_word_given_again_and_again_is_firm_only_as_long_as_the_first_time() {
    let mut node = voter(3, 79);
    let mut verdict = |at, candidate, index| {
        let effects = node.handle(Mono(at), Input::Asked(question(candidate, index)));
        let answer = |effect| match effect {
            Effect::Answer(_, answer) => Some(answer.verdict),
            _ => None,
        };
        effects.into_iter().find_map(answer)
    };
    assert_eq!(verdict(1_000, 5, 113), Some(Verdict::Yes));
    assert_eq!(verdict(1_050, 4, 114), Some(Verdict::ConfirmedAnother), "the first may be about to stand");
    assert_eq!(verdict(1_110, 5, 113), Some(Verdict::Yes));
    assert_eq!(verdict(1_199, 4, 114), Some(Verdict::ConfirmedAnother));
    assert_eq!(verdict(1_205, 4, 113), Some(Verdict::ConfirmedAnother), "no longer, and a lower id");
    assert_eq!(
        verdict(1_206, 6, 113),
        Some(Verdict::ConfirmedAnother),
        "a higher id wins nothing that the first can't"
    );
    assert_eq!(verdict(1_210, 4, 114), Some(Verdict::Yes), "it had its time, and this one is better");
    assert_eq!(verdict(1_220, 5, 113), Some(Verdict::ConfirmedAnother));
}

#[test]
fn who_is_told_that_others_have_more_asks_ever_more_rarely() {
    let mut node = voter(5, 113);
    let mut rounds = Vec::new();
    for now in (1_000..11_000).step_by(5).map(Mono) {
        for effect in node.handle(now, Input::Tick) {
            if let Effect::Ask(_, question) = effect {
                rounds.push(now.0);
                let round = question.round;
                let answer = ConfirmAnswer { round, from: NodeId(4), verdict: Verdict::LogLonger, refuses_votes_ms: 0 };
                node.handle(now, Input::Answered(answer));
            }
        }
    }
    assert!(rounds[1] - rounds[0] <= 110, "the first time it is soon its turn again: {rounds:?}");
    assert!((5..20).contains(&rounds.len()), "{rounds:?}");
}

/// Two of five are gone for good, so all others must agree; and the one with the longest log has asked in vain
/// for long, so that it asks rarely.
#[test]
fn the_only_one_who_can_win_is_not_kept_out_by_another_who_asks_more_often() {
    let mut nodes: BTreeMap<NodeId, Election> =
        [(3, 79), (4, 114), (5, 113)].map(|(id, index)| (NodeId(id), voter(id, index))).into();
    let third_is_up = 20_000;
    for now in (0..third_is_up + 4_000).step_by(5) {
        for id in [3, 4, 5].map(NodeId) {
            let mut todo = vec![(id, Input::Tick)];
            while let Some((to, input)) = todo.pop() {
                if to == NodeId(3) && now < third_is_up {
                    continue;
                }
                let Some(node) = nodes.get_mut(&to) else { continue };
                for effect in node.handle(Mono(now), input) {
                    match effect {
                        Effect::Ask(others, question) => {
                            todo.extend(others.into_iter().map(|other| (other, Input::Asked(question.clone()))));
                        }
                        Effect::Answer(asker, answer) => todo.push((asker, Input::Answered(answer))),
                        Effect::Stand => {
                            assert_eq!(to, NodeId(4));
                            return;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    panic!("nobody stood");
}

/// Two of five are gone for good, and of the others two have less and take each other's word again and again.
#[test]
fn the_best_one_is_not_kept_out_by_two_who_take_each_others_word() {
    let now = Mono(10_000);
    let mut best = voter(5, 114);
    let mut asked = Vec::new();
    for now in (1_000..20_000).step_by(5).map(Mono) {
        let lesser = now.0.is_multiple_of(1_000).then(|| Input::Asked(question(1, 113)));
        for effect in best.handle(now, lesser.unwrap_or(Input::Tick)) {
            let Effect::Ask(_, question) = effect else { continue };
            asked.push(now.0);
            let refused = |from, verdict| {
                let round = question.round;
                Input::Answered(ConfirmAnswer { round, from: NodeId(from), verdict, refuses_votes_ms: 0 })
            };
            best.handle(now, refused(1, Verdict::ConfirmedAnother));
            best.handle(now, refused(3, Verdict::Yes));
        }
    }
    let waits = asked.windows(2).map(|two| two[1] - two[0]);
    assert!(asked.len() > 20 && waits.clone().all(|wait| wait <= 810), "it asks again when a word is over: {asked:?}");

    let mut lesser = voter(3, 113);
    let Some(Effect::Ask(_, question)) = lesser.handle(now, Input::Tick).pop() else { panic!("it does not ask") };
    lesser.handle(now, Input::Asked(self::question(4, 113)));
    let round = question.round;
    let longer = ConfirmAnswer { round, from: NodeId(5), verdict: Verdict::LogLonger, refuses_votes_ms: 0 };
    let before = lesser.failures;
    lesser.handle(now, Input::Answered(longer));
    assert_eq!(lesser.failures, before + 1, "it backs off, though it has given way meanwhile");
}

#[test]
fn a_reign_of_ours_that_begins_when_the_journal_follows_another_is_over_at_once() {
    let mut node = voter(3, 79);
    let reign = Reign { epoch: Epoch(4), ..Reign::default() };
    let effects = node.handle(Mono(10), Input::Promoted { reign, node: NodeId(3), ours: true });
    assert_eq!(effects, [Effect::Resign("the reign began too late")]);
    assert_eq!((node.leads(), node.reign()), (false, reign));
}

/// A voter that has asked in vain for so long that it would not ask again for a second, and when that is.
fn discouraged(id: u32, index: u64) -> (Election, Mono) {
    let mut node = voter(id, index);
    for now in (1_000..60_000).step_by(5).map(Mono) {
        node.handle(now, Input::Tick);
        if node.quiet_until > now.plus(1_000) {
            return (node, now);
        }
    }
    panic!("it never backs off: {:?}", node.phase);
}

fn asks(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Ask(..)))
}

#[test]
fn who_turns_a_lesser_one_down_asks_at_once() {
    let (mut node, now) = discouraged(4, 114);
    let effects = node.handle(now.plus(10), Input::Asked(question(5, 113)));
    assert!(matches!(&effects[..], [Effect::Answer(NodeId(5), answer), Effect::Ask(..)]
        if answer.verdict == Verdict::LogLonger));
    let (mut node, now) = discouraged(4, 114);
    assert!(!asks(&node.handle(now.plus(10), Input::Asked(question(5, 114)))), "that one is no lesser one");
}

#[test]
fn who_backs_off_asks_when_a_voter_is_heard_again() {
    let heard = |from| {
        Input::Beat(Beat {
            from: NodeId(from),
            incarnation: Incarnation(1),
            reign: Reign::default(),
            dispatcher: false,
            goodbye: false,
            voter: true,
            ready: true,
            last_log: position(79),
            hears: None,
        })
    };
    let (mut node, now) = discouraged(4, 114);
    assert!(!asks(&node.handle(now.plus(10), heard(6))), "that one has no vote");
    assert!(asks(&node.handle(now.plus(20), heard(3))));
    // The question comes to nothing: how often it then asks is not for the beats to say.
    let asked = (30..300).step_by(5).filter(|ms| asks(&node.handle(now.plus(*ms), heard(3)))).count();
    assert!(asked < 3, "{asked}");
}

/// What a node says to a candidate with 28 entries: which of its journals it has and up to where, and who votes
/// as it knows; and whose votes the candidate counts.
fn says(journal: u32, index: u64, voters: &[u32], counted: &[(u32, u32)]) -> Verdict {
    let mut node = Election::new(ElectionConfig::default(), NodeId(2), 2, Mono(0));
    let view = JournalView {
        voters: voters.iter().copied().map(NodeId).collect(),
        id: RaftId::new(NodeId(2), journal),
        term: 2,
        last_log: position(index),
        ..JournalView::default()
    };
    node.handle(Mono(0), Input::Journal(view));
    let journals = counted.iter().map(|(node, journal)| RaftId::new(NodeId(*node), *journal)).collect();
    let question = Confirm { journals, ..question(1, 28) };
    let answers = node.handle(Mono(1_000), Input::Asked(question)).into_iter().filter_map(|effect| match effect {
        Effect::Answer(_, answer) => Some(answer.verdict),
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    let [verdict] = answers[..] else { panic!("{answers:?}") };
    verdict
}

/// The first voter makes a second one of a node that has only a snapshot from before it was a member, and falls
/// before the entry is there: when it is back, it can't do without the second's word.
#[test]
fn who_was_made_a_voter_by_an_entry_that_it_never_got_gives_its_word() {
    let both = [(1, 1), (2, 1)];
    assert_eq!(says(1, 13, &[1], &both), Verdict::Yes, "its snapshot names it neither voter nor learner");
    assert_eq!(says(1, 0, &[], &both), Verdict::Yes, "it has nothing yet");
    assert_eq!(says(1, 13, &[1, 2], &both), Verdict::Yes, "it knows that it votes");
    assert_eq!(says(1, 29, &[1], &both), Verdict::NoVoter, "it knows more: it is none any longer");
    assert_eq!(says(1, 29, &[1, 2], &both), Verdict::LogLonger, "it knows more, and stands itself");
}

#[test]
fn nobody_gives_the_word_of_a_journal_that_it_has_lost() {
    let first = [(1, 1), (2, 1), (3, 1)];
    assert_eq!(says(2, 13, &[1, 3], &first), Verdict::NoVoter, "its second journal has no vote");
    assert_eq!(says(2, 13, &[1, 2, 3], &first), Verdict::NoVoter, "it got one, but who asks counts the first");
    assert_eq!(says(2, 29, &[1, 2, 3], &first), Verdict::LogLonger, "who votes and has more says so");
    let second = [(1, 1), (2, 2), (3, 1), (4, 1)];
    assert_eq!(says(2, 13, &[1, 3], &second), Verdict::Yes, "the entry that gave it one never came here");
}
