//! The query part of a path, escaped.

/// A query under construction, escaped as a URL wants it.
pub(crate) struct Query(reqwest::Url);

impl Query {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(reqwest::Url::parse("http://node/").expect("this text is a URL"))
    }

    /// Adds `key=value`.
    pub(crate) fn append_pair(&mut self, key: &str, value: &str) {
        self.0.query_pairs_mut().append_pair(key, value);
    }

    /// `path` with this query.
    pub(crate) fn path(&self, path: &str) -> String {
        match self.0.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}
