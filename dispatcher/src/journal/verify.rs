//! Reads a store from its files and believes nothing.
//!
//! What a crash can leave is healed: a checkpoint half made, purged entries not yet removed, a torn tail
//! that was never acknowledged. Everything else that is not as it was written is damage, and names the
//! first thing found wrong.

use super::book::{Book, BookError};
use super::checkpoint::{LedgerMeta, space};
use super::frame::{self, Framed};
use super::ledger::META_KEY;
use super::log::{BASE_KEY, COMMITTED_KEY, FRAMES};
use super::log_job::{Ballot, Mark};
use super::log_memory::{Base, Known, Memory};
use super::redo;
use super::tail::Found;
use super::types::{LogId, Vote};
use relais_protocol::codec;
use relais_protocol::ids::Generation;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::path::Path;

const VALUE_BYTES_MAX: usize = LedgerMeta::BYTES_MAX;

fn damaged(what: impl Into<String>) -> BookError {
    BookError::Damaged(what.into())
}

/// Decodes a small value; `None` or a malformed one is damage.
pub(super) fn decode<T: DeserializeOwned>(what: &str, bytes: Option<&[u8]>) -> Result<T, BookError> {
    let bytes = bytes.ok_or_else(|| damaged(format!("{what} is missing")))?;
    codec::decode(codec::FORMAT, bytes, VALUE_BYTES_MAX).map_err(|e| damaged(format!("{what}: {e}")))
}

/// Reads a vote; one of the version that knew no histories is of the first.
pub(super) fn ballot(bytes: &[u8]) -> Result<Ballot, BookError> {
    #[derive(serde::Deserialize)]
    struct Before {
        raft_id: u64,
        vote: Option<Vote>,
    }
    decode("the vote", Some(bytes)).or_else(|error| {
        let Before { raft_id, vote } = decode("the vote", Some(bytes)).map_err(|_: BookError| error)?;
        Ok(Ballot { raft_id, vote, history: vote.map(|_| Generation::default()), fork: None })
    })
}

/// Heals and verifies the ledger in `dir`; `mark` is the index after an installed snapshot.
pub(super) fn ledger(dir: &Path, book: &Book, mark: u64) -> Result<LedgerMeta, BookError> {
    let mut meta: LedgerMeta = decode("the ledger's meta", book.read(META_KEY)?.as_deref())?;
    if let Some((encoded, changes)) = redo::read(dir)? {
        let redone: LedgerMeta = decode("the redo file's meta", Some(&encoded))?;
        if redone.slot == meta.slot && redone.next_index() >= meta.next_index() {
            for (key, value) in changes {
                book.write(&key, value.as_deref())?;
            }
            book.write(META_KEY, Some(&encoded))?;
            meta = redone;
        }
    }
    meta = finish_unpacked(dir, book, meta)?;
    if meta.slot > 1 {
        return Err(damaged("the ledger's meta names a space that does not exist"));
    }
    space(1 - meta.slot).clear(book)?;
    let mut found = LedgerMeta::default();
    let rows = meta.space();
    let mut last: Option<Vec<u8>> = None;
    book.scan(&rows.key(&[]), &rows.end(), false, &mut |key, stored| {
        let block = rows.rows_in(book, key, stored)?;
        if last.as_ref().is_some_and(|last| block.first().is_some_and(|(first, _)| first <= last)) {
            return Err(damaged("two blocks of the ledger have the same rows"));
        }
        block.iter().for_each(|(key, row)| found.add(key, row));
        last = block.into_iter().next_back().map(|(key, _)| key);
        Ok(true)
    })?;
    if (found.rows, found.hash) != (meta.rows, meta.hash) {
        return Err(damaged(format!("the ledger has {} rows, or others than the {} written", found.rows, meta.rows)));
    }
    if meta.next_index() < mark {
        return Err(damaged("a snapshot that was installed is not there any more"));
    }
    book.flush()?;
    book.file().sync_data()?;
    Ok(meta)
}

/// Finishes a checkpoint that a version without blocks had begun: its redo file names rows, one to a key.
fn finish_unpacked(dir: &Path, book: &Book, meta: LedgerMeta) -> Result<LedgerMeta, BookError> {
    let Some((encoded, changes)) = redo::read_unpacked(dir)? else { return Ok(meta) };
    let redone: LedgerMeta = decode("the redo file's meta", Some(&encoded))?;
    let is_due = redone.slot == meta.slot && redone.next_index() >= meta.next_index();
    if is_due {
        for (key, row) in changes {
            for (key, value) in redone.space().replace(book, &key, row.as_deref())? {
                book.write(&key, value.as_deref())?;
            }
        }
        book.write(META_KEY, Some(&encoded))?;
        book.flush()?;
        book.file().sync_data()?;
    }
    // From now on rows are packed, and it would tear them apart.
    redo::remove_unpacked(dir)?;
    Ok(if is_due { redone } else { meta })
}

/// Heals and verifies the log; `meta` is of the verified ledger.
pub(super) fn log(book: &Book, mark: Mark, meta: &LedgerMeta) -> Result<Memory, BookError> {
    let base: Base = decode("the log's base", book.read(BASE_KEY)?.as_deref())?;
    if base.next_index() > meta.next_index() {
        return Err(damaged("the ledger does not reach to where the log begins"));
    }
    let (known, cut) = frames(book, base)?;
    let end = known.back().map_or(base.next_index(), |last| last.id.index + 1);
    if let Some((index, hash)) = mark.last.filter(|(index, _)| *index >= base.next_index()) {
        let first = known.front().map_or(end, |first| first.id.index);
        let at = index.checked_sub(first).and_then(|at| known.get(at as usize));
        match at {
            None => {
                let why = cut.map_or_else(|| "the log ends".to_owned(), |why| format!("entry {end}: {why}"));
                return Err(damaged(format!("acknowledged entries from {end} to {index} are missing: {why}")));
            }
            Some(entry) if entry.hash != hash => {
                return Err(damaged(format!("entry {index} is not the one that was acknowledged")));
            }
            Some(_) => {}
        }
    }
    let committed = committed(book, base, &known)?;
    if let Some(applied) = meta.applied
        && let Some(entry) = known.iter().find(|entry| entry.id.index == applied.index)
        && entry.id != applied
    {
        return Err(damaged("ledger and log differ in what was applied"));
    }
    remove_outside(book, base.next_index(), end)?;
    book.flush()?;
    book.file().sync_data()?;
    Ok(Memory::new(base, known, committed))
}

/// All frames that follow each other from `base`, and what is wrong with the next.
fn frames(book: &Book, base: Base) -> Result<(VecDeque<Known>, Option<String>), BookError> {
    let mut known: VecDeque<Known> = VecDeque::new();
    let (mut expected, mut previous) = (base.next_index(), base.hash);
    let mut wrong = None;
    let from = FRAMES.key(&expected.to_be_bytes());
    book.scan(&from, &FRAMES.end(), false, &mut |key, stored| match read_frame(
        book,
        &key[1..],
        stored,
        expected,
        previous,
    ) {
        Ok((framed, bytes)) => {
            known.push_back(Known { id: framed.entry.log_id, hash: framed.hash, bytes });
            (expected, previous) = (expected + 1, framed.hash);
            Ok(true)
        }
        Err(BookError::Damaged(why)) => {
            wrong = Some(why);
            Ok(false)
        }
        Err(e) => Err(e),
    })?;
    Ok((known, wrong))
}

fn read_frame(
    book: &Book,
    key: &[u8],
    stored: &[u8],
    expected: u64,
    previous: u64,
) -> Result<(Framed, u32), BookError> {
    if key != expected.to_be_bytes() {
        return Err(damaged("it is not there"));
    }
    let bytes = FRAMES.whole(book, key, stored)?;
    let framed = frame::decode(&bytes, Some(previous)).map_err(|e| damaged(e.to_string()))?;
    if framed.entry.log_id.index != expected {
        return Err(damaged("it is another entry"));
    }
    Ok((framed, bytes.len() as u32))
}

/// What was known to be committed, as far as the log reaches.
fn committed(book: &Book, base: Base, known: &VecDeque<Known>) -> Result<Option<LogId>, BookError> {
    let Some(bytes) = book.read(COMMITTED_KEY)? else { return Ok(None) };
    let committed: LogId = decode("the committed log id", Some(&bytes))?;
    let last = known.back().map(|entry| entry.id).or(base.purged);
    if let Some(entry) = known.iter().find(|entry| entry.id.index == committed.index)
        && entry.id != committed
    {
        return Err(damaged("a committed entry was replaced"));
    }
    Ok(last.map(|last| last.min(committed)))
}

/// Removes frames that are purged already, and a tail that was never acknowledged.
fn remove_outside(book: &Book, first: u64, end: u64) -> Result<(), BookError> {
    let mut outside = Vec::new();
    for (prefix, skip) in [(FRAMES.main, 1), (FRAMES.over, 5)] {
        book.scan(&[prefix], &[prefix + 1], false, &mut |key, _| {
            let index = key.get(skip..skip + 8).map(|b| u64::from_be_bytes(b.try_into().expect("eight bytes")));
            if !index.is_some_and(|index| (first..end).contains(&index)) {
                outside.push(key.to_vec());
            }
            Ok(true)
        })?;
    }
    for key in outside {
        book.write(&key, None)?;
    }
    Ok(())
}

/// Writes what was found in the tail of the log into its database. It is verified there.
pub(super) fn tail(book: &Book, found: &Found) -> Result<(), BookError> {
    if found.frames.is_empty() {
        return Ok(());
    }
    let base: Base = decode("the log's base", book.read(BASE_KEY)?.as_deref())?;
    for (index, frame) in found.frames.iter().filter(|(index, _)| *index >= base.next_index()) {
        let key = index.to_be_bytes();
        if FRAMES.read(book, &key)?.as_ref() != Some(frame) {
            for (key, value) in FRAMES.replace(book, &key, Some(frame))? {
                book.write(&key, value.as_deref())?;
            }
        }
    }
    // What was left of an earlier round in the file can be older than what is in the database.
    let known: Option<LogId> = match book.read(COMMITTED_KEY)? {
        Some(bytes) => Some(decode("the committed log id", Some(&bytes))?),
        None => None,
    };
    if let Some(committed) = found.committed.filter(|found| known.is_none_or(|known| known < *found)) {
        book.write(COMMITTED_KEY, Some(&codec::encode(codec::FORMAT, &committed)))?;
    }
    Ok(())
}
