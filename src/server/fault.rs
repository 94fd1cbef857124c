//! Faults that can be switched on while the server runs, and which requests they hit.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;

use super::Call;

/// Something that goes wrong on purpose.
///
/// As text: `none`, `status:503`, `status:429:2s` (with `Retry-After`), `hang`, `slow:500ms`, `cut-reply`, `cut-request`,
/// `unauthorized`, `forget`, `too-large:20000` (bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Everything works.
    #[default]
    None,
    /// Every stream call is refused, and nothing is stored.
    Refuse {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// What `Retry-After` says, rounded up to whole seconds.
        retry_after: Option<Duration>,
    },
    /// Requests are read and never answered. They hang until the client gives up or the server stops.
    Hang,
    /// Every request waits this long before it is handled.
    Slow(Duration),
    /// Requests are handled and what they bring is stored; then the connection is cut instead of an answer.
    CutReply,
    /// The connection is cut when a request has come in, and nothing is stored.
    CutRequest,
    /// Every key is wrong (401).
    Unauthorized,
    /// Every stream that exists when the fault is set is unknown (404); streams created later work.
    Forget,
    /// Stream calls with a body of more bytes than this are refused (413).
    TooLarge(usize),
}

impl Fault {
    fn hits(self, call: Call) -> bool {
        match self {
            Self::None | Self::Forget => false,
            Self::Refuse { .. } | Self::TooLarge(_) => call.is_stream(),
            Self::Unauthorized => call.needs_key(),
            Self::Hang | Self::Slow(_) | Self::CutReply | Self::CutRequest => true,
        }
    }
}

/// A text is not a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a fault: expected none, status:503, status:429:2s, hang, slow:500ms, cut-reply, cut-request, unauthorized, forget or too-large:20000"
)]
pub struct InvalidFault {
    text: String,
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let invalid = || InvalidFault { text: text.to_owned() };
        let (kind, detail) = text.split_once(':').map_or((text, None), |(kind, detail)| (kind, Some(detail)));
        match (kind, detail) {
            ("none", None) => Ok(Self::None),
            ("hang", None) => Ok(Self::Hang),
            ("cut-reply", None) => Ok(Self::CutReply),
            ("cut-request", None) => Ok(Self::CutRequest),
            ("unauthorized", None) => Ok(Self::Unauthorized),
            ("forget", None) => Ok(Self::Forget),
            ("slow", Some(delay)) => duration(delay).map(Self::Slow).ok_or_else(invalid),
            ("too-large", Some(bytes)) => bytes.parse().map(Self::TooLarge).map_err(|_| invalid()),
            ("status", Some(detail)) => {
                let (status, wait) = detail.split_once(':').map_or((detail, None), |(s, w)| (s, Some(w)));
                let status: u16 = status.parse().map_err(|_| invalid())?;
                if !(400..600).contains(&status) {
                    return Err(invalid());
                }
                let retry_after = wait.map(|wait| duration(wait).ok_or_else(invalid)).transpose()?;
                Ok(Self::Refuse { status, retry_after })
            }
            _ => Err(invalid()),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok())
}

/// A duration as people write it; what no calendar has room for is shown as the longest that one has.
fn shown(duration: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Refuse { status, retry_after: None } => write!(f, "status:{status}"),
            Self::Refuse { status, retry_after: Some(wait) } => write!(f, "status:{status}:{}", shown(*wait)),
            Self::Hang => f.write_str("hang"),
            Self::Slow(delay) => write!(f, "slow:{}", shown(*delay)),
            Self::CutReply => f.write_str("cut-reply"),
            Self::CutRequest => f.write_str("cut-request"),
            Self::Unauthorized => f.write_str("unauthorized"),
            Self::Forget => f.write_str("forget"),
            Self::TooLarge(bytes) => write!(f, "too-large:{bytes}"),
        }
    }
}

/// The fault in force, and whom it hits.
#[derive(Debug, Default)]
pub(super) struct Switch(Mutex<Setting>);

#[derive(Debug, Default)]
struct Setting {
    fault: Fault,
    /// Only this call; `None` means every call that the fault can hit.
    only: Option<Call>,
    /// How many more requests it hits; `None` means all.
    left: Option<u32>,
    /// `Forget`: streams up to this number are unknown.
    forgotten: i64,
}

impl Switch {
    pub(super) fn set(&self, fault: Fault, only: Option<Call>, left: Option<u32>, newest_stream: i64) {
        let forgotten = if fault == Fault::Forget { newest_stream } else { 0 };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Setting { fault, only, left, forgotten };
    }

    /// The fault that hits this request, which is counted as one of those it was set for.
    pub(super) fn strike(&self, call: Call) -> Fault {
        let mut setting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !setting.fault.hits(call) || setting.only.is_some_and(|only| only != call) {
            return Fault::None;
        }
        match &mut setting.left {
            Some(0) => return Fault::None,
            Some(left) => *left -= 1,
            None => {}
        }
        setting.fault
    }

    /// Streams up to this number are to be unknown.
    pub(super) fn forgotten(&self) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_way_to_text_and_back() {
        for fault in [
            Fault::None,
            Fault::Refuse { status: 503, retry_after: None },
            Fault::Refuse { status: 429, retry_after: Some(Duration::from_millis(1500)) },
            Fault::Hang,
            Fault::Slow(Duration::from_millis(500)),
            Fault::CutReply,
            Fault::CutRequest,
            Fault::Unauthorized,
            Fault::Forget,
            Fault::TooLarge(20_000),
        ] {
            assert_eq!(fault.to_string().parse(), Ok(fault), "{fault}");
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
        ] {
            let refused = text.parse::<Fault>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("`{text}` is not a fault: expected none, ")), "{refused}");
        }
    }

    #[test]
    fn a_fault_hits_the_calls_it_was_set_for_and_as_often() {
        let switch = Switch::default();
        switch.set(Fault::CutReply, Some(Call::Chunk), Some(1), 7);
        assert_eq!(switch.strike(Call::Initialize), Fault::None);
        assert_eq!(switch.strike(Call::Chunk), Fault::CutReply);
        assert_eq!(switch.strike(Call::Chunk), Fault::None);
        assert_eq!(switch.forgotten(), 0);

        switch.set(Fault::Refuse { status: 503, retry_after: None }, None, None, 7);
        assert_eq!(switch.strike(Call::ListTags), Fault::None);
        assert_ne!(switch.strike(Call::Finalize), Fault::None);

        switch.set(Fault::Unauthorized, None, None, 7);
        assert_eq!(switch.strike(Call::Time), Fault::None);
        assert_eq!(switch.strike(Call::ListTags), Fault::Unauthorized);

        switch.set(Fault::Forget, None, None, 7);
        assert_eq!(switch.forgotten(), 7);
    }
}
