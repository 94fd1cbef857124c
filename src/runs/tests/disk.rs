//! A full disk, and what recording costs a disk that wears.

use crate::model::Counts;

use super::*;

#[tokio::test]
async fn on_a_full_disk_recording_pauses_holds_and_goes_on_by_itself() {
    let folder = TempDir::new().unwrap();
    let quick = Settings {
        commit_every: Duration::from_millis(5),
        retry_every: Duration::from_millis(20),
        ..settings(folder.path())
    };
    let (store, handle) = Store::open(quick).unwrap();
    let run = handle.begin(start(2, 50)).await.unwrap();
    handle.append(batch(ticks(0..10, 2))).unwrap();
    handle.flush().await.unwrap();
    handle.limit_pages(Some(0)).await.unwrap();
    let mut status = handle.snapshot();
    let mut next = 10;
    while !matches!(status.borrow_and_update().state, State::Paused { .. }) {
        assert!(next < 100_000, "the disk is never full");
        handle.append(batch(ticks(next..next + 10, 2))).unwrap();
        next += 10;
        drop(handle.flush().await);
    }
    handle.append(batch(ticks(next..next + 10, 2))).unwrap();
    next += 10;
    let error = handle.flush().await.unwrap_err();
    assert!(matches!(error, Error::Write { .. }) && !error.is_damage(), "{error:?}");
    let paused = status.borrow_and_update().clone();
    let State::Paused { why } = &paused.state else { panic!("{:?}", paused.state) };
    assert!(why.contains("full"), "{why}");
    assert!(paused.buffered >= 20);
    assert_balanced(&paused.runs[0]);
    assert!(matches!(handle.end_run().await, Err(Error::Write { .. })), "it can't be closed without its last ticks");

    handle.limit_pages(None).await.unwrap();
    let again = status.wait_for(|status| status.state == State::Recording && status.buffered == 0);
    tokio::time::timeout(DEADLINE, again).await.unwrap().unwrap();
    handle.end_run().await.unwrap();
    let file = RunFile::open(run_path(folder.path(), &run)).unwrap();
    let all: Vec<Tick> = chunks(&file).into_iter().flat_map(|chunk| chunk.ticks).collect();
    assert_eq!(all, ticks(0..next, 2), "nothing is lost, nothing is there twice");
    assert!(chunks(&file).iter().all(|chunk| chunk.ticks.len() <= 50));
    assert_balanced(&handle.snapshot().borrow().runs[0]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_memory_can_not_hold_is_counted() {
    let folder = TempDir::new().unwrap();
    let (store, handle) = Store::open(Settings { hold_bytes: 20_000, ..settings(folder.path()) }).unwrap();
    let run = handle.begin(start(2, 50)).await.unwrap();
    handle.limit_pages(Some(0)).await.unwrap();
    let read = |count| vec![Counts { read: count, ..Counts::default() }; 2];
    for first in 0..200 {
        let ticks = ticks(first * 10..first * 10 + 10, 2);
        handle.append(Batch { ticks, counts: read(10) }).unwrap();
        drop(handle.flush().await);
    }
    handle.limit_pages(None).await.unwrap();
    handle.end_run().await.unwrap();
    let file = RunFile::open(run_path(folder.path(), &run)).unwrap();
    let counts = file.counts().unwrap();
    assert!(counts[0].unrecorded > 1000, "{counts:?}");
    for counts in &counts {
        assert_eq!((counts.read, counts.settled()), (2000, 2000));
    }
    let kept: Vec<Tick> = chunks(&file).into_iter().flat_map(|chunk| chunk.ticks).collect();
    assert_eq!(kept.last(), ticks(1999..2000, 2).last(), "the newest are kept");
    assert_eq!(kept.len(), usize::try_from(counts[1].recorded).unwrap());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_undoes_a_group_of_commands_and_tells_each_caller() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..100, 1)).await;
    bench.handle.stream_opened(&bench.run, "data-1").await.unwrap();
    bench.handle.take(&bench.run, 10, &[], 0).await.unwrap();
    bench.handle.limit_pages(Some(0)).await.unwrap();
    let before = bench.totals();
    let words = "x".repeat(100_000);
    let refused = [(channel(0).name, words)];
    // Queued together, so that they share a transaction; the last does not fit on the disk.
    let (first, second, third) = tokio::join!(
        bench.handle.settle(&bench.run, 0, &[], &[]),
        bench.handle.settle(&bench.run, 1, &[], &[]),
        bench.handle.settle(&bench.run, 2, &refused, &[])
    );
    assert!(matches!(third, Err(Error::Write { .. })), "{third:?}");
    bench.handle.limit_pages(None).await.unwrap();
    let stored = chunks(&bench.read());
    for (result, chunk) in [&first, &second].into_iter().zip(&stored) {
        let wanted = if result.is_ok() { ChunkState::Confirmed } else { ChunkState::Frozen };
        assert_eq!(chunk.state, wanted, "what the caller was told is what is on disk");
    }
    assert_eq!(stored[2].state, ChunkState::Frozen);
    assert_balanced(&bench.totals());
    for seq in 0..3 {
        bench.handle.settle(&bench.run, seq, &[], &[]).await.unwrap();
    }
    assert_eq!(bench.totals().points[0].uploaded, before.points[0].uploaded + 30);
}

/// Bytes of the log and the file that ten minutes of three channels at 10 Hz writes: every commit appends its pages to the log.
#[tokio::test]
async fn a_commit_a_second_spares_an_sd_card() {
    let bench = Bench::new(start(3, 100)).await;
    let commits = 600;
    // What SQLite writes is what the log grows by; a reader that stays keeps it from being started over.
    let reader = bench.read();
    let log = schema::beside(&bench.path(), "-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    for second in 0..commits {
        let counts = vec![Counts { read: 10, ..Counts::default() }; 3];
        bench.handle.append(Batch { ticks: ticks(second * 10..second * 10 + 10, 3), counts }).unwrap();
        bench.handle.flush().await.unwrap();
    }
    let written = std::fs::metadata(&log).unwrap().len() - before;
    drop(reader);
    let pages = written as f64 / 4120.0 / commits as f64;
    let megabytes_a_day = written as f64 * 144.0 / 1e6;
    println!("{pages:.2} pages a commit, {megabytes_a_day:.0} MB a day in the log");
    assert!(pages < 1.8, "{pages} pages a commit");
}
