//! One source of settings, as text with its origin, and how one is laid over another.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a setting came from, for the message that complains about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, by name: `--slots`.
    Flag(&'static str),
    /// An environment variable, by name.
    Variable(&'static str),
    /// A line (from 1) of the config file.
    Line(PathBuf, usize),
}

/// One setting, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What was written; `true` or `false` for a switch.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// The settings of one source; what it does not name is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the setting of its name, see StartConfig")]
pub struct Layer {
    pub name: Option<Given>,
    pub data_dir: Option<Given>,
    pub http: Option<Given>,
    pub listen: Option<Given>,
    pub advertise: Option<Given>,
    pub advertise_http: Option<Given>,
    pub slots: Option<Given>,
    pub cpu: Option<Given>,
    pub memory: Option<Given>,
    pub labels: BTreeMap<String, Given>,
    pub witness: Option<Given>,
    pub join: Option<Given>,
    pub token: Option<Given>,
    pub min_free: Option<Given>,
    pub insecure_http: Option<Given>,
    pub log_format: Option<Given>,
    pub exit_with_stdin: Option<Given>,
}

impl Given {
    /// A setting given by the flag `name`.
    #[must_use]
    pub fn flag(name: &'static str, text: impl Into<String>) -> Self {
        Self { text: text.into(), origin: Origin::Flag(name) }
    }
}

impl Layer {
    /// Lays `upper` over this one: what it names wins; labels are merged key by key.
    pub fn put_over(&mut self, upper: Layer) {
        let put = |mine: &mut Option<Given>, other: Option<Given>| {
            if other.is_some() {
                *mine = other;
            }
        };
        put(&mut self.name, upper.name);
        put(&mut self.data_dir, upper.data_dir);
        put(&mut self.http, upper.http);
        put(&mut self.listen, upper.listen);
        put(&mut self.advertise, upper.advertise);
        put(&mut self.advertise_http, upper.advertise_http);
        put(&mut self.slots, upper.slots);
        put(&mut self.cpu, upper.cpu);
        put(&mut self.memory, upper.memory);
        self.labels.extend(upper.labels);
        put(&mut self.witness, upper.witness);
        put(&mut self.join, upper.join);
        put(&mut self.token, upper.token);
        put(&mut self.min_free, upper.min_free);
        put(&mut self.insecure_http, upper.insecure_http);
        put(&mut self.log_format, upper.log_format);
        put(&mut self.exit_with_stdin, upper.exit_with_stdin);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Line(path, line) => write!(f, "{} line {line}", path.display()),
        }
    }
}
