//! Where answers go: formats, terminals, colour. It decides how, never what.

use super::client::Answer;
use super::failure::{Failure, one_line};
use serde_json::value::RawValue;
use std::io::{self, IsTerminal, Write};

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// The API's answer unchanged.
    Json,
    /// One compact JSON object a line.
    Jsonl,
    /// Ids and names alone.
    Quiet,
}

/// The two outputs of the process, and what may be done to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// What was asked for.
    pub(crate) format: Format,
    /// Standard output is a terminal.
    pub(crate) terminal: bool,
    /// Standard error is a terminal.
    pub(crate) error_terminal: bool,
    /// Colours may be used on standard output.
    pub(crate) colour: bool,
}

impl Screen {
    /// Asks the process's outputs and `NO_COLOR`.
    pub(crate) fn of_process(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { format, terminal, error_terminal: io::stderr().is_terminal(), colour: terminal && wanted && !dumb }
    }

    /// One line on standard output.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Bytes on standard output, at once.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Bytes on standard error, at once: a job's own.
    pub(crate) fn error_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(io::stderr().lock().write_all(bytes)?)
    }

    /// A line for the person at the terminal, on standard error; silent without one.
    pub(crate) fn note(&self, text: &str) {
        if self.error_terminal {
            eprintln!("{}", one_line(text));
        }
    }

    /// Asks the person at the terminal; without one nobody can say yes.
    ///
    /// # Errors
    /// The terminal can't be read.
    pub(crate) fn asks(&self, question: &str) -> Result<bool, Failure> {
        if !self.error_terminal || !io::stdin().is_terminal() {
            return Ok(false);
        }
        eprint!("{} [y/N] ", one_line(question));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
    }

    /// The API's answer for `-o json`, ended by a newline.
    pub(crate) fn json(&self, answer: &Answer) -> Result<(), Failure> {
        self.raw(&String::from_utf8_lossy(&answer.body))
    }

    /// JSON text for `-o json` or, put on one line, for `-o jsonl`.
    pub(crate) fn raw(&self, json: &str) -> Result<(), Failure> {
        let json = json.trim_end_matches('\n');
        if json.is_empty() {
            return Ok(());
        }
        if self.format == Format::Jsonl && json.contains('\n') {
            let value: serde_json::Value =
                serde_json::from_str(json).map_err(|error| Failure::not_understood(&error))?;
            return self.line(&value.to_string());
        }
        self.line(json)
    }

    /// The rows under `key` (or a bare array), one a line, for `-o jsonl`.
    pub(crate) fn rows(&self, answer: &Answer, key: &str) -> Result<(), Failure> {
        for row in raw_rows(answer, key)? {
            self.raw(row.get())?;
        }
        Ok(())
    }
}

fn raw_rows(answer: &Answer, key: &str) -> Result<Vec<Box<RawValue>>, Failure> {
    if answer.body.trim_ascii_start().starts_with(b"[") {
        return answer.json();
    }
    let mut object: std::collections::BTreeMap<String, Box<RawValue>> = answer.json()?;
    let rows = object.remove(key).unwrap_or_default();
    serde_json::from_str(rows.get()).map_err(|error| Failure::not_understood(&error))
}
