//! What the flow and the beginning of a run make of a disk that does not take anything.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::flow::{Flow, Recorder};
use super::recording::{self, Recording};
use super::{links, run_start};
use crate::acquire::{Event, Poll, Report};
use crate::config::Config;
use crate::model::{ChannelIndex, Outcome, Sample, TimeBase};
use crate::profile::Library;
use crate::runs::{self, Batch};

fn config(folder: &Path) -> Config {
    let text = format!(
        r#"data_dir = "{}"
[align]
lateness = "10h"
[links.bus.modbus-tcp]
address = "127.0.0.1:1"
[[instruments]]
name = "gauge"
profile = "prevac-mg15"
link = "bus"
unit = 1
channels.pressure_1 = true
"#,
        folder.display()
    );
    crate::config::read(Path::new("lab.toml"), &text, &Library::embedded().0, &|_| None).unwrap().config
}

/// Waits until it is so; a condition that never comes is a failure.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A recorder that can be closed, and remembers what it took.
#[derive(Clone, Default)]
struct Door {
    open: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<Batch>>>,
}

impl Recorder for Door {
    fn append(&self, batch: Batch) -> Result<(), Batch> {
        if !self.open.load(Ordering::SeqCst) {
            return Err(batch);
        }
        self.taken.lock().unwrap().push(batch);
        Ok(())
    }
}

impl Door {
    fn ticks(&self) -> usize {
        self.taken.lock().unwrap().iter().map(|batch| batch.ticks.len()).sum()
    }

    fn unrecorded(&self) -> u64 {
        self.taken.lock().unwrap().iter().flat_map(|batch| &batch.counts).map(|counts| counts.unrecorded).sum()
    }

    fn read(&self) -> u64 {
        self.taken.lock().unwrap().iter().flat_map(|batch| &batch.counts).map(|counts| counts.read).sum()
    }
}

fn report(time: TimeBase, number: u64) -> Report {
    // The time base began long ago, so that every sample is in the past and its tick can be closed; the watermark closes it.
    let at = time.zero().wall.plus(Duration::from_millis(100 * number));
    let sample = Sample {
        channel: ChannelIndex(0),
        at,
        uncertainty: Duration::ZERO,
        outcome: Outcome::good(f64::from(u32::try_from(number).unwrap())),
    };
    let poll = Poll {
        left_out: None,
        instrument: 0,
        samples: vec![sample],
        round_trip: None,
        late_by: Duration::ZERO,
        missed: 0,
        failure: None,
    };
    Report { link: 0, watermark: at.plus(Duration::from_millis(60)), event: Event::Polled(poll) }
}

fn long_ago() -> TimeBase {
    let now = TimeBase::start().zero();
    TimeBase::anchored(crate::model::TimeZero {
        wall: now.wall,
        monotonic: now.monotonic.checked_sub(Duration::from_secs(1800)).unwrap_or(now.monotonic),
    })
}

/// Sends this many samples, closed doors first, and returns what came through.
async fn through(samples: u64) -> Door {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let time = long_ago();
    let door = Door::default();
    let board = Arc::new(links::board(&config, time));
    let (reports, received) = mpsc::channel(16);
    let flow = tokio::spawn(Flow::new(&config, time, board, door.clone()).run(received));
    for number in 0..samples {
        reports.send(report(time, number)).await.unwrap();
    }
    door.open.store(true, Ordering::SeqCst);
    drop(reports);
    flow.await.unwrap();
    door
}

#[tokio::test]
async fn a_recorder_that_takes_nothing_for_a_while_gets_everything_later() {
    let door = through(500).await;
    assert_eq!((door.ticks(), door.unrecorded(), door.read()), (500, 0, 500));
}

#[tokio::test]
async fn what_can_not_be_held_any_longer_is_counted() {
    let door = through(7_000).await;
    assert_eq!(door.read(), 7_000);
    assert_eq!(u64::try_from(door.ticks()).unwrap() + door.unrecorded(), 7_000);
    assert!(door.unrecorded() > 900, "{}", door.unrecorded());
}

#[tokio::test]
async fn a_run_begins_as_soon_as_the_disk_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let time = TimeBase::start();
    let (store, handle) = runs::Store::open(runs::Settings::new(folder.path())).unwrap();
    std::fs::remove_dir(folder.path().join("runs")).unwrap();

    let board = Arc::new(links::board(&config, time));
    let (sender, begun) = watch::channel(None);
    let recording = Recording { runs: handle.clone(), begun: begun.clone() };
    tokio::spawn(recording::begin(handle, run_start(&config, time), sender, Arc::clone(&board)));
    until("the obstacle is shown", || board.snapshot().obstacle.is_some()).await;
    assert!(board.snapshot().complaints().iter().any(|complaint| complaint.starts_with("nothing is recorded")));
    assert_eq!(recording.append(Batch::default()), Err(Batch::default()), "there is no run to belong to");

    std::fs::create_dir(folder.path().join("runs")).unwrap();
    until("the run begins", || begun.borrow().is_some()).await;
    assert_eq!(board.snapshot().obstacle, None);
    assert_eq!(recording.append(Batch::default()), Ok(()));
    store.close().await.unwrap();
}
