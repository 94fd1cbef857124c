//! What can go wrong in an exchange, and what the poller does about it.

use std::io;
use std::time::Duration;

use crate::link::Fault;
use crate::model::Reason;
use crate::profile::Mismatch;

/// Why an exchange brought no reading.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not one byte came within the profile's `timing.reply`.
    #[error("no reply within {} ms", .0.as_millis())]
    NoReply(Duration),
    /// An answer began and did not end in time.
    #[error("the reply stopped after {got} bytes")]
    Truncated {
        /// Bytes that came.
        got: usize,
    },
    /// A frame whose checksum does not match.
    #[error("the reply's checksum is wrong")]
    Checksum,
    /// The request itself came back.
    #[error("the adapter echoes the request; set `echo = true` on the link, or turn RTS off")]
    Echo,
    /// An answer from another unit, to another function or of another length.
    #[error("the reply does not belong to the request: {what}")]
    Mismatch {
        /// What differs.
        what: String,
    },
    /// An answer that the profile does not describe.
    #[error("unexpected reply `{shown}`: {what}")]
    Malformed {
        /// The reply, printable.
        shown: String,
        /// What was expected.
        what: String,
    },
    /// A message that came unasked and is spoiled, or none that the profile describes.
    #[error("a message is not as the profile describes it: {0}")]
    Misheard(Mismatch),
    /// An instrument that speaks unasked has been silent for longer than its profile allows.
    #[error("nothing was heard for more than {} s; it speaks unasked: is it on, is its stream?", .0.as_secs_f64())]
    Stale(Duration),
    /// The device refuses the request.
    #[error("the device answers with exception {code}: {what}")]
    Exception {
        /// Its number.
        code: u8,
        /// Its name.
        what: &'static str,
    },
    /// A good answer that came right after a disturbance and may belong to an earlier question.
    #[error("the line has not settled yet; the reply may belong to an earlier request")]
    Unsettled,
    /// Somebody talks all the time.
    #[error(
        "the line does not fall silent: {discarded} bytes discarded; is another master on it, or a stream turned on?"
    )]
    Noisy {
        /// Bytes thrown away while waiting for silence.
        discarded: u64,
    },
    /// A request that could change the device. It was not sent.
    #[error("Modbus function {function} is not sent: this program only reads")]
    ReadOnly {
        /// The function code.
        function: u8,
    },
    /// A request that no device can answer. It was not sent.
    #[error("{count} {what} at once are not allowed by the protocol, which takes 1 to {most}")]
    Count {
        /// As many as were asked for.
        count: u16,
        /// Registers or bits.
        what: &'static str,
        /// The most of them in one request.
        most: u16,
    },
    /// The driver and the link speak different protocols.
    #[error("this instrument does not speak the protocol of its link")]
    Protocol,
    /// One of the others, on a connection that can't be trusted after it and was given up.
    #[error("{0}; the connection has to be opened anew")]
    GivenUp(Box<Self>),
    /// The port or the connection is gone.
    #[error("the link is gone")]
    Gone(#[source] io::Error),
}

/// Exceptions with which a gateway says that it has no path to the device, or that the device does not answer it.
/// Source: MODBUS Application Protocol V1.1b3, 7.
pub(super) const GATEWAY_FAILURES: [u8; 2] = [0x0A, 0x0B];

/// What the poller has to do before the next exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing: the link is in order, this reading is missing.
    SkipReading,
    /// Nothing of its own: the wire is dirty and settles itself before the next request.
    Resync,
    /// Close the link and open it again.
    Reopen,
}

impl Error {
    /// What the poller has to do.
    pub fn recovery(&self) -> Recovery {
        match self {
            // The gateway speaks, the device behind it does not: that is silence in other words.
            Self::Exception { code, .. } if GATEWAY_FAILURES.contains(code) => Recovery::Resync,
            Self::Exception { .. }
            | Self::ReadOnly { .. }
            | Self::Count { .. }
            | Self::Protocol
            | Self::Misheard(_)
            | Self::Stale(_) => Recovery::SkipReading,
            Self::NoReply(_)
            | Self::Truncated { .. }
            | Self::Checksum
            | Self::Echo
            | Self::Mismatch { .. }
            | Self::Malformed { .. }
            | Self::Unsettled => Recovery::Resync,
            Self::Noisy { .. } | Self::GivenUp(_) | Self::Gone(_) => Recovery::Reopen,
        }
    }

    /// Whether the instrument itself has said nothing at all, as one that is switched off or still starting.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::NoReply(_) => true,
            Self::Exception { code, .. } => GATEWAY_FAILURES.contains(code),
            Self::GivenUp(error) => error.is_silence(),
            _ => false,
        }
    }

    /// Why the readings are missing, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoReply(_) => Reason::NO_REPLY,
            Self::Truncated { .. } | Self::Malformed { .. } => Reason::MALFORMED,
            Self::Checksum => Reason::CHECKSUM,
            Self::Misheard(why) => why.reason(),
            Self::Stale(_) => Reason::STALE,
            Self::Echo => Reason::ECHO,
            Self::Mismatch { .. } => Reason::MISMATCH,
            Self::Exception { .. } | Self::ReadOnly { .. } | Self::Count { .. } | Self::Protocol => Reason::EXCEPTION,
            Self::Unsettled | Self::Noisy { .. } => Reason::UNSETTLED,
            Self::GivenUp(error) => error.reason(),
            Self::Gone(_) => Reason::LINK_DOWN,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Gone(error) => Self::Gone(error),
            Fault::Noisy { discarded } => Self::Noisy { discarded },
            Fault::Unsettled => Self::Unsettled,
        }
    }
}
