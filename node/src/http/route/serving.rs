//! What a route asks of the node that serves it.

use super::Route;

impl Route {
    /// Whether it is about API tokens.
    pub(in crate::http) fn about_tokens(&self) -> bool {
        matches!(self, Self::Tokens | Self::TokenMake | Self::TokenRevoke(_))
    }

    /// Whether it reads the ledger, so that a node without one passes it on whole.
    pub(in crate::http) fn reads_ledger(&self) -> bool {
        matches!(
            self,
            Self::Jobs
                | Self::JobCount
                | Self::JobsCancel
                | Self::JobsRetry
                | Self::Job(_)
                | Self::JobLogs(_)
                | Self::JobExplain(_)
                | Self::JobEvents(_)
                | Self::JobResult(_)
                | Self::Group(_)
                | Self::Nodes
                | Self::Node(_)
                | Self::NodeSet(_)
                | Self::Cluster
                | Self::Failovers
                | Self::Settings
                | Self::SettingsChange
                | Self::Tokens
                | Self::Queues
                | Self::Queue(_)
                | Self::QueueSet(_)
                | Self::QueuePause(..)
                | Self::Schedules
                | Self::Schedule(_)
                | Self::Firings(_)
                | Self::Lease
        )
    }

    /// Bytes that its body may have.
    pub(in crate::http) fn body_bytes_max(&self) -> usize {
        match self {
            Self::Submit | Self::ScheduleSet(_) => 2 << 20,
            Self::SubmitBatch => 16 << 20,
            // A result of 64 KiB, and what is around it.
            Self::LeaseSay(..) => 128 << 10,
            _ => 64 << 10,
        }
    }
}
