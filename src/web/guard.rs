//! Who may ask: requests to our own name, with the token where one is set.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};

/// What a request is held against.
#[derive(Debug)]
pub(super) struct Guard {
    address: SocketAddr,
    token: Option<SecretString>,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, token: Option<SecretString>) -> Self {
        Self { address, token }
    }

    /// Why the request is refused, if it is. A page that has rebound its own name to this address still sends that name.
    fn refusal(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
        let own = |authority: &str| self.token.is_some() || self.is_own_name(authority);
        if !text(header::HOST).is_some_and(own) {
            return Some((StatusCode::MISDIRECTED_REQUEST, "this address answers to its own name only\n"));
        }
        let foreign_origin = text(header::ORIGIN).is_some_and(|origin| {
            let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
            text(header::HOST) != Some(authority)
        });
        if foreign_origin {
            return Some((StatusCode::FORBIDDEN, "pages of other sites can't ask here\n"));
        }
        let token = self.token.as_ref()?;
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        (!same(given.as_bytes(), token.expose_secret().as_bytes()))
            .then_some((StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer …\n"))
    }

    fn is_own_name(&self, authority: &str) -> bool {
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, port)| if port.bytes().all(|b| b.is_ascii_digit()) { host } else { authority });
        host.eq_ignore_ascii_case("localhost")
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip == self.address.ip() || (ip.is_loopback() && self.address.ip().is_loopback()))
    }
}

/// Compares in a time that does not tell how far two texts agree.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.refusal(request.headers()) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(token: Option<&str>, headers: &[(header::HeaderName, &str)]) -> Option<u16> {
        let token = token.map(SecretString::from);
        let guard = Guard::new("127.0.0.1:8730".parse().unwrap(), token);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.clone(), value.parse().unwrap());
        }
        guard.refusal(&map).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_our_own_name_is_answered_to() {
        for host in ["127.0.0.1:8730", "localhost:8730", "LOCALHOST", "[::1]:8730"] {
            assert_eq!(refused(None, &[(header::HOST, host)]), None, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "192.0.2.7:8730", ""] {
            assert_eq!(refused(None, &[(header::HOST, host)]), Some(421), "{host}");
        }
        assert_eq!(refused(None, &[]), Some(421));
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let host = (header::HOST, "127.0.0.1:8730");
        assert_eq!(refused(None, &[host.clone(), (header::ORIGIN, "http://127.0.0.1:8730")]), None);
        assert_eq!(refused(None, &[host.clone(), (header::ORIGIN, "https://evil.example")]), Some(403));
        assert_eq!(refused(None, &[host, (header::ORIGIN, "null")]), Some(403));
    }

    #[test]
    fn where_a_token_is_set_it_is_needed() {
        let host = (header::HOST, "gen10.lab:8730");
        assert_eq!(refused(Some("s3cret"), std::slice::from_ref(&host)), Some(401));
        assert_eq!(refused(Some("s3cret"), &[host.clone(), (header::AUTHORIZATION, "Bearer s3creT")]), Some(401));
        assert_eq!(refused(Some("s3cret"), &[host, (header::AUTHORIZATION, "Bearer s3cret")]), None);
    }
}
