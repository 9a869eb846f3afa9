//! When the survivor of a pair takes over by itself.

use std::fmt;

/// When the survivor of a pair takes over by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Whenever its peer is gone for long enough: a cut cable makes two clusters, which are merged when it heals.
    #[default]
    Available,
    /// Only if this TCP address, `HOST:PORT`, accepts a connection: both sides of a cut can't reach it, or one can't.
    TieBreak(String),
    /// Only if this command line, run by `/bin/sh`, ends with 0: it makes sure that the peer is off.
    Fence(String),
    /// Never: it waits for its peer, or for `relais cluster recover`.
    Off,
}

impl Takeover {
    /// Reads what its `Display` writes.
    ///
    /// # Errors
    /// With what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "available" => Ok(Self::Available),
            None if text == "off" => Ok(Self::Off),
            Some(("tiebreak", address)) => host_port(address).map(|()| Self::TieBreak(address.to_owned())),
            Some(("fence", command)) if command.trim().is_empty() || command.contains('\0') => {
                Err("names no command; write fence:COMMAND, a line for /bin/sh that ends with 0 when the peer is off"
                    .to_owned())
            }
            Some(("fence", command)) => Ok(Self::Fence(command.to_owned())),
            _ => Err("is no way to take over; give available, off, tiebreak:HOST:PORT or fence:COMMAND".to_owned()),
        }
    }
}

fn host_port(address: &str) -> Result<(), String> {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_sound = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)),
    };
    if host_is_sound && port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Ok(());
    }
    Err("names no address; write tiebreak:HOST:PORT, a TCP address that only the rightful survivor can reach"
        .to_owned())
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::TieBreak(address) => write!(f, "tiebreak:{address}"),
            Self::Fence(command) => write!(f, "fence:{command}"),
            Self::Off => f.write_str("off"),
        }
    }
}
