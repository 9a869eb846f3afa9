//! How much may happen in the model, and the mistakes that it can be given on purpose.

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Times that a node stands.
    pub stands: u8,
    /// Submits, at most [`super::state::SUBMITS_MAX`].
    pub submits: u8,
    /// Crashes, each with a start after it.
    pub crashes: u8,
    /// Times that a node believes a living dispatcher dead. Two of them are one pause of the dispatcher,
    /// seen by both of the others.
    pub suspicions: u8,
    /// Times that a dispatcher hears no majority and resigns.
    pub resignations: u8,
    /// Workers that listen to orders: those of the first nodes.
    pub workers: u8,
}

impl Bounds {
    /// How long a journal can become: the first `Promote`, one for each stand and each resignation, and the
    /// submits.
    #[must_use]
    pub fn entries(&self) -> usize {
        1 + usize::from(self.stands) + usize::from(self.resignations) + usize::from(self.submits)
    }
}

/// A mistake, to prove that the properties notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A vote is lost in a crash.
    VoteForgotten,
    /// A vote is given to who has less in its journal.
    EndIgnoredByVoter,
    /// A node stands without asking whether the others, too, believe the dispatcher dead.
    ConfirmSkipped,
    /// An entry counts as committed once one node has it.
    AckOfOneCopy,
    /// An append is confirmed before it is on disk.
    SyncSkipped,
    /// A leader of the journal acts before its `Promote` is committed.
    PromoteNotAwaited,
    /// A record of another epoch takes effect.
    EpochIgnoredByLedger,
    /// A worker obeys any epoch.
    EpochIgnoredByWorker,
    /// A worker keeps the highest epoch in memory only.
    EpochForgottenByWorker,
    /// A dispatcher that was restarted goes on as one.
    RoleRestored,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::VoteForgotten,
        Self::EndIgnoredByVoter,
        Self::ConfirmSkipped,
        Self::AckOfOneCopy,
        Self::SyncSkipped,
        Self::PromoteNotAwaited,
        Self::EpochIgnoredByLedger,
        Self::EpochIgnoredByWorker,
        Self::EpochForgottenByWorker,
        Self::RoleRestored,
    ];
}
