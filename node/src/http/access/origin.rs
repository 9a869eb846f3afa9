//! Host and Origin: what a browser was made to send by a foreign page is refused, also when the page's
//! name was made to resolve to this machine.

use std::net::IpAddr;

/// Whether `Host` is the loopback name, an IP address, or one of this node's own names. A name that
/// anybody's DNS can point here is none of them.
pub(in crate::http) fn allowed_host(host: &str, names: &[String]) -> bool {
    let Some(name) = host_name(host) else { return false };
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether `Origin` is this API's own: same host and port as `Host`.
pub(in crate::http) fn allowed_origin(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// A `Host` without its port.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = if host.starts_with('[') {
        let end = host.find(']')? + 1;
        (&host[..end], host[end..].strip_prefix(':').or(host[end..].is_empty().then_some("0"))?)
    } else {
        host.split_once(':').unwrap_or((host, "0"))
    };
    (!name.is_empty() && port.parse::<u16>().is_ok()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_and_addresses_are_hosts() {
        let names = ["n1.example".to_owned()];
        for good in ["localhost", "LOCALHOST:7700", "127.0.0.1:7700", "[::1]:7700", "[::1]", "10.1.2.3", "n1.example:1"]
        {
            assert!(allowed_host(good, &names), "{good}");
        }
        for bad in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a:b", "[::1", "localhost:x"]
        {
            assert!(!allowed_host(bad, &names), "{bad}");
        }
    }

    #[test]
    fn only_the_same_host_and_port_is_an_origin() {
        assert!(allowed_origin("http://127.0.0.1:7700", "127.0.0.1:7700"));
        for bad in ["null", "http://127.0.0.1:3000", "http://evil.example", "127.0.0.1:7700", "ftp://127.0.0.1:7700"] {
            assert!(!allowed_origin(bad, "127.0.0.1:7700"), "{bad}");
        }
    }
}
