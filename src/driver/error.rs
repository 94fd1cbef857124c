//! What can go wrong in an exchange, and what the poller does about it.

use std::io;

use crate::model::Reason;

/// Why an exchange brought no reading.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not one byte came within the profile's `timing.reply`.
    #[error("no reply within {} ms", .0.as_millis())]
    NoReply(std::time::Duration),
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
    #[error("unexpected reply {shown}: {what}")]
    Malformed {
        /// The reply, printable.
        shown: String,
        /// What was expected.
        what: String,
    },
    /// The device refuses the request.
    #[error("the device answers with an exception: {what}")]
    Exception {
        /// Its number.
        code: u8,
        /// Its name.
        what: &'static str,
    },
    /// A good answer that came right after a disturbance and may belong to an earlier question.
    #[error("the line has not settled yet; the reply may belong to an earlier request")]
    Unsettled,
    /// The port or the connection is gone.
    #[error("the link is gone")]
    Gone(#[source] io::Error),
}

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
            Self::Malformed { .. } | Self::Exception { .. } => Recovery::SkipReading,
            Self::NoReply(_)
            | Self::Truncated { .. }
            | Self::Checksum
            | Self::Echo
            | Self::Mismatch { .. }
            | Self::Unsettled => Recovery::Resync,
            Self::Gone(_) => Recovery::Reopen,
        }
    }

    /// Why the readings are missing, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoReply(_) => Reason::NO_REPLY,
            Self::Truncated { .. } | Self::Malformed { .. } => Reason::MALFORMED,
            Self::Checksum => Reason::CHECKSUM,
            Self::Echo => Reason::ECHO,
            Self::Mismatch { .. } => Reason::MISMATCH,
            Self::Exception { .. } => Reason::EXCEPTION,
            Self::Unsettled => Reason::UNSETTLED,
            Self::Gone(_) => Reason::LINK_DOWN,
        }
    }
}
