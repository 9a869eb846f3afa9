//! `node.json`: what a node must know of itself before it has read any journal.

use super::DataDirError;
use relais_protocol::ids::{ClusterId, Incarnation, NodeId, Reign};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

const FORMAT: u32 = 1;

/// The content of `node.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    format: u32,
    /// The cluster, once the node belongs to one.
    #[serde(with = "cluster_text")]
    pub cluster: Option<ClusterId>,
    /// The node's id, once it has been given one.
    pub node: Option<NodeId>,
    /// The node's name.
    pub name: String,
    /// Which start of the node this is, from 1.
    pub incarnation: Incarnation,
    /// Number of the current journal, from 1; the next one is taken when a journal is put aside.
    pub journal: u32,
    /// The nodes heard of last, to be dialled after a restart.
    pub peers: Vec<KnownPeer>,
    /// The highest reign that this node has seen; lower ones are refused.
    pub reign: Reign,
}

/// Another node, as last heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The address it advertised.
    pub addr: SocketAddr,
}

impl Default for NodeFile {
    fn default() -> Self {
        Self {
            format: FORMAT,
            cluster: None,
            node: None,
            name: String::new(),
            incarnation: Incarnation(0),
            journal: 1,
            peers: Vec::new(),
            reign: Reign::default(),
        }
    }
}

impl NodeFile {
    /// Reads the file, or makes up the first one if there is none.
    pub(super) fn load(file: &Path) -> Result<Self, DataDirError> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(DataDirError::io("read", file)(e)),
        };
        let damaged = |e: serde_json::Error| DataDirError::Damaged { file: file.to_path_buf(), reason: e.to_string() };
        // The format first: a newer one may lack what this version looks for.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found > u64::from(FORMAT) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(DataDirError::TooNew { file: file.to_path_buf(), found, known: FORMAT });
        }
        serde_json::from_value(value).map_err(damaged)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// JSON numbers end at 64 bits in many readers, so a cluster id is written as 32 hex digits.
mod cluster_text {
    use super::ClusterId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &Option<ClusterId>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.serialize_str(&id.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ClusterId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| u128::from_str_radix(&text, 16).map(ClusterId))
            .transpose()
            .map_err(|_| D::Error::custom("the cluster id is not 32 hex digits"))
    }
}
