//! What the platform refused is sent again; what it says to hold is compared; the order of sending is free.

use crate::model::{Frozen, RunState};

use super::*;

fn refused(numbers: &[usize]) -> Vec<(ChannelName, String)> {
    numbers.iter().map(|number| (channel(*number).name, "422: no".to_owned())).collect()
}

fn places(taken: &[Frozen]) -> Vec<(u64, u64)> {
    taken.iter().map(|frozen| (frozen.seq, frozen.chunk.index)).collect()
}

fn channels_of(frozen: &Frozen) -> Vec<&str> {
    frozen.chunk.channels.iter().map(|channel| channel.name.as_str()).collect()
}

/// Three chunks of three channels; of the second, channel 1 is refused, and of the third all are.
async fn partly_refused() -> Bench {
    let bench = Bench::new(start(3, 10)).await;
    bench.append(ticks(0..30, 3)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 3, &[], 0).await.unwrap();
    bench.handle.settle(&bench.run, 0, &[], &[]).await.unwrap();
    bench.handle.settle(&bench.run, 1, &refused(&[1]), &[]).await.unwrap();
    bench.handle.settle(&bench.run, 2, &refused(&[0, 1, 2]), &[]).await.unwrap();
    bench
}

/// What memory says has to be what the file says.
async fn reloaded(bench: &Bench) -> RunTotals {
    let copy = bench.crash_copy();
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    let totals = handle.snapshot().borrow().runs[0].clone();
    store.close().await.unwrap();
    totals
}

#[tokio::test]
async fn on_a_stream_that_is_open_only_the_refused_channels_are_sent_again_to_their_own_slices() {
    let bench = partly_refused().await;
    assert_eq!(bench.handle.resend(&bench.run, None).await.unwrap().points, 40);
    assert_balanced(&bench.totals());
    assert_eq!(reloaded(&bench).await, bench.totals());
    let taken = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    assert_eq!(places(&taken), [(1, 1), (2, 2)]);
    assert_eq!(channels_of(&taken[0]), ["channel_1"]);
    assert_eq!(channels_of(&taken[1]), ["channel_0", "channel_1", "channel_2"]);
    bench.handle.settle(&bench.run, 1, &[], &[]).await.unwrap();
    bench.handle.settle(&bench.run, 2, &refused(&[2]), &[]).await.unwrap();
    let points = bench.totals().points;
    assert_eq!(
        points.iter().map(|points| (points.uploaded, points.rejected)).collect::<Vec<_>>(),
        [(30, 0), (30, 0), (20, 10)]
    );
    assert_eq!(reloaded(&bench).await, bench.totals());
    assert_eq!(bench.handle.resend(&bench.run, Some(1)).await.unwrap().points, 0, "nothing of it is refused any more");
    assert_eq!(bench.handle.resend(&bench.run, Some(2)).await.unwrap().points, 10);
}

#[tokio::test]
async fn a_run_that_is_done_waits_again_and_its_continuation_gets_only_what_was_refused() {
    let bench = partly_refused().await;
    bench.handle.end_run().await.unwrap();
    bench.handle.stream_finalized(&bench.run).await.unwrap();
    assert_eq!(bench.handle.pending().await.unwrap(), []);
    assert_eq!(bench.handle.resend(&bench.run, None).await.unwrap().points, 40);
    let pending = bench.handle.pending().await.unwrap();
    assert_eq!((pending[0].state, pending[0].queued), (RunState::Closed, 2));
    bench.handle.stream_opened(&bench.run, "data-2").await.unwrap();
    let taken = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    assert_eq!(places(&taken), [(1, 0), (2, 1)]);
    assert_eq!(channels_of(&taken[0]), ["channel_1"]);
    let file = bench.read();
    let elsewhere = file.resent().unwrap();
    assert_eq!((elsewhere.len(), elsewhere[0].seq, elsewhere[0].sent.stream), (1, 1, 1));
    let names: Vec<&str> = elsewhere[0].sent.chunk.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!((names, elsewhere[0].sent.chunk.index), (vec!["channel_0", "channel_2"], 1));
    drop(file);
    // The continuation ends, too: what was noted of the first stream stays.
    bench.handle.stream_ended(&bench.run, "410").await.unwrap();
    bench.handle.stream_opened(&bench.run, "data-3").await.unwrap();
    for frozen in bench.handle.take(&bench.run, 9, &[], 0).await.unwrap() {
        let said = frozen.chunk.channels.iter().map(|channel| (channel.name.clone(), 20)).collect::<Vec<_>>();
        bench.handle.settle(&bench.run, frozen.seq, &[], &said).await.unwrap();
    }
    assert_eq!(bench.read().resent().unwrap().len(), 1);
    assert_balanced(&bench.totals());
    assert_eq!(reloaded(&bench).await, bench.totals());
    bench.handle.stream_finalized(&bench.run).await.unwrap();
    assert_eq!(bench.read().info().state, RunState::Done);
}

#[tokio::test]
async fn what_an_earlier_stream_refused_waits_until_the_newest_is_finalized() {
    let bench = partly_refused().await;
    bench.append(ticks(30..40, 3)).await;
    bench.handle.stream_ended(&bench.run, "410").await.unwrap();
    bench.handle.stream_opened(&bench.run, "data-2").await.unwrap();
    let refused_now = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    assert_eq!(places(&refused_now), [(3, 0)]);
    bench.handle.settle(&bench.run, 3, &refused(&[0]), &[]).await.unwrap();
    let resending = bench.handle.resend(&bench.run, None).await.unwrap();
    assert_eq!((resending.points, resending.later), (10, 40));
    assert_eq!(places(&bench.handle.take(&bench.run, 9, &[], 0).await.unwrap()), [(3, 0)]);
    bench.handle.settle(&bench.run, 3, &[], &[]).await.unwrap();
    bench.handle.end_run().await.unwrap();
    bench.handle.stream_finalized(&bench.run).await.unwrap();
    let resending = bench.handle.resend(&bench.run, None).await.unwrap();
    assert_eq!((resending.points, resending.later), (40, 0));
    assert_balanced(&bench.totals());
    assert_eq!(reloaded(&bench).await, bench.totals());
}

#[tokio::test]
async fn what_is_damaged_on_disk_is_not_sent_again() {
    let bench = partly_refused().await;
    let other = rusqlite::Connection::open(bench.path()).unwrap();
    other.execute("UPDATE bodies SET body = zeroblob(20) WHERE seq = 2", []).unwrap();
    assert_eq!(bench.handle.resend(&bench.run, None).await.unwrap().points, 10);
    assert_balanced(&bench.totals());
}

#[tokio::test]
async fn the_newest_chunks_may_be_sent_before_the_oldest() {
    let bench = Bench::new(start(1, 10)).await;
    bench.handle.record_clock(reading(1_000_000_000)).await.unwrap();
    bench.append(ticks(0..50, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let newest = bench.handle.take(&bench.run, 4, &[], 3).await.unwrap();
    assert_eq!(places(&newest), [(3, 3), (4, 4)]);
    // What is learnt of the clock between does not bend the series: the older ones are frozen, too.
    bench.handle.record_clock(reading(1_500_000_000)).await.unwrap();
    let copy = bench.crash_copy();
    let oldest = bench.handle.take(&bench.run, 9, &[3, 4], 0).await.unwrap();
    assert_eq!(places(&oldest), [(0, 0), (1, 1), (2, 2)]);
    let stamps: Vec<Stamp> = oldest.iter().chain(&newest).flat_map(|f| f.chunk.channels[0].stamps.to_vec()).collect();
    let wanted: Vec<Stamp> = ticks(0..50, 1).iter().map(|tick| tick.at.shifted(1_000_000_000)).collect();
    assert_eq!(stamps, wanted);
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.take(&bench.run, 9, &[3, 4], 0).await.unwrap(), oldest);
    store.close().await.unwrap();
}

#[tokio::test]
async fn squeezed_stamps_rise_over_chunks_that_were_frozen_unseen() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..40, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.record_clock(reading(1_500_000_000)).await.unwrap();
    let first = bench.handle.take(&bench.run, 1, &[], 0).await.unwrap();
    bench.handle.record_clock(reading(0)).await.unwrap();
    let last = bench.handle.take(&bench.run, 1, &[], 3).await.unwrap();
    let between = bench.handle.take(&bench.run, 9, &[0, 3], 0).await.unwrap();
    let all = first.iter().chain(&between).chain(&last).flat_map(|frozen| frozen.chunk.channels[0].stamps.to_vec());
    let all: Vec<Stamp> = all.collect();
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
}

#[tokio::test]
async fn the_platform_s_account_is_held_against_ours() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..40, 2)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 3, &[], 0).await.unwrap();
    let said = |points: u64| [(channel(0).name, points), (channel(1).name, points)];
    // The second arrived first, and the third is stored though its confirmation is not here yet.
    bench.handle.settle(&bench.run, 1, &[], &said(30)).await.unwrap();
    bench.handle.settle(&bench.run, 0, &[], &said(20)).await.unwrap();
    assert_eq!(bench.totals().disagreements, []);
    bench.handle.settle(&bench.run, 2, &[], &said(30)).await.unwrap();
    assert_eq!(bench.totals().disagreements, []);
    assert_eq!(bench.read().stream_points().unwrap(), [(1, 0, 30), (1, 1, 30)]);

    bench.handle.take(&bench.run, 1, &[], 0).await.unwrap();
    bench.handle.settle(&bench.run, 3, &[], &[(channel(0).name, 39), (channel(1).name, 40)]).await.unwrap();
    let totals = bench.totals();
    let [found] = totals.disagreements.as_slice() else { panic!("{totals:?}") };
    assert_eq!((found.channel.as_str(), found.said, found.confirmed), ("channel_0", 39, 40));
    assert_eq!(reloaded(&bench).await.disagreements, totals.disagreements);
    let events = bench.read().events().unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "disagreement").count(), 1, "{events:?}");
}

#[tokio::test]
async fn more_points_than_were_ever_sent_are_a_disagreement() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..10, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 1, &[], 0).await.unwrap();
    bench.handle.settle(&bench.run, 0, &[], &[(channel(0).name, 11)]).await.unwrap();
    assert_eq!(bench.totals().disagreements.len(), 1);
}

#[tokio::test]
async fn a_log_that_is_lost_is_noticed() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..25, 1)).await;
    let copy = bench.crash_copy();
    let log = schema::beside(&run_path(copy.path(), &bench.run), "-wal");
    fs::remove_file(&log).unwrap();
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    let status = handle.snapshot().borrow().clone();
    assert!(status.set_aside[0].why.contains("log"), "{status:?}");
    store.close().await.unwrap();

    // An orderly end takes the log away as well.
    bench.store.close().await.unwrap();
    let copy = crash_copy(bench.folder.path());
    assert!(!schema::beside(&run_path(copy.path(), &bench.run), "-wal").exists());
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.snapshot().borrow().set_aside.len(), 0);
    store.close().await.unwrap();
}
