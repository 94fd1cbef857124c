//! Measurements of the session's clock, on their way into the run store.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::{ClockReading, with_causes};
use crate::runs;

/// Pause between attempts to store a measurement of the clock.
const STORE_CLOCK_AGAIN: Duration = Duration::from_secs(1);

/// Hands each measurement to the run store, and on to the uploader once it is stored: chunks are frozen with
/// what the store knows. One that can't be stored is tried again until it is, or a newer one takes its place: the next may
/// be minutes away, and chunks do not wait that long.
pub(super) async fn record(
    mut readings: watch::Receiver<Option<ClockReading>>,
    runs: runs::Handle,
    recorded: watch::Sender<Option<ClockReading>>,
) {
    let mut failing = false;
    while readings.changed().await.is_ok() {
        loop {
            let Some(reading) = *readings.borrow_and_update() else { break };
            match runs.record_clock(reading).await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("clock measurements are stored again");
                    }
                    recorded.send_replace(Some(reading));
                    break;
                }
                Err(runs::Error::Stopped) => return,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = with_causes(&error);
                        tracing::warn!(error, "a clock measurement could not be stored; trying again");
                    }
                    tokio::time::sleep(STORE_CLOCK_AGAIN).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::{Channel, ChannelName, ClockSource, Kind, Stamp, StreamSpec, TimeBase};

    #[tokio::test]
    async fn a_measurement_that_could_not_be_stored_is_stored_later() {
        let folder = TempDir::new().unwrap();
        let (store, runs) = runs::Store::open(runs::Settings::new(folder.path())).unwrap();
        let time = TimeBase::start();
        let reading = ClockReading {
            at: Stamp::default(),
            offset_nanos: 5_000_000_000,
            uncertainty_nanos: 1,
            source: ClockSource::Platform,
        };
        let (measured, readings) = watch::channel(None);
        let (sender, mut recorded) = watch::channel(None);
        let task = tokio::spawn(record(readings, runs.clone(), sender));
        measured.send_replace(Some(reading));
        // No run takes it yet. The store answers in order, so that it has refused the measurement when it answers this.
        tokio::task::yield_now().await;
        runs.pending().await.unwrap();
        assert_eq!(*recorded.borrow(), None);
        let start = runs::RunStart {
            spec: StreamSpec { points_per_chunk: 10, ..StreamSpec::default() },
            channels: vec![Channel {
                name: ChannelName::parse("a").unwrap(),
                unit: None,
                instrument: "i".into(),
                source: "s".into(),
                kind: Kind::Gauge,
            }],
            axis: runs::Axis::Grid,
            period: None,
            time,
            config_text: String::new(),
            resume: false,
        };
        runs.begin(start).await.unwrap();
        let stored = tokio::time::timeout(Duration::from_secs(20), recorded.wait_for(Option::is_some));
        assert_eq!(*stored.await.unwrap().unwrap(), Some(reading));
        drop(measured);
        task.await.unwrap();
        store.close().await.unwrap();
    }
}
