//! Node names and labels: the patterns, and nothing that uses them.

use std::fmt;
use std::str::FromStr;

/// The most labels a node or a job has.
pub const LABELS_MAX: usize = 16;

const NAME_LENGTH_MAX: usize = 63;
const LABEL_VALUE_LENGTH_MAX: usize = 200;

/// A node's name: `^[a-z0-9][a-z0-9._-]{0,62}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// A text that is no node name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no node name; use 1 to 63 of a-z, 0-9, `.`, `_`, `-`, a letter or digit first")]
pub struct NotAName;

/// A text that is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALabel {
    /// There is no `=` in it.
    #[error("is no label; write KEY=VALUE, like zone=eu")]
    NoEquals,
    /// The key does not match the pattern.
    #[error("has a bad key; use 1 to 63 of a-z, 0-9, `.`, `_`, `-`, `/`, a letter or digit first")]
    Key,
    /// The value is too long or holds control characters.
    #[error("has a bad value; use up to 200 printable characters")]
    Value,
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made of a host's: lower case, what no name may hold replaced by `-`, cut to length; `node`
    /// when nothing is left.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let fits = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let clean: String = host.to_lowercase().chars().map(fits).collect();
        let start = clean.trim_start_matches(['.', '_', '-']);
        let cut: String = start.chars().take(NAME_LENGTH_MAX).collect();
        let name = cut.trim_end_matches(['.', '_', '-']);
        Self(if name.is_empty() { "node".to_owned() } else { name.to_owned() })
    }
}

impl FromStr for NodeName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if matches_name(text, "._-") { Ok(Self(text.to_owned())) } else { Err(NotAName) }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads `key=value`. The value may be empty and may hold further `=`.
///
/// # Errors
/// When there is no `=`, or a part is not allowed.
pub fn parse_label(text: &str) -> Result<(String, String), NotALabel> {
    let (key, value) = text.split_once('=').ok_or(NotALabel::NoEquals)?;
    check_label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Checks a label that arrived in two parts.
pub(crate) fn check_label(key: &str, value: &str) -> Result<(), NotALabel> {
    if !matches_name(key, "._-/") {
        return Err(NotALabel::Key);
    }
    if value.chars().count() > LABEL_VALUE_LENGTH_MAX || value.chars().any(char::is_control) {
        return Err(NotALabel::Value);
    }
    Ok(())
}

fn matches_name(text: &str, punctuation: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= NAME_LENGTH_MAX && text.starts_with(word) && text.chars().all(|c| word(c) || punctuation.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["n1", "0", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "N1", "a b", "é", "a/b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<NodeName>(), Err(NotAName), "{bad}");
        }
    }

    #[test]
    fn a_host_gives_a_name() {
        let long = "H".repeat(80);
        let table = [("Db-1.Example.COM", "db-1.example.com"), ("_x y", "x-y"), ("--", "node"), ("", "node")];
        for (host, name) in table {
            assert_eq!(NodeName::of_host(host).as_str(), name);
        }
        for host in [long.as_str(), "Zürich", "a.b."] {
            let name = NodeName::of_host(host);
            assert_eq!(name.as_str().parse::<NodeName>(), Ok(name.clone()), "{host}");
        }
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(parse_label("zone=eu"), Ok(("zone".to_owned(), "eu".to_owned())));
        assert_eq!(parse_label("q=a=b"), Ok(("q".to_owned(), "a=b".to_owned())));
        assert_eq!(parse_label("zone"), Err(NotALabel::NoEquals));
        assert_eq!(parse_label("=eu"), Err(NotALabel::Key));
        assert_eq!(parse_label("zone=a\nb"), Err(NotALabel::Value));
    }
}
