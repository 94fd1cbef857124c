//! The Rust side of the benchmark of links: one measurement for each call, one line of JSON for each measurement. The
//! script `run` beside it starts the field, makes the calls and prints the table.

mod loops;
mod ours;
mod slots;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mbe_bridge::driver::Protocol;
use mbe_bridge::model::{LineSettings, Parity, Transport};

const USAGE: &str = "one measurement of benches/links/run:
  links paced READS
  links ours tcp ADDRESS READS | ours rtu PTY READS | ours rtu-unsilenced PTY READS
  links stock tcp ADDRESS READS | stock rtu PTY READS | stock rtu-silenced PTY READS
  links slots ours|thread|interval ADDRESS PERIOD_MS SECONDS PHASE";

/// How the lines of the field are set, as far as a client cares; a pty carries bytes at once all the same.
const FIELD_BAUD: u32 = 115_200;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = match *words.as_slice() {
        ["paced", reads] => paced(number(reads)?)?,
        ["ours", "tcp", address, reads] => {
            let address = address.to_owned();
            let connector = move || ours::over_tcp(&address);
            ours::rate(connector, Protocol::ModbusTcp, number(reads)?)?.json()
        }
        ["ours", "rtu", port, reads] => {
            let transport = Transport::Serial { port: port.to_owned(), line: field_line() };
            let connector = move || mbe_bridge::link::connector(&transport, None);
            ours::rate(connector, Protocol::ModbusRtu, number(reads)?)?.json()
        }
        ["ours", "rtu-unsilenced", port, reads] => {
            let port = port.to_owned();
            let connector = move || ours::unsilenced(&port);
            ours::rate(connector, Protocol::ModbusRtu, number(reads)?)?.json()
        }
        ["stock", how, place, reads] => loops::stock(how, place, number(reads)?)?.json(),
        ["slots", who, address, period_ms, seconds, phase] => {
            let period = Duration::from_millis(number(period_ms)?);
            let plan = slots::Plan {
                period,
                polls: number(seconds)? * 1_000 / number(period_ms)?.max(1),
                phase: phase.parse()?,
            };
            slots::measure(who, address, &plan)?
        }
        _ => USAGE.to_owned(),
    };
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("`{text}` is no number"))
}

fn field_line() -> LineSettings {
    LineSettings { baud: FIELD_BAUD, ..LineSettings::default() }
}

/// The poller against a simulated line of 19200 baud, and what bytes, turnaround and silences leave possible.
fn paced(reads: u64) -> anyhow::Result<String> {
    let line = LineSettings { baud: 19_200, parity: Parity::Even, ..LineSettings::default() };
    let turnaround = Duration::from_millis(2);
    let sim = ours::simulated(line.clone(), turnaround)?;
    let transport = sim.transport();
    let rate = ours::rate(move || mbe_bridge::link::connector(&transport, None), Protocol::ModbusRtu, reads)?;
    // A device knows only from the silence that the request is over; the next request waits for the same silence.
    let least =
        line.time_of(ours::REQUEST + ours::ANSWER) + turnaround.max(line.modbus_silence()) + line.modbus_silence();
    Ok(format!("{{\"possible\": {:.4}, {}", 1.0 / least.as_secs_f64(), rate.json().trim_start_matches('{')))
}

/// What a loop of reads took.
#[derive(Debug, Clone, Copy)]
struct Rate {
    reads: u64,
    seconds: f64,
    /// Processor time of this whole process, in seconds.
    processor: f64,
    /// Slots that the poller counted as missed because it can't be as fast as it was told to be.
    missed: u64,
}

impl Rate {
    fn json(self) -> String {
        let Self { reads, seconds, processor, missed } = self;
        format!(
            "{{\"reads\": {reads}, \"seconds\": {seconds:.6}, \"processor\": {processor:.6}, \"missed\": {missed}}}"
        )
    }
}

/// Clocks at the beginning of a measurement.
#[derive(Debug, Clone, Copy)]
struct Begun {
    at: Instant,
    processor: f64,
}

impl Begun {
    fn now() -> Self {
        Self { at: Instant::now(), processor: processor_seconds() }
    }

    fn rate(self, reads: u64, missed: u64) -> Rate {
        let processor = processor_seconds() - self.processor;
        Rate { reads, seconds: self.at.elapsed().as_secs_f64(), processor, missed }
    }
}

fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Refuses what the field does not hold.
fn check(registers: &[u16]) -> anyhow::Result<()> {
    if registers != [253, 0] {
        bail!("the field answered {registers:?}");
    }
    Ok(())
}
