//! Histories of the cluster as the ledger records them: when a node went on alone, and when what it had left
//! behind was merged.

use super::keys;
use super::{Event, Ledger};
use relais_protocol::codec;
use relais_protocol::history::{Lineage, Side, Takeover};
use relais_protocol::record::{Outcome, Refusal};

impl Ledger {
    /// The histories that led to the present one, oldest first; empty if there was only ever one.
    #[must_use]
    pub fn lineage(&self) -> &[Lineage] {
        &self.lineage
    }

    /// What this history counts its generations and epochs in.
    #[must_use]
    pub fn side(&self) -> Side {
        self.head.side
    }

    /// Whether this history left another one behind that was not merged into it yet.
    #[must_use]
    pub fn is_unhealed(&self) -> bool {
        self.head.unhealed
    }

    pub(super) fn take_over(&mut self, takeover: Takeover) -> Outcome {
        if takeover.generation <= self.head.reign.generation {
            return Outcome::Refused(Refusal::StaleReign);
        }
        self.head.reign.generation = takeover.generation;
        self.head.side = takeover.side;
        self.head.unhealed = true;
        self.head.reign.epoch = self.head.reign.epoch.after(takeover.cause);
        self.lineage.push(Lineage {
            generation: takeover.generation,
            node: takeover.node,
            cause: takeover.cause,
            side: takeover.side,
            began: self.applied,
            common: takeover.common,
            at: takeover.at,
            healed: None,
        });
        self.write_lineage();
        self.events.push(Event::TakenOver(takeover));
        Outcome::Done
    }

    /// Writes the row of the present history.
    pub(super) fn write_lineage(&mut self) {
        let Some(row) = self.lineage.last() else { return };
        let key = keys::key(keys::LINEAGE, &row.generation.0.to_be_bytes());
        self.sheet.write(key, Some(codec::encode(codec::FORMAT, row)));
    }
}
