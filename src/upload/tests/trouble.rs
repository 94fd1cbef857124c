//! The platform, the way to it, the key, the disk and the clock fail, and come back.

use std::time::Duration;

use super::outbox::FakeOutbox;
use super::platform::Answer;
use super::platform::Call;
use super::platform::FakePlatform;
use super::platform::status;
use super::*;
use crate::atomscale::PlatformError;
use crate::model::ClockReading;
use crate::model::ClockSource;
use crate::model::Stamp;
use crate::model::StreamState;
use crate::upload::PlatformState;

fn unreachable() -> Answer {
    Answer::No(PlatformError::Unreachable("no route to host".into()))
}

#[tokio::test(start_paused = true)]
async fn while_the_platform_is_down_one_request_at_a_time_tries_it() {
    let outbox = closed_run(100);
    let platform = FakePlatform::new(200 * MS, |_, at| {
        if (5 * SECOND..HOUR).contains(&at) || at < MS { unreachable() } else { Answer::Well }
    });
    outbox.with("r", |run| run.chunks.retain(|seq, _| *seq < 20));
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(outbox.queued("r"), 0);
    assert_eq!(bench.status.borrow().platform, PlatformState::Up);

    outbox.add_run("s", RunState::Closed, 100);
    outbox.seal("s", outbox::chunk(100, &["a"]));
    tokio::time::sleep(HOUR / 2).await;
    assert!(matches!(&bench.status.borrow().platform, PlatformState::Down { why, .. } if why.contains("no route")));
    bench.done("s").await;

    let tries: Vec<Duration> =
        bench.platform.calls().iter().map(|(at, _)| *at).filter(|at| (5 * SECOND..HOUR).contains(at)).collect();
    // A pause of up to 30 s, 15 on average, and nothing else.
    assert!((150..450).contains(&tries.len()), "{} tries in an hour", tries.len());
    assert!(tries.windows(2).all(|pair| pair[1] - pair[0] >= 200 * MS), "two at a time");
    assert!(tries.windows(2).all(|pair| pair[1] - pair[0] <= 31 * SECOND), "too long a pause");
    assert_eq!(bench.platform.stored("stream-2").len(), 101);
    assert_eq!(bench.platform.finalized(), ["stream-1", "stream-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_be_left_alone_is_granted() {
    let outbox = closed_run(30);
    let mut asked = 0;
    let platform = FakePlatform::new(50 * MS, move |call, _| {
        asked += usize::from(multi(call));
        if multi(call) && asked == 10 {
            let busy = PlatformError::Status { status: 429, words: "busy".into(), retry_after: Some(40 * SECOND) };
            return Answer::No(busy);
        }
        Answer::Well
    });
    let mut bench = Bench::start(outbox, platform);
    bench.done("r").await;
    let calls = bench.platform.calls();
    let gap = calls.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!((40 * SECOND..41 * SECOND).contains(&gap), "{gap:?}");
    assert_eq!(bench.platform.stored("stream-1").len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_holds_everything_and_is_tried_each_minute() {
    let outbox = closed_run(10);
    let platform = FakePlatform::new(50 * MS, |_, at| {
        if at < 10 * MINUTE {
            return Answer::No(PlatformError::Unauthorized { status: 401, words: "no such key".into() });
        }
        Answer::Well
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    tokio::time::sleep(5 * MINUTE + SECOND).await;
    assert!(
        matches!(&bench.status.borrow().platform, PlatformState::Holding { why, .. } if why.contains("no such key"))
    );
    assert_eq!(bench.platform.calls().len(), 6);
    bench.done("r").await;
    assert_eq!(bench.platform.stored("stream-1").len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_another_account_holds_only_its_own_run() {
    let outbox = closed_run(3);
    outbox.add_run("mine", RunState::Closed, 3);
    let platform = FakePlatform::new(50 * MS, |call, _| match call {
        Call::Initialize(spec) if spec.name == "r" => {
            Answer::No(PlatformError::Unauthorized { status: 403, words: "not your project".into() })
        }
        _ => Answer::Well,
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("mine").await;
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(outbox.queued("r"), 3);
    let status = bench.status.borrow().clone();
    assert!(status.runs[0].held.as_ref().unwrap().contains("not your project"));
    assert!(bench.platform.count(opening) < 15);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_the_platform_chokes_on_does_not_stop_the_others() {
    let outbox = closed_run(50);
    let platform = FakePlatform::new(50 * MS, |call, at| match call {
        Call::Multi { index: 3, .. } if at < HOUR => Answer::No(status(500, "internal error")),
        _ => Answer::Well,
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(outbox.queued("r"), 1);
    assert_eq!(bench.platform.finalized(), Vec::<String>::new());
    bench.done("r").await;
    assert_eq!(bench.platform.stored("stream-1").len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_delays_and_loses_nothing() {
    let outbox = closed_run(30);
    let mut bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(50 * MS, |_, _| Answer::Well));
    for _ in 0..5 {
        outbox.fail_writes(4);
        tokio::time::sleep(70 * MS).await;
    }
    bench.done("r").await;
    assert_eq!(bench.platform.stored("stream-1").len(), 30);
    assert_eq!(bench.platform.opened(), 1, "a stream that could not be recorded is not opened twice");
    assert_eq!(outbox.streams("r"), [("stream-1".to_owned(), StreamState::Finalized)]);
}

#[tokio::test(start_paused = true)]
async fn no_chunk_is_frozen_before_the_platform_s_clock_is_known() {
    let reading = |source| ClockReading { at: Stamp::default(), offset_nanos: 0, uncertainty_nanos: 1, source };
    let (clock, readings) = watch::channel(Some(reading(ClockSource::Host)));
    let settings = Settings { clock: Some(readings), seed: Some(1), ..Settings::default() };
    let nudge = Arc::clone(&settings.clock_nudge);
    let outbox = closed_run(3);
    // A run that already has a stream, in a lab without a network for ten minutes.
    outbox.with("r", |run| {
        let data_id = "stream-0".to_owned();
        run.streams.push(crate::model::StreamRecord { number: 1, data_id, state: StreamState::Open });
    });
    let platform = FakePlatform::new(50 * MS, |_, at| if at < 10 * MINUTE { unreachable() } else { Answer::Well });
    let mut bench = Bench::with(settings, Arc::clone(&outbox), platform);
    nudge.notified().await;
    assert_eq!(bench.platform.count(|call| *call != Call::Time), 0, "the platform is looked for without a chunk");
    assert!(outbox.with("r", |run| run.chunks.values().all(|chunk| chunk.frozen_for.is_none())));
    clock.send_replace(Some(reading(ClockSource::Platform)));
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.platform.stored("stream-0").len(), 3);
    bench.done("r").await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_does_not_answer_is_not_waited_for_long() {
    let (_clock, readings) = watch::channel(None);
    let settings = Settings { clock: Some(readings), ..Settings::default() };
    let mut bench = Bench::with(settings, closed_run(3), FakePlatform::new(50 * MS, |_, _| Answer::Well));
    bench.done("r").await;
    let first = bench.platform.calls().into_iter().find(|(_, call)| multi(call)).unwrap().0;
    assert!((5 * SECOND..6 * SECOND).contains(&first), "{first:?}");
}

/// Random outages, lost answers, wishes and full disks: everything arrives, in one stream, which is finalized.
#[tokio::test(start_paused = true)]
async fn whatever_passes_everything_arrives() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let badness = random.usize(0..60);
        let outbox = Arc::new(FakeOutbox::default());
        outbox.add_run("r", RunState::Recording, random.u64(0..150));
        let platform = FakePlatform::new(random.u32(1..800) * MS, move |call, _| {
            if random.usize(0..100) >= badness {
                return Answer::Well;
            }
            match random.usize(0..6) {
                0 => unreachable(),
                1 => Answer::No(PlatformError::TimedOut),
                2 => Answer::No(status(503, "unavailable")),
                3 => Answer::No(PlatformError::Status { status: 429, words: "slow".into(), retry_after: Some(SECOND) }),
                4 => Answer::No(PlatformError::BadReply { what: "a portal".into() }),
                _ if matches!(call, Call::Initialize(_)) => unreachable(),
                _ => Answer::Lost,
            }
        });
        let settings = Settings { seed: Some(seed), ..Settings::default() };
        let mut bench = Bench::with(settings, Arc::clone(&outbox), platform);
        for _ in 0..3 {
            tokio::time::sleep(3 * SECOND).await;
            outbox.fail_writes(2);
        }
        let chunks = outbox.with("r", |run| run.chunks.len()) as u64;
        outbox.close("r");
        bench.done("r").await;
        assert_eq!(bench.platform.stored("stream-1"), (0..chunks).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(bench.platform.finalized(), ["stream-1"], "seed {seed}");
        assert!(outbox.with("r", |run| run.chunks.values().all(|chunk| chunk.settled == Some(vec![]))), "seed {seed}");
        assert!(bench.finish().await.is_nothing(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_file_can_not_be_read_does_not_stop_the_others() {
    let outbox = closed_run(5);
    outbox.add_run("second", RunState::Closed, 500);
    outbox.break_file(Some("r"));
    let mut bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(10 * MS, |_, _| Answer::Well));
    let began = Instant::now();
    bench.done("second").await;
    assert!(began.elapsed() < 10 * SECOND, "the run behind it took {:?}", began.elapsed());
    let held = bench.status.borrow().runs.iter().find(|run| run.run.as_str() == "r").cloned().unwrap();
    assert!(held.held.unwrap().contains("can't be read"));

    outbox.break_file(None);
    bench.done("r").await;
    assert_eq!(outbox.queued("r"), 0);
    bench.finish().await;
}
