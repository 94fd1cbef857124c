//! `mbe-bridge read`: what the instruments say now, with quality, age and latency.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::live_table::{LiveTable, age, latency, value_and_quality};
use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::screen::Screen;
use super::signals::Interrupts;
use super::table::Table;
use super::{load, print, runtime};
use crate::bridge::Error;
use crate::bridge::Reader;
use crate::bridge::TraceWish;
use crate::config::Config;
use crate::live::{LinkState, Snapshot};
use crate::profile::Library;

/// How often the live table is drawn on a terminal.
const REDRAW: Duration = Duration::from_millis(500);

/// How often it is printed where nobody watches.
const REPRINT: Duration = Duration::from_secs(2);

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
        let mut interrupts = Interrupts::listen().or_exit(Exit::Degraded)?;
        let reader = start(config, traces)?;
        let mut screen = Screen::open();
        let mut live = LiveTable::default();
        let mut redraw = tokio::time::interval(if screen.size().is_some() { REDRAW } else { REPRINT });
        // The first tick comes at once, and nothing has been read yet.
        redraw.tick().await;
        loop {
            tokio::select! {
                () = interrupts.next() => break,
                _ = redraw.tick() => {
                    let drawn = live.draw(&reader.board().snapshot(), screen.size());
                    screen.draw(&drawn);
                }
            }
        }
        drop(screen);
        reader.stop().await;
        Ok(Exit::Well)
    })
}

/// The latest of every channel.
pub(super) fn table(snapshot: &Snapshot) -> Table {
    let mut table =
        Table::new(&["channel", ">value", "unit", "quality", ">age", ">latency", ">read", ">bad", "instrument"]);
    for live in &snapshot.channels {
        let (value, quality) = value_and_quality(live);
        let instrument = snapshot.instruments.iter().find(|instrument| instrument.name == live.channel.instrument);
        let link = instrument.and_then(|instrument| snapshot.links.get(instrument.link));
        let rate = instrument.and_then(|instrument| instrument.speech.as_ref()?.rate);
        let place = match link {
            Some(link) if link.state == LinkState::Open => match rate {
                Some(rate) => format!("{} ({rate:.1} messages/s)", live.channel.instrument),
                None => live.channel.instrument.to_string(),
            },
            Some(link) => format!("{} (link `{}` is not open)", live.channel.instrument, link.name),
            None => live.channel.instrument.to_string(),
        };
        table.row([
            live.channel.name.to_string(),
            value,
            live.channel.unit.as_deref().unwrap_or("").to_owned(),
            quality,
            age(snapshot, live),
            latency(live),
            live.read.to_string(),
            live.bad.to_string(),
            place,
        ]);
    }
    table
}
