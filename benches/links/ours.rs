//! The poller of the bridge as the bridge starts it: schedule, request, check, decode, quality, stamp, report.
//!
//! Its period is set to a microsecond, so that a poll is always due; the slots in between are counted as missed, as
//! they would be in a lab that asks for more than a line can give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mbe_bridge::acquire::{Event, Instrument, LinkThread, Plan, Report, Settings};
use mbe_bridge::document::Source;
use mbe_bridge::driver::Protocol;
use mbe_bridge::link::{Connector, Error, Pacer, TcpConnector, Wire, WireSettings};
use mbe_bridge::model::{ChannelIndex, LineSettings, Outcome, TimeBase};
use mbe_bridge::profile::{Device, Origin, Profile};
use mbe_bridge::sim::{Place, Scenario, Sim, SimHandle, SimInstrument, SimSettings};
use tokio::sync::mpsc;
use tokio_serial::SerialPortBuilderExt;
use tokio_util::sync::CancellationToken;

use super::{Begun, Rate};

/// Bytes of a request.
pub(super) const REQUEST: usize = 8;
/// Bytes of the answer: two registers.
pub(super) const ANSWER: usize = 9;

/// A value and the status that says whether it is one: two registers, one request.
const PROFILE: &str = r#"
schema = 1
id = "bench"
vendor = "none"
models = ["two registers"]
status = "untested"
sources = ["benches/links/field.c"]
engine = "modbus"
timing = { reply = "1s" }

[[channel]]
id = "temperature"
table = "holding"
address = 0
type = "i16"
unit = "degC"
scale = 0.1
quality = { from = "state", 0 = "good", 1 = "bad:sensor_break" }

[[channel]]
id = "state"
kind = "state"
table = "holding"
address = 1
type = "enum"

[[test]]
exchange = [["01 03 00 00 00 02 C4 0B", "01 03 04 00 FD 00 00 EB CC"]]
expect = { temperature = 25.3 }
source = "computed"
"#;

/// How often the reports are fetched. The bridge's own reader is a stage of its own and not measured here.
const FETCH: Duration = Duration::from_millis(50);

/// Reports for more than [`FETCH`] at any rate.
const REPORTS: usize = 65_536;

/// A serial port without the silence that Modbus RTU demands, to compare with libraries that keep none. The bridge offers
/// no such thing.
#[derive(Debug)]
struct Unsilenced {
    port: String,
}

/// A serial port without silence.
pub(super) fn unsilenced(port: &str) -> Box<dyn Connector> {
    Box::new(Unsilenced { port: port.to_owned() })
}

/// A Modbus/TCP connection.
pub(super) fn over_tcp(address: &str) -> Box<dyn Connector> {
    Box::new(TcpConnector::new(address, address.to_owned(), None))
}

#[async_trait::async_trait]
impl Connector for Unsilenced {
    async fn open(&mut self) -> Result<Wire, Error> {
        let line = super::field_line();
        let failed = |error: tokio_serial::Error| Error::OpenPort { port: self.port.clone(), source: error.into() };
        let stream = tokio_serial::new(&self.port, line.baud).open_native_async().map_err(failed)?;
        let settings =
            WireSettings { modbus_silence: Duration::ZERO, char_time: Duration::ZERO, ..WireSettings::serial(&line) };
        Ok(Wire::new(stream, settings, Pacer::new(), None))
    }

    fn describe(&self) -> String {
        self.port.clone()
    }
}

/// The simulated instrument on a line that keeps its pace.
pub(super) fn simulated(line: LineSettings, turnaround: Duration) -> anyhow::Result<SimHandle> {
    let instrument = SimInstrument { turnaround, ..SimInstrument::new("bench", device()?, Scenario::constant(25.3)) };
    Ok(Sim::start(SimSettings::new(Place::Pty { path: None }, vec![instrument]).paced(line))?)
}

fn device() -> anyhow::Result<Device> {
    let profile = Profile::parse(&Source::new("bench.toml", PROFILE), Origin::Inline)
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    profile.device(&BTreeMap::new(), &BTreeSet::new()).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

/// A running poller.
pub(super) struct Polling {
    /// What it tells.
    pub(super) reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
    thread: LinkThread,
}

impl Polling {
    pub(super) fn start(
        connector: impl Fn() -> Box<dyn Connector> + Send + 'static,
        protocol: Protocol,
        every: Duration,
        time: TimeBase,
    ) -> anyhow::Result<Self> {
        let mut device = device()?;
        for channel in &mut device.channels {
            channel.every = every;
        }
        let plan = move || Plan {
            connector: connector(),
            instruments: vec![Instrument {
                name: Arc::from("bench"),
                driver: mbe_bridge::driver::driver(device.clone(), 1),
                channels: vec![Some(ChannelIndex(0)), Some(ChannelIndex(1))],
                warm_up: Duration::ZERO,
            }],
        };
        let (sender, reports) = mpsc::channel(REPORTS);
        let stop = CancellationToken::new();
        let settings = Settings { link: 0, name: Arc::from("bench"), protocol };
        let thread = LinkThread::start(settings, time, plan, sender, stop.clone())?;
        Ok(Self { reports, stop, thread })
    }

    pub(super) fn end(self) {
        self.stop.cancel();
        // A poller that waits for room to report would not end.
        drop(self.reports);
        self.thread.join();
    }
}

/// Polls as fast as it goes, until so many reads have come after a tenth to warm up.
pub(super) fn rate(
    connector: impl Fn() -> Box<dyn Connector> + Send + 'static,
    protocol: Protocol,
    reads: u64,
) -> anyhow::Result<Rate> {
    let mut polling = Polling::start(connector, protocol, Duration::from_micros(1), TimeBase::start())?;
    let limit = Instant::now() + Duration::from_secs(300);
    let mut counted = Counted::default();
    let mut begun = None;
    let rate = loop {
        std::thread::sleep(FETCH);
        while let Ok(report) = polling.reports.try_recv() {
            counted.take(&report).with_context(|| format!("after {} reads", counted.reads))?;
        }
        match begun {
            None if counted.reads >= reads / 10 => begun = Some((Begun::now(), counted)),
            Some((start, before)) if counted.reads >= before.reads + reads => {
                break start.rate(counted.reads - before.reads, counted.missed - before.missed);
            }
            _ => {}
        }
        if Instant::now() > limit {
            bail!("only {} reads in 300 s", counted.reads);
        }
    };
    polling.end();
    Ok(rate)
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    reads: u64,
    missed: u64,
}

impl Counted {
    fn take(&mut self, report: &Report) -> anyhow::Result<()> {
        match &report.event {
            Event::Polled(poll) => {
                if let Some(failure) = &poll.failure {
                    bail!("a poll failed: {}", failure.words);
                }
                let first = poll.samples.first().map(|sample| &sample.outcome);
                if poll.samples.len() != 2 || first != Some(&Outcome::good(25.3)) {
                    bail!("a poll brought {:?}", poll.samples);
                }
                self.reads += 1;
                self.missed += poll.missed;
            }
            Event::Down { why } => bail!("the link went down: {why}"),
            Event::Opened | Event::Missed { .. } | Event::Heard(_) => {}
        }
        Ok(())
    }
}
