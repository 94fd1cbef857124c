//! What can go wrong with a request, and whether it is worth another.

use std::error::Error;
use std::time::Duration;

use super::InvalidApiKey;

/// Why a request did not do what it was to do. The platform's own words are kept, cut to 500 characters.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// No answer, or only half of one: no route, no name, connection refused or cut, certificate not accepted.
    #[error("the platform can't be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// No complete answer in time. What became of the request is unknown.
    #[error("the platform did not answer in time")]
    TimedOut,
    /// 401, 403 or 407: the key (or a proxy on the way) is not accepted.
    #[error("the platform does not accept the API key (status {status}): {words}")]
    Unauthorized {
        /// The status.
        status: u16,
        /// The platform's words.
        words: String,
    },
    /// 413: the request is larger than the platform takes.
    #[error("the platform finds the request too large (status 413): {words}")]
    TooLarge {
        /// The platform's words.
        words: String,
    },
    /// 404, 409 or 410: what the request names is not there, no longer there, or taken.
    #[error("the platform does not have what the request names (status {status}): {words}")]
    Gone {
        /// The status.
        status: u16,
        /// The platform's words.
        words: String,
    },
    /// Any other status that is not a success.
    #[error("the platform answers with status {status}: {words}")]
    Status {
        /// The status.
        status: u16,
        /// The platform's words.
        words: String,
        /// How long the platform asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A success whose body is not what the call promises, or a refusal of its content in words that are not the platform's.
    #[error("the platform's answer can't be read: {what}")]
    BadReply {
        /// What was expected, and what came.
        what: String,
    },
    /// The request could not be written as JSON.
    #[error("the request can't be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl PlatformError {
    /// Whether the same request may pass later without anything being changed.
    ///
    /// That is: no answer, half an answer, 408, 429, 5xx, a 400 that speaks of `RequestTimeout`. A redirect that was not
    /// followed and an answer that can't be read count as well: a portal or a proxy on the way gives them, not the platform.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::BadReply { .. } => true,
            Self::Status { status, words, .. } => match status {
                408 | 425 | 429 | 300..=399 | 500.. => true,
                400 => words.contains("RequestTimeout"),
                _ => false,
            },
            Self::Unauthorized { .. } | Self::TooLarge { .. } | Self::Gone { .. } | Self::Encode(_) => false,
        }
    }

    /// How long the platform asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status of the answer, if there was one that says why.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unauthorized { status, .. } | Self::Gone { status, .. } | Self::Status { status, .. } => {
                Some(*status)
            }
            Self::TooLarge { .. } => Some(413),
            Self::Unreachable(_) | Self::TimedOut | Self::BadReply { .. } | Self::Encode(_) => None,
        }
    }

    /// The platform's words, or this error's own where the platform has said nothing.
    pub fn words(&self) -> String {
        match self {
            Self::Unauthorized { words, .. }
            | Self::TooLarge { words }
            | Self::Gone { words, .. }
            | Self::Status { words, .. } => words.clone(),
            _ => self.to_string(),
        }
    }
}

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The endpoint is no address of a platform.
    #[error("the platform's endpoint `{endpoint}` {problem}; it reads like `https://api.atomscale.ai`")]
    Endpoint {
        /// The endpoint as set, without anything that could be a password.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The key can't be sent.
    #[error(transparent)]
    Key(#[from] InvalidApiKey),
    /// The HTTP library can't be set up: on most systems that means that there are no certificates of authorities.
    #[error("HTTPS can't be set up; install the system's `ca-certificates`")]
    Https(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, words: &str) -> PlatformError {
        PlatformError::Status { status, words: words.to_owned(), retry_after: None }
    }

    #[test]
    fn what_is_worth_another_request() {
        for code in [408, 429, 500, 502, 503, 504, 520, 302] {
            assert!(status(code, "").is_transient(), "{code}");
        }
        for code in [400, 402, 405, 406, 415, 422] {
            assert!(!status(code, "").is_transient(), "{code}");
        }
        assert!(status(400, "<Code>RequestTimeout</Code>").is_transient());
        assert!(PlatformError::TimedOut.is_transient());
        assert!(!PlatformError::Unauthorized { status: 401, words: String::new() }.is_transient());
        assert!(!PlatformError::Gone { status: 404, words: String::new() }.is_transient());
    }
}
