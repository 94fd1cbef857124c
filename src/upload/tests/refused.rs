//! Channels, chunks and streams that the platform does not want.

use super::platform::Answer;
use super::platform::Call;
use super::platform::FakePlatform;
use super::platform::gone;
use super::platform::status;
use super::*;
use crate::atomscale::PlatformError;
use crate::model::StreamRecord;
use crate::model::StreamState;

fn index(call: &Call) -> Option<u64> {
    match call {
        Call::Multi { index, .. } | Call::Channel { index, .. } => Some(*index),
        _ => None,
    }
}

fn stream(call: &Call) -> Option<&str> {
    match call {
        Call::Multi { data_id, .. } | Call::Channel { data_id, .. } => Some(data_id),
        _ => None,
    }
}

/// The refused channels of each chunk that has some.
fn refused(outbox: &FakeOutbox) -> Vec<(u64, Vec<String>)> {
    outbox.with("r", |run| {
        let settled = run.chunks.iter().filter_map(|(seq, chunk)| Some((*seq, chunk.settled.clone()?)));
        let named = settled.map(|(seq, refused)| (seq, refused.iter().map(|(name, _)| name.to_string()).collect()));
        named.filter(|(_, refused): &(u64, Vec<String>)| !refused.is_empty()).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn one_bad_channel_costs_only_itself() {
    let outbox = closed_run(12);
    let platform = FakePlatform::new(50 * MS, |call, _| match call {
        Call::Multi { .. } => Answer::No(status(422, "channel b: bad units")),
        Call::Channel { name, .. } if name == "b" => Answer::No(status(422, "bad units")),
        _ => Answer::Well,
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("r").await;
    assert_eq!(refused(&outbox), (0..12).map(|seq| (seq, vec!["b".to_owned()])).collect::<Vec<_>>());
    assert_eq!(bench.platform.stored("stream-1").len(), 12);
    assert_eq!(bench.platform.opened(), 1);
    assert_eq!(bench.status.borrow().refused, 12);
}

#[tokio::test(start_paused = true)]
async fn chunks_that_are_tried_again_and_refused_again_do_not_end_the_stream() {
    let outbox = closed_run(12);
    outbox.with("r", |run| run.chunks.range_mut(2..8).for_each(|(_, chunk)| chunk.again = true));
    let platform = FakePlatform::new(50 * MS, |call, _| match call {
        Call::Multi { index: 2..8, .. } | Call::Channel { .. } => Answer::No(status(422, "bad units")),
        _ => Answer::Well,
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("r").await;
    assert_eq!(refused(&outbox).into_iter().map(|(seq, _)| seq).collect::<Vec<_>>(), (2..8).collect::<Vec<_>>());
    assert_eq!((bench.platform.stored("stream-1").len(), bench.platform.opened()), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_too_large_goes_channel_by_channel() {
    let outbox = closed_run(6);
    let platform = FakePlatform::new(50 * MS, |call, _| match call {
        Call::Multi { .. } => Answer::No(PlatformError::TooLarge { words: "1 MiB".into() }),
        _ => Answer::Well,
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("r").await;
    assert_eq!(refused(&outbox), []);
    assert_eq!(bench.platform.stored("stream-1").len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_bad_chunk_among_good_ones_is_rejected_with_the_platform_s_words() {
    for bad in [0, 5, 19] {
        let outbox = closed_run(20);
        let platform = FakePlatform::new(50 * MS, move |call, _| {
            if index(call) == Some(bad) { Answer::No(status(400, "odd stamps")) } else { Answer::Well }
        });
        let mut bench = Bench::start(Arc::clone(&outbox), platform);
        bench.done("r").await;
        assert_eq!(refused(&outbox), [(bad, vec!["a".to_owned(), "b".to_owned()])]);
        let words = outbox.with("r", |run| run.chunks[&bad].settled.clone().unwrap()[0].1.clone());
        assert_eq!(words, "odd stamps");
        assert_eq!(outbox.streams("r").last().unwrap().1, StreamState::Finalized);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_gone_gets_a_continuation() {
    let outbox = closed_run(60);
    let platform = FakePlatform::new(50 * MS, |call, at| {
        if stream(call) == Some("stream-1") && at > 200 * MS { Answer::No(gone()) } else { Answer::Well }
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("r").await;
    let streams = [("stream-1".to_owned(), StreamState::Ended), ("stream-2".to_owned(), StreamState::Finalized)];
    assert_eq!(outbox.streams("r"), streams);
    assert_eq!(outbox.with("r", |run| run.ended.clone()), ["stream is not active"]);
    assert_eq!(bench.platform.finalized(), ["stream-1", "stream-2"]);
    let mut all = bench.platform.stored("stream-1");
    assert!(!all.is_empty());
    all.extend(bench.platform.stored("stream-2"));
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>(), "each chunk once, in one of the two");
    let names: Vec<String> = bench
        .platform
        .calls()
        .into_iter()
        .filter_map(|(_, call)| if let Call::Initialize(spec) = call { Some(spec.name) } else { None })
        .collect();
    assert_eq!(names, ["r", "r (continued 2)"]);
}

#[tokio::test(start_paused = true)]
async fn one_not_found_by_accident_does_not_end_a_stream() {
    let outbox = closed_run(30);
    let platform = FakePlatform::new(50 * MS, |call, at| {
        if multi(call) && (300 * MS..900 * MS).contains(&at) { Answer::No(gone()) } else { Answer::Well }
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("r").await;
    assert_eq!(bench.platform.opened(), 1);
    assert_eq!(bench.platform.stored("stream-1").len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_refuses_all_in_its_own_words_gets_a_continuation() {
    for chunks in [1, 2, 30] {
        let outbox = closed_run(chunks);
        // Left over from an earlier process, and too old for the platform by now.
        outbox.with("r", |run| {
            run.streams.push(StreamRecord { number: 1, data_id: "old".into(), state: StreamState::Open });
        });
        let platform = FakePlatform::new(50 * MS, |call, _| match (stream(call), index(call)) {
            (Some("old"), Some(index)) => Answer::No(status(422, &format!("chunk {index}: the stream has an error"))),
            _ => Answer::Well,
        });
        let mut bench = Bench::start(Arc::clone(&outbox), platform);
        bench.done("r").await;
        assert_eq!(bench.platform.opened(), 1);
        assert_eq!(bench.platform.stored("stream-1"), (0..chunks).collect::<Vec<_>>());
        assert_eq!(refused(&outbox), []);
        assert!(bench.platform.count(|call| stream(call) == Some("old")) < 12, "enough was asked to know");
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_refuses_every_chunk_gets_no_more_streams_and_loses_nothing() {
    let outbox = closed_run(100);
    let platform = FakePlatform::new(50 * MS, |call, at| {
        if index(call).is_some() && at < 10 * HOUR { Answer::No(status(402, "quota exceeded")) } else { Answer::Well }
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    tokio::time::sleep(9 * HOUR).await;
    assert_eq!(bench.platform.opened(), 1);
    assert_eq!(outbox.queued("r"), 100);
    assert_eq!(bench.status.borrow().runs[0].held.as_deref(), Some("quota exceeded"));
    assert!(bench.platform.count(|_| true) < 9 * 60 * 10, "a handful of requests a minute");
    bench.done("r").await;
    assert_eq!(bench.platform.stored("stream-1").len(), 100);
}

#[tokio::test(start_paused = true)]
async fn streams_that_vanish_as_soon_as_they_are_created_become_rare() {
    let outbox = closed_run(10);
    let platform = FakePlatform::new(50 * MS, |call, at| {
        if index(call).is_some() && at < 24 * HOUR { Answer::No(gone()) } else { Answer::Well }
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    tokio::time::sleep(24 * HOUR).await;
    assert!((5..40).contains(&bench.platform.opened()), "{} streams in a day", bench.platform.opened());
    assert_eq!(outbox.queued("r"), 10);
    bench.done("r").await;
    let last = format!("stream-{}", bench.platform.opened());
    assert_eq!(bench.platform.stored(&last).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_stream_can_not_be_opened_waits_alone() {
    let outbox = closed_run(5);
    outbox.add_run("good", RunState::Closed, 5);
    let platform = FakePlatform::new(50 * MS, |call, at| match call {
        Call::Initialize(spec) if spec.name == "r" && at < HOUR => Answer::No(status(422, "no such project")),
        _ => Answer::Well,
    });
    let mut bench = Bench::start(Arc::clone(&outbox), platform);
    bench.done("good").await;
    tokio::time::sleep(30 * MINUTE).await;
    let held = bench.status.borrow().runs[0].held.clone().unwrap();
    assert_eq!(held, "could not create the stream: the platform answers with status 422: no such project");
    assert!(
        (30..33).contains(&bench.platform.count(|call| matches!(call, Call::Initialize(spec) if spec.name == "r")))
    );
    bench.done("r").await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_can_not_be_linked_become_rare() {
    for status in [403, 422, 503] {
        let outbox = closed_run(5);
        outbox.with("r", |run| run.sample = Some("sample".into()));
        let platform = FakePlatform::new(50 * MS, move |call, at| match call {
            Call::LinkSample if at < 24 * HOUR && status == 403 => {
                Answer::No(PlatformError::Unauthorized { status, words: "not yours".into() })
            }
            Call::LinkSample if at < 24 * HOUR => Answer::No(platform::status(status, "not today")),
            _ => Answer::Well,
        });
        let mut bench = Bench::start(Arc::clone(&outbox), platform);
        tokio::time::sleep(24 * HOUR).await;
        let opened = bench.platform.opened();
        assert!((5..40).contains(&opened), "{opened} streams in a day");
        assert_eq!(bench.platform.finalized().len(), opened, "each was finalized");
        assert!(bench.status.borrow().runs[0].held.as_ref().is_some());
        bench.done("r").await;
        assert_eq!(refused(&outbox), []);
    }
}
