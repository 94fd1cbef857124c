//! Freezing, settling, streams.

use crate::model::{RunState, StreamState};

use super::*;

#[tokio::test]
async fn a_frozen_chunk_is_the_same_each_time_and_after_a_restart() {
    let bench = Bench::new(start(3, 10)).await;
    bench.handle.record_clock(reading(250_000_000)).await.unwrap();
    bench.append(ticks(0..25, 3)).await;
    assert!(matches!(bench.handle.take(&bench.run, 4, &[], 0).await, Err(Error::NoStream(_))));
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let first = bench.handle.take(&bench.run, 1, &[], 0).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].seq, first[0].chunk.index, first[0].attempts), (0, 0, 0));
    assert_eq!(first[0].data_id, "data-1");
    let channel = &first[0].chunk.channels[1];
    assert_eq!((channel.name.as_str(), channel.unit.as_deref()), ("channel_1", None));
    assert_eq!(channel.stamps[0], tick(0, 0..1).at.shifted(250_000_000));
    assert_eq!(channel.values[9], 9.1);

    bench.handle.record_clock(reading(260_000_000)).await.unwrap();
    let copy = bench.crash_copy();
    assert_eq!(
        bench.handle.take(&bench.run, 1, &[], 0).await.unwrap(),
        first,
        "the clock is known better, the chunk stays"
    );
    let second = bench.handle.take(&bench.run, 5, &[0], 0).await.unwrap();
    assert_eq!(second.iter().map(|frozen| (frozen.seq, frozen.chunk.index)).collect::<Vec<_>>(), [(1, 1)]);

    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.take(&bench.run, 1, &[], 0).await.unwrap(), first);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_steps_back_squeezes_the_overlap_once_and_for_all() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..20, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.record_clock(reading(1_500_000_000)).await.unwrap();
    let first = bench.handle.take(&bench.run, 1, &[], 0).await.unwrap();
    bench.handle.record_clock(reading(0)).await.unwrap();
    let second = bench.handle.take(&bench.run, 1, &[0], 0).await.unwrap();
    let before = *first[0].chunk.channels[0].stamps.last().unwrap();
    let wanted: Vec<Stamp> = (1..=10).map(|step| before.shifted(step * 1_000)).collect();
    assert_eq!(*second[0].chunk.channels[0].stamps, wanted, "1.5 s were taken back, the chunk is 0.9 s long");

    bench.handle.record_clock(reading(-200_000_000)).await.unwrap();
    assert_eq!(bench.handle.take(&bench.run, 2, &[], 0).await.unwrap(), [first.clone(), second.clone()].concat());
    let copy = bench.crash_copy();
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.take(&bench.run, 2, &[], 0).await.unwrap(), [first, second].concat());
    store.close().await.unwrap();
}

#[tokio::test]
async fn points_are_accounted_for_whatever_the_platform_says() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..35, 2)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 3, &[], 0).await.unwrap();
    let name = |number| channel(number).name;
    bench.handle.attempt_failed(&bench.run, 2, "503").await.unwrap();
    bench.handle.settle(&bench.run, 0, &[], &[]).await.unwrap();
    bench.handle.settle(&bench.run, 1, &[(name(1), "422: no".to_owned())], &[]).await.unwrap();
    assert_balanced(&bench.totals());
    let third = bench.handle.take(&bench.run, 3, &[], 0).await.unwrap();
    assert_eq!((third.len(), third[0].seq, third[0].attempts), (1, 2, 1));
    bench.handle.settle(&bench.run, 2, &[(name(0), "no".to_owned()), (name(1), "no".to_owned())], &[]).await.unwrap();
    bench.handle.settle(&bench.run, 2, &[], &[]).await.unwrap();
    let totals = bench.totals();
    assert_balanced(&totals);
    assert_eq!((totals.points[0].uploaded, totals.points[0].rejected, totals.points[0].open), (20, 10, 5));
    assert_eq!((totals.points[1].uploaded, totals.points[1].rejected, totals.queued_chunks), (10, 20, 0));
    let file = bench.read();
    let states: Vec<ChunkState> = chunks(&file).iter().map(|chunk| chunk.state).collect();
    assert_eq!(states, [ChunkState::Confirmed, ChunkState::Confirmed, ChunkState::Rejected]);
    let refusals = file.refusals().unwrap();
    assert_eq!(refusals.len(), 3);
    assert_eq!((refusals[0].seq, refusals[0].channel, refusals[0].words.as_str()), (1, 1, "422: no"));

    // The same accounts after a restart.
    let copy = bench.crash_copy();
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    let again = handle.snapshot().borrow().runs[0].clone();
    assert_eq!((again.counts, again.points), (totals.counts, totals.points));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_continuation_takes_what_the_ended_stream_did_not_confirm() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..40, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let first = bench.handle.take(&bench.run, 3, &[], 0).await.unwrap();
    bench.handle.settle(&bench.run, 1, &[], &[]).await.unwrap();
    bench.handle.stream_ended(&bench.run, "410: stream_error").await.unwrap();
    assert!(matches!(bench.handle.take(&bench.run, 3, &[], 0).await, Err(Error::NoStream(_))));
    let late = bench.handle.settle(&bench.run, 0, &[], &[]).await;
    assert!(matches!(late, Err(Error::NotFrozen { seq: 0, .. })), "it thawed: {late:?}");

    bench.handle.stream_opened(&bench.run, "data-2").await.unwrap();
    let again = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    let what: Vec<_> = again.iter().map(|frozen| (frozen.seq, frozen.chunk.index, frozen.data_id.as_str())).collect();
    assert_eq!(what, [(0, 0, "data-2"), (2, 2, "data-2"), (3, 3, "data-2")]);
    assert_eq!(again[0].chunk.channels, first[0].chunk.channels);
    let streams = bench.read().streams().unwrap();
    assert_eq!(streams[0].why.as_deref(), Some("410: stream_error"));
    assert_eq!((streams[0].record.state, streams[1].record.state), (StreamState::Ended, StreamState::Open));
    assert_balanced(&bench.totals());
}

#[tokio::test]
async fn a_run_is_done_when_it_is_closed_settled_and_finalized() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..15, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.end_run().await.unwrap();
    let closed = bench.handle.pending().await.unwrap();
    assert_eq!((closed[0].state, closed[0].queued), (RunState::Closed, 2));
    for frozen in bench.handle.take(&bench.run, 9, &[], 0).await.unwrap() {
        bench.handle.settle(&bench.run, frozen.seq, &[], &[]).await.unwrap();
    }
    assert_eq!(bench.handle.pending().await.unwrap()[0].queued, 0, "it still has to be finalized");
    bench.handle.stream_finalized(&bench.run).await.unwrap();
    assert_eq!(bench.handle.pending().await.unwrap(), []);
    let status = bench.handle.snapshot().borrow().clone();
    assert_eq!(status.listed[0].state, RunState::Done);
    assert!(!schema::beside(&bench.path(), "-wal").exists(), "the file can be copied by itself");
    assert_eq!(bench.read().info().state, RunState::Done);
    assert!(matches!(bench.handle.take(&bench.run, 1, &[], 0).await, Err(Error::UnknownRun(_))));

    bench.store.close().await.unwrap();
    let (store, handle) = Store::open(settings(bench.folder.path())).unwrap();
    assert_eq!(handle.pending().await.unwrap(), []);
    assert_eq!(handle.snapshot().borrow().listed[0].state, RunState::Done);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_under_a_finished_run_needs_no_finalizing() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..10, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    bench.handle.settle(&bench.run, 0, &[], &[]).await.unwrap();
    bench.handle.end_run().await.unwrap();
    bench.handle.stream_ended(&bench.run, "404").await.unwrap();
    assert_eq!(bench.handle.pending().await.unwrap(), []);
}

#[tokio::test]
async fn runs_wait_in_the_order_in_which_they_began() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..5, 1)).await;
    bench.handle.end_run().await.unwrap();
    let mut second = start(1, 10);
    second.time = TimeBase::anchored(crate::model::TimeZero {
        wall: second.time.zero().wall.shifted(3 * SECOND),
        monotonic: second.time.zero().monotonic,
    });
    let second = bench.handle.begin(second).await.unwrap();
    let pending: Vec<_> = bench.handle.pending().await.unwrap().into_iter().map(|run| (run.run, run.state)).collect();
    assert_eq!(pending, [(bench.run.clone(), RunState::Closed), (second, RunState::Recording)]);
}

#[tokio::test]
async fn a_damaged_chunk_is_given_up_and_the_others_go_on() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..30, 2)).await;
    let other = rusqlite::Connection::open(bench.path()).unwrap();
    other.execute("UPDATE bodies SET body = zeroblob(20) WHERE seq = 1", []).unwrap();
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let taken = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    assert_eq!(taken.iter().map(|frozen| (frozen.seq, frozen.chunk.index)).collect::<Vec<_>>(), [(0, 0), (2, 2)]);
    let totals = bench.totals();
    assert_eq!((totals.points[0].rejected, totals.points[0].queued), (10, 20));
    assert_balanced(&totals);
    assert!(bench.read().refusals().unwrap()[0].words.contains("damaged"));
}

#[tokio::test]
async fn an_operator_can_look_at_the_queue_with_sql() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..10, 2)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 1, &[], 0).await.unwrap();
    let sql = rusqlite::Connection::open(bench.path()).unwrap();
    let row = sql.query_one("SELECT state, first_utc, points, data_id FROM queue", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
    });
    let wanted = ("frozen".to_owned(), "2026-09-21 14:13:20".to_owned(), 20, "data-1".to_owned());
    assert_eq!(row.unwrap(), wanted);
}

#[tokio::test]
async fn commands_that_wait_together_share_one_commit() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..500, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let taken = bench.handle.take(&bench.run, 50, &[], 0).await.unwrap();
    let before = bench.handle.snapshot().borrow().commits.commits;
    // The thread waits for this lock with its first command, while the others queue up behind it.
    let other = rusqlite::Connection::open(bench.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut settling = tokio::task::JoinSet::new();
    for frozen in &taken {
        let (handle, run, seq) = (bench.handle.clone(), bench.run.clone(), frozen.seq);
        settling.spawn(async move { handle.settle(&run, seq, &[], &[]).await });
    }
    tokio::task::yield_now().await;
    other.execute_batch("ROLLBACK").unwrap();
    while let Some(settled) = settling.join_next().await {
        settled.unwrap().unwrap();
    }
    let status = bench.handle.snapshot().borrow().clone();
    assert_eq!(status.runs[0].points[0].uploaded, 500);
    assert_eq!(status.commits.commits, before + 1);
}

/// A session whose wall clock thinks that it is 1970.
fn in_1970(channels: usize, seconds: i64) -> RunStart {
    let time = TimeBase::anchored(crate::model::TimeZero {
        wall: Stamp::from_nanos(seconds * SECOND),
        monotonic: TimeBase::start().zero().monotonic,
    });
    RunStart { time, resume: false, ..start(channels, 10) }
}

#[tokio::test]
async fn a_run_that_was_closed_offline_in_1970_is_dated_by_the_next_one_of_the_same_boot() {
    let folder = TempDir::new().unwrap();
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    let run = handle.begin(in_1970(1, 20)).await.unwrap();
    handle.record_clock(ClockReading { source: ClockSource::Host, ..reading(0) }).await.unwrap();
    let ticks: Vec<Tick> = (0..10)
        .map(|number| Tick { at: Stamp::from_nanos(20 * SECOND + number), points: vec![point(0, 1.0)] })
        .collect();
    handle.append(batch(ticks)).unwrap();
    handle.end_run().await.unwrap();
    store.close().await.unwrap();

    // The network comes while the next process records, whose wall clock somebody has set an hour forward meanwhile.
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    let second = handle.begin(in_1970(1, 3_620)).await.unwrap();
    assert_ne!(second, run);
    let true_second = 1_790_000_000 * SECOND;
    handle.record_clock(reading(true_second - 3_620 * SECOND)).await.unwrap();
    handle.stream_opened(&run, "data-1").await.unwrap();
    let taken = handle.take(&run, 1, &[], 0).await.unwrap();
    let off = taken[0].chunk.channels[0].stamps[0].nanos_since(Stamp::from_nanos(true_second));
    assert!((-DEADLINE.as_secs().cast_signed() * SECOND..SECOND).contains(&off), "wrong by {off} ns");
    // What was said once stays, also when the other run's clock is no longer there.
    store.close().await.unwrap();
    std::fs::remove_file(run_path(folder.path(), &second)).unwrap();
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    assert_eq!(handle.take(&run, 1, &[], 0).await.unwrap(), taken);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_chunk_without_a_body_is_given_up_and_the_others_go_on() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..30, 2)).await;
    let other = rusqlite::Connection::open(bench.path()).unwrap();
    other.execute("DELETE FROM bodies WHERE seq = 0", []).unwrap();
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let taken = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap();
    assert_eq!(taken.iter().map(|frozen| frozen.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(bench.totals().points[0].rejected, 10);
    assert_balanced(&bench.totals());
}

#[tokio::test]
async fn a_file_that_another_program_has_broken_is_one_run_s_affair() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..10, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    let other = rusqlite::Connection::open(bench.path()).unwrap();
    other.execute_batch("DROP TABLE bodies; DROP TABLE rejected").unwrap();
    let error = bench.handle.take(&bench.run, 9, &[], 0).await.unwrap_err();
    assert!(error.is_of_one_run(), "{error:?}");
    let unwritable = Error::Write {
        path: bench.path(),
        source: std::sync::Arc::new(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(13), None)),
    };
    assert!(!unwritable.is_of_one_run(), "a full disk is everybody's");
}

#[tokio::test]
async fn a_closed_run_that_never_had_a_stream_is_done_when_it_is_finalized() {
    let bench = Bench::new(start(1, 10)).await;
    assert!(matches!(bench.handle.stream_finalized(&bench.run).await, Err(Error::NoStream(_))), "it still records");
    bench.store.close().await.unwrap();
    let sql = rusqlite::Connection::open(run_path(bench.folder.path(), &bench.run)).unwrap();
    sql.execute("UPDATE run SET state = 'closed'", []).unwrap();
    drop(sql);
    let (store, handle) = Store::open(settings(bench.folder.path())).unwrap();
    assert_eq!(handle.pending().await.unwrap().len(), 1);
    handle.stream_finalized(&bench.run).await.unwrap();
    assert_eq!(handle.pending().await.unwrap(), []);
    store.close().await.unwrap();
}
