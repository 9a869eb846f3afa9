//! What running attempts ask of a node, added up, and whether there is room for one more. Whole numbers only: every
//! replica comes to the same sums.

use relais_protocol::node::NodeRow;
use relais_protocol::spec::Requires;

/// Slots, cores and memory that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Slots.
    pub slots: u32,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// How much of `all` is used, in thousandths.
fn permille(used: u64, all: u64) -> u64 {
    used.saturating_mul(1_000) / all.max(1)
}

impl Load {
    /// What one attempt asks for.
    pub(super) fn of(requires: &Requires) -> Self {
        Self {
            slots: requires.slots,
            cpu_millis: requires.cpu_millis.into(),
            memory_bytes: if crate::planted::is_planted("memory-ignored") { 0 } else { requires.memory_bytes },
        }
    }

    /// All that a node offers.
    pub(super) fn whole(row: &NodeRow) -> Self {
        let facts = &row.facts;
        Self { slots: row.slots(), cpu_millis: facts.cpu_millis.into(), memory_bytes: facts.memory_bytes }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.slots += more.slots;
        self.cpu_millis += more.cpu_millis;
        self.memory_bytes += more.memory_bytes;
    }

    /// Takes out what was added before.
    pub(super) fn take(&mut self, less: Self) {
        self.slots = self.slots.saturating_sub(less.slots);
        self.cpu_millis = self.cpu_millis.saturating_sub(less.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_sub(less.memory_bytes);
    }

    /// What is left of `whole`; nothing where more is used than there is.
    pub(super) fn left_of(self, mut whole: Self) -> Self {
        whole.take(self);
        whole
    }

    /// Whether `more` has room beside it in `whole`. What is not asked for is not looked at: two sides of a split
    /// can have filled a node twice, and then it still has what they left of the rest.
    pub(super) fn has_room(self, whole: Self, more: Self) -> bool {
        let left = self.left_of(whole);
        more.slots <= left.slots && more.cpu_millis <= left.cpu_millis && more.memory_bytes <= left.memory_bytes
    }

    /// How full `whole` is with it, in thousandths: by what it has least left of.
    pub(super) fn fullness(self, whole: Self) -> u64 {
        let slots = permille(self.slots.into(), whole.slots.into());
        let cpu = permille(self.cpu_millis, whole.cpu_millis);
        slots.max(cpu).max(permille(self.memory_bytes, whole.memory_bytes))
    }
}
