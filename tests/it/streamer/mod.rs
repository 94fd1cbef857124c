//! The streamer for programs against the local platform, over real sockets.

#[cfg(target_os = "linux")]
mod ailing;
mod blocking;
mod calls;
mod clock;
mod ended;
mod killed;
mod mistakes;
mod order;
mod outages;
mod program;
mod slots;

use std::collections::BTreeMap;
use std::time::Duration;

use mbe_bridge::TimeseriesStreamer;
use mbe_bridge::server;
use mbe_bridge::server::Server;
use mbe_bridge::streamer::{Builder, NewStream, StreamStatus};
use tempfile::TempDir;

/// A second of today, on which an `f64` is exact.
const START: f64 = 1_795_357_081.0;

const POINTS: usize = 10;

/// A local platform, and a folder for what is pushed.
struct Lab {
    server: Server,
    folder: TempDir,
}

impl Lab {
    async fn start() -> Self {
        Self::with(server::Settings::default()).await
    }

    async fn with(settings: server::Settings) -> Self {
        let server = Server::start(settings).await.unwrap();
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    fn builder(&self) -> Builder {
        builder(&self.server.url(), self.folder.path())
    }

    async fn open(&self) -> TimeseriesStreamer {
        self.builder().open().await.unwrap()
    }

    /// Everything that is stored of a stream: timestamp and value by channel, chunk index and place in the chunk.
    fn stored(&self, data_id: &str) -> BTreeMap<(String, u64, usize), (f64, f64)> {
        let mut points = BTreeMap::new();
        for channel in self.server.stored(data_id).unwrap() {
            let mut places: BTreeMap<u64, usize> = BTreeMap::new();
            for point in channel.points {
                let index = u64::try_from(point.chunk_index).unwrap();
                let place = places.entry(index).or_default();
                points.insert((channel.name.clone(), index, *place), (point.unix_seconds, point.value));
                *place += 1;
            }
        }
        points
    }

    fn stored_stream(&self, data_id: &str) -> server::StoredStream {
        self.server.streams().unwrap().into_iter().find(|stream| stream.data_id == data_id).unwrap()
    }

    /// Every point of these chunks of one channel is stored once, to the bit, and nothing else of it.
    fn check(&self, data_id: &str, channel: &str, indexes: impl IntoIterator<Item = u64>) {
        let mut stored = self.stored(data_id);
        stored.retain(|(name, _, _), _| name == channel);
        let mut wanted = BTreeMap::new();
        for index in indexes {
            let (timestamps, values) = chunk(index);
            for (place, point) in timestamps.into_iter().zip(values).enumerate() {
                wanted.insert((channel.to_owned(), index, place), point);
            }
        }
        assert_eq!(stored, wanted);
    }
}

fn builder(endpoint: &str, folder: &std::path::Path) -> Builder {
    TimeseriesStreamer::builder("any-key")
        .endpoint(endpoint)
        .data_dir(folder)
        .points_per_chunk(POINTS)
        .timeout(Duration::from_millis(500))
        .clock_sync(false)
}

/// Timestamps and values of a chunk. Tenths of seconds, which no `f64` holds.
fn chunk(index: u64) -> (Vec<f64>, Vec<f64>) {
    let first = index * POINTS as u64;
    let points = (first..first + POINTS as u64).map(|k| k as f64);
    points.map(|k| (START + k * 0.1, 20.0 + k * 0.001)).unzip()
}

async fn push(streamer: &TimeseriesStreamer, data_id: &str, index: u64) {
    let (timestamps, values) = chunk(index);
    let pushed = streamer.push(data_id, index, "temperature", &timestamps, &values, Some("C")).await.unwrap();
    assert!(pushed.durable);
}

async fn new_stream(streamer: &TimeseriesStreamer) -> String {
    streamer.initialize(NewStream::new().name("growth")).await.unwrap()
}

/// Waits until a stream's status is so; one that never is, is a failure.
async fn until(streamer: &TimeseriesStreamer, data_id: &str, what: &str, reached: impl Fn(&StreamStatus) -> bool) {
    let waiting = async {
        while !streamer.status(data_id).is_some_and(|status| reached(&status)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "never: {what}: {:#?}", streamer.status(data_id));
}

/// Waits until a condition holds; one that never does is a failure.
async fn until_so(what: &str, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "never: {what}");
}
