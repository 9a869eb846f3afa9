//! The program: what `main` is made of, for `relais` itself and for a node binary of one's own.
//!
//! A program of one's own is all of `relais`, and offers kinds of its own beside those that every node has. Jobs of
//! such a kind go only to nodes that offer it; the others of the cluster can be plain `relais`.
//!
//! ```no_run
//! use relais_node::program::{HandlerError, Program};
//! use serde_json::json;
//!
//! fn main() -> std::process::ExitCode {
//!     let program = Program::new().handle("greet", |call| async move {
//!         let name = call.payload["name"].as_str().ok_or_else(|| HandlerError::fatal("`name` is missing"))?;
//!         Ok(json!({ "greeting": format!("hello {name}") }))
//!     });
//!     program.main()
//! }
//! ```

pub use relais_worker::executor::handler::{Call, Handled, HandlerError};

use crate::http::is_kind;
use relais_protocol::lease::EXTERNAL;
use relais_protocol::spec::EVERYWHERE;
use relais_worker::executor::handler::Handlers;
use std::process::ExitCode;

/// A `relais` with handlers in it.
#[derive(Default)]
pub struct Program {
    handlers: Handlers,
}

impl Program {
    /// Plain `relais`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers `kind`: its jobs are run by `handler`.
    ///
    /// # Panics
    /// When `kind` can't be the name of a kind (1 to 64 of a-z 0-9 . _ -, a letter first), or is one that every
    /// node has.
    #[must_use]
    pub fn handle<F, Fut>(self, kind: &str, handler: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Handled> + Send + 'static,
    {
        let is_taken = EVERYWHERE.contains(&kind) || [EXTERNAL, "copy"].contains(&kind);
        assert!(is_kind(kind) && !is_taken, "`{kind}` can't be a kind of one's own; name it like `resize-image`");
        Self { handlers: self.handlers.with(kind, handler) }
    }

    /// Runs the program: all of the `relais` command line, and the entries of its own child processes. Must be
    /// called outside of any async runtime.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let first = std::env::args_os().nth(1);
        match first.as_deref().and_then(|word| word.to_str()) {
            Some("__spawner") => relais_worker::spawner::main(),
            Some(crate::drill::RISE) => crate::drill::rise(),
            Some(crate::drill::WAKE) => crate::drill::wake(),
            _ => crate::cli::main(self.handlers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn only_what_can_be_a_kind_of_ones_own_is_offered() {
        let offer = |kind: &'static str| {
            std::panic::catch_unwind(move || Program::new().handle(kind, |_| async { Ok(Value::Null) })).is_ok()
        };
        assert!(offer("greet") && offer("a.b_c-9"));
        for kind in ["exec", "http", "noop", "external", "copy", "", "A", "9a", "a b", "ä"] {
            assert!(!offer(kind), "{kind}");
        }
    }
}
