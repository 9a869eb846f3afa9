//! libFuzzer on heartbeats and gossip: see `relais_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| relais_tests::fuzz::take("datagrams", bytes));
