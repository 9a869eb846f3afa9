//! What was acknowledged, and whether the cluster's record has it: every job there, none twice, none besides.

use crate::Failed;
use crate::cluster::Node;
use crate::http::{parse_id, request};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The ids of acknowledged jobs.
#[derive(Debug, Default)]
pub struct Record(Mutex<Vec<u128>>);

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Row>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
}

impl Record {
    /// Notes acknowledged jobs.
    pub fn note(&self, ids: impl IntoIterator<Item = u128>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compares with what a node lists and counts. Every submit must have been answered by now.
    ///
    /// # Errors
    /// When they differ.
    pub fn check(&self, node: &Node) -> Result<usize, Failed> {
        let acknowledged = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let distinct: BTreeSet<u128> = acknowledged.iter().copied().collect();
        if distinct.len() != acknowledged.len() {
            let twice = acknowledged.len() - distinct.len();
            return Err(Failed::Promise(format!("{twice} acknowledgements named a job that was another's")));
        }
        let listed = listed(node)?;
        let (lost, besides) = (distinct.difference(&listed).count(), listed.difference(&distinct).count());
        if lost + besides > 0 {
            let text = format!("{lost} acknowledged jobs are not in the record, {besides} are that nobody was told of");
            return Err(Failed::Promise(text));
        }
        let total = node.read("/v1/jobs:count")?["total"].as_u64().unwrap_or(0);
        if total != listed.len() as u64 {
            return Err(Failed::Promise(format!("{total} jobs are counted, {} listed", listed.len())));
        }
        Ok(listed.len())
    }
}

fn listed(node: &Node) -> Result<BTreeSet<u128>, Failed> {
    let mut connection = node.connect()?;
    let mut listed = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let answer = connection.send(&request("GET", &format!("/v1/jobs?limit=500{cursor}"), "", b""))?;
        let page: Page = serde_json::from_slice(&answer.body)
            .map_err(|error| Failed::Answer(format!("GET /v1/jobs ({}): {error}", answer.status)))?;
        for row in page.jobs {
            let id = parse_id(row.id.as_bytes()).ok_or_else(|| Failed::Answer(format!("`{}` is no id", row.id)))?;
            if !listed.insert(id) {
                return Err(Failed::Promise(format!("{} is in the record twice", row.id)));
            }
        }
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(listed),
        }
    }
}
