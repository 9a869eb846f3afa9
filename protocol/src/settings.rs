//! Settings of the cluster: kept in the journal as text, the same on all nodes, typed here.
//!
//! Whoever asks for a change is told what is wrong with it ([`Settings::set`], [`Settings::check`]) before a
//! record is made. Whoever applies a record refuses nothing: a key or value that this build does not know is
//! kept as it is and has no effect ([`Settings::of`]), so that replicas of different builds stay equal.

mod takeover;

pub use takeover::Takeover;

use crate::time::{duration_text, parse_duration_ms};

/// How much longer than `takeover_after` the lease of a pair must be, in ms.
pub const PAIR_LEASE_OVER_MS: u64 = 2_000;
/// Characters that the cluster's name may have.
pub const CLUSTER_NAME_CHARS_MAX: usize = 64;
/// Bytes that the text of a setting may have.
pub const SETTING_BYTES_MAX: usize = 4_096;

/// All settings of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's name, for people.
    pub name: String,
    /// When the survivor of a pair takes over by itself.
    pub takeover: Takeover,
    /// How long its peer must be gone before it does.
    pub takeover_after_ms: u64,
    /// How long a worker may run what it runs after it sent a heartbeat, with a witness or a quorum.
    pub lease_ms: u64,
    /// The same in a pair: long enough to outlive a takeover.
    pub pair_lease_ms: u64,
    /// Voters that the cluster has once there are as many nodes: 1, 3, 5 or 7.
    pub voters: usize,
    /// How long a voter must be gone before its seat goes to another node.
    pub replace_after_ms: u64,
    /// Whether `relais drill` may hurt this cluster.
    pub drill: bool,
    /// How long ended jobs are kept.
    pub retention_ms: u64,
    /// How many ended jobs are kept at most, the newest.
    pub retention_count: u64,
    /// How much longer a job waits for each point of priority below 100, in ms, before no later one overtakes it.
    pub priority_aging_ms: u64,
}

/// Why a setting is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is none of this name.
    #[error("there is no setting `{0}`; there are {known}", known = Settings::KEYS.join(", "))]
    Unknown(String),
    /// Its value is not what it must be.
    #[error("{key}: `{value}` {reason}")]
    Value {
        /// Which.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl SettingError {
    /// The setting that is at fault.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Unknown(key) => key,
            Self::Value { key, .. } => key,
        }
    }

    /// What is wrong, without the setting's name.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unknown(_) => self.to_string(),
            Self::Value { value, reason, .. } => format!("`{value}` {reason}"),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "relais".to_owned(),
            takeover: Takeover::Available,
            takeover_after_ms: 3_000,
            lease_ms: 3_000,
            pair_lease_ms: 6_000,
            voters: 5,
            replace_after_ms: 60_000,
            drill: false,
            retention_ms: 7 * 86_400_000,
            retention_count: 1_000_000,
            priority_aging_ms: 60_000,
        }
    }
}

impl Settings {
    /// All names, in the order in which they are shown.
    pub const KEYS: [&'static str; 11] = [
        "name",
        "takeover",
        "takeover_after",
        "lease",
        "pair_lease",
        "voters",
        "replace_after",
        "drill",
        "retention",
        "retention_count",
        "priority_aging",
    ];

    /// The settings of a journal. What this build does not know has no effect; what does not go together,
    /// because two changes crossed, is mended on the safe side.
    #[must_use]
    pub fn of<'a>(stored: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut settings = Self::default();
        for (key, value) in stored {
            // Refused where it was asked for, unless another build knew better.
            let _ = settings.set(key, value);
        }
        if settings.check().is_err() {
            settings.pair_lease_ms = settings.takeover_after_ms + PAIR_LEASE_OVER_MS + 1_000;
        }
        settings
    }

    /// Sets one of them from its text.
    ///
    /// # Errors
    /// When there is no such setting, or the text is none of its values; nothing is changed then.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), SettingError> {
        match key {
            "name" => self.name = checked("name", text, name)?,
            "takeover" => self.takeover = checked("takeover", text, Takeover::parse)?,
            "takeover_after" => self.takeover_after_ms = span("takeover_after", text, 1_000, 3_600_000)?,
            "lease" => self.lease_ms = span("lease", text, 2_000, 300_000)?,
            "pair_lease" => self.pair_lease_ms = span("pair_lease", text, 3_500, 4_000_000)?,
            "voters" => self.voters = checked("voters", text, voters)?,
            "replace_after" => self.replace_after_ms = span("replace_after", text, 1_000, 30 * 86_400_000)?,
            "drill" => self.drill = checked("drill", text, switch)?,
            "retention" => self.retention_ms = span("retention", text, 1_000, 3_650 * 86_400_000)?,
            "retention_count" => self.retention_count = checked("retention_count", text, count)?,
            "priority_aging" => self.priority_aging_ms = span("priority_aging", text, 1, 86_400_000)?,
            _ => return Err(SettingError::Unknown(key.to_owned())),
        }
        Ok(())
    }

    /// Whether they go together.
    ///
    /// # Errors
    /// When the lease of a pair would not outlive a takeover.
    pub fn check(&self) -> Result<(), SettingError> {
        let above = self.takeover_after_ms + PAIR_LEASE_OVER_MS;
        if self.pair_lease_ms > above {
            return Ok(());
        }
        Err(SettingError::Value {
            key: "pair_lease",
            value: duration_text(self.pair_lease_ms),
            reason: format!(
                "is too short for a takeover_after of {}: it must be above {}, so that jobs outlive a takeover; set \
                 pair_lease higher, in the same request if need be",
                duration_text(self.takeover_after_ms),
                duration_text(above)
            ),
        })
    }

    /// The text of one, as [`Settings::set`] reads it; `None` when there is none of this name.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        Some(match key {
            "name" => self.name.clone(),
            "takeover" => self.takeover.to_string(),
            "takeover_after" => duration_text(self.takeover_after_ms),
            "lease" => duration_text(self.lease_ms),
            "pair_lease" => duration_text(self.pair_lease_ms),
            "voters" => self.voters.to_string(),
            "replace_after" => duration_text(self.replace_after_ms),
            "drill" => self.drill.to_string(),
            "retention" => duration_text(self.retention_ms),
            "retention_count" => self.retention_count.to_string(),
            "priority_aging" => duration_text(self.priority_aging_ms),
            _ => return None,
        })
    }

    /// The lease of a cluster of so many voters, in ms.
    #[must_use]
    pub fn lease_of_ms(&self, voters: usize) -> u64 {
        if voters == 2 { self.pair_lease_ms } else { self.lease_ms }
    }
}

fn checked<T>(key: &'static str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingError> {
    let parsed = if text.len() > SETTING_BYTES_MAX {
        Err(format!("is longer than {SETTING_BYTES_MAX} bytes"))
    } else {
        parse(text)
    };
    parsed.map_err(|reason| {
        let value: String = text.chars().take(80).collect();
        SettingError::Value { key, value, reason }
    })
}

fn span(key: &'static str, text: &str, min_ms: u64, max_ms: u64) -> Result<u64, SettingError> {
    checked(key, text, |text| match parse_duration_ms(text) {
        Ok(ms) if (min_ms..=max_ms).contains(&ms) => Ok(ms),
        Ok(_) => Err(format!("is out of bounds; give {} to {}", duration_text(min_ms), duration_text(max_ms))),
        Err(_) => Err("is no duration; write it like \"3s\", \"1m30s\" or \"500ms\"".to_owned()),
    })
}

fn name(text: &str) -> Result<String, String> {
    let sound = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if !sound || text.chars().count() > CLUSTER_NAME_CHARS_MAX {
        return Err(format!("is no name; give 1 to {CLUSTER_NAME_CHARS_MAX} characters that can be printed"));
    }
    Ok(text.to_owned())
}

fn voters(text: &str) -> Result<usize, String> {
    match text {
        "1" | "3" | "5" | "7" => Ok(usize::from(text.as_bytes()[0] - b'0')),
        _ => Err("is not a number of voters; give 1, 3, 5 or 7 (an even number survives no more than one less)".into()),
    }
}

fn count(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=1_000_000_000).contains(number));
    number.ok_or_else(|| "is no number of jobs; give a whole number from 1 to 1000000000".to_owned())
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" | "yes" => Ok(true),
        "false" | "off" | "no" => Ok(false),
        _ => Err("is neither `true` nor `false`".to_owned()),
    }
}

#[cfg(test)]
mod tests;
