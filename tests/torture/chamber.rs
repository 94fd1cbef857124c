//! The growth chamber of a round: two to four lines with an instrument each, and what the lab's file says of them.

use std::path::Path;
use std::time::Duration;

use mbe_bridge::sim::{Place, Scenario, SimHandle, SimInstrument};

use super::field::{ANY, instrument, line, profile};

/// Up and down in this time, so that no value comes twice in a round, and the next differs in each profile's last digit.
const SWEEP: Duration = Duration::from_secs(160);

/// An instrument with its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages of its own on a pseudo-terminal.
    Pyrometer,
    /// Modbus/TCP.
    Gauge,
    /// Modbus RTU on a pseudo-terminal.
    Controller,
    /// Modbus RTU through a socket.
    LoadLock,
}

impl Kind {
    /// The name of the instrument and of its link.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pyrometer => "pyrometer",
            Self::Gauge => "gauge",
            Self::Controller => "controller",
            Self::LoadLock => "load_lock",
        }
    }

    const fn profile(self) -> &'static str {
        match self {
            Self::Pyrometer => "impac-upp",
            Self::Gauge | Self::LoadLock => "prevac-mg15",
            Self::Controller => "eurotherm-3200",
        }
    }

    /// Simulates it.
    pub(crate) fn start(self, folder: &Path) -> SimHandle {
        let profile = profile(self.profile());
        let port = || Place::Pty { path: Some(folder.join(format!("tty_{}", self.name()))) };
        let (place, scenario) = match self {
            Self::Pyrometer | Self::Controller => (port(), Scenario::sweep(100.0, 900.0, SWEEP)),
            Self::Gauge => (Place::ModbusTcp { listen: ANY }, Scenario::sweep(1e-10, 1e-6, SWEEP)),
            Self::LoadLock => (Place::RtuOverTcp { listen: ANY }, Scenario::sweep(1e-9, 1e-5, SWEEP)),
        };
        line(place, &profile, vec![SimInstrument { scenario, ..instrument(self.name(), &profile, &[]) }])
    }

    /// Its link and instrument in the lab's file: ten readings a second of each channel.
    pub(crate) fn toml(self, simulated: &SimHandle) -> String {
        let port = || simulated.port().unwrap().display().to_string();
        let address = || simulated.address().unwrap();
        let transport = match self {
            Self::Pyrometer | Self::Controller => format!("serial]\nport = \"{}\"", port()),
            Self::Gauge => format!("modbus-tcp]\naddress = \"{}\"", address()),
            Self::LoadLock => format!("rtu-over-tcp]\naddress = \"{}\"", address()),
        };
        let channels = match self {
            Self::Pyrometer => "channels.temperature = { name = \"substrate_temperature\" }",
            Self::Gauge => "unit = 1\nchannels.pressure_1 = { name = \"chamber_pressure\", every = \"100ms\" }",
            Self::Controller => {
                "unit = 1\n\
                 channels.process_value = { name = \"manipulator_temperature\", every = \"100ms\" }\n\
                 channels.working_output = { name = \"heater_output\", every = \"100ms\" }"
            }
            Self::LoadLock => "unit = 1\nchannels.pressure_1 = { name = \"load_lock_pressure\", every = \"100ms\" }",
        };
        let (name, profile) = (self.name(), self.profile());
        format!(
            "[links.{name}.{transport}\n\
             [[instruments]]\nname = \"{name}\"\nprofile = \"{profile}\"\nlink = \"{name}\"\n{channels}\n"
        )
    }
}
