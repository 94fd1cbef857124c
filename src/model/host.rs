//! Hosts of endpoints: whether one is this machine.

use std::net::IpAddr;

/// The host in an `http://` or `https://` address, without brackets, user, port or path.
pub fn host_of(endpoint: &str) -> &str {
    let after_scheme = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if port.is_empty() || port.starts_with(':') => host,
        Some(_) => place,
        None => place.split_once(':').map_or(place, |(host, _port)| host),
    }
}

/// Whether what goes to a host stays on this machine. Brackets around an IPv6 address are allowed.
pub fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_whole_name() {
        for endpoint in [
            "http://localhost",
            "http://LocalHost:8080/api",
            "http://127.0.0.1:8080",
            "http://127.8.9.10/",
            "http://[::1]:80/api?x#y",
            "http://user:word@localhost:80",
        ] {
            assert!(is_loopback(host_of(endpoint)), "{endpoint}");
        }
        for endpoint in [
            "http://localhost.example.com",
            "http://127.example.com",
            "http://127.0.0.1.example.com:80",
            "http://localhost@example.com/",
            "http://example.com/@localhost",
            "http://example.com#@localhost",
            "http://example.com\\@localhost",
            "http://[::1].example.com",
            "http://[::2]",
            "http://localhostess:80",
            "http://",
            "",
        ] {
            assert!(!is_loopback(host_of(endpoint)), "{endpoint}");
        }
    }
}
