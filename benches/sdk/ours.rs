//! One measurement of the Rust `TimeseriesStreamer`: the same case from the same floats as driver.py; `run` beside it starts
//! it and reads what it prints.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mbe_bridge::TimeseriesStreamer;
use mbe_bridge::streamer::{Acknowledge, Error, NewStream, Series};
use rustix::time::ClockId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// See `Case` in run.
#[derive(Debug, Deserialize)]
struct Case {
    url: String,
    data: String,
    data_dir: String,
    values_at: u64,
    pool: usize,
    /// Unix seconds of the first stamp.
    start: f64,
    points: usize,
    chunks: usize,
    /// Name and unit.
    channels: Vec<(String, String)>,
    /// Chunks a second; 0: as fast as they are taken.
    rate: f64,
    run: usize,
    hangs: bool,
    verify: bool,
    acknowledge: String,
}

/// What is pushed.
#[derive(Debug)]
struct Floats {
    axes: Vec<Vec<f64>>,
    /// By chunk, then channel.
    values: Vec<Vec<Vec<f64>>>,
}

fn main() -> anyhow::Result<()> {
    let path = std::env::args().skip(1).find(|argument| argument != "--bench").context("expected a case's file")?;
    let case: Case = serde_json::from_slice(&std::fs::read(&path)?)?;
    let floats = Floats::read(&case)?;
    let acknowledge = match case.acknowledge.as_str() {
        "durable" => Acknowledge::Durable,
        "accepted" => Acknowledge::Accepted,
        other => bail!("`{other}` is not durable or accepted"),
    };
    if case.run > 0 {
        bail!("generator mode is measured from Python, where it can stop other threads");
    }
    let mut said = Map::new();
    said.insert("import_seconds".into(), json!(0.0));
    said.insert("import_kib".into(), json!(status("VmRSS")?));
    // From here on the peak is the streamer's.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS")?;

    let streamer = TimeseriesStreamer::builder("bench-key")
        .endpoint(&case.url)
        .points_per_chunk(case.points)
        .data_dir(&case.data_dir)
        .acknowledge(acknowledge)
        .open_blocking()?;
    let data_id = streamer.initialize(NewStream::new().name("bench"))?;
    if case.hangs {
        heard("initialized")?;
    }
    let (used, begun) = (seconds(ClockId::ProcessCPUTime), Instant::now());
    for index in 0..case.chunks {
        if case.rate > 0.0 {
            let due = Duration::from_secs_f64(index as f64 / case.rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let channels = floats.chunk(&case, index)?;
        let number = u64::try_from(index)?;
        match streamer.push_multi(&data_id, number, &channels) {
            // So much waits for the disk that no more is accepted on trust: this push waits for the disk itself.
            Err(Error::TooFarBehind { .. }) => streamer.push_with(&data_id, number, &channels, Acknowledge::Durable)?,
            pushed => pushed?,
        };
        if index == 0 {
            said.insert("first_push_at".into(), json!(seconds(ClockId::Monotonic)));
        }
    }
    said.insert("pushed_seconds".into(), json!(begun.elapsed().as_secs_f64()));
    if case.hangs {
        said.insert("growth_hanging_kib".into(), json!(status("VmHWM")?.saturating_sub(before)));
        heard("pushed")?;
    }
    streamer.finalize(&data_id)?;
    said.insert("seconds".into(), json!(begun.elapsed().as_secs_f64()));
    said.insert("processor_seconds".into(), json!(seconds(ClockId::ProcessCPUTime) - used));
    said.insert("growth_kib".into(), json!(status("VmHWM")?.saturating_sub(before)));
    if case.verify {
        let mut sum = 0_u64;
        for index in 0..case.chunks {
            for series in floats.chunk(&case, index)? {
                sum = series.values.iter().fold(sum, |sum, value| sum.wrapping_add(value.to_bits()));
            }
        }
        said.insert("sum_of_values".into(), json!(sum));
    }
    heard(&Value::Object(said).to_string())?;
    streamer.close()?;
    Ok(())
}

impl Floats {
    fn read(case: &Case) -> anyhow::Result<Self> {
        let mut file = BufReader::new(File::open(&case.data)?);
        let mut series = |from: Option<u64>| -> anyhow::Result<Vec<f64>> {
            if let Some(from) = from {
                file.seek(SeekFrom::Start(from))?;
            }
            let mut floats = Vec::with_capacity(case.points);
            for _ in 0..case.points {
                let mut bytes = [0; 8];
                file.read_exact(&mut bytes)?;
                floats.push(f64::from_le_bytes(bytes));
            }
            Ok(floats)
        };
        let mut axes = Vec::with_capacity(case.chunks);
        for _ in 0..case.chunks {
            axes.push(series(None)?.into_iter().map(|at| case.start + at).collect());
        }
        let mut values = Vec::with_capacity(case.pool);
        for chunk in 0..case.pool {
            let mut of_chunk = Vec::with_capacity(case.channels.len());
            for channel in 0..case.channels.len() {
                let first = chunk == 0 && channel == 0;
                of_chunk.push(series(first.then_some(case.values_at))?);
            }
            values.push(of_chunk);
        }
        Ok(Self { axes, values })
    }

    fn chunk<'a>(&'a self, case: &'a Case, index: usize) -> anyhow::Result<Vec<Series<'a>>> {
        let axis = self.axes.get(index).context("no such chunk")?;
        let values = self.values.get(index % case.pool).context("no such chunk")?;
        Ok(case.channels.iter().zip(values).map(|((name, unit), v)| Series::new(name, axis, v).units(unit)).collect())
    }
}

/// Says a line to `run`, and waits until it says to go on.
fn heard(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    if std::io::stdin().read_line(&mut String::new())? == 0 {
        bail!("run is gone");
    }
    Ok(())
}

/// A figure of /proc/self/status in KiB.
fn status(field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.with_context(|| format!("no {field}"))?.parse().with_context(|| format!("{field} is no number"))
}

fn seconds(clock: ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
