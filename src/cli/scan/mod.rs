//! `mbe-bridge scan`: what is connected to a port.
//!
//! It says first what it will send, listens, and then sends reads only: what each profile's `[[identify]]` says, and Modbus
//! reads of one register. A message that any profile of the library would take for an order (`writes`) is left out and
//! named, since nobody knows yet who is on the line.

mod hunt;
mod plan;
mod port;
mod result;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;

use super::registers::with_port;
use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::runtime;
use super::signals::Interrupts;
use super::target::{Line, Place};
use super::{print, say};
use crate::model::LineSettings;
use crate::profile::Library;
use hunt::{Findings, Hunt, Ways, shown};
use plan::{Patience, Plan, Way, Wishes};
use port::Port;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    line: Line,
    /// Only these profiles, at every usual rate; may be given again
    #[arg(long, value_name = "ID")]
    profile: Vec<String>,
    /// The Modbus units to look for
    #[arg(long, value_name = "RANGE", default_value = "1-32", value_parser = Units::parse)]
    units: Units,
    /// Modbus only; with --tcp, Modbus/TCP whatever the port number is
    #[arg(long)]
    modbus: bool,
    /// Less thorough and several times faster: shorter waits, the most usual settings, units up to 8
    #[arg(long)]
    quick: bool,
    /// Go on to other line settings after something was found
    #[arg(long)]
    all: bool,
    /// How long to listen before anything is sent; 0s not at all
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    listen: Duration,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before sending
    #[arg(long)]
    yes: bool,
    /// As JSON, for `init --from-scan` and scripts
    #[arg(long)]
    json: bool,
}

/// Modbus units.
#[derive(Debug, Clone)]
struct Units(Vec<u8>);

impl Units {
    fn parse(text: &str) -> Result<Self, String> {
        let mut units = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u8>().ok().filter(|unit| (1..=247).contains(unit));
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err("units are from 1 to 247, as in `1-32` or `1,5,10-12`".to_owned());
            };
            units.extend(first..=last);
        }
        units.sort_unstable();
        units.dedup();
        if units.is_empty() {
            Err("the range is empty: write the lower unit first".to_owned())
        } else {
            Ok(Self(units))
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().map_err(|_| "write a time with its unit, as in `2s`".to_owned())?;
    Duration::try_from(span).map_err(|_| "a time can't be negative".to_owned())
}

/// Waits of a thorough scan and of a quick one. A unit on a slow line answers within a quarter of a second (Eurotherm and
/// PREVAC promise a tenth of that); whoever shows signs of life is given longer.
const THOROUGH: Patience = Patience {
    reply: Duration::from_millis(500),
    knock: Duration::from_millis(250),
    settle: Duration::from_millis(100),
};
const QUICK: Patience = Patience {
    reply: Duration::from_millis(250),
    knock: Duration::from_millis(100),
    settle: Duration::from_millis(50),
};

/// The highest unit of a quick scan.
const QUICK_UNITS: u8 = 8;

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        for id in &self.profile {
            if library.get(id).is_none() {
                let help = crate::document::did_you_mean(id, "profile", library.ids());
                return Err(Failure::new(Exit::Usage, anyhow::anyhow!("there is no profile `{id}`")).hint(help));
            }
        }
        let (target, way) = self.target();
        let wishes = Wishes {
            way,
            profiles: self.profile.clone(),
            modbus_only: self.modbus,
            quick: self.quick,
            units: self.units.0.iter().copied().filter(|unit| !self.quick || *unit <= QUICK_UNITS).collect(),
            baud_is_known: self.line.baud.is_some(),
        };
        let plan = Plan::new(library, &wishes, |usual: &LineSettings| self.line.over(usual));
        let patience = if self.quick { QUICK } else { THOROUGH };
        if plan.stages.is_empty() && plan.talkers.is_empty() {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("there is nothing to look for on {target}"))
                .hint("a profile that does not say how it is recognised is found as a Modbus unit only: leave `--profile` out"));
        }
        self.announce(&target, way, &plan, patience);
        if self.dry_run {
            return Ok(Exit::Well);
        }
        if !self.yes && !agreed()? {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("nothing was sent"))
                .hint("add `--yes` to send what is said above, or `--dry-run` to see each message"));
        }
        let watched = std::io::stderr().is_terminal();
        let ways = Ways { way, patience, listen: self.listen, all: self.all, watched };
        let mut findings = Findings { left_out: plan.left_out.clone(), ..Findings::default() };
        let mut port = Port::new(&target, way);
        port.echo = self.line.echo;
        let hunt = Hunt { plan: &plan, profiles: library, ways, port, findings: &mut findings };
        let interrupted = runtime()?.block_on(async {
            let mut interrupts = Interrupts::listen().or_exit(Exit::Degraded)?;
            tokio::select! {
                ended = hunt.run() => ended.map(|()| false),
                () = interrupts.next() => Ok(true),
            }
        })?;
        if interrupted {
            if watched {
                super::progress("");
            }
            say("interrupted: what is below is what was found until then");
        }
        let summary = result::Summary::new(&target, way, &findings, library)?;
        print(if self.json { summary.json() } else { summary.text() });
        Ok(if interrupted {
            Exit::Degraded
        } else if findings.found.is_empty() {
            Exit::Unreachable
        } else {
            Exit::Well
        })
    }

    fn target(&self) -> (String, Way) {
        if let Some(port) = &self.place.port {
            return (port.clone(), Way::Serial);
        }
        let address = self.place.tcp.clone().unwrap_or_default();
        let with = with_port(&address);
        // The registered port of Modbus/TCP; on any other, a serial device server is more likely.
        let way = if self.modbus || with.ends_with(":502") { Way::ModbusTcp } else { Way::DeviceServer };
        (with, way)
    }

    /// Says what will be sent, on stderr, so that stdout is the result.
    fn announce(&self, target: &str, way: Way, plan: &Plan, patience: Patience) {
        let mut total = Duration::ZERO;
        if !self.listen.is_zero() && way != Way::ModbusTcp {
            say(format_args!(
                "{target}: listening for {} first; {} of instruments that talk unasked",
                seconds(self.listen),
                counted(plan.talkers.len(), "profile")
            ));
            total += self.listen;
        }
        if !plan.stages.is_empty() {
            say(format_args!("{target}: then these, reads only, until something is recognised:"));
        }
        for stage in &plan.stages {
            let time = stage.at_worst(patience);
            total += time;
            let distinct = stage.distinct();
            let mut parts = Vec::new();
            if !stage.questions.is_empty() {
                parts.push(format!(
                    "{}, {}",
                    counted(stage.questions.len(), "question"),
                    counted(distinct.len(), "distinct message")
                ));
            }
            if !stage.knocks.is_empty() {
                parts.push(format!(
                    "{} Modbus reads of one register, units {} to {}",
                    stage.knocks.len(),
                    plan.units.first().unwrap_or(&0),
                    plan.units.last().unwrap_or(&0)
                ));
            }
            say(format_args!(
                "  {}: {}; {} if nobody answers",
                shown(stage.line.as_ref()),
                parts.join(", "),
                seconds(time)
            ));
            if self.dry_run {
                for message in distinct {
                    say(format_args!("      {message}"));
                }
                if let Some(knock) = stage.knocks.first() {
                    say(format_args!("      {} and the like for the other units", plan::frame(knock)));
                }
            }
        }
        if !plan.unit_profiles.is_empty() {
            say(format_args!(
                "  each Modbus unit that answers is then read as {} profiles describe",
                plan.unit_profiles.iter().filter(|profile| !profile.identify().is_empty()).count()
            ));
        }
        for left_out in &plan.left_out {
            say(format_args!(
                "  left out: `{}` of {}: {} could take it for an order",
                left_out.message, left_out.profile, left_out.danger
            ));
        }
        say(format_args!("at most {} in all, if nobody answers", seconds(total)));
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{} s", time.as_secs()),
        long => format!("{} min", long / 60),
    }
}

/// Asks whether to go on, where a person can answer.
fn agreed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Send this? [y/N] ").and_then(|()| err.flush()).or_exit(Exit::Usage)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).or_exit(Exit::Usage)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests;
