//! Neighbouring blocks that are written anew: which rows go into which block.

use super::super::book::Change;
use super::super::long::{PIECE, Space};
use super::{BLOCK, PACKED, ROW_HEADER, Row, Step, squeeze};

/// A block that is being filled.
#[derive(Default)]
struct Filling {
    last: Vec<u8>,
    bytes: Vec<u8>,
}

impl Filling {
    fn push(&mut self, key: &[u8], row: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.push(PACKED);
        }
        let shared = key.iter().zip(&self.last).take_while(|(a, b)| a == b).take(u8::MAX.into()).count();
        self.bytes.push(shared as u8);
        self.bytes.extend_from_slice(&((key.len() - shared) as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(row.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(row);
        self.last.clear();
        self.last.extend_from_slice(key);
    }
}

/// Bytes that a row takes in a block, at most.
fn cost(key: &[u8], row: &[u8]) -> usize {
    ROW_HEADER + key.len() + row.len()
}

fn is_small(key: &[u8], row: &[u8]) -> bool {
    1 + cost(key, row) <= PIECE
}

/// The blocks of `rows`, as they are stored. Whether those that were to be one block are one.
fn blocks_of(rows: &[&Row], space: Space, written: &mut Vec<Change>) -> bool {
    let Some(first) = rows.first() else { return true };
    let mut filling = Filling::default();
    rows.iter().for_each(|(key, row)| filling.push(key, row));
    let stored = squeeze(filling.bytes);
    if stored.len() <= PIECE || rows.len() == 1 {
        written.push((space.key(&first.0), Some(stored)));
        return true;
    }
    let (one, other) = rows.split_at(rows.len() / 2);
    blocks_of(one, space, written);
    blocks_of(other, space, written);
    false
}

/// A stretch of neighbouring blocks with the rows that are to be in their place.
#[derive(Default)]
pub(super) struct Stretch {
    /// Keys that the book has there, with how many it took.
    pub(super) taken: Vec<(Vec<u8>, u32)>,
    /// Each row, and whether the book has it so under a key of its own.
    pub(super) rows: Vec<(Row, bool)>,
    /// What it comes to.
    pub(super) step: Step,
}

impl Stretch {
    pub(super) fn bytes(&self) -> usize {
        self.rows.iter().map(|((key, row), _)| cost(key, row)).sum()
    }

    /// The step that puts the rows there.
    pub(super) fn packed(mut self, space: Space) -> Step {
        let bytes = self.bytes();
        // What grows at its end will go on there; else all blocks keep room for what comes between.
        self.step.is_growth &= self.taken.len() <= 1;
        let full = if self.step.is_growth { BLOCK } else { bytes / bytes.div_ceil(BLOCK).max(1) + 1 };
        let mut written: Vec<Change> = Vec::new();
        let (mut block, mut filled, mut kept) = (Vec::new(), 1, Vec::new());
        for (row, is_kept) in &self.rows {
            let (is_small, more) = (is_small(&row.0, &row.1), cost(&row.0, &row.1));
            if !is_small || filled >= full || filled + more > BLOCK {
                self.step.is_growth &= blocks_of(&block, space, &mut written);
                block.clear();
                filled = 1;
            }
            if is_small {
                block.push(row);
                filled += more;
            } else if *is_kept {
                kept.push(space.key(&row.0));
            } else {
                written.extend(space.write(&row.0, &row.1));
            }
        }
        self.step.is_growth &= blocks_of(&block, space, &mut written);
        for (key, pieces) in self.taken.iter().filter(|(key, _)| !kept.contains(key)) {
            let keys = space.keys_of(&key[1..], *pieces).into_iter();
            let gone = keys.filter(|key| !written.iter().any(|(new, _)| new == key));
            self.step.changes.extend(gone.map(|key| (key, None)));
        }
        self.step.changes.extend(written);
        self.step
    }
}
