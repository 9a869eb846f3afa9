//! Every state of the model of election and fencing, and mistakes in it that must be noticed.
//!
//! `RELAIS_MODEL=wide` looks at larger bounds as well; it takes minutes, so best with `--release`.

use relais_tests::model::{Bounds, Fencing, Mutation, property};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Two crashes and a false suspicion, with submits in two epochs.
const CRASHES: Bounds = Bounds { stands: 2, submits: 2, crashes: 2, suspicions: 1, resignations: 0, workers: 1 };
/// A dispatcher that resigns, leaves a batch behind, and may reign again.
const RESIGNS: Bounds = Bounds { stands: 2, submits: 1, crashes: 1, suspicions: 1, resignations: 1, workers: 1 };
/// What is too much for every day.
const WIDE: [Bounds; 3] = [
    Bounds { suspicions: 2, ..CRASHES },
    Bounds { stands: 3, submits: 1, ..CRASHES },
    Bounds { crashes: 2, ..RESIGNS },
];
/// Small enough to be looked at without forgetting any message.
const TWINS: [Bounds; 3] = [
    Bounds { stands: 2, submits: 1, crashes: 0, suspicions: 2, resignations: 0, workers: 1 },
    Bounds { stands: 2, submits: 1, crashes: 1, suspicions: 0, resignations: 0, workers: 1 },
    Bounds { stands: 1, submits: 1, crashes: 1, suspicions: 1, resignations: 0, workers: 3 },
];
/// Where each mistake shows.
const MISTAKEN: Bounds = Bounds { stands: 2, submits: 1, crashes: 1, suspicions: 2, resignations: 0, workers: 3 };

/// States that a day's run must look at.
const STATES_MIN: usize = 1_000_000;
/// After this long a run is given up, and fails.
const TIME_MAX: Duration = Duration::from_secs(1_800);

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Looks at every state: how many there were, and which of the properties that need only be true somewhere
/// were seen to be.
fn look_at_all(model: Fencing) -> (usize, BTreeSet<&'static str>) {
    let began = Instant::now();
    let checker = model.checker().threads(threads()).timeout(TIME_MAX).spawn_dfs().join();
    let took = began.elapsed();
    let (unique, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{:?}", model.bounds);
    println!("  {unique} states by {steps} steps, {depth} deep at most, in {:.1} s", took.as_secs_f64());
    assert!(took < TIME_MAX, "it did not end");
    let mut seen = BTreeSet::new();
    for (name, path) in checker.discoveries() {
        if model.property(name).expectation == Expectation::Always {
            panic!("not always: {name}\n{path}");
        }
        seen.insert(name);
    }
    (unique, seen)
}

#[test]
fn every_state_keeps_every_promise() {
    let mut all = vec![CRASHES, RESIGNS];
    if std::env::var("RELAIS_MODEL").is_ok_and(|name| name == "wide") {
        all.extend(WIDE);
    }
    let (mut states, mut seen) = (0, BTreeSet::new());
    for bounds in all {
        let (unique, found) = look_at_all(Fencing::new(bounds));
        assert!(unique >= STATES_MIN, "only {unique} states");
        states += unique;
        seen.extend(found);
    }
    let wanted: BTreeSet<_> = Fencing::new(CRASHES).properties().iter().map(|property| property.name).collect();
    let always = [
        property::ONE_DISPATCHER,
        property::ACKED_IS_KEPT,
        property::JOURNALS_AGREE,
        property::WORKER_FENCED,
        property::STICKY,
    ];
    let missing: Vec<_> = wanted.iter().filter(|name| !always.contains(name) && !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    println!("{states} states in all; true in each of them: {always:#?}");
    println!("seen in some: {seen:#?}");
}

/// A message that is kept for ever can be heard again at any time: that finds neither more nor less.
#[test]
fn to_forget_stale_messages_hides_nothing() {
    for bounds in TWINS {
        let (few, found) = look_at_all(Fencing::new(bounds));
        let (many, found_by_twin) = look_at_all(Fencing { forgets: false, ..Fencing::new(bounds) });
        assert!(few < many, "nothing was forgotten");
        assert_eq!(found, found_by_twin, "{bounds:?}");
    }
}

fn broken_by(mutation: Mutation) -> &'static [&'static str] {
    match mutation {
        Mutation::VoteForgotten
        | Mutation::EndIgnoredByVoter
        | Mutation::AckOfOneCopy
        | Mutation::SyncSkipped
        | Mutation::EpochIgnoredByLedger => &[property::ACKED_IS_KEPT, property::JOURNALS_AGREE],
        Mutation::ConfirmSkipped => &[property::STICKY],
        Mutation::PromoteNotAwaited | Mutation::RoleRestored => &[property::ONE_DISPATCHER],
        Mutation::EpochIgnoredByWorker | Mutation::EpochForgottenByWorker => &[property::WORKER_FENCED],
    }
}

#[test]
fn every_mistake_is_noticed() {
    for mutation in Mutation::ALL {
        let model = Fencing { mutation: Some(mutation), ..Fencing::new(MISTAKEN) };
        let checker = model.checker().threads(threads()).timeout(TIME_MAX);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken = checker.discoveries().into_iter().filter(|(name, _)| broken_by(mutation).contains(name));
        let paths = broken.map(|(name, path)| (name, path.into_actions()));
        let states = checker.unique_state_count();
        let Some((name, actions)) = paths.min_by_key(|(_, actions)| actions.len()) else {
            panic!("{mutation:?} was not noticed in {states} states");
        };
        println!("{mutation:?} breaks \"{name}\" in {} steps, found in {states} states:", actions.len());
        actions.iter().for_each(|action| println!("    {action:?}"));
    }
}
