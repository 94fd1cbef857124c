//! `mbe-bridge sim`: a simulated instrument that speaks the real protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::{print, runtime};
use crate::model::Transport;
use crate::profile::Library;
use crate::profile::Profile;
use crate::sim::Fault;
use crate::sim::Place;
use crate::sim::Scenario;
use crate::sim::Sim;
use crate::sim::SimInstrument;
use crate::sim::SimSettings;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The profile to simulate
    profile: String,
    /// On a pseudo-terminal, with this name for it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["tcp", "rtu_over_tcp"])]
    pty: Option<PathBuf>,
    /// On TCP: Modbus/TCP for Modbus instruments, the bare messages for others
    #[arg(long, value_name = "ADDR")]
    tcp: Option<SocketAddr>,
    /// Modbus RTU frames over TCP
    #[arg(long, value_name = "ADDR", conflicts_with = "tcp")]
    rtu_over_tcp: Option<SocketAddr>,
    /// Its Modbus unit
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// A parameter of the profile, as in `addr=07`
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Length of the growth that it shows, over and over
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    growth: u64,
    /// Show this value instead of a growth
    #[arg(long, value_name = "NUMBER", conflicts_with = "growth")]
    constant: Option<f64>,
    /// Misbehave: `silence`, `late:300ms`, `echo`, `junk:64`, `checksum`, …
    #[arg(long)]
    fault: Option<Fault>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let Some(profile) = library.get(&self.profile) else {
            let help = crate::document::did_you_mean(&self.profile, "profile", library.ids());
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("there is no profile `{}`", self.profile)).hint(help));
        };
        let place = self.place(profile.is_modbus())?;
        let scenario = match self.constant {
            Some(value) => Scenario::constant(value),
            None => Scenario::growth(Duration::from_secs(self.growth.max(1))),
        };
        let params = self.params.iter().cloned().collect();
        let instrument = instrument("instrument", profile, &params, scenario)?.at_unit(self.unit);
        let settings =
            SimSettings { record: 0, ..SimSettings::new(place, vec![instrument]).paced(profile.line.clone()) };
        let sim = Sim::start(settings).or_exit(Exit::Unreachable)?;
        if let Some(fault) = self.fault {
            sim.fault("instrument", fault.always()).or_exit(Exit::Usage)?;
        }
        print(match sim.transport() {
            Transport::Serial { port, .. } => format!("[links.sim.serial]\nport = \"{port}\""),
            Transport::Tcp { address } => format!("[links.sim.tcp]\naddress = \"{address}\""),
            Transport::RtuOverTcp { address } => format!("[links.sim.rtu-over-tcp]\naddress = \"{address}\""),
            Transport::ModbusTcp { address } => format!("[links.sim.modbus-tcp]\naddress = \"{address}\""),
        });
        runtime()?.block_on(super::signals::interrupted()).or_exit(Exit::Degraded)?;
        sim.stop();
        Ok(Exit::Well)
    }

    fn place(&self, modbus: bool) -> Result<Place, Failure> {
        match (self.tcp, self.rtu_over_tcp, modbus) {
            (Some(listen), _, true) => Ok(Place::ModbusTcp { listen }),
            (Some(listen), _, false) => Ok(Place::Tcp { listen }),
            (None, Some(listen), true) => Ok(Place::RtuOverTcp { listen }),
            (None, Some(_), false) => {
                Err(Failure::new(Exit::Usage, anyhow::anyhow!("`{}` does not speak Modbus; use --tcp", self.profile)))
            }
            #[cfg(unix)]
            (None, None, _) => Ok(Place::Pty { path: self.pty.clone() }),
            #[cfg(not(unix))]
            (None, None, _) => Err(Failure::new(Exit::Usage, anyhow::anyhow!("say where with --tcp"))),
        }
    }
}

/// A simulated instrument of a profile, everything that changes nothing answered.
pub(super) fn instrument(
    name: &str,
    profile: &Profile,
    params: &BTreeMap<String, String>,
    scenario: Scenario,
) -> Result<SimInstrument, Failure> {
    let device = profile.device(params, &BTreeSet::new()).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Usage, anyhow::anyhow!("{}", errors.join("\n")))
    })?;
    Ok(SimInstrument::new(name, device, scenario))
}
