//! Which nodes there are to be, where each listens and keeps its state. Looks at the data directory, and
//! changes nothing in it.

use crate::cli::failure::Failure;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const NODES_DEFAULT: u16 = 3;
const NODES_MOST: u16 = 16;
/// The file that a node with state has in its data directory.
const STATE_FILE: &str = "node.json";

/// The cluster as dev runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The nodes, n1 first; at least one.
    pub(crate) nodes: Vec<NodePlan>,
    /// Slots of each; `None` leaves it to the node.
    pub(crate) slots: Option<u32>,
}

/// One node of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// `n1`, `n2`, ….
    pub(crate) name: String,
    /// Its folder.
    pub(crate) data_dir: PathBuf,
    /// Its HTTP address.
    pub(crate) http: SocketAddr,
    /// Its QUIC address.
    pub(crate) quic: SocketAddr,
    /// How it begins.
    pub(crate) entry: Entry,
}

/// How a node comes into the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It has state, and goes on with it.
    GoesOn,
    /// There is no cluster yet; it starts one.
    Founds,
    /// It has no state, and joins with a token.
    Joins,
}

impl Plan {
    /// Plans `count` nodes from the two first addresses on.
    ///
    /// # Errors
    /// When an address is not loopback, the ports do not suffice, or the folder holds more nodes.
    pub(crate) fn make(
        count: Option<u16>,
        http: SocketAddr,
        quic: SocketAddr,
        folder: &Path,
        slots: Option<u32>,
    ) -> Result<Self, Failure> {
        for (flag, address) in [("--http", http), ("--listen", quic)] {
            if !address.ip().is_loopback() || address.port() == 0 {
                return Err(Failure::Usage(format!(
                    "{flag} {address} is no loopback address with a port, and dev serves this machine only; \
                     for others use `relais start`"
                )));
            }
        }
        let held = (1..=NODES_MOST).filter(|n| node_folder(folder, *n).join(STATE_FILE).exists()).max().unwrap_or(0);
        let count = count.unwrap_or(if held == 0 { NODES_DEFAULT } else { held });
        if held > count {
            return Err(Failure::Usage(format!(
                "{} holds a cluster of {held} nodes, and {count} are asked for; use --nodes {held}, or another --data-dir",
                folder.display()
            )));
        }
        let mut nodes = Vec::new();
        for n in 1..=count {
            let data_dir = node_folder(folder, n);
            let entry = match (data_dir.join(STATE_FILE).exists(), held, n) {
                (true, _, _) => Entry::GoesOn,
                (false, 0, 1) => Entry::Founds,
                (false, _, _) => Entry::Joins,
            };
            let (http, quic) = (nth(http, n, "--http")?, nth(quic, n, "--listen")?);
            nodes.push(NodePlan { name: format!("n{n}"), data_dir, http, quic, entry });
        }
        Ok(Self { nodes, slots })
    }

    /// How many nodes need a token.
    pub(crate) fn joiners(&self) -> usize {
        self.nodes.iter().filter(|node| node.entry == Entry::Joins).count()
    }
}

impl NodePlan {
    /// Whether it has state by now.
    pub(crate) fn has_state(&self) -> bool {
        self.data_dir.join(STATE_FILE).exists()
    }
}

fn node_folder(folder: &Path, n: u16) -> PathBuf {
    folder.join(format!("n{n}"))
}

fn nth(first: SocketAddr, n: u16, flag: &str) -> Result<SocketAddr, Failure> {
    let port = first.port().checked_add(n - 1).ok_or_else(|| {
        Failure::Usage(format!("{flag} {first} leaves no port for n{n}: ports end at 65535; give a lower one"))
    })?;
    Ok(SocketAddr::new(first.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(count: Option<u16>, http: &str, folder: &Path) -> Result<Plan, String> {
        Plan::make(count, http.parse().unwrap(), "127.0.0.1:7800".parse().unwrap(), folder, None)
            .map_err(|failure| failure.to_string())
    }

    fn entries(plan: &Plan) -> Vec<Entry> {
        plan.nodes.iter().map(|node| node.entry).collect()
    }

    #[test]
    fn a_fresh_cluster_has_one_founder() {
        let folder = tempfile::tempdir().unwrap();
        let plan = make(None, "127.0.0.1:7700", folder.path()).unwrap();
        assert_eq!(entries(&plan), [Entry::Founds, Entry::Joins, Entry::Joins]);
        assert_eq!(plan.nodes[2].name, "n3");
        assert_eq!(plan.nodes[2].http.to_string(), "127.0.0.1:7702");
        assert_eq!(plan.nodes[2].quic.to_string(), "127.0.0.1:7802");
        assert_eq!(plan.joiners(), 2);
    }

    #[test]
    fn a_known_cluster_goes_on_and_founds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for n in [2, 3] {
            let of_node = folder.path().join(format!("n{n}"));
            std::fs::create_dir_all(&of_node).unwrap();
            std::fs::write(of_node.join(STATE_FILE), "{}").unwrap();
        }
        let plan = make(None, "127.0.0.1:7700", folder.path()).unwrap();
        assert_eq!(entries(&plan), [Entry::Joins, Entry::GoesOn, Entry::GoesOn]);
        let grown = make(Some(4), "127.0.0.1:7700", folder.path()).unwrap();
        assert_eq!(grown.joiners(), 2);
        let error = make(Some(2), "127.0.0.1:7700", folder.path()).unwrap_err();
        assert!(
            error.ends_with("holds a cluster of 3 nodes, and 2 are asked for; use --nodes 3, or another --data-dir")
        );
    }

    #[test]
    fn addresses_are_loopback_and_suffice() {
        let folder = tempfile::tempdir().unwrap();
        let error = make(None, "0.0.0.0:7700", folder.path()).unwrap_err();
        assert!(error.starts_with("--http 0.0.0.0:7700 is no loopback address"), "{error}");
        let error = make(Some(3), "127.0.0.1:65534", folder.path()).unwrap_err();
        assert!(error.starts_with("--http 127.0.0.1:65534 leaves no port for n3"), "{error}");
    }
}
