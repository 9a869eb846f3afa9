//! Rows on disk, with other rows laid over them, read a page at a time.

use super::book::{Book, BookError};
use super::long::Space;
use crate::rows::Changes;
use std::ops::Bound;

/// Some rows in order.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Keys and values.
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// There are no more after these.
    pub(super) is_last: bool,
}

type Over<'o> = Box<dyn Iterator<Item = (&'o Vec<u8>, &'o Option<Vec<u8>>)> + 'o>;

struct Filling {
    page: Page,
    bytes: usize,
    max: (usize, usize),
}

impl Filling {
    /// Takes a row unless the page is full.
    fn take(&mut self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let bytes = self.bytes + key.len() + value.len() + 8;
        let is_full = self.page.rows.len() >= self.max.0 || (bytes > self.max.1 && !self.page.rows.is_empty());
        if is_full {
            self.page.is_last = false;
            return false;
        }
        self.bytes = bytes;
        self.page.rows.push((key, value));
        true
    }
}

/// The rows of `from..to` (empty `to`: the end) in `space`, with `over` in their place where it has a key,
/// in order or against it, up to `max` rows and bytes; at least one row if there is any.
pub(super) fn page(
    book: &Book,
    space: Space,
    over: &Changes,
    (from, to): (&[u8], &[u8]),
    reverse: bool,
    max: (usize, usize),
) -> Result<Page, BookError> {
    let mut filling = Filling { page: Page { rows: Vec::new(), is_last: true }, bytes: 0, max };
    let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
    let is_empty = !to.is_empty() && from >= to;
    let range = (!is_empty).then(|| over.range::<[u8], _>((Bound::Included(from), end)));
    let range = range.into_iter().flatten();
    let mut over: Over<'_> = if reverse { Box::new(range.rev()) } else { Box::new(range) };
    let mut next = over.next();
    let end = if to.is_empty() { space.end() } else { space.key(to) };
    let mut has_room = true;
    book.scan(&space.block_from(book, from)?, &end, reverse, &mut |full, stored| {
        let mut rows = space.rows_in(book, full, stored)?;
        rows.retain(|(key, _)| key.as_slice() >= from && (to.is_empty() || key.as_slice() < to));
        if reverse {
            rows.reverse();
        }
        for (key, row) in rows {
            let is_before = |over: &[u8]| if reverse { over > key.as_slice() } else { over < key.as_slice() };
            while let Some((over_key, row)) = next.filter(|(over_key, _)| has_room && is_before(over_key)) {
                has_room = row.as_ref().is_none_or(|row| filling.take(over_key.clone(), row.clone()));
                next = over.next();
            }
            if !has_room {
                break;
            }
            if let Some((over_key, row)) = next.filter(|(over_key, _)| **over_key == key) {
                has_room = row.as_ref().is_none_or(|row| filling.take(over_key.clone(), row.clone()));
                next = over.next();
            } else {
                has_room = filling.take(key, row);
            }
        }
        Ok(has_room)
    })?;
    while let Some((over_key, row)) = next.filter(|_| has_room) {
        has_room = row.as_ref().is_none_or(|row| filling.take(over_key.clone(), row.clone()));
        next = over.next();
    }
    Ok(filling.page)
}
