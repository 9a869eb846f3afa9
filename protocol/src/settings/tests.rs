//! Settings: what is read is what is written, and nothing else is taken.

use super::*;
use proptest::prelude::*;

fn set(pairs: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    for (key, value) in pairs {
        settings.set(key, value).unwrap();
    }
    settings
}

#[test]
fn each_is_written_as_it_is_read() {
    let all = set(&[
        ("name", "büro 2"),
        ("takeover", "tiebreak:[::1]:443"),
        ("takeover_after", "4s"),
        ("lease", "5s"),
        ("pair_lease", "1m30s"),
        ("voters", "7"),
        ("replace_after", "2m"),
        ("drill", "on"),
        ("priority_aging", "5s"),
        ("retention", "1d"),
        ("retention_count", "5000"),
    ]);
    let rows: Vec<(&str, String)> = Settings::KEYS.iter().map(|key| (*key, all.text(key).unwrap())).collect();
    let again = Settings::of(rows.iter().map(|(key, value)| (*key, value.as_str())));
    assert_eq!(again, all);
    assert_eq!(all.text("drill").unwrap(), "true");
    assert_ne!(all, Settings::default());
    assert_eq!(Settings::default().text("nothing"), None);
}

#[test]
fn ways_to_take_over() {
    for text in ["available", "off", "tiebreak:gw.example:22", "tiebreak:10.0.0.1:7", "fence:ipmi off: n2"] {
        assert_eq!(Takeover::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "Available",
        "tiebreak",
        "tiebreak:",
        "tiebreak:host",
        "tiebreak:host:0",
        "tiebreak:a b:1",
        "fence:",
        "x:y",
    ] {
        assert!(Takeover::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_wrong_value_changes_nothing_and_says_what_is_allowed() {
    let cases = [
        ("voters", "4", "1, 3, 5 or 7"),
        ("retention", "for ever", "1m30s"),
        ("retention_count", "0", "1 to 1000000000"),
        ("voters", "", "1, 3, 5 or 7"),
        ("lease", "1s", "2s to 5m"),
        ("lease", "soon", "3s"),
        ("replace_after", "0s", "1s to 30d"),
        ("takeover", "maybe", "tiebreak:HOST:PORT"),
        ("drill", "1", "`true`"),
        ("name", " ", "64"),
        ("colour", "red", "replace_after"),
    ];
    for (key, value, told) in cases {
        let mut settings = Settings::default();
        let error = settings.set(key, value).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(error.key(), key);
        assert_eq!(settings, Settings::default());
    }
    let long = "x".repeat(SETTING_BYTES_MAX + 1);
    assert!(Settings::default().set("takeover", &format!("fence:{long}")).is_err());
}

#[test]
fn the_lease_of_a_pair_outlives_a_takeover() {
    assert_eq!(Settings::default().check(), Ok(()));
    for (takeover_after, pair_lease, fits) in [("3s", "5s", false), ("3s", "5001ms", true), ("10s", "6s", false)] {
        let settings = set(&[("takeover_after", takeover_after), ("pair_lease", pair_lease)]);
        assert_eq!(settings.check().is_ok(), fits, "{takeover_after} {pair_lease}");
    }
    let crossed = Settings::of([("takeover_after", "20s"), ("pair_lease", "6s")]);
    assert_eq!((crossed.pair_lease_ms, crossed.check()), (23_000, Ok(())));
    assert_eq!((crossed.lease_of_ms(2), crossed.lease_of_ms(3)), (23_000, 3_000));
}

#[test]
fn what_is_not_known_has_no_effect() {
    let settings = Settings::of([("colour", "red"), ("voters", "3"), ("lease", "for ever")]);
    assert_eq!(settings, Settings { voters: 3, ..Settings::default() });
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_taken_comes_back(at in 0usize..11, text: String) {
        let key = Settings::KEYS[at];
        let mut settings = Settings::default();
        if settings.set(key, &text).is_ok() {
            let written = settings.text(key).unwrap();
            let mut again = Settings::default();
            prop_assert_eq!(again.set(key, &written), Ok(()));
            prop_assert_eq!(again, settings);
        }
    }
}
