//! Points in time as values. Nothing here reads a clock: `node::clock` does, and hands the value in.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Wall-clock time: milliseconds since 1970, UTC. Stamped into a batch by the dispatcher that proposes
/// it; whoever applies the batch uses that stamp and no clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct UnixMs(pub u64);

/// Monotonic time: milliseconds since an arbitrary start of this process. Leases and every other
/// deadline are counted in it, so that a jump of the wall clock moves none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Mono(pub u64);

impl UnixMs {
    /// This time and `ms` milliseconds, without overflow.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this, 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339, UTC, milliseconds.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let ms = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(ms).map(|t| format!("{t:.3}")).unwrap_or_else(|_| self.0.to_string())
    }

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// With the reason, when it is no such time or one before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| format!("`{text}` is no RFC 3339 time, like 2026-11-23T02:00:00Z"))?;
        u64::try_from(time.as_millisecond()).map(Self).map_err(|_| format!("`{text}` is before 1970"))
    }
}

impl Mono {
    /// This time and `ms` milliseconds, without overflow.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this, 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// Reads a duration such as `90s`, `1h30m` or `250ms` into milliseconds.
///
/// # Errors
/// With the reason, when it is none or is longer than 100 years.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no duration, like \"90s\" or \"1h30m\"");
    let mut rest = text.trim();
    let mut ms = 0u64;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        let factor = match &rest[digits..unit_end] {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(bad()),
        };
        ms = number.checked_mul(factor).and_then(|n| ms.checked_add(n)).ok_or_else(bad)?;
        rest = &rest[unit_end..];
    }
    if ms > 100 * 366 * 86_400_000 {
        return Err(format!("`{text}` is longer than 100 years"));
    }
    Ok(ms)
}

/// Writes milliseconds as the shortest duration that [`parse_duration_ms`] reads back: `1h30m`, `250ms`.
#[must_use]
pub fn duration_text(ms: u64) -> String {
    let parts = [
        (ms / 86_400_000, "d"),
        (ms / 3_600_000 % 24, "h"),
        (ms / 60_000 % 60, "m"),
        (ms / 1_000 % 60, "s"),
        (ms % 1_000, "ms"),
    ];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [("90s", 90_000), ("1h30m", 5_400_000), ("250ms", 250), ("0s", 0), ("10m", 600_000)] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for ms in [0, 1, 999, 1_000, 90_061_001] {
            assert_eq!(parse_duration_ms(&duration_text(ms)), Ok(ms));
        }
        for bad in ["", "x", "-5s", "5 parsecs", "90"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_and_written() {
        let time = UnixMs::parse_rfc3339("2026-11-23T04:00:00+02:00").unwrap();
        assert_eq!(time.rfc3339(), "2026-11-23T02:00:00.000Z");
        assert!(UnixMs::parse_rfc3339("yesterday").is_err());
    }
}
