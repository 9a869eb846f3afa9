//! The name in a node's certificate: `node-<id>.<cluster id, 32 hex digits>.relais`.

use relais_protocol::ids::{ClusterId, NodeId};
use x509_parser::extensions::GeneralName;

/// The name that the certificate of `node` bears, and that who dials it asks for.
#[must_use]
pub fn server_name(cluster: ClusterId, node: NodeId) -> String {
    format!("node-{node}.{cluster}.relais")
}

/// Cluster and node that a certificate (DER) was made out to, or `None` if it bears no such name, or more
/// than one name. It does not check who signed it; TLS has done that before.
#[must_use]
pub fn node_of_certificate(der: &[u8]) -> Option<(ClusterId, NodeId)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    match names.as_slice() {
        [GeneralName::DNSName(name)] => parse(name),
        _ => None,
    }
}

fn parse(name: &str) -> Option<(ClusterId, NodeId)> {
    let rest = name.strip_prefix("node-")?.strip_suffix(".relais")?;
    let (node, cluster) = rest.split_once('.')?;
    let node = NodeId(node.parse().ok()?);
    let cluster = ClusterId(u128::from_str_radix(cluster, 16).ok()?);
    // Only the one spelling that we write ourselves.
    (server_name(cluster, node) == name).then_some((cluster, node))
}
