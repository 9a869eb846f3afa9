//! Cron texts: which points in time they name, in a time zone. Pure; the zone data is compiled in, so that it
//! does not matter what the machine has.
//!
//! The text has five fields, or six with seconds first, as the `croner` crate reads them (`L`, `W`, `#`, names of
//! months and days, `@daily` and the like; day of month and day of week both given: either will do). What a text
//! means where clocks are changed is decided here:
//!
//! ```text
//!   the hour field names hours (0 30 2 * * *)      the hour field is * or */n (0 */10 * * * *)
//!   ─────────────────────────────────────────      ────────────────────────────────────────────
//!   a wall time: each fires once                   a pace: goes on in real time
//!   left out by the clock: when the clock is set   left out by the clock: is no time at all
//!   there twice: the first time                    there twice: both times
//! ```
//!
//! `croner` has a rule of its own for that, by whether second, minute and hour are one number each; `0,30` at 2
//! o'clock would be lost when the clock is set forward. So wall times are searched without a zone, and placed in
//! it here.

use croner::Cron as Pattern;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};
use relais_protocol::schedule::CRON_CHARS_MAX;
use relais_protocol::time::UnixMs;

/// A cron text in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: Pattern,
    zone: TimeZone,
    /// Whether it goes on in real time.
    is_pace: bool,
}

/// Why a schedule's times can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The cron text.
    #[error("{0}")]
    Text(String),
    /// The time zone.
    #[error("`{0}` is no time zone; give an IANA name like `Europe/Paris`, or `UTC`")]
    Zone(String),
}

impl Cron {
    /// Reads a cron text and the name of a time zone.
    ///
    /// # Errors
    /// Which of the two is wrong, and how.
    pub fn parse(text: &str, zone: &str) -> Result<Self, CronError> {
        let no_text = |why: String| {
            CronError::Text(format!("{why}; give `minute hour day month weekday`, seconds before them if need be"))
        };
        if text.len() > CRON_CHARS_MAX || !text.is_ascii() {
            return Err(no_text(format!("must be at most {CRON_CHARS_MAX} ASCII characters")));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|error| {
            let why = error.to_string();
            no_text(format!("`{text}` can't be read: {}", why.trim_end_matches('.')))
        })?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let hours = match fields.as_slice() {
            [_, hours, _, _, _] | [_, _, hours, _, _, _] => hours,
            _ => "0",
        };
        let is_pace = hours.contains('*') || pattern.pattern.hours.values().len() == 24;
        let zone = TimeZone::get(zone).map_err(|_| CronError::Zone(zone.chars().take(80).collect()))?;
        Ok(Self { pattern, zone, is_pace })
    }

    /// The first slot after `time`; `None` if there is none for thousands of years.
    #[must_use]
    pub fn next_after(&self, time: UnixMs) -> Option<UnixMs> {
        let second = i64::try_from(time.0 / 1_000).ok()?;
        let from = Timestamp::from_second(second).ok()?.to_zoned(self.zone.clone());
        let next = if self.is_pace { self.next_of_pace(&from) } else { self.next_wall_time(&from) };
        u64::try_from(next?.as_second()).ok().and_then(|second| second.checked_mul(1_000)).map(UnixMs)
    }

    /// So many slots after `time`.
    #[must_use]
    pub fn some_after(&self, time: UnixMs, count: usize) -> Vec<UnixMs> {
        std::iter::successors(self.next_after(time), |slot| self.next_after(*slot)).take(count).collect()
    }

    fn next_of_pace(&self, from: &Zoned) -> Option<Timestamp> {
        let next = self.pattern.find_next_occurrence(from, false).ok()?.timestamp();
        (next > from.timestamp()).then_some(next)
    }

    fn next_wall_time(&self, from: &Zoned) -> Option<Timestamp> {
        let mut wall = from.datetime();
        loop {
            wall = self.pattern.find_next_occurrence(&wall, false).ok()?;
            let next = self.placed(wall)?;
            // In the second run of an hour that is there twice, its wall times are over.
            if next > from.timestamp() {
                return Some(next);
            }
        }
    }

    /// When a clock of the zone shows `wall` for the first time, or is set past it.
    fn placed(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let before_it = after.to_timestamp(wall).ok()?;
                self.zone.following(before_it).next().map(|change| change.timestamp())
            }
        }
    }
}

#[cfg(test)]
mod tests;
