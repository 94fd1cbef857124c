//! Readings and samples: what an instrument said, and when.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::time::Duration;

use super::{ChannelIndex, Stamp};

/// A number that is neither NaN nor infinite. The only numbers that reach a run are of this type.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Finite(f64);

impl Finite {
    /// The number, unless it is NaN or infinite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Debug for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a reading is missing or doubtful, in one word: `over_range`, `no_reply`, `stale`.
///
/// Profiles name their own (`bad:hot_cathode`); those of the bridge itself are constants of this type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The instrument did not answer in time.
    pub const NO_REPLY: Self = Self::own("no_reply");
    /// The instrument did not answer in time, and is known to need as long after it was switched on.
    pub const WARMING_UP: Self = Self::own("warming_up");
    /// The link is not open: unplugged, refused, unreachable.
    pub const LINK_DOWN: Self = Self::own("link_down");
    /// An answer whose checksum does not match.
    pub const CHECKSUM: Self = Self::own("checksum");
    /// An answer that is not what the profile describes.
    pub const MALFORMED: Self = Self::own("malformed");
    /// Our own request came back instead of an answer.
    pub const ECHO: Self = Self::own("echo");
    /// An answer from another unit or to another question.
    pub const MISMATCH: Self = Self::own("mismatch");
    /// A Modbus exception, or the like of another protocol.
    pub const EXCEPTION: Self = Self::own("exception");
    /// An answer that came right after a disturbance and may belong to an earlier question.
    pub const UNSETTLED: Self = Self::own("unsettled");
    /// A message that says nothing of this channel.
    pub const ABSENT: Self = Self::own("absent");
    /// An instrument that speaks unasked has been silent for too long.
    pub const STALE: Self = Self::own("stale");
    /// A number that is NaN or infinite.
    pub const NOT_A_NUMBER: Self = Self::own("not_a_number");
    /// A number outside what the profile holds plausible; its quality is lowered, it is not dropped.
    pub const IMPLAUSIBLE: Self = Self::own("implausible");

    const fn own(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A reason that a profile names.
    pub fn named(text: &str) -> Self {
        Self(Cow::Owned(text.to_owned()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Reason {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a value can be trusted. A value that can't be trusted at all is no value: see [`Outcome::Bad`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quality {
    /// As the instrument means it.
    Good,
    /// A number the instrument or its profile has doubts about.
    Uncertain(Reason),
}

/// What came of asking for one channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A number.
    Value {
        /// The number, in the channel's unit.
        value: Finite,
        /// How far it can be trusted.
        quality: Quality,
    },
    /// No number, and why.
    Bad(Reason),
}

impl Outcome {
    /// A trusted value, or [`Reason::NOT_A_NUMBER`].
    pub fn good(value: f64) -> Self {
        Finite::new(value)
            .map_or(Self::Bad(Reason::NOT_A_NUMBER), |value| Self::Value { value, quality: Quality::Good })
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<Finite> {
        match self {
            Self::Value { value, .. } => Some(*value),
            Self::Bad(_) => None,
        }
    }
}

/// What a driver returns for one channel. Drivers do not stamp time: the poller does.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The channel's place in the driver's own list.
    pub channel: usize,
    /// What came of it.
    pub outcome: Outcome,
}

/// A reading with its time. An absent value is data too: it says why.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The channel.
    pub channel: ChannelIndex,
    /// The midpoint of request and reply (the first byte, for instruments that talk unasked).
    pub at: Stamp,
    /// Half the round trip.
    pub uncertainty: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_outcome_carries_nan_or_infinity() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Outcome::good(odd), Outcome::Bad(Reason::NOT_A_NUMBER));
        }
        assert_eq!(Outcome::good(0.0).value().map(Finite::get), Some(0.0));
    }

    #[test]
    fn a_reason_is_its_word() {
        assert_eq!(Reason::named("no_reply"), Reason::NO_REPLY);
        assert!(Reason::named("a") < Reason::named("b"));
    }
}
