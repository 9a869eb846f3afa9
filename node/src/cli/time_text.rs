//! Times and amounts as people read them.
//!
//! "Now" is the `Date` of the answer that is being shown, not this machine's clock: two machines that
//! disagree by an hour then still agree on what happened a minute ago.

use relais_protocol::time::UnixMs;

/// A `Date` has whole seconds, and a server writes the same one for a second: what seems to come so soon is now.
const DATE_LAG_MS: u64 = 2_000;

/// How long before `now` something was: `12s ago`, `in 5m`; the time itself when `now` is not known.
pub(crate) fn ago(time: Option<&str>, now: Option<UnixMs>) -> String {
    let Some(text) = time else {
        return "-".to_owned();
    };
    match (UnixMs::parse_rfc3339(text), now) {
        (Ok(time), Some(now)) if time > now.plus(DATE_LAG_MS) => format!("in {}", span(time.since(now), false)),
        (Ok(time), Some(now)) => format!("{} ago", span(now.since(time), false)),
        _ => text.to_owned(),
    }
}

/// From `start` to `end`, or to `now` while there is no end.
pub(crate) fn between(start: Option<&str>, end: Option<&str>, now: Option<UnixMs>) -> String {
    let parse = |text: Option<&str>| text.and_then(|text| UnixMs::parse_rfc3339(text).ok());
    match (parse(start), parse(end).or(now)) {
        (Some(start), Some(end)) => span(end.since(start), true),
        _ => "-".to_owned(),
    }
}

/// Milliseconds in two units at most; below a minute with tenths when `fine`.
pub(crate) fn span(ms: u64, fine: bool) -> String {
    let s = ms / 1_000;
    match s {
        0 if fine => format!("{ms}ms"),
        0..60 if fine => format!("{s}.{}s", ms % 1_000 / 100),
        0..60 => format!("{s}s"),
        60..3_600 if fine => format!("{}m{:02}s", s / 60, s % 60),
        60..3_600 => format!("{}m", s / 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{}h", s / 86_400, s / 3_600 % 24),
    }
}

/// An amount of bytes in binary units: `512B`, `3.4GiB`.
pub(crate) fn bytes(amount: f64) -> String {
    let mut amount = amount.max(0.0);
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" || amount >= 100.0 { format!("{amount:.0}{unit}") } else { format!("{amount:.1}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let table = [
            (0, "0s", "0ms"),
            (999, "0s", "999ms"),
            (12_340, "12s", "12.3s"),
            (185_000, "3m", "3m05s"),
            (7_500_000, "2h05m", "2h05m"),
            (266_400_000, "3d2h", "3d2h"),
        ];
        for (ms, coarse, fine) in table {
            assert_eq!((span(ms, false).as_str(), span(ms, true).as_str()), (coarse, fine));
        }
    }

    #[test]
    fn times_are_relative_to_the_answer() {
        let now = UnixMs::parse_rfc3339("2026-11-22T10:00:00Z").ok();
        assert_eq!(ago(Some("2026-11-22T09:59:48.000Z"), now), "12s ago");
        assert_eq!(ago(Some("2026-11-22T10:00:00.700Z"), now), "0s ago");
        assert_eq!(ago(Some("2026-11-22T10:10:00Z"), now), "in 10m");
        assert_eq!(ago(Some("2026-11-22T10:10:00Z"), None), "2026-11-22T10:10:00Z");
        assert_eq!(ago(None, now), "-");
        assert_eq!(between(Some("2026-11-22T09:59:58Z"), None, now), "2.0s");
        assert_eq!(between(None, None, now), "-");
    }

    #[test]
    fn amounts_have_units() {
        for (amount, text) in [(0.0, "0B"), (1023.0, "1023B"), (1536.0, "1.5KiB"), (3.7e9, "3.4GiB"), (-1.0, "0B")] {
            assert_eq!(bytes(amount), text);
        }
    }
}
