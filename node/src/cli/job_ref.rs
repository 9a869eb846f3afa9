//! A job as a person names it: its id, the beginning of it, or `last`.

use super::client::{Call, Client};
use super::failure::Failure;
use super::view;
use relais_protocol::ids::JobId;
use std::str::FromStr;

/// A name for a job, resolved by the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobRef {
    /// The newest job there is.
    Last,
    /// A job's id or the beginning of one.
    Prefix(String),
}

impl JobRef {
    /// The id or prefix to put into a path.
    ///
    /// # Errors
    /// Those of asking which job is the last one, and that there is none.
    pub(crate) async fn resolve(&self, client: &Client) -> Result<String, Failure> {
        match self {
            Self::Prefix(text) => Ok(text.clone()),
            Self::Last => {
                let answer = client.call(&Call::read("/v1/jobs?limit=1")).await?;
                let jobs: Vec<view::Job> = view::rows(&answer, "jobs")?;
                jobs.into_iter()
                    .next()
                    .map(|job| job.id)
                    .ok_or_else(|| Failure::Local("there is no last job: no job is known; submit one first".to_owned()))
            }
        }
    }
}

impl FromStr for JobRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        match JobId::prefix_range(text) {
            Some(_) => Ok(Self::Prefix(text.to_ascii_lowercase())),
            None => Err("no job id; give an id, the beginning of one, or `last`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_named_in_three_ways() {
        assert_eq!("last".parse(), Ok(JobRef::Last));
        assert_eq!("0196A".parse(), Ok(JobRef::Prefix("0196a".to_owned())));
        assert_eq!("0196-3".parse(), Ok(JobRef::Prefix("0196-3".to_owned())));
        for bad in ["", "xyz", "../etc", "0196/logs", "01 96"] {
            assert!(bad.parse::<JobRef>().is_err(), "{bad}");
        }
    }
}
