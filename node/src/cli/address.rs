//! Where a node's HTTP API is, as a client writes it: `HOST:PORT`, or a URL with a path prefix.

use reqwest::Url;
use std::fmt;
use std::str::FromStr;

/// The base URL of a node's API, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

impl Address {
    /// The URL of `path`, which starts with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bad = |why: &str| Err(format!("{why}; write HOST:PORT, like 127.0.0.1:7700"));
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let Ok(url) = Url::parse(&full) else {
            return bad("no address");
        };
        if !["http", "https"].contains(&url.scheme()) {
            return bad("neither http nor https");
        }
        if !text.contains("://") && url.port().is_none() && !text.ends_with(":80") {
            return bad("no port in it");
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return bad("more than an address");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix("http://").unwrap_or(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let table = [
            ("127.0.0.1:7700", "http://127.0.0.1:7700/v1"),
            ("http://n1/", "http://n1/v1"),
            ("https://x.example/relais/", "https://x.example/relais/v1"),
            (" [::1]:7700", "http://[::1]:7700/v1"),
        ];
        for (text, url) in table {
            assert_eq!(text.parse::<Address>().unwrap().url("/v1"), url);
        }
        for bad in ["", "localhost", "ftp://x", "http://", "a b:1", "http://x/?q", "x:99999"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
