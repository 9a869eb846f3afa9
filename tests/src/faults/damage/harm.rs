//! What is done to a stopped node's store, by seeded chance.

use crate::cluster::Cluster;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// In the jobs, so that their records are found in the store. Keys of the usual load are, too.
pub(super) const MARKER: &str = "a-marker-in-the-job";
const KEY: &str = "quick-";
const PAGE: usize = 4_096;

/// Same seed, same damage.
pub(super) struct Dice(StdRng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end.max(1))
    }
}

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    /// One bit of any file.
    FlipBit,
    /// A bit in each record of the log: whichever copy is in use, it is hit.
    FlipRecords,
    /// A page of any file becomes zeros.
    ZeroPage,
    /// 1 B to 1 MB off the end of what is used of a database.
    CutTail,
    /// Random bytes behind what is used of a database, or over its end.
    GarbageTail,
    /// The stored ledger, or what is being made of it, ends early.
    TruncateSnapshot,
}

impl Harm {
    /// Those that chance takes its pick of.
    pub(super) const ALL: [Self; 5] =
        [Self::FlipBit, Self::ZeroPage, Self::CutTail, Self::GarbageTail, Self::TruncateSnapshot];

    /// Whether it can't but hit something that is in use.
    pub(super) fn always_hits(self) -> bool {
        self == Self::FlipRecords
    }

    /// Does it to the journal in `dir`; says what.
    pub(super) fn does(self, dice: &mut Dice, dir: &Path) -> String {
        match self {
            Self::FlipBit => flip_bit(dice, dir),
            Self::FlipRecords => flip_records(dir),
            Self::ZeroPage => zero_page(dice, dir),
            Self::CutTail => cut_tail(dice, dir),
            Self::GarbageTail => garbage_tail(dice, dir),
            Self::TruncateSnapshot => truncate_snapshot(dice, dir),
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// All files of a store but the ballast, which holds nothing.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if entry.file_name() != "ballast" {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn any_file(dice: &mut Dice, dir: &Path) -> PathBuf {
    let files: Vec<PathBuf> = files(dir).into_iter().filter(|file| used(&read(file)) > 0).collect();
    files[dice.below(files.len())].clone()
}

fn database(dice: &mut Dice, dir: &Path) -> PathBuf {
    dir.join(["log/db", "ledger/db"][dice.below(2)])
}

/// Up to where there is anything: databases end in long runs of nothing.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn flip_bit(dice: &mut Dice, dir: &Path) -> String {
    let path = any_file(dice, dir);
    let mut bytes = read(&path);
    let (at, bit) = (dice.below(used(&bytes)), dice.below(8));
    bytes[at] ^= 1 << bit;
    write(&path, &bytes);
    format!("bit {bit} of byte {at} of {}", path.display())
}

fn flip_records(dir: &Path) -> String {
    let mut records = 0;
    for path in ["log/db", "log.tail"].map(|name| dir.join(name)) {
        let mut bytes = read(&path);
        let mut places = Vec::new();
        for marker in [MARKER, KEY] {
            let found = bytes.windows(marker.len()).enumerate().filter(|(_, window)| *window == marker.as_bytes());
            places.extend(found.map(|(place, _)| place));
        }
        for place in &places {
            bytes[place + 3] ^= 0x10;
        }
        records += places.len();
        write(&path, &bytes);
    }
    assert!(records > 0, "the log in {} holds no record that is known", dir.display());
    format!("a bit in each of {records} records of the log in {}", dir.display())
}

fn zero_page(dice: &mut Dice, dir: &Path) -> String {
    let path = any_file(dice, dir);
    let mut bytes = read(&path);
    let page = dice.below(used(&bytes).div_ceil(PAGE)) * PAGE;
    let end = (page + PAGE).min(bytes.len());
    bytes[page..end].fill(0);
    write(&path, &bytes);
    format!("page at {page} of {} zeroed", path.display())
}

fn cut_tail(dice: &mut Dice, dir: &Path) -> String {
    let path = database(dice, dir);
    let bytes = read(&path);
    let scale = [1, 4_096, 1 << 20][dice.below(3)];
    let cut = 1 + dice.below(scale);
    let left = used(&bytes).saturating_sub(cut);
    let file = OpenOptions::new().write(true).open(&path).expect("a database");
    file.set_len(left as u64).expect("a shorter database");
    format!("{cut} bytes off the end of {}, {left} left", path.display())
}

fn garbage_tail(dice: &mut Dice, dir: &Path) -> String {
    let path = database(dice, dir);
    let mut bytes = read(&path);
    let over = dice.below(256);
    let from = if dice.below(2) == 0 { used(&bytes).saturating_sub(over) } else { bytes.len() };
    let length = 1 + dice.below(64 << 10);
    bytes.truncate(from);
    bytes.extend((0..length).map(|_| dice.below(256) as u8));
    write(&path, &bytes);
    format!("{length} bytes of garbage from {from} on of {}", path.display())
}

fn truncate_snapshot(dice: &mut Dice, dir: &Path) -> String {
    let redo = dir.join("ledger/redo");
    let path = if redo.exists() && dice.below(3) == 0 { redo } else { dir.join("ledger/db") };
    let left = dice.below(used(&read(&path)));
    let file = OpenOptions::new().write(true).open(&path).expect("a snapshot");
    file.set_len(left as u64).expect("a shorter snapshot");
    format!("{} truncated to {left}", path.display())
}

/// Every job as a node's own copy of the record has it, by id.
pub(super) fn jobs_here(cluster: &Cluster, node: usize) -> BTreeMap<String, Value> {
    let mut jobs = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = cluster.nodes[node].read(&format!("/v1/jobs?consistency=local&limit=500{cursor}"));
        let page = page.unwrap_or_else(|| panic!("{} gives no list of jobs", cluster.nodes[node].name));
        for job in page["jobs"].as_array().into_iter().flatten() {
            jobs.insert(job["id"].as_str().unwrap_or_default().to_owned(), job.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return jobs,
        }
    }
}
