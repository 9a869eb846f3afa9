//! Planted bugs of the worker's core: each breaks one promise on purpose, to prove that a test notices.
//!
//! They are compiled in only with the feature `planted`, which no shipped binary has, and even then sleep
//! until `RELAIS_PLANTED` names one.

/// Whether the bug of this name is planted.
pub(crate) fn is_planted(name: &str) -> bool {
    planted_name() == name
}

#[cfg(feature = "planted")]
fn planted_name() -> &'static str {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("RELAIS_PLANTED").unwrap_or_default())
}

/// No bug has this name.
#[cfg(not(feature = "planted"))]
fn planted_name() -> &'static str {
    ""
}
