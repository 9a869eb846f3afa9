//! Every fault of the table, one short run each; see `relais_tests::faults`.

use relais_tests::faults::FAULTS;
use relais_tests::faults::run::short;

macro_rules! faults {
    ($($test:ident = $id:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                short($id);
            }
        )*

        #[test]
        fn every_fault_has_a_test() {
            let tested = [$($id),*];
            let untested: Vec<_> = FAULTS.iter().map(|fault| fault.id).filter(|id| !tested.contains(id)).collect();
            assert!(untested.is_empty(), "without a test: {untested:?}");
        }
    };
}

faults! {
    f01_the_dispatcher_is_killed = "F1",
    f10_a_disk_is_full = "F10",
    f11_a_write_fails = "F11",
    f12_a_journal_is_damaged = "F12",
    f13_two_of_three_journals_are_damaged = "F13",
    f14_a_disk_is_slow = "F14",
    f15_the_power_fails = "F15",
    f35_descriptors_run_out_and_an_actor_panics = "F35",
    f36_a_journal_is_of_another_version = "F36",
    f02_a_worker_is_killed = "F2",
    f03_dispatcher_and_worker_die_at_once = "F3",
    f04_the_dispatcher_is_paused = "F4",
    f05_a_worker_is_paused = "F5",
    f06_one_identity_twice = "F6",
    f07_the_network_falls_apart = "F7",
    f08_the_network_is_bad = "F8",
    f09_a_clock_is_wrong = "F9",
    f16_a_rolling_restart = "F16",
    f33_one_of_a_pair_dies = "F33",
    f34_a_pair_is_cut_in_two = "F34",
    f18_a_certificate_is_wrong = "F18",
    f19_garbage_arrives = "F19",
    rounds_of_kills = "rounds",
}

/// A few rounds of what `faults --damage 200` makes many of.
#[test]
fn chance_damage_to_a_stopped_store_is_detected_or_harmless() {
    let report = relais_tests::faults::damage::rounds(10, 1);
    println!("{report}");
    assert!(report.is_good() && report.counts().0 + report.counts().1 == 10, "{report}");
}
