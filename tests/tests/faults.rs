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
