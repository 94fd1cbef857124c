//! From an answer's status and body to a success or a [`PlatformError`].

use std::time::Duration;

use reqwest::header::CONTENT_ENCODING;
use reqwest::header::DATE;
use reqwest::header::HeaderMap;
use reqwest::header::LOCATION;
use reqwest::header::RETRY_AFTER;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::PlatformError;

/// Longest text that is kept of the platform's words, in characters: enough for a reason, not for a page of HTML.
const WORDS: usize = 500;

/// A complete answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body's JSON if the status is a success; an empty body counts as `null`.
    pub(super) fn json(&self) -> Result<Value, PlatformError> {
        if !self.is_success() {
            return Err(self.failure());
        }
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|_| PlatformError::BadReply {
            what: match self.headers.get(CONTENT_ENCODING).map(|encoding| String::from_utf8_lossy(encoding.as_bytes()))
            {
                Some(encoding) if encoding != "identity" => {
                    format!("it is encoded as `{}`, which nobody asked for", shown(&encoding, 60))
                }
                _ => format!("expected JSON, got `{}`", shown(&String::from_utf8_lossy(&self.body), 60)),
            },
        })
    }

    /// The failure that this status stands for.
    fn failure(&self) -> PlatformError {
        let status = self.status;
        let words = self.words();
        if self.is_a_stranger_s_refusal() {
            let what = format!("status {status} with `{}`, which is no JSON", shown(&words, 60));
            return PlatformError::BadReply { what };
        }
        match status {
            401 | 403 | 407 => PlatformError::Unauthorized { status, words },
            413 => PlatformError::TooLarge { words },
            404 | 409 | 410 => PlatformError::Gone { status, words },
            _ => PlatformError::Status { status, words, retry_after: retry_after(&self.headers) },
        }
    }

    /// Whether this is a refusal, and not in the platform's words: those are JSON. A portal that knows no such page, or a
    /// proxy that is being set up, must not end a stream or cost a chunk. It may well ask for a key, find a request too
    /// large, or want to be left alone.
    fn is_a_stranger_s_refusal(&self) -> bool {
        let of_content =
            matches!(self.status, 400..500) && !matches!(self.status, 401 | 403 | 407 | 408 | 413 | 425 | 429);
        let empty = self.body.iter().all(u8::is_ascii_whitespace);
        of_content && !empty && serde_json::from_slice::<IgnoredAny>(&self.body).is_err()
    }

    /// What the platform says about it: `detail` of a JSON body, else the body as text; of a redirect, where it points.
    fn words(&self) -> String {
        if (300..400).contains(&self.status)
            && let Some(target) = self.headers.get(LOCATION)
        {
            return shown(&format!("it points to {}", String::from_utf8_lossy(target.as_bytes())), WORDS);
        }
        let text = String::from_utf8_lossy(&self.body);
        if text.trim().is_empty() {
            return "no reason given".to_owned();
        }
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(Value::Object(object)) => match object.get("detail") {
                Some(Value::String(detail)) => shown(detail, WORDS),
                Some(detail) => shown(&detail.to_string(), WORDS),
                None => shown(&text, WORDS),
            },
            Ok(Value::String(plain)) => shown(&plain, WORDS),
            _ => shown(&text, WORDS),
        }
    }
}

/// The text on one line, without control characters, cut to so many characters.
pub(super) fn shown(text: &str, characters: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(characters) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

/// `Retry-After`: a number of seconds, or an HTTP date. A date counts from the answer's own `Date`, since a lab's clock may
/// be anywhere; without one a date says nothing.
///
/// Source: RFC 9110, 10.2.3 and 5.6.7.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?;
    let now = jiff::fmt::rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?;
    let seconds = until.timestamp().as_second().saturating_sub(now.timestamp().as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Reply { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn the_words_are_the_detail_or_the_text() {
        let words = |body: &str| reply(413, &[], body).json().unwrap_err().words();
        assert_eq!(words(r#"{"detail": "no such\n channel"}"#), "no such channel");
        assert_eq!(words(r#"{"detail": [{"loc": ["body"]}]}"#), r#"[{"loc":["body"]}]"#);
        assert_eq!(words("<html>\r\n<b>bad\u{7}</b>"), "<html> <b>bad </b>");
        assert_eq!(words(&"ü".repeat(600)).chars().count(), 501);
        assert_eq!(words(" "), "no reason given");
    }

    #[test]
    fn an_answer_that_is_no_json_is_no_success() {
        assert!(matches!(reply(200, &[], "<html>log in").json(), Err(PlatformError::BadReply { .. })));
        assert_eq!(reply(204, &[], "").json().unwrap(), Value::Null);
        let zipped = reply(200, &[("content-encoding", "gzip")], "\u{1f}\u{8b}").json().unwrap_err();
        assert_eq!(
            zipped.to_string(),
            "the platform's answer can't be read: it is encoded as `gzip`, which nobody asked for"
        );
    }

    #[test]
    fn a_refusal_that_is_not_the_platform_s_refuses_nothing() {
        for status in [400, 402, 404, 405, 409, 410, 422] {
            let error = reply(status, &[], "<html>no such page</html>").json().unwrap_err();
            assert!(matches!(error, PlatformError::BadReply { .. }) && error.is_transient(), "{error:?}");
            let said = format!("status {status} with `<html>no such page</html>`, which is no JSON");
            assert!(error.to_string().ends_with(&said), "{error}");
            for platform_s in [r#"{"detail": "no such stream"}"#, "\"gone\"", ""] {
                let error = reply(status, &[], platform_s).json().unwrap_err();
                assert!(!error.is_transient(), "{status} {platform_s}: {error:?}");
            }
        }
        let html = |status| reply(status, &[], "<html>").json().unwrap_err();
        assert!(matches!(html(413), PlatformError::TooLarge { .. }));
        for status in [401, 403, 407] {
            assert!(matches!(html(status), PlatformError::Unauthorized { .. }));
        }
        for status in [408, 429, 502] {
            assert!(matches!(html(status), PlatformError::Status { .. }) && html(status).is_transient());
        }
    }

    #[test]
    fn a_redirect_says_where_it_points() {
        let error = reply(302, &[("location", "http://portal/login")], "").json().unwrap_err();
        assert!(error.is_transient());
        assert_eq!(error.words(), "it points to http://portal/login");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |headers: &[(&'static str, &str)]| reply(503, headers, "").json().unwrap_err().retry_after();
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), date]), Some(Duration::from_secs(30)));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]), None);
        assert_eq!(wait(&[("retry-after", "soon"), date]), None);
        assert_eq!(wait(&[]), None);
    }
}
