//! The times that the dispatcher goes by.

/// Times of the dispatcher, in ms.
#[derive(Clone, Copy, Debug)]
pub struct CoreConfig {
    /// How long a worker may run what it runs after it sent a heartbeat; follows the cluster's settings.
    pub lease_ms: u64,
    /// How long after the end of a lease its attempts are given up.
    pub lost_after_ms: u64,
    /// Without a report for this long a node gets nothing new.
    pub suspect_after_ms: u64,
    /// An order that is not seen to be carried out is sent again after this.
    pub reorder_ms: u64,
    /// How often every replica counts and hashes its rows.
    pub audit_every_ms: u64,
    /// Whether the wall clock is compared with others': then schedules wait for [`Input::Clock`].
    pub clock_compared: bool,
    /// From so many waiting records on, a batch does not wait for the one in flight.
    pub overlap_records: usize,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            lease_ms: 3_000,
            lost_after_ms: 1_000,
            suspect_after_ms: 1_500,
            reorder_ms: 1_000,
            audit_every_ms: 60_000,
            clock_compared: false,
            overlap_records: 512,
        }
    }
}
