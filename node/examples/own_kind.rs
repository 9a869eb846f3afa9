//! A node binary of one's own: all of `relais`, and the kind `count-words` beside those that every node has.
//!
//! `cargo run --example own_kind -- start --join ADDR --token T` joins it to a cluster; then
//! `curl localhost:7700/v1/jobs --json '{"kind": "count-words", "payload": {"text": "to be or not to be"}}'`.

use relais_node::program::{Call, Handled, HandlerError, Program};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Counts the words of `text`, with a pause of `pause_ms` before each. For trials, it fails as many attempts as
/// `fail_times` says.
async fn count_words(call: Call) -> Handled {
    let text = call.payload["text"].as_str().ok_or_else(|| HandlerError::fatal("`text` is missing"))?;
    let pause = Duration::from_millis(call.payload["pause_ms"].as_u64().unwrap_or(0));
    if u64::from(call.attempt) <= call.payload["fail_times"].as_u64().unwrap_or(0) {
        return Err(HandlerError::retryable(format!("attempt {} was to fail", call.attempt)));
    }
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for (done, word) in text.split_whitespace().enumerate() {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = call.cancelled() => return Err(HandlerError::retryable("told to stop")),
        }
        *counts.entry(word).or_default() += 1;
        call.progress(&format!("{} words", done + 1));
    }
    Ok(json!({ "counts": counts, "fence": call.fence.0, "node": call.node }))
}

fn main() -> ExitCode {
    Program::new().handle("count-words", count_words).main()
}
