//! Which redirects are followed: those that keep the host, so that the key stays where it was meant to go.

use reqwest::StatusCode;
use reqwest::Url;
use reqwest::redirect::Policy;

/// Most redirects that are followed for one request. A missing or extra slash takes one.
const MOST: usize = 3;

/// Follows 307 and 308 within one scheme, host and port. 301 to 303 turn a `POST` into a `GET` and are not followed;
/// neither is a change of host, which would carry the key along, as only the standard's own secret headers are held back.
pub(super) fn policy() -> Policy {
    Policy::custom(|attempt| {
        let keeps_method = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let same_host = attempt.previous().last().is_some_and(|from| same_origin(from, attempt.url()));
        if keeps_method && same_host && attempt.previous().len() <= MOST { attempt.follow() } else { attempt.stop() }
    })
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}
