//! The trace of a run: a hash of all that happened, in order, and, when asked for, a line for what matters.

use super::dice::scramble;
use std::fmt::Write;

/// The trace.
#[derive(Default)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
    text: Option<String>,
}

impl Trace {
    /// `told` keeps a text as well.
    pub(super) fn new(told: bool) -> Self {
        Self { hash: 0, events: 0, text: told.then(String::new) }
    }

    /// An event happened.
    pub(super) fn event(&mut self, at: u64, what: u64, node: u64) {
        self.events += 1;
        self.mark(at << 16 ^ what << 8 ^ node);
    }

    /// Something that two equal runs must have in common.
    pub(super) fn mark(&mut self, value: u64) {
        self.hash = scramble(self.hash.rotate_left(5) ^ value);
    }

    /// A line of the text, made only if there is one.
    pub(super) fn say(&mut self, at: u64, node: u64, line: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            let who = if node == 0 { "-".to_owned() } else { format!("n{node}") };
            // Writing to a string can't fail.
            let _ = writeln!(text, "{at:>6} {who:<3} {}", line());
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn into_text(self) -> Option<String> {
        self.text
    }
}
