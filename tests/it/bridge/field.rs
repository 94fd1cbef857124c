//! The field: simulated instruments, each on a line of its own or several on one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mbe_bridge::config::{self, Config};
use mbe_bridge::profile::{Library, Profile};
use mbe_bridge::sim::{Place, Said, Scenario, Sim, SimHandle, SimInstrument, SimSettings};

/// Any free port of the loopback.
pub(super) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A profile of the library.
pub(super) fn profile(id: &str) -> Arc<Profile> {
    Arc::clone(Library::embedded().0.get(id).unwrap())
}

/// A lab that has nothing but these links and instruments.
pub(super) fn configured(text: &str) -> Config {
    config::read(Path::new("lab.toml"), text, &Library::embedded().0, &|_| None).unwrap().config
}

/// An instrument whose every reading differs from those before and after: a value that was put to another time shows.
pub(super) fn instrument(name: &str, profile: &Profile, params: &[(&str, &str)]) -> SimInstrument {
    let params: BTreeMap<String, String> =
        params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SimInstrument::of(name, profile, &params, rising()).unwrap()
}

/// 100 to 900 and back in 40 s: four whole units from one reading to the next at ten a second.
pub(super) fn rising() -> Scenario {
    Scenario::sweep(100.0, 900.0, Duration::from_secs(40))
}

/// Four decades of pressure and back in 40 s.
pub(super) fn pressures() -> Scenario {
    Scenario::sweep(1e-10, 1e-6, Duration::from_secs(40))
}

/// One or more instruments on a line that carries bytes as fast as the profile's.
pub(super) fn line(place: Place, profile: &Profile, instruments: Vec<SimInstrument>) -> SimHandle {
    Sim::start(SimSettings::new(place, instruments).paced(profile.line.clone())).unwrap()
}

/// The three instruments of the demo: a pyrometer on a serial port, a gauge on Modbus/TCP, a controller on Modbus RTU.
pub(super) struct Chamber {
    pub(super) pyrometer: SimHandle,
    pub(super) gauge: SimHandle,
    pub(super) controller: SimHandle,
}

impl Chamber {
    pub(super) fn start(folder: &Path) -> Self {
        let port = |name: &str| Place::Pty { path: Some(folder.join(name)) };
        let (upp, mg15, eurotherm) = (profile("impac-upp"), profile("prevac-mg15"), profile("eurotherm-3200"));
        let gauge = SimInstrument { scenario: pressures(), ..instrument("gauge", &mg15, &[]) };
        Self {
            pyrometer: line(port("ttyPyrometer"), &upp, vec![instrument("pyrometer", &upp, &[])]),
            gauge: line(Place::ModbusTcp { listen: ANY }, &mg15, vec![gauge]),
            controller: line(port("ttyController"), &eurotherm, vec![instrument("controller", &eurotherm, &[])]),
        }
    }

    /// The links and instruments of the lab's file, ten readings a second of four channels.
    pub(super) fn toml(&self) -> String {
        format!(
            r#"
            [links.pyro.serial]
            port = "{}"
            [links.gauges.modbus-tcp]
            address = "{}"
            [links.furnace.serial]
            port = "{}"
            [[instruments]]
            name = "pyrometer"
            profile = "impac-upp"
            link = "pyro"
            channels.temperature = {{ name = "substrate_temperature" }}
            [[instruments]]
            name = "gauge"
            profile = "prevac-mg15"
            link = "gauges"
            unit = 1
            channels.pressure_1 = {{ name = "chamber_pressure", every = "100ms" }}
            [[instruments]]
            name = "controller"
            profile = "eurotherm-3200"
            link = "furnace"
            unit = 1
            channels.process_value = {{ name = "manipulator_temperature", every = "100ms" }}
            channels.working_output = {{ name = "heater_output", every = "100ms" }}
            "#,
            self.pyrometer.port().unwrap().display(),
            self.gauge.address().unwrap(),
            self.controller.port().unwrap().display(),
        )
    }

    pub(super) fn lines(&self) -> [(&'static str, &SimHandle); 3] {
        [("pyrometer", &self.pyrometer), ("gauge", &self.gauge), ("controller", &self.controller)]
    }

    /// Everything that was said, by line.
    pub(super) fn said(&self) -> Vec<Vec<Said>> {
        self.lines().into_iter().map(|(_, line)| line.said()).collect()
    }
}
