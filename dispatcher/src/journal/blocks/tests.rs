//! Blocks of rows against a model.

use super::super::long::PIECE;
use super::*;
use std::collections::BTreeMap;

const SPACE: Space = Space { main: b'a', over: b'A' };
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

struct Bench {
    _dir: tempfile::TempDir,
    book: Book,
    meta: LedgerMeta,
    model: Rows,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("book")).unwrap();
        Self { _dir: dir, book, meta: LedgerMeta::default(), model: Rows::new() }
    }

    fn change(&mut self, changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        let rows = changes.iter().map(|(key, row)| (key.as_slice(), row.as_deref()));
        let steps = SPACE.steps(&self.book, rows, &mut self.meta).unwrap();
        assert_eq!(steps.iter().map(|step| step.rows).sum::<usize>(), changes.len());
        for (key, value) in steps.into_iter().flat_map(|step| step.changes) {
            self.book.write(&key, value.as_deref()).unwrap();
        }
        for (key, row) in changes {
            match row {
                Some(row) => drop(self.model.insert(key.clone(), row.clone())),
                None => drop(self.model.remove(key)),
            }
        }
    }

    /// All rows, and how many keys of the book they take.
    fn stored(&self) -> (Rows, usize) {
        let (mut rows, mut keys) = (Rows::new(), 0);
        self.book
            .scan(b"", b"", false, &mut |full, stored| {
                keys += 1;
                if full[0] == SPACE.main {
                    assert!(stored.len() <= PIECE + 5, "a value of {} bytes", stored.len());
                    rows.extend(SPACE.rows_in(&self.book, full, stored)?);
                }
                Ok(true)
            })
            .unwrap();
        (rows, keys)
    }

    fn check(&self) -> usize {
        let (rows, keys) = self.stored();
        assert!(rows == self.model, "other rows than were written");
        let mut meta = LedgerMeta::default();
        self.model.iter().for_each(|(key, row)| meta.add(key, row));
        assert_eq!((meta.rows, meta.hash), (self.meta.rows, self.meta.hash));
        let mut shelf = Shelf::default();
        for (key, row) in &self.model {
            assert_eq!(SPACE.row(&self.book, key).unwrap().as_ref(), Some(row));
            assert_eq!(SPACE.row_by(&mut shelf, &self.book, key).unwrap().as_ref(), Some(row));
            let beside = [key.as_slice(), &[0]].concat();
            assert_eq!(SPACE.row(&self.book, &beside).unwrap(), self.model.get(&beside).cloned());
            assert_eq!(SPACE.row_by(&mut shelf, &self.book, &beside).unwrap(), self.model.get(&beside).cloned());
        }
        keys
    }
}

/// Bytes that can be squeezed or, of some lengths, can't.
fn bytes(number: u32, length: usize) -> Vec<u8> {
    let mut seed = u64::from(number) + 1;
    let byte = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if length % 2 == 0 { number as u8 } else { (seed >> 56) as u8 }
    };
    (0..length).map(byte).collect()
}

fn row(number: u32, length: usize) -> (Vec<u8>, Option<Vec<u8>>) {
    ([b"j".as_slice(), &number.to_be_bytes()].concat(), Some(bytes(number, length)))
}

#[test]
fn rows_that_come_in_order_fill_their_blocks_and_leave_none_behind() {
    let mut bench = Bench::new();
    for batch in 0..20 {
        bench.change(&(0..100).map(|n| row(batch * 100 + n, 190)).collect());
    }
    let keys = bench.check();
    assert!(keys <= 2_000 / 19, "{keys} keys for 2,000 rows of 200 bytes");
    // They end one after the other, in about the order in which they came.
    for batch in 0..20 {
        bench.change(&(0..100).map(|n| (row(batch * 100 + n, 0).0, None)).collect());
        bench.check();
    }
    assert_eq!(bench.stored().1, 0);
}

#[test]
fn rows_that_come_between_others_leave_no_crumbs() {
    let mut bench = Bench::new();
    for step in [16u32, 8, 4, 2, 1] {
        bench.change(&(0..512).filter(|n| n % step == 0).map(|n| row(n, 190)).collect());
    }
    for n in 0..512 {
        bench.change(&[row(n, 60)].into());
    }
    let keys = bench.check();
    assert!(keys <= 512 / 5, "{keys} keys for 512 rows");
}

#[test]
fn any_rows_in_any_order_come_back() {
    let mut seed = 7u64;
    let mut dice = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut bench = Bench::new();
    for _ in 0..120 {
        let count = dice(60);
        let change = (0..count).map(|_| {
            let length = [0, 1, 100, 101, 1_501, 3_985, 3_999, 4_000, 4_001, 9_000][dice(10) as usize];
            let (key, row) = row(dice(150) as u32, length);
            (key, row.filter(|_| dice(4) > 0))
        });
        let change = change.collect();
        bench.change(&change);
        bench.check();
    }
    let all = bench.model.keys().map(|key| (key.clone(), None)).collect();
    bench.change(&all);
    bench.check();
    assert_eq!(bench.stored().1, 0);
}

#[test]
fn rows_of_a_version_without_blocks_are_read_and_packed_as_they_change() {
    let mut bench = Bench::new();
    for n in 0..100 {
        let (key, row) = row(n, if n % 10 == 0 { 9_000 } else { 50 });
        for (key, value) in SPACE.write(&key, row.as_ref().unwrap()) {
            bench.book.write(&key, value.as_deref()).unwrap();
        }
        bench.meta.add(&key, row.as_ref().unwrap());
        bench.model.insert(key, row.unwrap());
    }
    let before = bench.check();
    for from in (0..100).step_by(25) {
        bench.change(&(from..from + 25).map(|n| row(n, 51)).collect());
        bench.check();
    }
    let keys = bench.check();
    assert!(keys * 8 < before, "{keys} keys, before {before}");
}

#[test]
fn a_block_that_is_cut_is_refused() {
    let mut bench = Bench::new();
    bench.change(&(0..10).map(|n| row(n, 21)).collect());
    let key = SPACE.key(&row(0, 0).0);
    let squeezed = bench.book.read(&key).unwrap().unwrap();
    let plain = unsqueeze(squeezed.clone()).unwrap();
    assert!(squeezed[0] == SQUEEZED && plain[0] == PACKED);
    // A cut between two rows of a plain block shows by the count of rows.
    for (stored, cuts_between) in [(squeezed, 0), (plain, 9)] {
        let rows = (1..stored.len()).filter_map(|cut| SPACE.rows_in(&bench.book, &key, &stored[..cut]).ok());
        assert_eq!(rows.filter(|rows| rows.len() < 10).count(), cuts_between);
    }
}
