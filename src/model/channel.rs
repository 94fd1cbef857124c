//! Channels: the named series of a run.

use std::fmt;
use std::sync::Arc;

/// The name of a channel, 1 to 255 characters as the platform allows. Equal names mean one history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

/// Why a text can't name a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChannelName {
    /// Nothing but white space.
    #[error("a channel name can't be blank")]
    Blank,
    /// Longer than the platform takes.
    #[error("a channel name has at most 255 characters, this one has {0}")]
    TooLong(usize),
    /// A character that can't be shown.
    #[error("a channel name can't hold the control character {0:?}")]
    Control(char),
}

impl ChannelName {
    /// Parses a name; surrounding white space is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidChannelName> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return Err(InvalidChannelName::Blank);
        }
        if length > 255 {
            return Err(InvalidChannelName::TooLong(length));
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(InvalidChannelName::Control(control));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The place of a channel in the bridge's list of channels; fixed for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelIndex(pub usize);

/// What sort of thing a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// A measured quantity.
    #[default]
    Gauge,
    /// A count that only grows.
    Counter,
    /// A state of the instrument, kept when it changes.
    State,
    /// A setting of the instrument (emissivity and the like), read and recorded with the run.
    Setting,
    /// An identification, read once.
    Info,
}

/// One named series with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name on the platform and in the run file.
    pub name: ChannelName,
    /// Its unit, as the platform is told; none for a plain number.
    pub unit: Option<Arc<str>>,
    /// The instrument that it comes from, as the lab named it.
    pub instrument: Arc<str>,
    /// The channel's id in the instrument's profile.
    pub source: Arc<str>,
    /// What sort of thing it carries.
    pub kind: Kind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(ChannelName::parse("  T sub ").unwrap().as_str(), "T sub");
        assert_eq!(ChannelName::parse(" \t"), Err(InvalidChannelName::Blank));
        assert!(ChannelName::parse(&"ä".repeat(255)).is_ok());
        assert_eq!(ChannelName::parse(&"ä".repeat(256)), Err(InvalidChannelName::TooLong(256)));
        assert_eq!(ChannelName::parse("a\u{7}b"), Err(InvalidChannelName::Control('\u{7}')));
    }
}
