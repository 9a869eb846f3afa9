//! The house rules that a machine can check, read off the source tree.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file outside tests may have.
const FILE_LINES_MAX: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    for package in ["protocol", "dispatcher", "worker", "node", "tests", "benches"] {
        rust_files(&root.join(package), &mut files);
    }
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        (name, text)
    };
    let read: Vec<_> = files.into_iter().map(read).collect();
    assert!(read.len() > 100, "only {} files were found", read.len());
    read
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs")
}

fn report(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(name, _)| name);
    report("no `//!` on top", &silent.collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|(name, _)| !is_test(name));
    let long = long.map(|(name, text)| (name, text.lines().count())).filter(|(_, lines)| *lines > FILE_LINES_MAX);
    report("too long", &long.map(|(name, lines)| format!("{name}: {lines} lines")).collect::<Vec<_>>());
}

#[test]
fn nothing_is_put_off_or_switched_off() {
    let words =
        ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "#[ign".to_owned() + "ore", "#[all".to_owned() + "ow("];
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                broken.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("put off or switched off", &broken);
}

/// Who may import whom: `protocol` nobody, `dispatcher` and `worker` only `protocol`.
#[test]
fn packages_import_by_the_matrix() {
    let banned = [
        ("protocol/", &["relais_dispatcher", "relais_worker", "relais_node", "tokio", "actix", "quinn", "sled"][..]),
        ("dispatcher/", &["relais_worker", "relais_node", "quinn::"][..]),
        ("worker/", &["relais_dispatcher", "relais_node", "quinn::", "sled::"][..]),
    ];
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (package, names) in &banned {
            let imports = text.lines().filter(|line| line.trim_start().starts_with("use "));
            for line in imports.filter(|_| name.starts_with(package)) {
                if names.iter().any(|banned| line.contains(&format!("use {banned}"))) {
                    broken.push(format!("{name}: {}", line.trim()));
                }
            }
        }
    }
    report("imports across the matrix", &broken);
}

/// One file each knows sled, bincode and croner, one folder knows openraft.
#[test]
fn each_library_has_its_one_place() {
    let places = [
        ("sled::", "dispatcher/src/journal/book.rs"),
        ("bincode::", "protocol/src/codec.rs"),
        ("openraft::", "dispatcher/src/journal"),
        ("croner::", "dispatcher/src/cron.rs"),
    ];
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (library, place) in places {
            let known = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(library));
            if known && !name.starts_with(place) && name != "tests/tests/tidy.rs" {
                broken.push(format!("{name} knows {library}"));
            }
        }
    }
    report("outside its place", &broken);
}
