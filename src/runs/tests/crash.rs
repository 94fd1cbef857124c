//! Crashes, restarts, damaged files, the lock.

use std::io::Write;

use crate::model::RunState;

use super::*;

fn all_ticks(file: &RunFile) -> Vec<Tick> {
    let chunks = chunks(file).into_iter().flat_map(|chunk| chunk.ticks);
    chunks.chain(file.open_ticks().unwrap().into_iter().flat_map(|open| open.ticks)).collect()
}

#[tokio::test]
async fn after_a_crash_the_same_run_goes_on() {
    let bench = Bench::new(start(2, 10)).await;
    bench.append(ticks(0..13, 2)).await;
    bench.append(ticks(13..16, 2)).await;
    bench.handle.append(batch(ticks(16..18, 2))).unwrap();
    bench.handle.pending().await.unwrap();
    let copy = bench.crash_copy();

    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.snapshot().borrow().unfinished, Some(bench.run.clone()));
    let named_anew =
        RunStart { spec: StreamSpec { name: "GEN10 later".to_owned(), ..start(2, 10).spec }, ..start(2, 10) };
    assert_eq!(handle.begin(named_anew).await.unwrap(), bench.run);
    handle.append(batch(ticks(0..4, 2))).unwrap();
    handle.end_session().await.unwrap();
    let file = RunFile::open(run_path(copy.path(), &bench.run)).unwrap();
    let stored = chunks(&file);
    let shape: Vec<_> = stored.iter().map(|chunk| (chunk.session.0, chunk.ticks.len())).collect();
    assert_eq!(shape, [(1, 10), (1, 6), (2, 4)], "what the dead session left is a chunk of its own");
    assert_eq!(all_ticks(&file), [ticks(0..16, 2), ticks(0..4, 2)].concat(), "two ticks were not committed yet");
    let sessions = file.sessions().unwrap();
    assert_eq!((sessions[0].ended, sessions[1].ended.is_some()), (None, true));
    assert_eq!(file.counts().unwrap()[0].recorded, 20);
    assert_eq!(file.info().state, RunState::Recording);
    assert_balanced(&handle.snapshot().borrow().runs[0]);

    // Within the same process, too.
    assert_eq!(handle.begin(start(2, 10)).await.unwrap(), bench.run);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_run_that_does_not_fit_is_closed_and_another_begins() {
    let fits_not: [fn(&mut RunStart); 5] = [
        |start| start.channels[0].unit = None,
        |start| start.spec.points_per_chunk = 11,
        |start| start.spec.synth_source_id = Some(43),
        |start| drop(start.channels.pop()),
        |start| start.resume = false,
    ];
    for change in fits_not {
        let bench = Bench::new(start(2, 10)).await;
        bench.append(ticks(0..3, 2)).await;
        let copy = bench.crash_copy();
        let (store, handle) = Store::open(settings(copy.path())).unwrap();
        let mut other = start(2, 10);
        change(&mut other);
        let second = handle.begin(other).await.unwrap();
        assert_ne!(second, bench.run);
        let first = RunFile::open(run_path(copy.path(), &bench.run)).unwrap();
        assert_eq!((first.info().state, chunks(&first).len()), (RunState::Closed, 1));
        assert_eq!(all_ticks(&first), ticks(0..3, 2));
        assert_eq!(handle.pending().await.unwrap().len(), 2);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_is_too_old_is_closed_at_start_or_when_its_time_is_up() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..3, 1)).await;
    let copy = bench.crash_copy();
    let no_longer = Settings { resume_within: Duration::ZERO, ..settings(copy.path()) };
    let (store, handle) = Store::open(no_longer).unwrap();
    let pending = handle.pending().await.unwrap();
    assert_eq!((pending[0].state, pending[0].queued), (RunState::Closed, 1));
    assert_ne!(handle.begin(start(1, 10)).await.unwrap(), bench.run);
    store.close().await.unwrap();

    let copy = bench.crash_copy();
    let soon = Settings { resume_within: Duration::from_secs(2), ..settings(copy.path()) };
    let (store, handle) = Store::open(soon).unwrap();
    let mut status = handle.snapshot();
    let closed = status.wait_for(|status| status.runs[0].state == RunState::Closed);
    tokio::time::timeout(DEADLINE, closed).await.unwrap().unwrap();
    store.close().await.unwrap();

    let copy = bench.crash_copy();
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    handle.close_unfinished().await.unwrap();
    assert_eq!(handle.pending().await.unwrap()[0].state, RunState::Closed);
    store.close().await.unwrap();
}

#[tokio::test]
async fn of_two_unfinished_runs_the_older_is_closed() {
    let folder = TempDir::new().unwrap();
    let mut runs = Vec::new();
    for second in [0, 5] {
        let mut start = start(1, 10);
        start.time = TimeBase::anchored(crate::model::TimeZero {
            wall: start.time.zero().wall.shifted(second * SECOND),
            monotonic: start.time.zero().monotonic,
        });
        let other = TempDir::new().unwrap();
        let (store, handle) = Store::open(settings(other.path())).unwrap();
        let run = handle.begin(start).await.unwrap();
        handle.append(batch(ticks(0..3, 1))).unwrap();
        store.close().await.unwrap();
        std::fs::create_dir_all(folder.path().join("runs")).unwrap();
        std::fs::copy(run_path(other.path(), &run), run_path(folder.path(), &run)).unwrap();
        runs.push(run);
    }
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    let states: Vec<RunState> = handle.pending().await.unwrap().into_iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Closed, RunState::Recording]);
    assert_eq!(handle.begin(start(1, 10)).await.unwrap(), runs[1]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_the_first_is() {
    let folder = TempDir::new().unwrap();
    let (store, _handle) = Store::open(settings(folder.path())).unwrap();
    let error = Store::open(settings(folder.path())).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    store.close().await.unwrap();
    let (store, _handle) = Store::open(settings(folder.path())).unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn damaged_files_are_set_aside_and_do_not_stop_the_start() {
    let bench = Bench::new(start(1, 10)).await;
    for first in [0, 300] {
        bench.append(ticks(first..first + 300, 1)).await;
    }
    bench.handle.end_run().await.unwrap();
    let copy = bench.crash_copy();
    let runs = copy.path().join("runs");
    let good = run_path(copy.path(), &bench.run);
    // Fold the log into the file, so that what is damaged is the only copy.
    let sql = rusqlite::Connection::open(&good).unwrap();
    sql.execute_batch("UPDATE run SET tidy = 1; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(sql);
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(runs.join("text.sqlite"), "not a database, and long enough to be looked at").unwrap();
    std::fs::write(runs.join("empty.sqlite"), "").unwrap();
    std::fs::write(runs.join("cut.sqlite"), &bytes[..bytes.len() / 2]).unwrap();
    let mut torn = bytes.clone();
    for page in torn.chunks_mut(4096).skip(1) {
        page.fill(0xA5);
    }
    std::fs::write(runs.join("torn.sqlite"), &torn).unwrap();
    std::fs::write(runs.join("torn.sqlite-wal"), "the log goes with its file").unwrap();
    rusqlite::Connection::open(runs.join("foreign.sqlite")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    std::fs::write(runs.join("copy of a run.sqlite"), &bytes).unwrap();
    std::fs::write(runs.join("newer.sqlite"), &bytes).unwrap();
    rusqlite::Connection::open(runs.join("newer.sqlite")).unwrap().pragma_update(None, "user_version", 4).unwrap();
    std::fs::write(runs.join("notes.txt"), "nothing to us").unwrap();

    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    let status = salvage::all_mended(&handle).await;
    let mut aside: Vec<String> =
        status.set_aside.iter().map(|aside| aside.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    aside.sort();
    let wanted = [
        "copy of a run.sqlite",
        "cut.sqlite.damaged-1",
        "empty.sqlite.damaged-1",
        "foreign.sqlite.damaged-1",
        "newer.sqlite",
        "text.sqlite.damaged-1",
        "torn.sqlite.damaged-1",
    ];
    assert_eq!(aside, wanted);
    assert!(runs.join("torn.sqlite.damaged-1-wal").exists());
    assert_eq!(std::fs::read(runs.join("torn.sqlite.damaged-1")).unwrap(), torn, "nothing is changed in it");
    assert_eq!(handle.pending().await.unwrap()[0].queued, 60, "the good run is there");
    handle.begin(start(1, 10)).await.unwrap();
    store.close().await.unwrap();

    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.snapshot().borrow().set_aside.len(), wanted.len(), "it is still shown after the next start");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_torn_log_costs_only_what_was_torn() {
    let bench = Bench::new(start(1, 100)).await;
    bench.append(ticks(0..5, 1)).await;
    let whole = std::fs::metadata(schema::beside(&bench.path(), "-wal")).unwrap().len();
    bench.append(ticks(5..9, 1)).await;
    let copy = bench.crash_copy();
    let log = schema::beside(&run_path(copy.path(), &bench.run), "-wal");
    let mut file = std::fs::File::options().append(true).open(&log).unwrap();
    file.set_len(whole + 1000).unwrap();
    file.write_all(&[0; 3000]).unwrap();
    drop(file);
    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.begin(start(1, 100)).await.unwrap(), bench.run);
    let file = RunFile::open(run_path(copy.path(), &bench.run)).unwrap();
    assert_eq!(all_ticks(&file), ticks(0..5, 1));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_run_that_was_closed_before_it_could_end_its_session_is_whole() {
    let bench = Bench::new(start(1, 100)).await;
    bench.handle.append(batch(ticks(0..5, 1))).unwrap();
    let path = bench.path();
    bench.store.close().await.unwrap();
    assert_eq!(all_ticks(&RunFile::open(path).unwrap()), ticks(0..5, 1), "closing commits what is in memory");
}

#[tokio::test]
async fn a_copy_is_read_where_nothing_can_be_written() {
    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..25, 1)).await;
    let path = bench.path();
    let before = bench.read();
    assert_eq!(all_ticks(&before), ticks(0..25, 1));
    bench.append(ticks(25..26, 1)).await;
    assert_eq!(all_ticks(&before), ticks(0..25, 1), "a reader sees one moment");
    assert_eq!(all_ticks(&bench.read()), ticks(0..26, 1));
    drop(before);
    bench.store.close().await.unwrap();
    // Neither `-wal` nor `-shm` can be made beside this one, also by root.
    let copy = TempDir::with_prefix("50% of? #1 ä").unwrap();
    let only = copy.path().join("copy.sqlite");
    std::fs::copy(path, &only).unwrap();
    std::fs::create_dir(schema::beside(&only, "-shm")).unwrap();
    assert_eq!(all_ticks(&RunFile::open(&only).unwrap()), ticks(0..26, 1));
}

#[tokio::test]
async fn a_damaged_open_batch_costs_only_itself() {
    let bench = Bench::new(start(2, 10)).await;
    for first in [0, 10, 12, 14] {
        let until: i64 = if first == 0 { 10 } else { first + 2 };
        let read = Counts { read: until.abs_diff(first), ..Counts::default() };
        bench.handle.append(Batch { ticks: ticks(first..until, 2), counts: vec![read; 2] }).unwrap();
        bench.handle.flush().await.unwrap();
    }
    let copy = bench.crash_copy();
    let path = run_path(copy.path(), &bench.run);
    let sql = rusqlite::Connection::open(&path).unwrap();
    let numbers = "SELECT number FROM open_batches ORDER BY number LIMIT 1 OFFSET";
    let change = |what: &str, place: u8| {
        sql.execute(&format!("UPDATE open_batches SET {what} WHERE number = ({numbers} {place})"), []).unwrap()
    };
    assert_eq!((change("ticks = x'0badcafe00'", 1), change("counts = 'nonsense'", 2)), (1, 1));
    // The log stays, as it does after a crash.
    sql.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    drop(sql);

    let (store, handle) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(handle.snapshot().borrow().set_aside.len(), 0);
    assert_balanced(&handle.snapshot().borrow().runs[0]);
    handle.close_unfinished().await.unwrap();
    assert_balanced(&handle.snapshot().borrow().runs[0]);
    let file = RunFile::open(&path).unwrap();
    assert_eq!(all_ticks(&file), [ticks(0..12, 2), ticks(14..16, 2)].concat());
    for counts in file.counts().unwrap() {
        assert_eq!((counts.read, counts.recorded, counts.unrecorded, counts.settled()), (16, 14, 2, 16));
    }
    let events = file.events().unwrap();
    let damaged: Vec<&str> =
        events.iter().filter(|event| event.kind == "damaged").map(|event| event.text.as_str()).collect();
    assert_eq!(damaged.len(), 2, "{events:?}");
    assert!(damaged[0].contains("0badcafe00") && damaged[1].contains("nonsense"), "{damaged:?}");
    store.close().await.unwrap();
}

/// A file without a log that is not marked as tidy counts as damaged. A kill in the very moment of opening must not make
/// one.
#[tokio::test]
async fn a_file_does_not_look_as_if_its_log_were_lost_for_a_moment_while_it_is_opened() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let bench = Bench::new(start(1, 10)).await;
    bench.append(ticks(0..25, 1)).await;
    for _ in 0..20 {
        let copy = bench.crash_copy();
        let path = run_path(copy.path(), &bench.run);
        let log = schema::beside(&path, "-wal");
        let opened = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&opened);
        let watching = std::thread::spawn(move || {
            let is_empty = || log.metadata().unwrap().len() == 0;
            let (mut seen, mut lost) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                if is_empty() {
                    // What a kill would leave: the file alone. It may be written to while it is copied.
                    let there = TempDir::new().unwrap();
                    let alone = there.path().join("alone.sqlite");
                    std::fs::copy(&path, &alone).unwrap();
                    if is_empty() {
                        let file = rusqlite::Connection::open(&alone).unwrap();
                        let tidy = file.query_row("SELECT tidy FROM run", [], |row| row.get::<_, i64>(0)).unwrap();
                        seen += 1;
                        lost += u32::from(tidy != 1);
                    }
                }
            }
            (seen, lost)
        });
        let (store, handle) = Store::open(settings(copy.path())).unwrap();
        assert_eq!(handle.begin(start(1, 10)).await.unwrap(), bench.run);
        opened.store(true, Ordering::Relaxed);
        let (seen, lost) = watching.join().unwrap();
        assert_eq!(lost, 0, "of {seen} moments with an empty log");
        store.close().await.unwrap();
    }
}
