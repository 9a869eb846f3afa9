//! The planted bug that acknowledges too early: only the tests that must find it turn it on.

use relais_protocol::job::StateName;
use relais_protocol::record::{Committed, Outcome, Outcomes, Record};

/// What the planted bug says before anything is committed.
pub(super) fn told(records: &[Record]) -> Committed {
    let each = records.iter().map(|record| match record {
        Record::Submit(submit) => Outcome::Submitted { id: submit.id, deduplicated: false, state: StateName::Queued },
        _ => Outcome::Done,
    });
    Committed {
        index: relais_protocol::ids::Index(0),
        outcomes: Outcomes { each: each.collect(), ..Outcomes::default() },
    }
}
