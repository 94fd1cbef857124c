//! Transports: where a link goes, and how its line is set.

use std::fmt;
use std::time::Duration;

/// Data bits of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataBits {
    /// Seven.
    Seven,
    /// Eight.
    Eight,
}

/// Parity of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// Stop bits of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBits {
    /// One.
    One,
    /// Two.
    Two,
}

/// How a port's driver switches the direction of an RS-485 line by RTS. What it waits is in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485 {
    /// Level of RTS while sending; the opposite otherwise.
    pub rts_on_send: bool,
    /// Time from turning the direction to the first bit.
    pub delay_before: Duration,
    /// Time from the last bit to turning it back.
    pub delay_after: Duration,
}

impl Default for Rs485 {
    fn default() -> Self {
        Self { rts_on_send: true, delay_before: Duration::ZERO, delay_after: Duration::ZERO }
    }
}

/// How a serial line is set. `None` leaves a control line as the driver of the port sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits per second.
    pub baud: u32,
    /// Data bits.
    pub data_bits: DataBits,
    /// Parity.
    pub parity: Parity,
    /// Stop bits.
    pub stop_bits: StopBits,
    /// Level of RTS.
    pub rts: Option<bool>,
    /// Level of DTR.
    pub dtr: Option<bool>,
    /// Whether the adapter is known to echo each request (two-wire RS-485); the echo is then expected and skipped.
    pub echo: bool,
    /// How the port's driver is to switch the direction of an RS-485 line by RTS, if it is to.
    pub rs485: Option<Rs485>,
    /// Least silence before a request, above what the protocol asks.
    pub idle: Option<Duration>,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            baud: 9600,
            data_bits: DataBits::Eight,
            parity: Parity::None,
            stop_bits: StopBits::One,
            rts: None,
            dtr: None,
            echo: false,
            rs485: None,
            idle: None,
        }
    }
}

impl LineSettings {
    /// Bits on the wire for one character: start, data, parity and stop.
    pub fn bits_per_char(&self) -> u32 {
        let data = match self.data_bits {
            DataBits::Seven => 7,
            DataBits::Eight => 8,
        };
        let parity = u32::from(self.parity != Parity::None);
        let stop = match self.stop_bits {
            StopBits::One => 1,
            StopBits::Two => 2,
        };
        1 + data + parity + stop
    }

    /// Time that this many characters take on the wire.
    pub fn time_of(&self, chars: usize) -> Duration {
        let bits = u64::from(self.bits_per_char()) * u64::try_from(chars).unwrap_or(u64::MAX / 16);
        Duration::from_nanos(bits.saturating_mul(1_000_000_000) / u64::from(self.baud.max(1)))
    }

    /// Least silence between Modbus RTU frames: 3.5 characters of 11 bits, and 1.75 ms above 19200 baud.
    ///
    /// Source: MODBUS over Serial Line V1.02, 2.5.1.1.
    pub fn modbus_silence(&self) -> Duration {
        if self.baud > 19_200 {
            Duration::from_micros(1_750)
        } else {
            Duration::from_nanos(38_500_000_000 / u64::from(self.baud.max(1)))
        }
    }
}

impl fmt::Display for LineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = if self.data_bits == DataBits::Seven { 7 } else { 8 };
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        let stop = if self.stop_bits == StopBits::One { 1 } else { 2 };
        write!(f, "{} {data}{parity}{stop}", self.baud)
    }
}

/// Where a link goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A serial port: a path, or `usb:VID:PID[:SERIAL]`.
    Serial {
        /// As configured; resolved anew at each opening.
        port: String,
        /// How the line is set.
        line: LineSettings,
    },
    /// A raw socket, as serial device servers offer.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// Modbus RTU frames, CRC included, through a raw socket.
    RtuOverTcp {
        /// `host:port`.
        address: String,
    },
    /// Modbus/TCP.
    ModbusTcp {
        /// `host:port`.
        address: String,
    },
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial { port, line } => write!(f, "{port} ({line})"),
            Self::Tcp { address } => write!(f, "tcp {address}"),
            Self::RtuOverTcp { address } => write!(f, "rtu-over-tcp {address}"),
            Self::ModbusTcp { address } => write!(f, "modbus-tcp {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(baud: u32) -> LineSettings {
        LineSettings { baud, ..LineSettings::default() }
    }

    #[test]
    fn silences_are_those_of_the_specification() {
        assert_eq!(at(2400).modbus_silence().as_micros(), 16_041);
        assert_eq!(at(9600).modbus_silence().as_micros(), 4_010);
        assert_eq!(at(19_200).modbus_silence().as_micros(), 2_005);
        assert_eq!(at(38_400).modbus_silence().as_micros(), 1_750);
    }

    #[test]
    fn an_upp_exchange_of_eleven_characters_takes_6_3_ms() {
        let line = LineSettings { baud: 19_200, parity: Parity::Even, ..LineSettings::default() };
        assert_eq!(line.time_of(11).as_micros(), 6_302);
        assert_eq!(line.to_string(), "19200 8E1");
    }
}
