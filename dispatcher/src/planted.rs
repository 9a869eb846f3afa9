//! Planted bugs: each breaks one promise on purpose, to prove that a test notices.
//!
//! They are compiled in only with the feature `planted`, which no shipped binary has, and even then sleep
//! until `RELAIS_PLANTED` names one. Without the feature every question here is a constant `false`.

/// Whether records of a reign that is over are applied all the same.
#[must_use]
pub fn epoch_ignored() -> bool {
    is_planted("epoch-ignored")
}

/// Whether a submit is acknowledged when it is proposed, not when it is committed.
#[must_use]
pub fn early_acknowledgement() -> bool {
    is_planted("early-acknowledgement")
}

/// Whether a voter stands without asking the others.
#[must_use]
pub fn confirm_round_skipped() -> bool {
    is_planted("confirm-round-skipped")
}

/// Whether the store's syncs are left out.
#[must_use]
pub fn sync_skipped() -> bool {
    is_planted("sync-skipped")
}

/// Whether the dispatcher's actor panics as often as it is started.
#[must_use]
pub fn dispatcher_panics() -> bool {
    is_planted("dispatcher-panics")
}

/// Whether a node whose journal was put aside goes on under its old raft id.
#[must_use]
pub fn old_raft_id_reused() -> bool {
    is_planted("old-raft-id-reused")
}

/// Whether a leader answers reads without asking a majority whether it still leads.
#[must_use]
pub fn read_round_skipped() -> bool {
    is_planted("read-round-skipped")
}

/// Whether a takeover forgets the entries that are not known to be committed.
#[must_use]
pub fn tail_dropped() -> bool {
    is_planted("tail-dropped")
}

/// Whether a merge leaves out tombstones.
#[must_use]
pub fn merge_drops_tombstones() -> bool {
    is_planted("merge-drops-tombstones")
}

/// Whether a merge leaves out every seventh job.
#[must_use]
pub fn merge_drops_rows() -> bool {
    is_planted("merge-drops-rows")
}

/// Whether a merge does not see that two jobs have one key.
#[must_use]
pub fn merge_drops_aliases() -> bool {
    is_planted("merge-drops-aliases")
}

/// Whether the bug of this name is planted: also for models of what this crate does not do itself.
#[must_use]
pub fn is_planted(name: &str) -> bool {
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
