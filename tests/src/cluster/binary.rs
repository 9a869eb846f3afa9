//! Where the program under test is, and what it was built with.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The `relais` program: the one that `RELAIS_BIN` names, else the one beside the test's own executable.
///
/// # Panics
/// When it is not there, with what to do.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("RELAIS_BIN") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("a test knows its own file");
    // target/PROFILE/deps/TEST-HASH; `target` may be anywhere.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("relais")).find(|file| file.is_file());
    beside.unwrap_or_else(|| {
        panic!(
            "the program `relais` is not beside {}: run `cargo test --workspace --release`, which builds it, or build it \
             first with `cargo build --release`, or name one in RELAIS_BIN",
            own.display()
        )
    })
}

/// An example of the node crate: a program of one's own with `relais` in it.
///
/// # Panics
/// When it is not there, with what to do.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own file");
    let folders = own.ancestors().skip(1).take(2).map(|folder| folder.join("examples"));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "the example `{name}` is not built: run `cargo test --workspace --release`, which builds it, or build it \
             first with `cargo build --release -p relais-node --example {name}`"
        )
    })
}

/// Whether the program has the switches of planted bugs in it. It is a matter of how it was built: the whole
/// workspace's tests have them, a shipped program has not.
#[must_use]
pub fn has_planted_bugs() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| holds(&program(), b"RELAIS_PLANTED"))
}

fn holds(file: &Path, text: &[u8]) -> bool {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{} can't be read: {error}", file.display()));
    bytes.windows(text.len()).any(|window| window == text)
}
