//! What ours is compared with: NATS JetStream, three servers, every stream and consumer on three of them, each
//! write synced before it is acknowledged (`sync_interval: always`, which servers have from 2.10 on).

mod client;
mod load;
mod servers;

pub use load::PeerLoad;
pub use servers::Servers;

use crate::Failed;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first version that can sync always.
const OLDEST: (u32, u32) = (2, 10);
const PROGRAM: &str = "nats-server";

/// A server program that was found.
#[derive(Clone, Debug)]
pub struct Peer {
    program: PathBuf,
    version: String,
}

impl Peer {
    /// The program that `RELAIS_NATS` names, else `nats-server` on the PATH.
    ///
    /// # Errors
    /// Why there is nothing to compare with, in a sentence.
    pub fn find() -> Result<Self, String> {
        let named = std::env::var_os("RELAIS_NATS").filter(|name| !name.is_empty());
        let program = named.map_or_else(|| PathBuf::from(PROGRAM), PathBuf::from);
        let output = Command::new(&program).arg("--version").output();
        let output = output.map_err(|error| format!("no {} ({error})", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.rsplit('v').next().unwrap_or_default().trim().to_owned();
        match numbers(&version) {
            Some(found) if found >= OLDEST => Ok(Self { program, version }),
            Some(_) => Err(format!("{} is {version}, and can't sync always before 2.10", program.display())),
            None => Err(format!("{} does not say its version: {text}", program.display())),
        }
    }

    /// How it is called in the table.
    #[must_use]
    pub fn name(&self) -> String {
        format!("JetStream {}", self.version)
    }

    /// Its version, and how it is set.
    #[must_use]
    pub fn terms(&self) -> String {
        format!("nats-server {}, 3 servers, file storage, R3, sync_interval: always", self.version)
    }

    /// Starts three servers with their data below `folder`.
    ///
    /// # Errors
    /// When they do not become a cluster.
    pub fn start(&self, folder: &Path) -> Result<Servers, Failed> {
        Servers::start(&self.program, folder)
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("2.15.1"), Some((2, 15)));
        assert!(numbers("2.9.25").unwrap() < OLDEST && numbers("2.10.0").unwrap() >= OLDEST);
        assert_eq!(numbers("unknown"), None);
    }
}
