//! What a wire has to know about its line.

use std::time::Duration;

use crate::model::LineSettings;

/// A line that has been quiet this long after a disturbance is asked again: three scheduling slots of a USB adapter with
/// its usual 16 ms latency.
const SERIAL_QUIET: Duration = Duration::from_millis(50);

/// The same for a socket, where a device server or a Wi-Fi hop delays more.
const SOCKET_QUIET: Duration = Duration::from_millis(100);

/// What a wire has to know about its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireSettings {
    /// Time of one character on the line; zero on a socket.
    pub char_time: Duration,
    /// Silence before each question that the lab or the profile asks for.
    pub idle: Duration,
    /// Silence between Modbus RTU frames; zero on a socket, where the device server keeps it.
    pub modbus_silence: Duration,
    /// How long a line must be quiet to be trusted after a disturbance.
    pub quiet: Duration,
    /// Whether each question is expected to come back before its answer.
    pub echo: bool,
}

impl WireSettings {
    /// Those of a serial line.
    pub fn serial(line: &LineSettings) -> Self {
        Self {
            char_time: line.time_of(1),
            idle: line.idle.unwrap_or_default(),
            modbus_silence: line.modbus_silence(),
            quiet: SERIAL_QUIET.max(line.time_of(20)),
            echo: line.echo,
        }
    }

    /// Those of a socket.
    pub fn socket() -> Self {
        Self {
            char_time: Duration::ZERO,
            idle: Duration::ZERO,
            modbus_silence: Duration::ZERO,
            quiet: SOCKET_QUIET,
            echo: false,
        }
    }

    /// Time that this many characters take on the line.
    pub fn time_of(&self, chars: usize) -> Duration {
        self.char_time.saturating_mul(u32::try_from(chars).unwrap_or(u32::MAX))
    }
}
