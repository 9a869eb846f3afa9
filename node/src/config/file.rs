//! The config file: TOML, each key named like its flag, an unknown one refused with its line.

use super::layer::{Given, Layer, Origin};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Why a config file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read the config file {path}: {source}; give --config a readable TOML file", path = .path.display())]
    Unreadable {
        /// The value of `--config`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no TOML, or has a key or a type that is not ours.
    #[error("{path} line {line}: {reason}; correct the line, or take it out", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: Option<Spanned<String>>,
    data_dir: Option<Spanned<String>>,
    http: Option<Spanned<String>>,
    listen: Option<Spanned<String>>,
    advertise: Option<Spanned<String>>,
    advertise_http: Option<Spanned<String>>,
    slots: Option<Spanned<i64>>,
    cpu: Option<Spanned<f64>>,
    memory: Option<Spanned<String>>,
    #[serde(default)]
    labels: BTreeMap<String, Spanned<String>>,
    witness: Option<Spanned<bool>>,
    join: Option<Spanned<String>>,
    token: Option<Spanned<String>>,
    min_free: Option<Spanned<String>>,
    insecure_http: Option<Spanned<bool>>,
    log_format: Option<Spanned<String>>,
}

/// Reads the file at `path`.
///
/// # Errors
/// When it can't be read or holds anything but settings.
pub(super) fn read(path: &Path) -> Result<Layer, FileError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// Reads the text of the file at `path`.
///
/// # Errors
/// When it holds anything but settings.
pub(super) fn parse(path: &Path, text: &str) -> Result<Layer, FileError> {
    let keys: Keys = toml::from_str(text).map_err(|error| FileError::Malformed {
        path: path.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        reason: error.message().replace('\n', " "),
    })?;
    let given = |text_of: String, start: usize| Given {
        text: text_of,
        origin: Origin::Line(path.to_owned(), line_of(text, start)),
    };
    let word = |value: Option<Spanned<String>>| {
        value.map(|v| {
            let start = v.span().start;
            given(v.into_inner(), start)
        })
    };
    let switch = |value: Option<Spanned<bool>>| value.map(|v| given(v.get_ref().to_string(), v.span().start));
    let labels = keys.labels.into_iter().map(|(key, value)| {
        let start = value.span().start;
        (key, given(value.into_inner(), start))
    });
    Ok(Layer {
        name: word(keys.name),
        data_dir: word(keys.data_dir),
        http: word(keys.http),
        listen: word(keys.listen),
        advertise: word(keys.advertise),
        advertise_http: word(keys.advertise_http),
        slots: keys.slots.map(|v| given(v.get_ref().to_string(), v.span().start)),
        cpu: keys.cpu.map(|v| given(v.get_ref().to_string(), v.span().start)),
        memory: word(keys.memory),
        labels: labels.collect(),
        witness: switch(keys.witness),
        join: word(keys.join),
        token: word(keys.token),
        min_free: word(keys.min_free),
        insecure_http: switch(keys.insecure_http),
        log_format: word(keys.log_format),
        exit_with_stdin: None,
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}
