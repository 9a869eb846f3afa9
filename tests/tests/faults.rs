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
}
