//! The config file.

use super::Came;
use relais_node::config::StartConfig;
use std::path::Path;

/// The whole input is the file.
pub(super) fn take(bytes: &[u8]) -> Came {
    let Ok(text) = std::str::from_utf8(bytes) else { return Came::Refused };
    let path = Path::new("relais.toml");
    match StartConfig::of_file(path, text, "host") {
        Ok(config) => {
            assert_eq!(StartConfig::of_file(path, text, "host").ok(), Some(config), "one file is read in two ways");
            Came::Taken
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal without a word");
            Came::Refused
        }
    }
}
