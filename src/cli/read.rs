//! `mbe-bridge read`: what the instruments say now, with quality, age and latency.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::table::Table;
use super::{load, print, runtime};
use crate::bridge::Error;
use crate::bridge::Reader;
use crate::bridge::TraceWish;
use crate::config::Config;
use crate::live::{LinkState, Snapshot, number};
use crate::model::Outcome as Reading;
use crate::model::Quality;
use crate::profile::Library;

/// How often the live table is drawn.
const REDRAW: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The lab's configuration
    #[arg(value_name = "LAB.TOML")]
    config: PathBuf,
    /// Go on until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Only this instrument (and the others on its link are left alone)
    #[arg(long, value_name = "NAME")]
    instrument: Vec<String>,
    /// How long to wait for the first reading of each channel
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    patience: u64,
    /// Show what goes over a link, byte by byte, or write it to a file
    #[arg(long, value_name = "LINK[=FILE]", value_parser = super::trace::wish)]
    trace: Vec<TraceWish>,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let mut config = load(&self.config, library)?;
        if !self.instrument.is_empty() {
            let known: Vec<&str> = config.instruments.iter().map(|instrument| &*instrument.name).collect();
            for name in &self.instrument {
                if !known.contains(&name.as_str()) {
                    return Err(Failure::new(Exit::Usage, anyhow::anyhow!("there is no instrument `{name}`"))
                        .hint(format!("the instruments are: {}", known.join(", "))));
                }
            }
            config.instruments.retain(|instrument| self.instrument.iter().any(|name| **name == *instrument.name));
        }
        let config = Arc::new(config);
        if self.watch {
            watch(&config, &self.trace)
        } else {
            probe_traced(&config, Duration::from_secs(self.patience), &self.trace)
        }
    }
}

/// Reads until every channel has brought something, good or bad, and shows it.
pub(super) fn probe(config: &Arc<Config>, patience: Duration) -> Outcome {
    probe_traced(config, patience, &[])
}

fn probe_traced(config: &Arc<Config>, patience: Duration, traces: &[TraceWish]) -> Outcome {
    runtime()?.block_on(async {
        let reader = start(config, traces)?;
        let deadline = Instant::now() + patience;
        let snapshot = loop {
            let snapshot = reader.board().snapshot();
            let all = snapshot.channels.iter().all(|channel| channel.latest.is_some());
            if all || Instant::now() >= deadline {
                break snapshot;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        reader.stop().await;
        print(table(&snapshot));
        for complaint in snapshot.complaints() {
            print(complaint);
        }
        let silent = snapshot.channels.iter().filter(|channel| channel.value.is_none()).count();
        Ok(match silent {
            0 => Exit::Well,
            some if some < snapshot.channels.len() => Exit::Degraded,
            _ => Exit::Unreachable,
        })
    })
}

fn start(config: &Arc<Config>, traces: &[TraceWish]) -> Result<Reader, Failure> {
    Reader::start_traced(config, traces).map_err(|error| match error {
        Error::Trace(error) => super::trace::refused(error),
        error => Failure::new(Exit::Degraded, error),
    })
}

fn watch(config: &Arc<Config>, traces: &[TraceWish]) -> Outcome {
    runtime()?.block_on(async {
        let reader = start(config, traces)?;
        let stop = super::signals::interrupted();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                stopped = &mut stop => {
                    stopped.or_exit(Exit::Degraded)?;
                    break;
                }
                () = tokio::time::sleep(REDRAW) => redraw(&reader.board().snapshot(), ""),
            }
        }
        reader.stop().await;
        Ok(Exit::Well)
    })
}

/// Draws over the last table where a person watches, below it elsewhere. `head` stays above the table.
pub(super) fn redraw(snapshot: &Snapshot, head: &str) {
    let clear = if std::io::stdout().is_terminal() { format!("\x1b[H\x1b[2J{head}") } else { String::new() };
    let complaints: String = snapshot.complaints().iter().map(|complaint| format!("\n{complaint}")).collect();
    print(format_args!("{clear}{}{complaints}\n", table(snapshot)));
}

/// The latest of every channel.
pub(super) fn table(snapshot: &Snapshot) -> Table {
    let mut table =
        Table::new(&["channel", ">value", "unit", "quality", ">age", ">latency", ">read", ">bad", "instrument"]);
    for live in &snapshot.channels {
        let (value, quality) = match &live.latest {
            None => (String::new(), "waiting".to_owned()),
            Some((_, Reading::Bad(reason))) => (String::new(), format!("bad: {reason}")),
            Some((_, Reading::Value { value, quality: Quality::Good })) => (number(value.get()), "good".to_owned()),
            Some((_, Reading::Value { value, quality: Quality::Uncertain(reason) })) => {
                (number(value.get()), format!("uncertain: {reason}"))
            }
        };
        let age = live.latest.as_ref().map(|(at, _)| format!("{:.1} s", snapshot.at.since(*at).as_secs_f64()));
        let latency = (!live.uncertainty.is_zero()).then(|| format!("{:.1} ms", live.uncertainty.as_secs_f64() * 2e3));
        let instrument = snapshot.instruments.iter().find(|instrument| instrument.name == live.channel.instrument);
        let link = instrument.and_then(|instrument| snapshot.links.get(instrument.link));
        let place = match link {
            Some(link) if link.state == LinkState::Open => live.channel.instrument.to_string(),
            Some(link) => format!("{} (link `{}` is not open)", live.channel.instrument, link.name),
            None => live.channel.instrument.to_string(),
        };
        table.row([
            live.channel.name.to_string(),
            value,
            live.channel.unit.as_deref().unwrap_or("").to_owned(),
            quality,
            age.unwrap_or_default(),
            latency.unwrap_or_default(),
            live.read.to_string(),
            live.bad.to_string(),
            place,
        ]);
    }
    table
}
