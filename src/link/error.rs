//! What can go wrong with a link: when it is opened, and on the opened wire.

use std::io;

/// Why a link could not be opened. Each names the port or address, what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path of the port leads nowhere: unplugged, or another name after replugging.
    #[error("there is no serial port `{port}`; plug the adapter in, or see `mbe-bridge ports` for its name")]
    NotThere {
        /// The port as configured.
        port: String,
    },
    /// `usb:VID:PID` fits more than one adapter.
    #[error("`{port}` fits several adapters ({found}); add the serial number: `usb:VID:PID:SERIAL`")]
    Ambiguous {
        /// The port as configured.
        port: String,
        /// The device files that fit.
        found: String,
    },
    /// Not of the form `usb:VID:PID[:SERIAL]`.
    #[error(
        "`{port}` is no USB name; write `usb:VID:PID` or `usb:VID:PID:SERIAL` with four hex digits each, as in `usb:0403:6001`"
    )]
    UsbName {
        /// The port as configured.
        port: String,
    },
    /// The user may not open it.
    #[error("serial port `{port}` may not be opened by this user; {cure}")]
    NotAllowed {
        /// The device file.
        port: String,
        /// What to do.
        cure: String,
    },
    /// Somebody else holds it.
    #[error("serial port `{port}` is in use{}; stop the other program", .holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    InUse {
        /// The device file.
        port: String,
        /// Who, as far as it can be seen: `minicom (1234)`.
        holder: Option<String>,
    },
    /// The port can't be set as the profile or the lab wants it.
    #[error("serial port `{port}` can't be set to {wanted}; check `baud`, `parity` and the like of the link")]
    SetLine {
        /// The device file.
        port: String,
        /// The line settings.
        wanted: String,
        /// What the port's driver says.
        #[source]
        source: io::Error,
    },
    /// The lab wants `rs485`, and the port's driver does not.
    #[error(
        "the driver of `{port}` has no RS-485 mode; if the adapter switches direction by itself, as most USB adapters do, \
         leave `rs485` out, else use such an adapter"
    )]
    Rs485 {
        /// The device file.
        port: String,
        /// What the driver says.
        #[source]
        source: io::Error,
    },
    /// Anything else that keeps a port from being opened.
    #[error("serial port `{port}` could not be opened")]
    OpenPort {
        /// The device file.
        port: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("no connection to {address} within {seconds} s; check the address, the cable and the firewall")]
    ConnectTimeout {
        /// `host:port`.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection was refused, or there is no way to the host.
    #[error("could not connect to {address}; check that the device is on and takes another connection")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Why an opened wire can't be used for the exchange at hand.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The port was unplugged or the connection closed; the wire stays useless.
    #[error("the link is gone")]
    Gone(#[source] io::Error),
    /// Somebody talks all the time, so no answer can be told from the noise.
    #[error("the line does not fall silent: {discarded} bytes discarded")]
    Noisy {
        /// Bytes thrown away while waiting for silence.
        discarded: u64,
    },
    /// A good answer was followed by more bytes: it may have been the late answer to an earlier question.
    #[error("more bytes came after the reply; it may belong to an earlier request")]
    Unsettled,
}
