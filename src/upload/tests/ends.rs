//! The process ends: gently, in time, and once for all.

use super::platform::Answer;
use super::platform::FakePlatform;
use super::platform::gone;
use super::*;
use crate::atomscale::PlatformError;
use crate::model::RunId;
use crate::model::StreamState;

#[tokio::test(start_paused = true)]
async fn what_can_be_drained_in_the_grace_is_drained_and_finalized() {
    let outbox = Arc::new(FakeOutbox::default());
    outbox.add_run("r", RunState::Recording, 50);
    let bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(100 * MS, |_, _| Answer::Well));
    tokio::time::sleep(150 * MS).await;
    outbox.close("r");
    let began = Instant::now();
    let platform = Arc::clone(&bench.platform);
    assert!(bench.finish().await.is_nothing());
    assert!(began.elapsed() < 3 * SECOND);
    assert_eq!(platform.stored("stream-1").len(), 50);
    assert_eq!(outbox.streams("r"), [("stream-1".to_owned(), StreamState::Finalized)]);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_is_left_to_the_next_start_which_takes_it_up() {
    let outbox = closed_run(400);
    let bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(2 * SECOND, |_, _| Answer::Well));
    tokio::time::sleep(5 * SECOND).await;
    let began = Instant::now();
    let platform = Arc::clone(&bench.platform);
    let left = bench.finish().await;
    assert_eq!(began.elapsed(), 20 * SECOND);
    assert_eq!(left.queued, outbox.queued("r") as u64);
    assert_eq!(left.unfinished, [RunId::new("r")]);
    let sent = platform.calls().len();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(platform.calls().len(), sent, "nothing is sent once it has returned");

    let before = platform.stored("stream-1");
    assert!(before.len() > 20 && before.len() < 400);
    let mut bench = Bench::start(Arc::clone(&outbox), FakePlatform::new(100 * MS, |_, _| Answer::Well));
    bench.done("r").await;
    assert_eq!(bench.platform.opened(), 0, "the same stream goes on");
    let mut all = [before, bench.platform.stored("stream-1")].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_end_does_not_wait_for_what_can_not_come() {
    let key = |_: &Call, _| Answer::No(PlatformError::Unauthorized { status: 401, words: "no".into() });
    let bench = Bench::start(closed_run(5), FakePlatform::new(50 * MS, key));
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    let left = bench.finish().await;
    assert_eq!(left.queued, 5);
    assert!(began.elapsed() < SECOND, "the key is tried again only after the grace");
}

#[tokio::test(start_paused = true)]
async fn an_end_during_an_outage_comes_in_time() {
    let platform = FakePlatform::new(3 * SECOND, |_, _| Answer::No(PlatformError::TimedOut));
    let bench = Bench::start(closed_run(5), platform);
    tokio::time::sleep(MINUTE).await;
    let began = Instant::now();
    assert_eq!(bench.finish().await.queued, 5);
    assert!(began.elapsed() <= 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_not_found_by_accident_is_finalized_all_the_same() {
    let mut misses = 1;
    let platform = FakePlatform::new(50 * MS, move |call, _| match call {
        Call::Finalize(_) if misses > 0 => {
            misses -= 1;
            Answer::No(gone())
        }
        _ => Answer::Well,
    });
    let mut bench = Bench::start(closed_run(5), platform);
    bench.done("r").await;
    assert_eq!(bench.platform.finalized(), ["stream-1"]);

    // One that stays away needs no more; nor does one whose finalizing succeeded unheard.
    for answer in [|| Answer::No(gone()), || Answer::Lost] {
        let platform = FakePlatform::new(50 * MS, move |call, _| match call {
            Call::Finalize(_) => answer(),
            _ => Answer::Well,
        });
        let mut bench = Bench::start(closed_run(5), platform);
        bench.done("r").await;
        assert!((2..4).contains(&bench.platform.count(|call| matches!(call, Call::Finalize(_)))));
    }
}
