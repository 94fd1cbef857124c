//! `mbe-bridge sim`: simulated instruments that speak the real protocol, or the trace of a link played back.

mod commands;
mod wish;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::{print, runtime};
use crate::model::{TraceHead, TraceLine, Transport};
use crate::profile::Library;
use crate::profile::Profile;
use crate::sim::Place;
use crate::sim::Plan;
use crate::sim::Playing;
use crate::sim::Recording;
use crate::sim::Scenario;
use crate::sim::Sim;
use crate::sim::SimHandle;
use crate::sim::SimInstrument;
use crate::sim::SimSettings;

use wish::{Value, Wish};

const COMMANDS: &str = "\
While it runs it reads commands from its standard input, one a line, and answers each with one line:
  fault [INSTRUMENT] FAULT            switch a fault on, as with --fault
  clear [INSTRUMENT]                  switch all faults off
  set [INSTRUMENT.]CHANNEL NUMBER     show this value, in the channel's unit
  state [INSTRUMENT.]CHANNEL REASON   show this state of the profile: over_range, off, ...
  raw [INSTRUMENT.]CHANNEL TEXT       carry this text or number, before any scale
  release [INSTRUMENT.]CHANNEL        follow the growth again
  say TEXT                            say this unasked, now; tokens as in profiles, or `hex 07 05`
  unplug, replug                      take the port away, bring it back
  status, help, quit
The end of its standard input does not end it.

Faults: silence, late:300ms, slow:500ms, split:3ms, wrong-unit, checksum, bit-flip, echo, junk:5, stray[:3], truncate:3,
twice, hang-up:2s, exception:2, boot:5s, refresh:1s, dead-time:150ms, skip-step:2, unasked:TEXT, chatter:TEXT@500ms.
`*3` behind one means the next three answers, `/20` every twentieth; otherwise it holds until it is cleared.";

#[derive(Debug, Args)]
#[command(after_long_help = COMMANDS)]
pub(super) struct Arguments {
    /// What to simulate, all on one line: profiles, each with parameters and Modbus unit as in `impac-upp:addr=01`,
    /// `eurotherm-3200@2`
    #[arg(value_name = "PROFILE[:NAME=VALUE,...][@UNIT]", required_unless_present = "replay_trace")]
    instruments: Vec<Wish>,
    /// On a pseudo-terminal, with this name for it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["tcp", "rtu_over_tcp"])]
    pty: Option<PathBuf>,
    /// On TCP: Modbus/TCP for Modbus instruments, the bare messages for others
    #[arg(long, value_name = "ADDR")]
    tcp: Option<SocketAddr>,
    /// Modbus RTU frames over TCP
    #[arg(long, value_name = "ADDR", conflicts_with = "tcp")]
    rtu_over_tcp: Option<SocketAddr>,
    /// The Modbus unit of instruments that name none
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// A parameter of every profile that has it, as in `addr=07`
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// How many messages a second an instrument says that speaks unasked (default: 10, or what its line carries)
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// As fast as the machine carries the bytes, not as the profile's serial line would
    #[arg(long)]
    unpaced: bool,
    /// Length of the growth that it shows, over and over
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    growth: u64,
    /// Show this value instead of a growth
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["growth", "replay"])]
    constant: Option<f64>,
    /// Show what this table holds: times in its first column, in s or as stamps, and a column for each channel, by its id
    #[arg(long, value_name = "FILE.csv")]
    replay: Option<PathBuf>,
    /// Between two rows of the table, go straight from one to the next instead of holding the first
    #[arg(long, requires = "replay")]
    linear: bool,
    /// At the end of the table, begin anew instead of holding its last row
    #[arg(long = "loop", requires = "replay")]
    again: bool,
    /// Show this value on one channel, in its unit, as in `temperature=650`
    #[arg(long, value_name = "[INSTRUMENT.]CHANNEL=NUMBER")]
    values: Vec<Value>,
    /// Misbehave: `silence`, `late:300ms`, `checksum/20`, `boot:5s`, ... (see the end of this help)
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Plan>,
    /// Play the trace of a link instead: what was asked then is answered as it was then
    #[arg(long, value_name = "FILE", conflicts_with_all = ["instruments", "replay", "constant", "values", "fault", "rate"])]
    replay_trace: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let sim = match &self.replay_trace {
            Some(trace) => self.played(trace)?,
            None => self.simulated(library)?,
        };
        print(match sim.transport() {
            Transport::Serial { port, .. } => format!("[links.sim.serial]\nport = \"{port}\""),
            Transport::Tcp { address } => format!("[links.sim.tcp]\naddress = \"{address}\""),
            Transport::RtuOverTcp { address } => format!("[links.sim.rtu-over-tcp]\naddress = \"{address}\""),
            Transport::ModbusTcp { address } => format!("[links.sim.modbus-tcp]\naddress = \"{address}\""),
        });
        let quit = Arc::new(Notify::new());
        commands::listen(sim.clone(), Arc::clone(&quit)).or_exit(Exit::Degraded)?;
        runtime()?.block_on(async {
            tokio::select! {
                stopped = super::signals::interrupted() => stopped.or_exit(Exit::Degraded),
                () = quit.notified() => Ok(()),
            }
        })?;
        sim.stop();
        Ok(Exit::Well)
    }

    fn simulated(&self, library: &Library) -> Result<SimHandle, Failure> {
        let scenario = self.scenario()?;
        let mut instruments: Vec<SimInstrument> = Vec::new();
        let mut line = None;
        let mut modbus = false;
        for wish in &self.instruments {
            let Some(profile) = library.get(&wish.profile) else {
                let help = crate::document::did_you_mean(&wish.profile, "profile", library.ids());
                let error = anyhow::anyhow!("there is no profile `{}`", wish.profile);
                return Err(Failure::new(Exit::Usage, error).hint(help));
            };
            let general =
                self.params.iter().filter(|(name, _)| self.instruments.len() == 1 || profile.params.contains_key(name));
            let params: BTreeMap<String, String> = general.chain(&wish.params).cloned().collect();
            let name = wish.name(instruments.iter().map(|instrument| &*instrument.name));
            let mut made =
                instrument(&name, profile, &params, scenario.clone())?.at_unit(wish.unit.unwrap_or(self.unit));
            made.rate = self.rate;
            instruments.push(made);
            modbus |= profile.is_modbus();
            line.get_or_insert_with(|| profile.line.clone());
        }
        let place = self.place(modbus)?;
        let mut settings = SimSettings { record: 0, ..SimSettings::new(place, instruments) };
        if let Some(line) = line.filter(|_| !self.unpaced) {
            settings = settings.paced(line);
        }
        let sim = Sim::start(settings).or_exit(Exit::Unreachable)?;
        let names = sim.instruments();
        for plan in &self.fault {
            for name in &names {
                sim.fault(name, plan.clone()).or_exit(Exit::Usage)?;
            }
        }
        for value in &self.values {
            let (instrument, channel) = commands::channel(&sim, &value.channel)
                .map_err(|why| Failure::new(Exit::Usage, anyhow::anyhow!("{why}")))?;
            sim.set_value(&instrument, &channel, value.number).or_exit(Exit::Usage)?;
        }
        Ok(sim)
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        let growth = Duration::from_secs(self.growth.max(1));
        match (&self.replay, self.constant) {
            (Some(path), _) => {
                let recording = Recording::parse(&read(path)?).map_err(|error| {
                    Failure::new(
                        Exit::Usage,
                        anyhow::Error::new(error).context(format!("could not replay {}", path.display())),
                    )
                })?;
                Ok(Scenario::recorded(recording, Playing { linear: self.linear, again: self.again }, growth))
            }
            (None, Some(value)) => Ok(Scenario::constant(value)),
            (None, None) => Ok(Scenario::growth(growth)),
        }
    }

    fn played(&self, path: &Path) -> Result<SimHandle, Failure> {
        let text = read(path)?;
        let mut trace = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |error| {
                let place = format!("could not play {}, line {number}", path.display());
                Failure::new(Exit::Usage, anyhow::Error::new(error).context(place))
            };
            trace.extend(TraceLine::parse(line).map_err(wrong)?);
        }
        let head = text.lines().find_map(TraceHead::parse);
        let modbus_tcp = head.is_some_and(|head| head.target.starts_with("modbus-tcp "));
        let place = match self.tcp {
            Some(listen) if !modbus_tcp => Place::Tcp { listen },
            _ => self.place(modbus_tcp)?,
        };
        Sim::replay(&trace, place).or_exit(Exit::Unreachable)
    }

    fn place(&self, modbus: bool) -> Result<Place, Failure> {
        match (self.tcp, self.rtu_over_tcp, modbus) {
            (Some(listen), _, true) => Ok(Place::ModbusTcp { listen }),
            (Some(listen), _, false) => Ok(Place::Tcp { listen }),
            (None, Some(listen), true) => Ok(Place::RtuOverTcp { listen }),
            (None, Some(_), false) => {
                Err(Failure::new(Exit::Usage, anyhow::anyhow!("only Modbus goes through --rtu-over-tcp; use --tcp")))
            }
            #[cfg(unix)]
            (None, None, _) => Ok(Place::Pty { path: self.pty.clone() }),
            #[cfg(not(unix))]
            (None, None, _) => Err(Failure::new(Exit::Usage, anyhow::anyhow!("say where with --tcp"))),
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Usage, anyhow::Error::new(error).context(format!("could not read {}", path.display())))
    })
}

/// A simulated instrument of a profile.
pub(super) fn instrument(
    name: &str,
    profile: &Profile,
    params: &BTreeMap<String, String>,
    scenario: Scenario,
) -> Result<SimInstrument, Failure> {
    SimInstrument::of(name, profile, params, scenario).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Usage, anyhow::anyhow!("{}", errors.join("\n")))
    })
}
