//! A table of cron texts, with the changes of clocks in both directions, and the laws of any text.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> UnixMs {
    UnixMs::parse_rfc3339(text).unwrap()
}

fn slots(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(cron, zone).unwrap();
    cron.some_after(at(after), count).into_iter().map(|slot| slot.rfc3339().replace(".000Z", "Z")).collect()
}

/// Cron, zone, the time before, and the slots after it.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

fn holds(cases: &[Case]) {
    for (cron, zone, after, expected) in cases {
        assert_eq!(slots(cron, zone, after, expected.len()), *expected, "`{cron}` in {zone} after {after}");
    }
}

#[test]
fn plain_times() {
    holds(&[
        ("* * * * * *", "UTC", "2026-11-22T10:00:00.999Z", &["2026-11-22T10:00:01Z", "2026-11-22T10:00:02Z"]),
        ("*/15 * * * *", "UTC", "2026-11-22T10:00:00Z", &["2026-11-22T10:15:00Z", "2026-11-22T10:30:00Z"]),
        ("0 30 2 * * *", "Europe/Paris", "2026-11-22T10:00:00Z", &["2026-11-23T01:30:00Z", "2026-11-24T01:30:00Z"]),
        ("30 2 * * *", "Asia/Kolkata", "2026-11-22T10:00:00Z", &["2026-11-22T21:00:00Z"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", &["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("0 9 * * MON-FRI", "UTC", "2026-11-20T10:00:00Z", &["2026-11-23T09:00:00Z"]),
        ("0 9 * * FRI#2", "UTC", "2026-11-20T10:00:00Z", &["2026-12-11T09:00:00Z"]),
        (
            "0 9 1 * MON",
            "UTC",
            "2026-11-20T10:00:00Z",
            &["2026-11-23T09:00:00Z", "2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"],
        ),
        ("@daily", "Europe/Paris", "2026-11-22T10:00:00Z", &["2026-11-22T23:00:00Z"]),
        ("@hourly", "UTC", "2026-11-22T10:00:00Z", &["2026-11-22T11:00:00Z"]),
    ]);
}

/// In Paris the clock goes from 2 to 3 on 29 March 2026 at 1:00 UTC.
#[test]
fn a_clock_that_is_set_forward() {
    holds(&[
        // A wall time that is left out fires when the clock is set, once.
        ("0 30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("0 0,30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("* 2 * * *", "Europe/Paris", "2026-03-29T00:59:59Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("0 2,3 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("30 1 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T23:30:00Z"]),
        // A pace goes on.
        ("30 * * * *", "Europe/Paris", "2026-03-29T00:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]),
        (
            "* * * * * *",
            "Europe/Paris",
            "2026-03-29T00:59:58Z",
            &["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:00:01Z"],
        ),
        // Where the day has no midnight.
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", &["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]),
    ]);
}

/// In Paris the clock goes from 3 back to 2 on 25 October 2026 at 1:00 UTC.
#[test]
fn a_clock_that_is_set_back() {
    holds(&[
        // A wall time that is there twice fires the first time.
        ("0 30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("0 30 2 * * *", "Europe/Paris", "2026-10-25T00:30:00Z", &["2026-10-26T01:30:00Z"]),
        ("0 0,30 2 * * *", "Europe/Paris", "2026-10-25T00:15:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"]),
        ("0 3 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", &["2026-10-25T02:00:00Z"]),
        ("* 2,3 * * *", "Europe/Paris", "2026-10-25T00:59:00Z", &["2026-10-25T02:00:00Z"]),
        // A pace goes on.
        (
            "30 * * * *",
            "Europe/Paris",
            "2026-10-24T23:45:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"],
        ),
        (
            "* * * * * *",
            "Europe/Paris",
            "2026-10-25T00:59:58Z",
            &["2026-10-25T00:59:59Z", "2026-10-25T01:00:00Z", "2026-10-25T01:00:01Z"],
        ),
        ("*/20 0-23 * * *", "Europe/Paris", "2026-10-25T00:30:00Z", &["2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"]),
    ]);
}

#[test]
fn what_can_not_be_read_is_said() {
    for bad in [
        "",
        "x",
        "* * * *",
        "* * * * * * *",
        "61 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "60 * * * * *",
        "ä * * * *",
    ] {
        let error = Cron::parse(bad, "UTC").map(|cron| cron.next_after(UnixMs(0))).unwrap_err();
        assert!(matches!(&error, CronError::Text(_)), "{bad}: {error}");
    }
    assert!(matches!(Cron::parse(&"1,".repeat(200), "UTC"), Err(CronError::Text(_))));
    for bad in ["", "Paris", "Europe/Atlantis", "../etc/passwd", "+02:00"] {
        assert_eq!(Cron::parse("* * * * *", bad).err(), Some(CronError::Zone(bad.to_owned())));
    }
    assert_eq!(Cron::parse("0 0 30 2 *", "UTC").unwrap().next_after(UnixMs(0)), None, "a day that never comes");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-0-9*,/#LW?+@ A-Z]{0,24}( [-0-9*,/#LW?]{1,6}){0,6}", start in 0u64..9_000_000_000_000) {
        for zone in ["UTC", "Australia/Lord_Howe"] {
            if let Ok(cron) = Cron::parse(&text, zone) {
                prop_assert!(cron.some_after(UnixMs(start), 3).first().is_none_or(|slot| slot.0 > start));
            }
        }
    }

    #[test]
    fn slots_grow_and_each_is_found_from_just_before_it(
        second in prop::sample::select(vec!["", "0 ", "*/7 ", "5,35 ", "* "]),
        minute in prop::sample::select(vec!["*", "0", "*/10", "0,30", "15-45/15"]),
        hour in prop::sample::select(vec!["*", "2", "1,2,3", "*/6", "0-23", "23"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]),
        start in 1_770_000_000u64..1_800_000_000, around in 0usize..3,
    ) {
        // Just before the clocks change in Paris, too.
        let start = [start, 1_774_745_000, 1_792_888_000][around] * 1_000 + 250;
        let cron = Cron::parse(&format!("{second}{minute} {hour} * * *"), zone).unwrap();
        let slots = cron.some_after(UnixMs(start), 40);
        prop_assert_eq!(slots.len(), 40);
        prop_assert!(slots[0].0 > start);
        for pair in slots.windows(2) {
            prop_assert!(pair[0] < pair[1]);
            prop_assert_eq!(cron.next_after(UnixMs(pair[1].0 - 1)), Some(pair[1]), "none in between");
            prop_assert_eq!(cron.next_after(UnixMs(pair[0].0 + 999)), Some(pair[1]));
        }
    }
}
