//! What a route asks of the node that serves it.

use super::Route;

impl Route {
    /// Whether it is about API tokens.
    pub(in crate::http) fn about_tokens(&self) -> bool {
        matches!(self, Self::Tokens | Self::TokenMake | Self::TokenRevoke(_))
    }

    /// Whether the node that is asked answers it itself, whether it has a ledger or not. A batch is read and proposed
    /// by it, with ids of its own, and its answer is no more than what became of that.
    pub(in crate::http) fn is_of_the_node(&self) -> bool {
        matches!(
            self,
            Self::Page(_)
                | Self::Live
                | Self::Ready
                | Self::Metrics
                | Self::Version
                | Self::Description
                | Self::Docs
                | Self::Problems
                | Self::SubmitBatch
                | Self::NodeDrill(_)
                | Self::Handover
                | Self::Journal
                | Self::Recover
        )
    }

    /// Whether it may be done twice as well as once. A submit may: its job has an id before it is passed on.
    pub(in crate::http) fn is_repeatable(&self, method: &str) -> bool {
        method != "POST"
            || matches!(
                self,
                Self::Submit
                    | Self::JobCancel(_)
                    | Self::JobsCancel
                    | Self::GroupCancel(_)
                    | Self::LeaseSay(..)
                    | Self::NodeDrain(..)
                    | Self::QueuePause(..)
                    | Self::QueuePurge(_)
                    | Self::SchedulePause(..)
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
