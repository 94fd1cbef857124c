//! The uploader, the client and the clock against the local platform, over real sockets.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use mbe_bridge::atomscale;
use mbe_bridge::atomscale::ApiKey;
use mbe_bridge::atomscale::Client;
use mbe_bridge::atomscale::clock;
use mbe_bridge::model::ChannelName;
use mbe_bridge::model::Chunk;
use mbe_bridge::model::ChunkChannel;
use mbe_bridge::model::ClockSource;
use mbe_bridge::model::Frozen;
use mbe_bridge::model::OutboxRun;
use mbe_bridge::model::RunId;
use mbe_bridge::model::RunState;
use mbe_bridge::model::Stamp;
use mbe_bridge::model::StreamRecord;
use mbe_bridge::model::StreamSpec;
use mbe_bridge::model::StreamState;
use mbe_bridge::model::TimeBase;
use mbe_bridge::server;
use mbe_bridge::server::Fault;
use mbe_bridge::server::Server;
use mbe_bridge::upload;
use mbe_bridge::upload::Outbox;
use mbe_bridge::upload::OutboxError;
use mbe_bridge::upload::PlatformState;
use mbe_bridge::upload::Status;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const POINTS: i64 = 10;

/// One run in memory: its chunks, of which `None` is not settled yet.
#[derive(Default)]
struct Memory {
    chunks: BTreeMap<u64, Option<Vec<(ChannelName, String)>>>,
    streams: Vec<StreamRecord>,
    closed: bool,
    done: bool,
}

#[derive(Default)]
struct MemoryOutbox {
    memory: Mutex<Memory>,
    changed: Notify,
}

impl MemoryOutbox {
    fn seal(&self, seqs: std::ops::Range<u64>) {
        self.memory.lock().unwrap().chunks.extend(seqs.map(|seq| (seq, None)));
        self.changed.notify_one();
    }

    fn close(&self) {
        self.memory.lock().unwrap().closed = true;
        self.changed.notify_one();
    }
}

fn chunk(seq: u64) -> Chunk {
    let start = 1_795_357_081_000_000_000 + i64::try_from(seq).unwrap() * POINTS * 100_000_000;
    let stamps: Vec<Stamp> = (0..POINTS).map(|k| Stamp::from_nanos(start + k * 100_000_000)).collect();
    let channel = |name: &str, slope: f64| ChunkChannel {
        name: ChannelName::parse(name).unwrap(),
        unit: Some("degC".into()),
        values: stamps.iter().map(|stamp| stamp.as_unix_seconds() * slope).collect(),
        stamps: stamps.clone().into(),
    };
    Chunk { index: seq, channels: vec![channel("substrate", 0.1), channel("cell", 0.3)] }
}

#[async_trait::async_trait]
impl Outbox for MemoryOutbox {
    async fn pending(&self) -> Result<Vec<OutboxRun>, OutboxError> {
        let memory = self.memory.lock().unwrap();
        if memory.done {
            return Ok(Vec::new());
        }
        let spec = StreamSpec {
            name: "growth".into(),
            physical_sample: Some("GaN-001".into()),
            project_id: Some("p-1".into()),
            tags: vec!["mbe".into()],
            points_per_chunk: usize::try_from(POINTS).unwrap(),
            ..StreamSpec::default()
        };
        Ok(vec![OutboxRun {
            run: RunId::new("r"),
            state: if memory.closed { RunState::Closed } else { RunState::Recording },
            spec,
            stream: memory.streams.last().cloned(),
            queued: memory.chunks.values().filter(|settled| settled.is_none()).count() as u64,
            next_seq: memory.chunks.len() as u64,
        }])
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn stream_opened(&self, _run: &RunId, data_id: &str) -> Result<(), OutboxError> {
        let streams = &mut self.memory.lock().unwrap().streams;
        let number = i64::try_from(streams.len()).unwrap() + 1;
        streams.push(StreamRecord { number, data_id: data_id.to_owned(), state: StreamState::Open });
        Ok(())
    }

    async fn stream_ended(&self, _run: &RunId, _why: &str) -> Result<(), OutboxError> {
        self.memory.lock().unwrap().streams.last_mut().unwrap().state = StreamState::Ended;
        Ok(())
    }

    async fn stream_finalized(&self, _run: &RunId) -> Result<(), OutboxError> {
        let mut memory = self.memory.lock().unwrap();
        memory.streams.last_mut().unwrap().state = StreamState::Finalized;
        memory.done = true;
        Ok(())
    }

    async fn take(&self, _run: &RunId, limit: usize, in_flight: &[u64], from: u64) -> Result<Vec<Frozen>, OutboxError> {
        let memory = self.memory.lock().unwrap();
        let data_id = memory.streams.last().unwrap().data_id.clone();
        let waiting =
            memory.chunks.range(from..).filter(|(seq, settled)| settled.is_none() && !in_flight.contains(seq));
        let frozen =
            |seq: &u64| Frozen { seq: *seq, data_id: data_id.clone(), chunk: chunk(*seq), attempts: 0, again: false };
        Ok(waiting.take(limit).map(|(seq, _)| frozen(seq)).collect())
    }

    async fn settle(
        &self,
        _run: &RunId,
        seq: u64,
        refused: &[(ChannelName, String)],
        _said: &[(ChannelName, u64)],
    ) -> Result<(), OutboxError> {
        self.memory.lock().unwrap().chunks.insert(seq, Some(refused.to_vec()));
        Ok(())
    }

    async fn attempt_failed(&self, _run: &RunId, _seq: u64, _why: &str) -> Result<(), OutboxError> {
        Ok(())
    }
}

/// An uploader of one run that talks to a local platform.
struct Bench {
    server: Server,
    outbox: Arc<MemoryOutbox>,
    status: watch::Receiver<Status>,
    finish: CancellationToken,
    task: JoinHandle<upload::Left>,
    sealed: u64,
}

fn client(server: &Server) -> Arc<Client> {
    let mut settings = atomscale::Settings::new(ApiKey::parse("any").unwrap());
    settings.endpoint = server.url();
    settings.timeout = Duration::from_millis(500);
    Arc::new(Client::new(&settings).unwrap())
}

impl Bench {
    async fn start() -> Self {
        let server = Server::start(server::Settings::default()).await.unwrap();
        let outbox = Arc::new(MemoryOutbox::default());
        let (sender, status) = watch::channel(Status::default());
        let finish = CancellationToken::new();
        let settings = upload::Settings {
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(100),
            hold: Duration::from_millis(200),
            ..upload::Settings::default()
        };
        let shared: Arc<dyn Outbox> = Arc::clone(&outbox) as _;
        let task = tokio::spawn(upload::run(settings, shared, client(&server), sender, finish.clone()));
        Self { server, outbox, status, finish, task, sealed: 0 }
    }

    fn seal(&mut self, chunks: u64) {
        self.outbox.seal(self.sealed..self.sealed + chunks);
        self.sealed += chunks;
    }

    async fn until(&mut self, what: &str, reached: impl Fn(&Status) -> bool) {
        let waited =
            tokio::time::timeout(Duration::from_secs(20), self.status.wait_for(|status| reached(status))).await;
        let reached = waited.is_ok_and(|seen| seen.is_ok());
        assert!(reached, "never {what}: {:#?}", *self.status.borrow());
    }

    async fn until_all_confirmed(&mut self) {
        let sealed = self.sealed;
        self.until("all confirmed", |status| status.confirmed >= sealed).await;
    }

    /// Every point of every chunk is stored once, to the bit, over all streams.
    fn check_stored(&self) {
        let mut seen = BTreeSet::new();
        for stream in self.server.streams().unwrap() {
            for channel in self.server.stored(&stream.data_id).unwrap() {
                for point in channel.points {
                    let expected = chunk(point.chunk_index.try_into().unwrap());
                    let expected = expected.channels.iter().find(|one| one.name.as_str() == channel.name).unwrap();
                    let place = expected.stamps.iter().position(|one| one.as_unix_seconds() == point.unix_seconds);
                    assert_eq!(expected.values[place.unwrap()].to_bits(), point.value.to_bits());
                    let key = (channel.name.clone(), point.chunk_index, place.unwrap());
                    assert!(seen.insert(key.clone()), "twice: {key:?}");
                }
            }
        }
        assert_eq!(seen.len() as u64, self.sealed * 2 * u64::try_from(POINTS).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_platform_does_everything_is_stored_once() {
    let mut bench = Bench::start().await;
    bench.seal(20);
    bench.until_all_confirmed().await;
    for fault in ["status:503", "status:429:1s", "cut-request", "cut-reply", "hang", "unauthorized"] {
        let before = bench.status.borrow().failed_attempts;
        bench.server.set_fault(fault.parse().unwrap());
        bench.seal(10);
        bench
            .until(fault, |status| {
                status.failed_attempts > before
                    && !matches!(status.platform, PlatformState::Up | PlatformState::Unknown)
            })
            .await;
        bench.server.set_fault(Fault::None);
        bench.until_all_confirmed().await;
    }
    bench.server.set_fault("too-large:800".parse().unwrap());
    bench.seal(5);
    bench.until_all_confirmed().await;
    bench.server.set_fault(Fault::None);
    bench.outbox.close();
    bench.finish.cancel();
    assert!((&mut bench.task).await.unwrap().is_nothing());
    bench.check_stored();
    let streams = bench.server.streams().unwrap();
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0].state, server::StreamState::Success);
    assert!(streams[0].sample.is_some() && streams[0].tracked && streams[0].tags.len() == 1, "{streams:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_platform_has_ended_or_forgotten_is_continued_with_the_same_links() {
    let mut bench = Bench::start().await;
    bench.seal(8);
    bench.until_all_confirmed().await;
    let first = bench.server.streams().unwrap()[0].data_id.clone();
    bench.server.end_stream(&first).unwrap();
    bench.seal(8);
    bench.until_all_confirmed().await;
    bench.server.set_fault(Fault::Forget);
    bench.seal(8);
    bench.until_all_confirmed().await;
    bench.outbox.close();
    bench.finish.cancel();
    assert!((&mut bench.task).await.unwrap().is_nothing());
    bench.check_stored();
    let streams = bench.server.streams().unwrap();
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["growth", "growth (continued 2)", "growth (continued 3)"]);
    assert!(streams.iter().all(|stream| stream.sample == streams[0].sample && stream.tags == streams[0].tags));
    assert_eq!(streams[2].state, server::StreamState::Success);
}

#[tokio::test]
async fn the_clock_is_read_from_the_platform() {
    let server = Server::start(server::Settings::default()).await.unwrap();
    server.set_clock_ahead(3_000_000_000);
    let (sender, mut readings) = watch::channel(None);
    let stop = CancellationToken::new();
    let task =
        tokio::spawn(clock::run(clock::Settings::default(), TimeBase::start(), client(&server), sender, stop.clone()));
    let reading = tokio::time::timeout(Duration::from_secs(10), readings.wait_for(Option::is_some)).await;
    let reading = reading.unwrap().unwrap().unwrap();
    assert_eq!(reading.source, ClockSource::Platform);
    // The server's stamps are milliseconds, and its wall clock is not the time base.
    let wrong = (reading.offset_nanos - 3_000_000_000).abs();
    assert!(wrong <= reading.uncertainty_nanos + 20_000_000, "{reading:?}");
    stop.cancel();
    task.await.unwrap();
}
