//! Which jobs: the flags that list them, and that choose those to be cancelled or run again.

use super::query::Query;
use relais_protocol::time::UnixMs;

/// Which jobs; all that is given must hold.
#[derive(clap::Args)]
pub(crate) struct Filter {
    /// Only jobs in this state
    #[arg(long, value_parser = ["blocked", "scheduled", "queued", "running", "retrying",
                                "succeeded", "failed", "cancelled", "expired"])]
    state: Option<String>,
    /// Only jobs of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only jobs with this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<String>,
    /// Only jobs of this name
    #[arg(long)]
    name: Option<String>,
    /// Only jobs that run or ran on this node
    #[arg(long)]
    node: Option<String>,
    /// Only jobs created at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Only jobs of this group
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Only jobs created before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
}

impl Filter {
    fn single(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("state", &self.state),
            ("queue", &self.queue),
            ("name", &self.name),
            ("node", &self.node),
            ("group", &self.group),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.label.is_empty() && self.single().iter().all(|(_, value)| value.is_none())
    }

    /// Adds it to a query.
    pub(crate) fn append(&self, query: &mut Query) {
        for (key, value) in self.single() {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        for label in &self.label {
            query.append_pair("label", label);
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    match text.split_once(['=', ':']) {
        Some((key, value)) if !key.is_empty() => Ok(format!("{key}:{value}")),
        _ => Err("no label; write KEY=VALUE".to_owned()),
    }
}

/// A clap parser of RFC 3339 times: checked, and passed on as written.
pub(crate) fn time(text: &str) -> Result<String, String> {
    UnixMs::parse_rfc3339(text).map(|_| text.to_owned())
}
