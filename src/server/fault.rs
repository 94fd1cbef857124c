//! What can go wrong on purpose, and how it is written.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::Call;

/// Every fault as it is written, for people who wrote something else.
const KNOWN: &str = "none, down, hang, slow:500ms, status:503, status:429:2s, cut-request, cut-reply, reset-request, \
                     reset-reply, truncate-reply, garbage, garbage:404, garbage:json, unauthorized, forbidden, forget, ended:410, \
                     refuse-channel:NAME, too-large:20000 or random:30";

/// The seed of `random` where none is written.
const SEED: u64 = 1;

/// Something that goes wrong on purpose.
///
/// As text: `none`, `down`, `hang`, `slow:500ms`, `status:503`, `status:429:2s` (with `Retry-After`), `cut-request`,
/// `cut-reply`, `reset-request`, `reset-reply`, `truncate-reply`, `garbage`, `garbage:404`, `garbage:json`, `unauthorized`, `forbidden`,
/// `forget`, `ended:410`, `refuse-channel:NAME`, `too-large:20000` (bytes), `random:30` (percent), `random:30:7` (and a seed).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fault {
    /// Everything works.
    #[default]
    None,
    /// Nothing listens: connections are refused, and those there were are cut. The port is kept for when it is over.
    Down,
    /// Requests are read and never answered. They hang until the client gives up or the server stops.
    Hang,
    /// Every request waits this long before it is handled.
    Slow(Duration),
    /// Every stream call is refused, and nothing is stored.
    Refuse {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// What `Retry-After` says, rounded up to whole seconds.
        retry_after: Option<Duration>,
    },
    /// The connection is closed when a request has come in, and nothing is stored.
    CutRequest,
    /// Requests are handled and what they bring is stored; then the connection is closed instead of an answer.
    CutReply,
    /// The connection is reset (TCP RST) while a request comes in, and nothing is stored.
    ResetRequest,
    /// Requests are handled and what they bring is stored; the connection is reset (TCP RST) in the middle of the answer.
    ResetReply,
    /// Requests are handled and what they bring is stored; the connection is closed in the middle of the answer, whose
    /// `Content-Length` says that more would come.
    TruncateReply,
    /// Every request is answered by somebody who is not the platform, with success if nothing else is said; nothing is
    /// stored.
    Garbage(Garbage),
    /// Every key is wrong (401).
    Unauthorized,
    /// Every key is good for other things (403).
    Forbidden,
    /// Every stream that exists when the fault is set is unknown (404) while it lasts; streams created later work.
    Forget,
    /// Every stream that exists when the fault is set is ended as after hours of silence, for good: its chunks are refused
    /// with this status, 400 to 499. Streams created later work.
    Ended(u16),
    /// Chunks that hold this channel are refused (422), and nothing of them is stored.
    RefuseChannel(Arc<str>),
    /// Stream calls with a body of more bytes than this are refused (413).
    TooLarge(usize),
    /// Of a hundred requests so many are hit, each by another of the faults that pass.
    Random {
        /// How many of a hundred, 1 to 100.
        percent: u8,
        /// The same seed hits the same requests.
        seed: u64,
    },
}

/// What comes instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// A page of HTML with this status, as a portal on the way answers that wants people to log in.
    Page(u16),
    /// JSON that is no answer to anything that was asked.
    Json,
}

impl Fault {
    /// Whether it can hit this call if nobody has said which.
    pub(super) fn hits(&self, call: Call) -> bool {
        match self {
            Self::None | Self::Down | Self::Forget | Self::Ended(_) => false,
            Self::Refuse { .. } | Self::TooLarge(_) => call.is_stream(),
            Self::RefuseChannel(_) => call.is_chunk(),
            Self::Unauthorized | Self::Forbidden => call.needs_key(),
            _ => true,
        }
    }

    /// Whether it befalls single requests, so that it can be set for some of them.
    pub(super) fn is_of_requests(&self) -> bool {
        !matches!(self, Self::None | Self::Down | Self::Forget | Self::Ended(_))
    }

    /// Whether what a request brings can be stored although this hits it.
    pub(super) fn may_store(&self) -> bool {
        matches!(self, Self::Hang | Self::Refuse { .. } | Self::Garbage(_))
    }
}

/// A text is not a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fault: expected {KNOWN}")]
pub struct InvalidFault {
    text: String,
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (kind, detail) = text.split_once(':').map_or((text, None), |(kind, detail)| (kind, Some(detail)));
        match detail {
            None => plain(kind),
            Some(detail) => detailed(kind, detail),
        }
        .ok_or_else(|| InvalidFault { text: text.to_owned() })
    }
}

fn plain(kind: &str) -> Option<Fault> {
    Some(match kind {
        "none" => Fault::None,
        "down" => Fault::Down,
        "hang" => Fault::Hang,
        "cut-request" => Fault::CutRequest,
        "cut-reply" => Fault::CutReply,
        "reset-request" => Fault::ResetRequest,
        "reset-reply" => Fault::ResetReply,
        "truncate-reply" => Fault::TruncateReply,
        "garbage" => Fault::Garbage(Garbage::Page(200)),
        "unauthorized" => Fault::Unauthorized,
        "forbidden" => Fault::Forbidden,
        "forget" => Fault::Forget,
        _ => return None,
    })
}

fn detailed(kind: &str, detail: &str) -> Option<Fault> {
    let (first, second) = detail.split_once(':').map_or((detail, None), |(first, second)| (first, Some(second)));
    match (kind, second) {
        ("status", wait) => {
            let retry_after = match wait {
                Some(wait) => Some(duration(wait)?),
                None => None,
            };
            Some(Fault::Refuse { status: status(first, 400..600)?, retry_after })
        }
        ("random", seed) => {
            let percent = first.parse().ok().filter(|percent| (1..=100).contains(percent))?;
            Some(Fault::Random { percent, seed: seed.map_or(Some(SEED), |seed| seed.parse().ok())? })
        }
        ("refuse-channel", _) if !detail.is_empty() => Some(Fault::RefuseChannel(detail.into())),
        ("slow", None) => duration(detail).map(Fault::Slow),
        ("garbage", None) if detail == "json" => Some(Fault::Garbage(Garbage::Json)),
        ("garbage", None) => status(detail, 200..600).map(|status| Fault::Garbage(Garbage::Page(status))),
        ("ended", None) => status(detail, 400..500).map(Fault::Ended),
        ("too-large", None) => detail.parse().ok().map(Fault::TooLarge),
        _ => None,
    }
}

fn status(text: &str, range: std::ops::Range<u16>) -> Option<u16> {
    text.parse().ok().filter(|status| range.contains(status))
}

/// A duration as people write it, with a unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok())
}

/// A duration as people write it, in one word; what no calendar has room for is shown as the longest that one has.
pub(super) fn shown(duration: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)).replace(' ', "")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Down => f.write_str("down"),
            Self::Hang => f.write_str("hang"),
            Self::Slow(delay) => write!(f, "slow:{}", shown(*delay)),
            Self::Refuse { status, retry_after: None } => write!(f, "status:{status}"),
            Self::Refuse { status, retry_after: Some(wait) } => write!(f, "status:{status}:{}", shown(*wait)),
            Self::CutRequest => f.write_str("cut-request"),
            Self::CutReply => f.write_str("cut-reply"),
            Self::ResetRequest => f.write_str("reset-request"),
            Self::ResetReply => f.write_str("reset-reply"),
            Self::TruncateReply => f.write_str("truncate-reply"),
            Self::Garbage(Garbage::Page(200)) => f.write_str("garbage"),
            Self::Garbage(Garbage::Page(status)) => write!(f, "garbage:{status}"),
            Self::Garbage(Garbage::Json) => f.write_str("garbage:json"),
            Self::Unauthorized => f.write_str("unauthorized"),
            Self::Forbidden => f.write_str("forbidden"),
            Self::Forget => f.write_str("forget"),
            Self::Ended(status) => write!(f, "ended:{status}"),
            Self::RefuseChannel(name) => write!(f, "refuse-channel:{name}"),
            Self::TooLarge(bytes) => write!(f, "too-large:{bytes}"),
            Self::Random { percent, seed: SEED } => write!(f, "random:{percent}"),
            Self::Random { percent, seed } => write!(f, "random:{percent}:{seed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_way_to_text_and_back() {
        for fault in [
            Fault::None,
            Fault::Down,
            Fault::Hang,
            Fault::Slow(Duration::from_millis(500)),
            Fault::Slow(Duration::from_secs(90)),
            Fault::Refuse { status: 503, retry_after: None },
            Fault::Refuse { status: 429, retry_after: Some(Duration::from_millis(1500)) },
            Fault::CutRequest,
            Fault::CutReply,
            Fault::ResetRequest,
            Fault::ResetReply,
            Fault::TruncateReply,
            Fault::Garbage(Garbage::Page(200)),
            Fault::Garbage(Garbage::Page(404)),
            Fault::Garbage(Garbage::Json),
            Fault::Unauthorized,
            Fault::Forbidden,
            Fault::Forget,
            Fault::Ended(410),
            Fault::RefuseChannel("a:b".into()),
            Fault::TooLarge(20_000),
            Fault::Random { percent: 30, seed: SEED },
            Fault::Random { percent: 100, seed: 7 },
        ] {
            assert_eq!(fault.to_string().parse().as_ref(), Ok(&fault), "{fault}");
            assert!(!fault.to_string().contains(' '), "{fault}");
        }
        assert_eq!(Fault::Slow(Duration::from_millis(500)).to_string(), "slow:500ms");
    }

    #[test]
    fn people_write_faults_with_units() {
        assert_eq!("slow:500ms".parse(), Ok(Fault::Slow(Duration::from_millis(500))));
        assert_eq!(
            "status:429:2s".parse(),
            Ok(Fault::Refuse { status: 429, retry_after: Some(Duration::from_secs(2)) })
        );
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_list() {
        for text in [
            "",
            "cut",
            "hang:1s",
            "slow",
            "slow:5",
            "slow:-1s",
            "status:200",
            "status:x",
            "status:503:x",
            "too-large:-1",
            "garbage:xml",
            "ended",
            "ended:503",
            "refuse-channel",
            "refuse-channel:",
            "random:0",
            "random:101",
            "random:5:x",
            "down:1s",
        ] {
            let refused = text.parse::<Fault>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("`{text}` is not a fault: expected none, ")), "{refused}");
        }
    }
}
