//! Records: the durable facts that make up the journal.

use serde::{Deserialize, Serialize};

/// What became of each record of a batch, in the order of the batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcomes(pub Vec<Outcome>);

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It changed the ledger.
    Done,
}
