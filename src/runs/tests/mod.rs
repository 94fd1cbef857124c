//! Tests of the run store, against real files. Commits happen when a test asks for them, unless it is about their time.

mod crash;
mod disk;
mod formats;
mod given;
mod mend;
mod model;
mod prune;
mod queue;
mod recording;
mod resend;
mod salvage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::read::{ChunkState, RunFile, StoredChunk};
use super::*;
use crate::model::{ChannelIndex, ChannelName, ClockReading, ClockSource, Finite, Kind, Mark, Point, RunId, Stamp};

pub(super) const SECOND: i64 = 1_000_000_000;

/// How long a test waits for a thing that has to come.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Settings under which nothing is committed or sealed by time.
pub(super) fn settings(folder: &Path) -> Settings {
    let hour = Duration::from_secs(3600);
    Settings { commit_every: hour, max_span: hour, retry_every: hour, reserve_bytes: 0, ..Settings::new(folder) }
}

pub(super) fn channel(number: usize) -> Channel {
    Channel {
        name: ChannelName::parse(&format!("channel_{number}")).unwrap(),
        unit: (number != 1).then(|| "degC".into()),
        instrument: "pyrometer".into(),
        source: format!("value_{number}").into(),
        kind: Kind::Gauge,
    }
}

pub(super) fn start(channels: usize, points_per_chunk: usize) -> RunStart {
    RunStart {
        spec: StreamSpec {
            name: "GEN10 growth".to_owned(),
            synth_source_id: Some(42),
            physical_sample: Some("GaN-001".to_owned()),
            project_id: None,
            tags: vec!["growth".to_owned(), "März".to_owned()],
            points_per_chunk,
        },
        channels: (0..channels).map(channel).collect(),
        axis: Axis::Grid,
        period: Some(Duration::from_millis(100)),
        time: TimeBase::start(),
        config_text: "data_dir = \"x\"\n".to_owned(),
        resume: true,
    }
}

pub(super) fn point(channel: usize, value: f64) -> Point {
    Point { channel: ChannelIndex(channel), value: Finite::new(value).unwrap(), mark: Mark::Good }
}

/// Tick `number` of a grid of 100 ms, with a point of each of these channels.
pub(super) fn tick(number: i64, channels: std::ops::Range<usize>) -> Tick {
    let points = channels.map(|channel| point(channel, number as f64 + channel as f64 / 10.0)).collect();
    Tick { at: Stamp::from_nanos(1_790_000_000 * SECOND + number * SECOND / 10), points }
}

pub(super) fn ticks(numbers: std::ops::Range<i64>, channels: usize) -> Vec<Tick> {
    numbers.map(|number| tick(number, 0..channels)).collect()
}

pub(super) fn batch(ticks: Vec<Tick>) -> Batch {
    Batch { ticks, counts: Vec::new() }
}

pub(super) fn reading(offset_nanos: i64) -> ClockReading {
    ClockReading { at: Stamp::default(), offset_nanos, uncertainty_nanos: 0, source: ClockSource::Platform }
}

/// A store in a folder of its own, with a run that is being recorded.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) store: Store,
    pub(super) handle: Handle,
    pub(super) run: RunId,
}

impl Bench {
    pub(super) async fn new(start: RunStart) -> Self {
        let folder = TempDir::new().unwrap();
        let (store, handle) = Store::open(settings(folder.path())).unwrap();
        let run = handle.begin(start).await.unwrap();
        Self { folder, store, handle, run }
    }

    pub(super) fn path(&self) -> PathBuf {
        run_path(self.folder.path(), &self.run)
    }

    pub(super) fn read(&self) -> RunFile {
        RunFile::open(self.path()).unwrap()
    }

    pub(super) async fn append(&self, ticks: Vec<Tick>) {
        self.handle.append(batch(ticks)).unwrap();
        self.handle.flush().await.unwrap();
    }

    /// What a crash at this moment would leave: everything that is in files, nothing that is in memory.
    pub(super) fn crash_copy(&self) -> TempDir {
        crash_copy(self.folder.path())
    }

    pub(super) fn totals(&self) -> RunTotals {
        let status = self.handle.snapshot().borrow().clone();
        status.runs.into_iter().find(|totals| totals.run == self.run).unwrap()
    }
}

pub(super) fn run_path(folder: &Path, run: &RunId) -> PathBuf {
    folder.join("runs").join(format!("{run}.sqlite"))
}

pub(super) fn crash_copy(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir(copy.path().join("runs")).unwrap();
    for entry in fs::read_dir(folder.join("runs")).unwrap() {
        let entry = entry.unwrap();
        // The index of the log lives in shared memory and is gone after a crash of the machine.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), copy.path().join("runs").join(entry.file_name())).unwrap();
        }
    }
    copy
}

pub(super) fn chunks(file: &RunFile) -> Vec<StoredChunk> {
    file.chunks(0, usize::MAX >> 1).unwrap()
}

pub(super) fn assert_balanced(totals: &RunTotals) {
    for (counts, points) in totals.counts.iter().zip(&totals.points) {
        assert_eq!(counts.recorded + counts.filled, points.total(), "{totals:?}");
    }
}
