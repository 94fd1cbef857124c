//! Appending, committing, sealing.

use crate::model::{Counts, Reason, RunState};

use super::*;

#[tokio::test]
async fn what_was_committed_is_read_back_as_it_was() {
    let bench = Bench::new(start(3, 100)).await;
    let mut ticks = ticks(0..5, 3);
    ticks[1].points.remove(0);
    ticks[2].points[1].mark = Mark::Filled;
    ticks[3].points[2].mark = Mark::Uncertain;
    let counts = vec![
        Counts { read: 7, bad: [(Reason::NO_REPLY, 2)].into(), recorded: 99, ..Counts::default() },
        Counts { read: 6, decimated: 1, late: 1, ..Counts::default() },
    ];
    bench.handle.append(Batch { ticks: ticks.clone(), counts }).unwrap();
    bench.handle.flush().await.unwrap();
    bench.handle.event("note", "shutter open").await.unwrap();
    bench.handle.record_clock(reading(5)).await.unwrap();

    let file = bench.read();
    let info = file.info();
    assert_eq!((info.run, info.state), (bench.run.clone(), RunState::Recording));
    assert_eq!(info.spec, start(3, 100).spec);
    assert_eq!(info.channels[..], start(3, 100).channels[..]);
    assert_eq!((info.axis, info.period), (Axis::Grid, Some(Duration::from_millis(100))));
    let open = file.open_ticks().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].ticks, ticks);
    let counts = file.counts().unwrap();
    assert_eq!(
        counts[0],
        Counts { read: 7, recorded: 4, bad: [(Reason::NO_REPLY, 2)].into(), ..Counts::default() },
        "what was recorded is counted by the store"
    );
    assert_eq!((counts[1].recorded, counts[1].filled, counts[1].settled()), (4, 1, 6));
    let sessions = file.sessions().unwrap();
    assert_eq!((sessions.len(), sessions[0].config_text.as_str()), (1, "data_dir = \"x\"\n"));
    assert_eq!(sessions[0].boot_id.is_some(), Path::new("/proc/sys/kernel/random/boot_id").exists());
    assert_eq!(file.clock_readings().unwrap()[0].1, reading(5));
    assert_eq!(file.events().unwrap()[0].text, "shutter open");
    assert_eq!(bench.handle.counts().unwrap(), counts);
    assert_balanced(&bench.totals());
}

#[tokio::test]
async fn a_long_batch_is_cut_into_chunks_and_the_rest_stays_open() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..4, 2)).await;
    bench.append(ticks(4..37, 2)).await;
    let file = bench.read();
    let stored = chunks(&file);
    assert_eq!(stored.iter().map(|chunk| chunk.ticks.len()).collect::<Vec<_>>(), [10, 10, 10]);
    assert!(stored.iter().all(|chunk| chunk.points == [10, 10] && chunk.state == ChunkState::Sealed));
    let mut all: Vec<Tick> = stored.into_iter().flat_map(|chunk| chunk.ticks).collect();
    all.extend(file.open_ticks().unwrap().into_iter().flat_map(|open| open.ticks));
    assert_eq!(all, ticks(0..37, 2));
    let totals = bench.totals();
    assert_eq!((totals.queued_chunks, totals.points[0].queued, totals.points[0].open), (3, 30, 7));
    assert_balanced(&totals);
}

#[tokio::test]
async fn a_full_chunk_does_not_wait_for_the_next_commit() {
    let bench = Bench::new(start(1, 10)).await;
    bench.handle.changed().await;
    bench.handle.append(batch(ticks(0..9, 1))).unwrap();
    assert_eq!(bench.handle.pending().await.unwrap()[0].queued, 0);
    assert_eq!(bench.read().open_ticks().unwrap().len(), 0, "nothing is due");
    bench.handle.append(batch(ticks(9..10, 1))).unwrap();
    tokio::time::timeout(DEADLINE, bench.handle.changed()).await.unwrap();
    assert_eq!(bench.handle.pending().await.unwrap()[0].queued, 1);
    assert_eq!(chunks(&bench.read())[0].ticks, ticks(0..10, 1));
}

#[tokio::test]
async fn on_a_native_axis_the_fastest_channel_decides() {
    let bench = Bench::new(RunStart { axis: Axis::Native, ..start(2, 10) }).await;
    // Channel 0 comes three times as often as channel 1.
    let ticks: Vec<Tick> =
        (0..100).map(|number| if number % 4 == 3 { tick(number, 1..2) } else { tick(number, 0..1) }).collect();
    bench.append(ticks.clone()).await;
    let file = bench.read();
    let stored = chunks(&file);
    assert!(stored.iter().all(|chunk| chunk.points[0] == 10 && chunk.points[1] <= 4));
    assert_eq!(stored.len(), 7);
    let all = stored.into_iter().flat_map(|chunk| chunk.ticks);
    let all: Vec<Tick> = all.chain(file.open_ticks().unwrap().into_iter().flat_map(|open| open.ticks)).collect();
    assert_eq!(all, ticks);
}

#[tokio::test]
async fn a_chunk_spans_no_more_than_it_may() {
    let folder = TempDir::new().unwrap();
    let span = Settings { max_span: Duration::from_secs(60), ..settings(folder.path()) };
    let (store, handle) = Store::open(span).unwrap();
    let run = handle.begin(start(1, 100)).await.unwrap();
    // One tick every 25 s: three of them span 50 s, a fourth would make it 75 s.
    let slow: Vec<Tick> = (0..7).map(|number| tick(number * 250, 0..1)).collect();
    handle.append(batch(slow)).unwrap();
    handle.flush().await.unwrap();
    let stored = chunks(&RunFile::open(run_path(folder.path(), &run)).unwrap());
    assert_eq!(stored.iter().map(|chunk| chunk.ticks.len()).collect::<Vec<_>>(), [3, 3]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn ticks_are_committed_and_sealed_by_time_without_being_asked() {
    let folder = TempDir::new().unwrap();
    let quick = Settings {
        commit_every: Duration::from_millis(10),
        max_span: Duration::from_millis(300),
        ..settings(folder.path())
    };
    let (store, handle) = Store::open(quick).unwrap();
    handle.begin(start(1, 100)).await.unwrap();
    let mut status = handle.snapshot();
    handle.append(batch(ticks(0..3, 1))).unwrap();
    let open = status.wait_for(|status| status.runs[0].points[0].open == 3);
    tokio::time::timeout(DEADLINE, open).await.unwrap().unwrap();
    let sealed = status.wait_for(|status| status.runs[0].points[0].queued == 3);
    tokio::time::timeout(DEADLINE, sealed).await.unwrap().unwrap();
    assert_eq!(handle.pending().await.unwrap()[0].queued, 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn counts_without_ticks_are_kept_and_folded() {
    let bench = Bench::new(start(1, 100)).await;
    let bad = || vec![Counts { read: 1, bad: [(Reason::LINK_DOWN, 1)].into(), ..Counts::default() }];
    for _ in 0..3 {
        bench.handle.append(Batch { ticks: Vec::new(), counts: bad() }).unwrap();
        bench.handle.flush().await.unwrap();
    }
    assert_eq!(bench.read().counts().unwrap()[0].bad_total(), 3);
    assert_eq!(bench.read().open_ticks().unwrap().len(), 3);
    bench.handle.end_run().await.unwrap();
    let file = bench.read();
    assert_eq!(file.counts().unwrap()[0].bad_total(), 3);
    assert_eq!(file.open_ticks().unwrap().len(), 0);
    assert_eq!(file.info().state, RunState::Done, "nothing was recorded, so nothing is left to do");
    assert_eq!(bench.handle.pending().await.unwrap(), []);
}

#[tokio::test]
async fn points_that_can_not_be_stored_are_counted() {
    let bench = Bench::new(start(2, 100)).await;
    let twice = Tick { points: vec![point(1, 1.0), point(1, 2.0), point(0, 3.0), point(7, 4.0)], ..tick(5, 0..1) };
    bench.append(vec![tick(4, 0..2), twice, tick(4, 0..2), tick(6, 0..2)]).await;
    let counts = bench.read().counts().unwrap();
    assert_eq!((counts[0].recorded, counts[0].unrecorded), (2, 2));
    assert_eq!((counts[1].recorded, counts[1].unrecorded), (3, 2));
    assert_balanced(&bench.totals());
}

#[tokio::test]
async fn a_batch_comes_back_when_too_many_wait() {
    let folder = TempDir::new().unwrap();
    let (store, handle) = Store::open(Settings { waiting_batches: 4, ..settings(folder.path()) }).unwrap();
    handle.begin(start(1, 100)).await.unwrap();
    store.close().await.unwrap();
    let late = batch(ticks(0..1, 1));
    assert_eq!(handle.append(late.clone()), Err(late), "nobody is left to take it");
    assert!(matches!(handle.flush().await, Err(Error::Stopped)));

    // A reader of the lock file's place: the thread is held up by a file that another connection has locked.
    let (store, handle) = Store::open(Settings { waiting_batches: 4, ..settings(folder.path()) }).unwrap();
    let run = handle.begin(RunStart { resume: false, ..start(1, 1) }).await.unwrap();
    let other = rusqlite::Connection::open(run_path(folder.path(), &run)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut sent = 0;
    let refused = loop {
        match handle.append(batch(ticks(sent..sent + 1, 1))) {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
        assert!(sent < 1_000_000, "the queue has no end");
    };
    assert_eq!(refused, batch(ticks(sent..sent + 1, 1)));
    other.execute_batch("ROLLBACK").unwrap();
    handle.flush().await.unwrap();
    assert_eq!(handle.counts().unwrap()[0].recorded, u64::try_from(sent).unwrap(), "what was taken is recorded");
    store.close().await.unwrap();
}

#[tokio::test]
async fn there_is_one_run_at_a_time_and_it_has_to_make_sense() {
    let bench = Bench::new(start(1, 100)).await;
    assert!(matches!(bench.handle.begin(start(1, 100)).await, Err(Error::AlreadyRecording(run)) if run == bench.run));
    bench.handle.end_run().await.unwrap();
    assert!(matches!(bench.handle.end_run().await, Err(Error::NotRecording)));
    assert!(matches!(bench.handle.event("note", "x").await, Err(Error::NotRecording)));
    assert!(matches!(bench.handle.begin(start(0, 100)).await, Err(Error::Start(_))));
    assert!(matches!(bench.handle.begin(start(1, 0)).await, Err(Error::Start(_))));
    let mut twins = start(2, 100);
    twins.channels[1].name = twins.channels[0].name.clone();
    assert!(matches!(bench.handle.begin(twins).await, Err(Error::Start(_))));
}
