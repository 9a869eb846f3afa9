//! Rows of the stored ledger, packed: neighbours lie in one block under the key of the first of them, so that a
//! store of a million small rows has some ten thousand values to find, to cache and to write.
//!
//! ```text
//!   book's key            value
//!   main · first row's key    2 · (shared, rest of key, length, row)*    a block of small rows
//!                             3 · length · the same but its 2, in LZ4
//!   main · row's key          0 or 1 …                                   one row, as in `long`
//! ```
//! A block reaches up to the next one's key. What a version without blocks wrote reads as blocks of one row each,
//! and is packed as its neighbourhood changes. Several keys change together here: whoever writes a [`Step`] has it
//! whole in a redo file before.

mod stretch;

use super::book::{Book, BookError, Change};
use super::checkpoint::LedgerMeta;
use super::long::{Space, pieces_of};
use std::collections::VecDeque;
use std::iter::Peekable;
use stretch::Stretch;

/// Begins a block of small rows.
pub(super) const PACKED: u8 = 2;
/// Begins one that is squeezed.
const SQUEEZED: u8 = 3;
/// Bytes before what is squeezed: the byte above, and how long the block was.
const SQUEEZED_HEADER: usize = 1 + 2;
/// Bytes of a block, at most; squeezed it may have `PIECE`.
pub(super) const BLOCK: usize = 8_000;
/// Bytes before a row's key: how much of it is that of the row before; the lengths of its rest and of the row.
pub(super) const ROW_HEADER: usize = 1 + 2 + 2;
/// Blocks that one step takes together at most, where little is left of each.
const BLOCKS_A_STEP: usize = 64;
/// Blocks kept that were read last.
const SHELF_BLOCKS: usize = 16;

/// A key and its row.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// What some neighbouring rows that change come to in the book. Rows beside them move with them, so all of it, or
/// nothing, is to be seen.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// How many of the rows that change these are.
    pub(super) rows: usize,
    /// They are new, and behind all others of their block: nothing else moves, so who reads over what changes may
    /// see a part.
    pub(super) is_growth: bool,
    /// What changes in the book.
    pub(super) changes: Vec<Change>,
}

fn damaged() -> BookError {
    BookError::Damaged("a block of rows is incomplete".to_owned())
}

fn is_packed(stored: &[u8]) -> bool {
    matches!(stored.first(), Some(&(PACKED | SQUEEZED)))
}

/// A packed block as it is stored: squeezed where that makes it smaller.
pub(super) fn squeeze(block: Vec<u8>) -> Vec<u8> {
    let mut squeezed = vec![0; SQUEEZED_HEADER + lz4_flex::block::get_maximum_output_size(block.len())];
    let Ok(length) = lz4_flex::block::compress_into(&block[1..], &mut squeezed[SQUEEZED_HEADER..]) else {
        return block;
    };
    squeezed.truncate(SQUEEZED_HEADER + length);
    squeezed.shrink_to_fit();
    squeezed[0] = SQUEEZED;
    squeezed[1..SQUEEZED_HEADER].copy_from_slice(&(block.len() as u16).to_le_bytes());
    if squeezed.len() < block.len() { squeezed } else { block }
}

/// The packed block that is stored so.
fn unsqueeze(stored: Vec<u8>) -> Result<Vec<u8>, BookError> {
    let Some((header, squeezed)) = stored.split_first_chunk::<SQUEEZED_HEADER>().filter(|_| stored[0] == SQUEEZED)
    else {
        return Ok(stored);
    };
    let mut block = vec![0; usize::from(u16::from_le_bytes([header[1], header[2]])).max(1)];
    block[0] = PACKED;
    let length = lz4_flex::block::decompress_into(squeezed, &mut block[1..]).map_err(|_| damaged())?;
    if length + 1 == block.len() { Ok(block) } else { Err(damaged()) }
}

/// Visits the rows of a packed block until `visit` says `false`.
fn each_row(stored: &[u8], mut visit: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), BookError> {
    let mut rest = stored.get(1..).unwrap_or_default();
    let mut key = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_first_chunk::<ROW_HEADER>().ok_or_else(damaged)?;
        let length = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let (suffix, after) = after.split_at_checked(length(1)).ok_or_else(damaged)?;
        let (row, after) = after.split_at_checked(length(3)).ok_or_else(damaged)?;
        if usize::from(header[0]) > key.len() {
            return Err(damaged());
        }
        key.truncate(header[0].into());
        key.extend_from_slice(suffix);
        if !visit(&key, row) {
            return Ok(());
        }
        rest = after;
    }
    Ok(())
}

/// The row of `key` in a packed block, and the key of the last row there.
fn row_in(stored: &[u8], key: &[u8]) -> Result<(Option<Vec<u8>>, Vec<u8>), BookError> {
    let (mut found, mut last) = (None, Vec::new());
    each_row(stored, |other, row| {
        if other == key {
            found = Some(row.to_vec());
        }
        last.clear();
        last.extend_from_slice(other);
        true
    })?;
    Ok((found, last))
}

/// A packed block that was read.
#[derive(Debug)]
struct Read {
    first: Vec<u8>,
    last: Vec<u8>,
    stored: Vec<u8>,
}

/// The packed blocks that were read last: who reads neighbours one by one, as a queue is served, finds each block
/// once. Whoever changes the book clears it.
#[derive(Debug, Default)]
pub(super) struct Shelf(VecDeque<Read>);

impl Shelf {
    fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let block = self.0.iter().find(|block| block.first.as_slice() <= key && key <= block.last.as_slice())?;
        Some(&block.stored)
    }

    fn put(&mut self, block: Read) {
        self.0.truncate(SHELF_BLOCKS - 1);
        self.0.push_front(block);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Space {
    /// The block in which the row of `key` is, if it is anywhere: its key in the book, and its value.
    fn block_of(self, book: &Book, key: &[u8]) -> Result<Option<Row>, BookError> {
        book.last_up_to(&[self.main], &self.key(key))
    }

    /// The first key of the book that can have rows from `from` on.
    pub(super) fn block_from(self, book: &Book, from: &[u8]) -> Result<Vec<u8>, BookError> {
        Ok(self.block_of(book, from)?.map_or_else(|| self.key(from), |(key, _)| key))
    }

    /// The rows of the block that `book` has under `full`.
    pub(super) fn rows_in(self, book: &Book, full: &[u8], stored: &[u8]) -> Result<Vec<Row>, BookError> {
        let key = full.get(1..).unwrap_or_default();
        if !is_packed(stored) {
            return Ok(vec![(key.to_vec(), self.whole(book, key, stored)?)]);
        }
        let mut rows: Vec<Row> = Vec::new();
        each_row(&unsqueeze(stored.to_vec())?, |key, row| {
            rows.push((key.to_vec(), row.to_vec()));
            true
        })?;
        let in_order = rows.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if rows.first().is_some_and(|(first, _)| first == key) && in_order { Ok(rows) } else { Err(damaged()) }
    }

    /// The row of `key`.
    pub(super) fn row(self, book: &Book, key: &[u8]) -> Result<Option<Vec<u8>>, BookError> {
        self.row_by(&mut Shelf::default(), book, key)
    }

    /// The same, with a look at the blocks that were read before.
    pub(super) fn row_by(self, shelf: &mut Shelf, book: &Book, key: &[u8]) -> Result<Option<Vec<u8>>, BookError> {
        if let Some(block) = shelf.find(key) {
            return Ok(row_in(block, key)?.0);
        }
        let Some((full, stored)) = self.block_of(book, key)? else { return Ok(None) };
        if !is_packed(&stored) {
            return if full[1..] == *key { self.whole(book, key, &stored).map(Some) } else { Ok(None) };
        }
        let stored = unsqueeze(stored)?;
        let (found, last) = row_in(&stored, key)?;
        if key <= last.as_slice() {
            shelf.put(Read { first: full[1..].to_vec(), last, stored });
        }
        Ok(found)
    }

    /// How the book is to change so that the rows do: `changes` must be in the order of their keys. `meta` counts
    /// rows out and in.
    pub(super) fn steps<'c>(
        self,
        book: &Book,
        changes: impl Iterator<Item = (&'c [u8], Option<&'c [u8]>)>,
        meta: &mut LedgerMeta,
    ) -> Result<Vec<Step>, BookError> {
        let mut changes = changes.peekable();
        let mut steps = Vec::new();
        while changes.peek().is_some() {
            steps.push(self.stretch(book, &mut changes, meta)?.packed(self));
        }
        Ok(steps)
    }

    fn stretch<'c, I: Iterator<Item = (&'c [u8], Option<&'c [u8]>)>>(
        self,
        book: &Book,
        changes: &mut Peekable<I>,
        meta: &mut LedgerMeta,
    ) -> Result<Stretch, BookError> {
        let mut stretch = Stretch::default();
        stretch.step.is_growth = true;
        let mut next: Option<Vec<u8>> = None;
        while let Some((key, _)) = changes.peek() {
            let block = self.block_of(book, key)?;
            let is_next = next.is_none() || block.as_ref().map(|(full, _)| full) == next.as_ref();
            let is_long = stretch.taken.len() == BLOCKS_A_STEP || stretch.bytes() > BLOCK / 2;
            if !stretch.taken.is_empty() && (!is_next || is_long) {
                break;
            }
            let after = block.as_ref().map_or_else(|| self.key(key), |(full, _)| full.clone());
            next = book.first_after(&after, &self.end())?;
            let end = next.as_ref().map(|full| full[1..].to_vec());
            self.take(book, block, end.as_deref(), changes, &mut stretch, meta)?;
            if next.is_none() || stretch.taken.is_empty() {
                break;
            }
        }
        Ok(stretch)
    }

    /// Takes a block and what changes in it, up to `end`, into a stretch.
    fn take<'c, I: Iterator<Item = (&'c [u8], Option<&'c [u8]>)>>(
        self,
        book: &Book,
        block: Option<Row>,
        end: Option<&[u8]>,
        changes: &mut Peekable<I>,
        stretch: &mut Stretch,
        meta: &mut LedgerMeta,
    ) -> Result<(), BookError> {
        let mut old = Vec::new().into_iter().peekable();
        let mut is_alone = false;
        if let Some((full, stored)) = block {
            old = self.rows_in(book, &full, &stored)?.into_iter().peekable();
            is_alone = !is_packed(&stored);
            stretch.taken.push((full, pieces_of(&stored)));
        }
        while let Some((key, row)) = changes.next_if(|(key, _)| end.is_none_or(|end| *key < end)) {
            stretch.step.rows += 1;
            while let Some(before) = old.next_if(|(old, _)| old.as_slice() < key) {
                stretch.rows.push((before, is_alone));
            }
            stretch.step.is_growth &= old.peek().is_none() && row.is_some();
            if let Some((_, old)) = old.next_if(|(old, _)| old.as_slice() == key) {
                meta.subtract(key, &old);
            }
            if let Some(row) = row {
                meta.add(key, row);
                stretch.rows.push(((key.to_vec(), row.to_vec()), false));
            }
        }
        stretch.rows.extend(old.map(|row| (row, is_alone)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
