//! Every reader of bytes from outside, with the corpus in the tree and seeded changes of it.
//!
//! `RELAIS_FUZZ_CASES` says how many changed inputs there are in all, `RELAIS_SEED` which. With
//! `RELAIS_FUZZ_WRITE=1` the corpus gets the seeds that it lacks. The same readers under libFuzzer:
//! `cargo fuzz run --fuzz-dir tests/fuzz records` (with `-s none` where there is no nightly toolchain).

use relais_tests::fuzz::{Came, Mutator, TARGETS, Target};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Changed inputs in all, where `RELAIS_FUZZ_CASES` does not say otherwise.
const CASES: u64 = 6_000;
/// The whole corpus in the tree stays below.
const CORPUS_BYTES_MAX: u64 = 200 << 10;

/// The system's allocator, and the most bytes that anybody asked it for at once.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is watched only by being one; each call is passed on as it is")]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder(target);
    if number("RELAIS_FUZZ_WRITE") == Some(1) {
        std::fs::create_dir_all(&folder).expect("the corpus");
        for (name, bytes) in (target.seeds)() {
            let path = folder.join(name);
            if !path.exists() {
                std::fs::write(path, bytes).expect("a seed");
            }
        }
    }
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(&path).expect("an input"));
    found.into_iter().map(read).collect()
}

/// Gives one input to the target; what fails says which it was.
fn give(target: &Target, name: &str, bytes: &[u8]) -> Came {
    struct Told<'a>(&'a str, &'a str, &'a [u8]);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let path = std::env::temp_dir().join(format!("relais-fuzz-{}.input", self.0));
                let kept = std::fs::write(&path, self.2).is_ok();
                let place = if kept { path.display().to_string() } else { format!("{:?}", self.2) };
                eprintln!("{}: {} was the input ({place})", self.0, self.1);
            }
        }
    }
    let _told = Told(target.name, name, bytes);
    LARGEST.store(0, Ordering::Relaxed);
    let came = (target.take)(bytes);
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= target.allocation_max, "{largest} bytes were allocated at once for {} bytes", bytes.len());
    came
}

/// One test for all of them: the watched allocator is one for the process.
#[test]
fn every_reader_stands_whatever_it_is_given() {
    let cases = number("RELAIS_FUZZ_CASES").unwrap_or(CASES);
    let seed = number("RELAIS_SEED").unwrap_or(1);
    let mut corpus_bytes = 0;
    for target in TARGETS {
        let corpus = corpus(&target);
        assert!(corpus.len() >= 4, "{} has a corpus of {}", target.name, corpus.len());
        let began = Instant::now();
        let (mut taken, mut changed_taken) = (0, 0);
        for (name, bytes) in &corpus {
            corpus_bytes += bytes.len() as u64;
            taken += u64::from(give(&target, name, bytes) == Came::Taken);
        }
        assert!(taken > 0, "{} takes nothing of its corpus", target.name);
        let inputs: Vec<Vec<u8>> = corpus.iter().map(|(_, bytes)| bytes.clone()).collect();
        let mut mutator = Mutator::new(seed);
        let count = (cases * u64::from(target.share) / 100).max(1);
        for case in 0..count {
            let bytes = mutator.next(&inputs);
            let name = format!("case {case} of RELAIS_SEED={seed}");
            changed_taken += u64::from(give(&target, &name, &bytes) == Came::Taken);
        }
        let took = began.elapsed().as_secs_f64();
        let name = target.name;
        println!(
            "{name:<10} {taken} of {} in the corpus taken, {changed_taken} of {count} changed, {took:.1} s",
            corpus.len()
        );
    }
    assert!(corpus_bytes <= CORPUS_BYTES_MAX, "the corpus has {corpus_bytes} bytes");
}

/// Each target has its one line under `cargo fuzz`, and each of those a target.
#[test]
fn every_reader_has_its_cargo_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("the targets")
        .flatten()
        .map(|entry| entry.path().file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let mut wanted: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}
