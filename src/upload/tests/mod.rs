//! The uploader between an outbox and a platform in memory, in paused time.

mod ends;
mod outbox;
mod platform;
mod refused;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Left;
use super::Settings;
use super::Status;
use super::run;
use crate::model::RunState;
use outbox::FakeOutbox;
use platform::Answer;
use platform::Call;
use platform::FakePlatform;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// An uploader at work.
struct Bench {
    outbox: Arc<FakeOutbox>,
    platform: Arc<FakePlatform>,
    status: watch::Receiver<Status>,
    finish: CancellationToken,
    task: JoinHandle<Left>,
}

impl Bench {
    fn start(outbox: Arc<FakeOutbox>, platform: FakePlatform) -> Self {
        Self::with(Settings { seed: Some(7), ..Settings::default() }, outbox, platform)
    }

    fn with(settings: Settings, outbox: Arc<FakeOutbox>, platform: FakePlatform) -> Self {
        let platform = Arc::new(platform);
        let (sender, status) = watch::channel(Status::default());
        let finish = CancellationToken::new();
        let shared: Arc<dyn super::Outbox> = Arc::clone(&outbox) as _;
        let asked: Arc<dyn crate::atomscale::Platform> = Arc::clone(&platform) as _;
        let task = tokio::spawn(run(settings, shared, asked, sender, finish.clone()));
        Self { outbox, platform, status, finish, task }
    }

    /// Waits until a run is done.
    async fn done(&mut self, name: &str) {
        let limit = Instant::now() + HOUR * 30;
        while self.outbox.state_of(name) != RunState::Done {
            if tokio::time::timeout_at(limit, self.status.changed()).await.is_err() {
                let calls = self.platform.calls();
                let last = &calls[calls.len().saturating_sub(20)..];
                panic!("the run is never done: {:#?}\n{last:#?}", *self.status.borrow());
            }
        }
    }

    async fn finish(self) -> Left {
        self.finish.cancel();
        self.task.await.unwrap()
    }
}

fn closed_run(chunks: u64) -> Arc<FakeOutbox> {
    let outbox = Arc::new(FakeOutbox::default());
    outbox.add_run("r", RunState::Closed, chunks);
    outbox
}

fn multi(call: &Call) -> bool {
    matches!(call, Call::Multi { .. })
}

fn opening(call: &Call) -> bool {
    matches!(call, Call::Initialize(_))
}

#[tokio::test(start_paused = true)]
async fn a_run_is_opened_sent_and_finalized_once() {
    let mut bench = Bench::start(closed_run(40), FakePlatform::new(100 * MS, |_, _| Answer::Well));
    bench.done("r").await;
    assert_eq!(bench.platform.stored("stream-1"), (0..40).collect::<Vec<_>>());
    assert_eq!(bench.platform.count(multi), 40);
    assert_eq!(bench.platform.finalized(), ["stream-1"]);
    let calls = bench.platform.calls();
    assert!(opening(&calls[0].1));
    assert_eq!(calls.last().unwrap().1, Call::Finalize("stream-1".into()));
    let status = bench.status.borrow().clone();
    assert_eq!((status.confirmed, status.confirmed_points, status.refused), (40, 160, 0));
    assert!(bench.finish().await.is_nothing());
}

#[tokio::test(start_paused = true)]
async fn the_window_grows_while_answers_are_quick() {
    let mut bench = Bench::start(closed_run(600), FakePlatform::new(100 * MS, |_, _| Answer::Well));
    bench.done("r").await;
    assert_eq!(bench.platform.most_at_once(), 16);
    // 600 chunks one after the other would take a minute.
    assert!(bench.platform.calls().last().unwrap().0 < 8 * SECOND);

    let mut bench = Bench::start(closed_run(60), FakePlatform::new(3 * SECOND, |_, _| Answer::Well));
    bench.done("r").await;
    assert_eq!(bench.platform.most_at_once(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_opened_before_there_is_a_chunk_and_chunks_follow_as_they_are_sealed() {
    let outbox = Arc::new(FakeOutbox::default());
    outbox.add_run("r", RunState::Recording, 0);
    let mut bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(10 * MS, |_, _| Answer::Well));
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.platform.calls().len(), 1);
    for index in 0..5 {
        outbox.seal("r", outbox::chunk(index, &["a"]));
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.platform.stored("stream-1").len() as u64, index + 1);
    }
    outbox.close("r");
    bench.done("r").await;
    assert_eq!(bench.platform.finalized(), ["stream-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_does_not_blind_the_run_that_is_being_recorded() {
    let outbox = closed_run(2_000);
    outbox.add_run("live", RunState::Recording, 1);
    let bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(100 * MS, |_, _| Answer::Well));
    for index in 1..8 {
        tokio::time::sleep(SECOND).await;
        assert_eq!(outbox.queued("live"), 0);
        outbox.seal("live", outbox::chunk(index, &["a"]));
    }
    assert!(outbox.queued("r") > 0, "the backlog was gone too soon to show anything");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sealed_while_a_day_of_the_same_run_is_sent_goes_between() {
    let outbox = Arc::new(FakeOutbox::default());
    outbox.add_run("r", RunState::Recording, 2_000);
    let mut bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(100 * MS, |_, _| Answer::Well));
    let settled = |from: u64, to: u64| {
        outbox.with("r", |run| run.chunks.range(from..to).filter(|(_, chunk)| chunk.settled.is_some()).count())
    };
    tokio::time::sleep(SECOND).await;
    for index in 2_000..2_008 {
        outbox.seal("r", outbox::chunk(index, &["a"]));
        tokio::time::sleep(SECOND).await;
        assert_eq!(settled(2_000, 2_100) as u64, index - 1_999, "a live chunk waits behind the backlog");
    }
    let gone = settled(0, 2_000);
    assert!((600..2_000).contains(&gone), "{gone} chunks of the backlog were sent beside");
    outbox.close("r");
    bench.done("r").await;
    assert_eq!(bench.platform.stored("stream-1"), (0..2_008).collect::<Vec<_>>());
    let twice = bench.platform.count(multi) - 2_008;
    assert_eq!(twice, 0, "chunks were sent twice");
}

#[tokio::test(start_paused = true)]
async fn on_a_line_that_is_too_slow_for_both_lanes_both_go_on() {
    let outbox = Arc::new(FakeOutbox::default());
    outbox.add_run("r", RunState::Recording, 500);
    let bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(4 * SECOND, |_, _| Answer::Well));
    tokio::time::sleep(5 * SECOND).await;
    for index in 500..620 {
        outbox.seal("r", outbox::chunk(index, &["a"]));
        tokio::time::sleep(SECOND).await;
    }
    let settled = |from: u64, to: u64| {
        outbox.with("r", |run| run.chunks.range(from..to).filter(|(_, chunk)| chunk.settled.is_some()).count())
    };
    let (backlog, live) = (settled(0, 500), settled(500, 620));
    assert!(backlog > 40 && live > 40 && backlog.abs_diff(live) < 20, "{backlog} old, {live} new");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_run_without_a_chunk_is_done_without_a_stream() {
    let mut bench = Bench::start(closed_run(0), FakePlatform::new(MS, |_, _| Answer::Well));
    bench.done("r").await;
    assert_eq!(bench.platform.calls(), []);
}
