//! Damaged stores: noticed, or harmless.

use super::super::book::Book;
use super::super::checkpoint::LedgerMeta;
use super::super::log::FRAMES;
use super::super::memory::Switchboard;
use super::super::*;
use super::super::{ledger, redo};
use super::fixture::{Map, cluster, set};
use relais_protocol::codec;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A stopped store, and what was acknowledged of it.
struct Sample {
    dir: tempfile::TempDir,
    journal: PathBuf,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    last: Index,
    term: u64,
}

/// Entries small and large, deleted rows, two checkpoints, and a tail after them.
async fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let node = cluster(&board, dir.path(), 1).await.remove(0);
    let mut last = Index(0);
    for n in 0..240u64 {
        let payload = match n {
            80 | 160 => Bytes::from_static(b"!audit  it"),
            n if n % 20 == 3 => set(n, &vec![n as u8; 30_000]),
            n if n % 7 == 0 => set(n / 2, b""),
            n => set(n, &[n as u8; 200]),
        };
        last = node.propose(payload).await.0;
    }
    let mut checkpoint = node.journal.audit();
    checkpoint.wait_for(|made| made.is_some_and(|made| made.index.0 > 120)).await.unwrap();
    let (rows, term, journal) = (node.machine.rows(), node.term(), node.dir.clone());
    node.stop(&board).await;
    Sample { dir, journal, rows, last, term }
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_name() != "ballast" {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// A small generator of our own: same seed, same damage.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

fn flip_a_bit(dice: &mut Dice, dir: &Path) -> String {
    let files = files(dir);
    let path = &files[dice.below(files.len() as u64) as usize];
    let mut bytes = fs::read(path).unwrap();
    // Mostly where there is something: sled's files end in long runs of nothing.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1) as u64;
    if used == 0 {
        return format!("{} is empty", path.display());
    }
    let (at, bit) = (dice.below(used) as usize, dice.below(8));
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
    format!("bit {bit} of byte {at} of {}", path.display())
}

fn cut_the_tail(dice: &mut Dice, dir: &Path) -> String {
    let path = dir.join(["log/db", "ledger/db"][dice.below(2) as usize]);
    let length = fs::metadata(&path).unwrap().len();
    let scale = [16, 4_096, 1 << 20][dice.below(3) as usize];
    let cut = 1 + dice.below(scale).min(length - 1);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - cut).unwrap();
    format!("{cut} bytes off the end of {}", path.display())
}

fn truncate_or_remove(dice: &mut Dice, dir: &Path) -> String {
    let files = files(dir);
    let path = &files[dice.below(files.len() as u64) as usize];
    if dice.below(4) == 0 {
        fs::remove_file(path).unwrap();
        return format!("{} removed", path.display());
    }
    let length = dice.below(fs::metadata(path).unwrap().len());
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    format!("{} truncated to {length}", path.display())
}

async fn open_store(dir: &Path) -> Result<Opened, OpenError> {
    let mut options = StoreOptions::new(dir, RaftId(1), Arc::new(|reason| panic!("fatal: {reason}")));
    options.open_limit = Duration::from_secs(20);
    open(options).await
}

/// Runs what opened and sees that all that was acknowledged is in it.
async fn is_whole(store: Store, sample: &Sample) -> bool {
    let board = Switchboard::new();
    let machine = Arc::new(Map::default());
    let journal = RaftJournal::start(store, machine.clone(), board.link(RaftId(1))).await.unwrap();
    let term_kept = journal.status().borrow().term >= sample.term;
    journal.stand().await.unwrap();
    let applied = tokio::time::timeout(Duration::from_secs(10), journal.wait_applied(sample.last)).await;
    let whole = applied.is_ok() && machine.rows() == sample.rows;
    journal.shutdown().await;
    term_kept && whole
}

/// Damages 50 copies, or as many as `RELAIS_DAMAGE_CASES` says; returns how many times it was noticed.
async fn damage(first_seed: u64, how: fn(&mut Dice, &Path) -> String) -> usize {
    let cases = std::env::var("RELAIS_DAMAGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(50);
    let sample = sample().await;
    let mut noticed = 0;
    for seed in first_seed..first_seed + cases {
        let dir = sample.dir.path().join(format!("case-{seed}"));
        copy(&sample.journal, &dir);
        let what = how(&mut Dice(seed), &dir);
        match open_store(&dir).await {
            Ok(Opened::Damaged { .. }) => noticed += 1,
            Ok(Opened::Clean(store)) => {
                assert!(is_whole(store, &sample).await, "seed {seed}: not noticed: {what}");
            }
            Err(e) => panic!("seed {seed}: {what}: an error and no verdict: {e}"),
        }
        fs::remove_dir_all(dir).unwrap();
    }
    println!("{cases} cases from seed {first_seed}: {noticed} noticed, the others harmless");
    noticed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_noticed_or_harmless() {
    let noticed = damage(0, flip_a_bit).await;
    assert!(noticed >= 5, "noticed {noticed}: the damage does not reach the data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_tails_are_noticed_or_harmless() {
    let noticed = damage(1_000_000, cut_the_tail).await;
    assert!(noticed >= 5, "noticed {noticed}: the damage does not reach the data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_and_removed_files_are_noticed_or_harmless() {
    let noticed = damage(2_000_000, truncate_or_remove).await;
    assert!(noticed >= 5, "noticed {noticed}: the damage does not reach the data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undamaged_store_is_clean_and_a_foreign_one_is_refused() {
    let sample = sample().await;
    let Ok(Opened::Clean(store)) = open_store(&sample.journal).await else { panic!("not clean") };
    assert!(is_whole(store, &sample).await);
    let options = StoreOptions::new(&sample.journal, RaftId(2), Arc::new(|_| {}));
    assert!(matches!(open(options).await, Err(OpenError::Foreign { found: RaftId(1), .. })));
    let aside = put_aside(&sample.journal).unwrap();
    assert!(aside.ends_with("journal-1.damaged-1") && aside.exists() && !sample.journal.exists());
    let Ok(Opened::Clean(_)) = open_store(&sample.journal).await else { panic!("no fresh store") };
    assert!(put_aside(&sample.journal).unwrap().ends_with("journal-1.damaged-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_but_an_acknowledged_one_is_missed() {
    let sample = sample().await;
    let book = Book::open(&sample.journal.join("log")).unwrap();
    let after = sample.last.0 + 1;
    for (key, value) in FRAMES.write(&after.to_be_bytes(), &vec![1; 9_000]) {
        book.write(&key, value.as_deref()).unwrap();
    }
    book.flush().unwrap();
    book.close();
    let Ok(Opened::Clean(store)) = open_store(&sample.journal).await else { panic!("a torn tail is no damage") };
    drop(store);
    let book = Book::open(&sample.journal.join("log"));
    let book = book.or_else(|_| wait_for_lock(&sample.journal.join("log"))).unwrap();
    assert_eq!(FRAMES.read(&book, &after.to_be_bytes()).unwrap(), None);
    book.write(&FRAMES.key(&sample.last.0.to_be_bytes()), None).unwrap();
    book.flush().unwrap();
    book.close();
    let Ok(Opened::Damaged { reason, .. }) = open_store(&sample.journal).await else { panic!("not noticed") };
    assert!(reason.contains("acknowledged entries"), "{reason}");
}

/// A dropped store is closed by its threads, a moment later.
fn wait_for_lock(dir: &Path) -> Result<Book, super::super::book::BookError> {
    (0..200)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Book::open(dir).ok()
        })
        .ok_or(super::super::book::BookError::Closed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_half_made_is_made_again() {
    let sample = sample().await;
    let dir = sample.journal.join("ledger");
    let book = Book::open(&dir).unwrap();
    let bytes = book.read(ledger::META_KEY).unwrap().unwrap();
    let mut meta: LedgerMeta = codec::decode(codec::FORMAT, &bytes, LedgerMeta::BYTES_MAX).unwrap();
    // As if the last entries had been in a checkpoint that the crash cut short after half of its rows.
    let rows = meta.space();
    let changes: Vec<_> = (0..10u64).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 5_000])).collect();
    let some = changes.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
    let steps = rows.steps(&book, some, &mut meta).unwrap();
    let in_book: Vec<_> = steps.into_iter().flat_map(|step| step.changes).collect();
    let encoded = codec::encode(codec::FORMAT, &meta);
    redo::write(&dir, &encoded, in_book.iter().map(|(k, v)| (k.as_slice(), v.as_deref()))).unwrap();
    for (key, value) in &in_book[..in_book.len() / 2] {
        book.write(key, value.as_deref()).unwrap();
    }
    book.flush().unwrap();
    book.close();
    let Ok(Opened::Clean(store)) = open_store(&sample.journal).await else { panic!("not healed") };
    for (key, value) in &changes {
        assert_eq!(store.ledger.read(key).as_ref(), Some(value));
    }
    assert_eq!(store.ledger.meta(), meta);
}
