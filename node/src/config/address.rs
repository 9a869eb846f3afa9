//! Addresses as an operator writes them. Parsing only: [`HostPort::resolve`] is the one place that asks
//! the system's resolver, when its caller wants it to.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A host, by name or number, and a port: where a node of the cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// The port is missing, or is no number from 1 to 65535.
    #[error("has no port; write HOST:PORT, like 10.0.0.5:7800")]
    Port,
    /// The host is missing or holds characters no host has.
    #[error("has no host; write HOST:PORT, like 10.0.0.5:7800")]
    Host,
    /// A name was given where only a number can be listened on.
    #[error("is no IP address with a port; write IP:PORT, like 127.0.0.1:7700")]
    NotNumeric,
}

impl HostPort {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All socket addresses of this host. Blocks on the resolver unless the host is a number.
    ///
    /// # Errors
    /// The resolver's.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect)
    }
}

impl FromStr for HostPort {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress::Port)?;
        let port: u16 = port.parse().map_err(|_| NotAnAddress::Port)?;
        if port == 0 {
            return Err(NotAnAddress::Port);
        }
        let bare = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map(|_| inner).map_err(|_| NotAnAddress::Host)?,
            None => host,
        };
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bare.is_empty() || (bare == host && !host.chars().all(of_a_name)) {
            return Err(NotAnAddress::Host);
        }
        Ok(Self { host: bare.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads an address to listen on: a number and a port, or `localhost:PORT`, or `:PORT` for all addresses.
/// Port 0 is allowed and means any free one.
///
/// # Errors
/// When it is neither.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, NotAnAddress> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress::Port)?;
    let port = port.parse().map_err(|_| NotAnAddress::Port)?;
    match host {
        "" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        _ => Err(NotAnAddress::NotNumeric),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_written() {
        for text in ["10.0.0.5:7800", "node-1.example:1", "[::1]:7800"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        let bad = [
            ("10.0.0.5", NotAnAddress::Port),
            ("10.0.0.5:0", NotAnAddress::Port),
            ("10.0.0.5:99999", NotAnAddress::Port),
            (":7800", NotAnAddress::Host),
            ("::1:7800", NotAnAddress::Host),
            ("a b:7800", NotAnAddress::Host),
            ("[nope]:7800", NotAnAddress::Host),
        ];
        for (text, error) in bad {
            assert_eq!(text.parse::<HostPort>(), Err(error), "{text}");
        }
    }

    #[test]
    fn one_listens_on_numbers() {
        assert_eq!(parse_listen(":7700").unwrap().to_string(), "0.0.0.0:7700");
        assert_eq!(parse_listen("localhost:7700").unwrap().to_string(), "127.0.0.1:7700");
        assert_eq!(parse_listen("[::1]:0").unwrap().to_string(), "[::1]:0");
        assert_eq!(parse_listen("example.org:7700"), Err(NotAnAddress::NotNumeric));
        assert_eq!(parse_listen("7700"), Err(NotAnAddress::Port));
    }
}
