//! Run files that vanish or break while they are written. The whole of it is in `tests/it/bridge/vanishing.rs`.

use std::fs;

use super::*;
use crate::model::Counts;

fn prompt(folder: &Path) -> Settings {
    Settings { retry_every: Duration::from_millis(20), ..settings(folder) }
}

fn read(count: u64) -> Vec<Counts> {
    vec![Counts { read: count, ..Counts::default() }]
}

async fn settled(handle: &Handle) -> Status {
    let mut status = handle.snapshot();
    let mended = |status: &Status| status.set_aside.iter().all(|aside| !aside.why.ends_with("being salvaged"));
    let settled = status.wait_for(|status| status.state == State::Recording && status.buffered == 0 && mended(status));
    tokio::time::timeout(DEADLINE, settled).await.unwrap().unwrap().clone()
}

/// Nothing of the file can be read any more: what memory has goes on in a new run, and the accounts balance.
#[tokio::test]
async fn what_is_in_memory_goes_on_in_a_new_run_when_the_file_is_broken() {
    let folder = TempDir::new().unwrap();
    let (store, handle) = Store::open(prompt(folder.path())).unwrap();
    let old = handle.begin(start(1, 50)).await.unwrap();
    handle.record_clock(reading(7)).await.unwrap();
    handle.append(Batch { ticks: ticks(0..120, 1), counts: read(120) }).unwrap();
    handle.flush().await.unwrap();
    let path = run_path(folder.path(), &old);
    let nonsense = vec![0x55; 1 << 16];
    fs::write(&path, &nonsense).unwrap();
    fs::write(schema::beside(&path, "-wal"), &nonsense).unwrap();
    // What is broken shows when it is next read: here after a transaction that did not fit.
    handle.limit_pages(Some(0)).await.unwrap();
    let mut next = 120;
    let mut status = handle.snapshot();
    while status.borrow_and_update().run.as_ref() == Some(&old) {
        assert!(next < 100_000, "a file of nonsense is written to");
        handle.append(Batch { ticks: ticks(next..next + 10, 1), counts: read(10) }).unwrap();
        next += 10;
        drop(handle.flush().await);
    }
    let status = settled(&handle).await;
    let new = status.run.unwrap();
    assert_eq!(status.set_aside.len(), 1, "{:?}", status.set_aside);
    assert!(status.set_aside[0].path.to_string_lossy().contains(".damaged-"));
    assert!(!path.exists());
    handle.append(Batch { ticks: ticks(next..next + 10, 1), counts: read(10) }).unwrap();
    handle.end_run().await.unwrap();
    let file = RunFile::open(run_path(folder.path(), &new)).unwrap();
    let kept: Vec<Tick> = chunks(&file).into_iter().flat_map(|chunk| chunk.ticks).collect();
    assert_eq!(kept.last(), ticks(0..next + 10, 1).last());
    assert!(kept.windows(2).all(|pair| pair[1].at.nanos_since(pair[0].at) == SECOND / 10), "a tick is missing");
    let counts = file.counts().unwrap();
    assert_eq!(counts[0].read, counts[0].settled(), "{counts:?}");
    assert_eq!(file.clock_readings().unwrap().len(), 1, "the session's clock is known");
    store.close().await.unwrap();
}

/// A process that dies between the copy and its name leaves a whole copy; the next start gives it its name.
#[tokio::test]
async fn a_copy_that_was_not_named_yet_is_found_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    let run = handle.begin(start(1, 50)).await.unwrap();
    handle.append(batch(ticks(0..120, 1))).unwrap();
    handle.end_run().await.unwrap();
    store.close().await.unwrap();
    let path = run_path(folder.path(), &run);
    fs::rename(&path, schema::beside(&path, ".restored")).unwrap();
    fs::write(schema::beside(&path, "-wal"), "of the file that was deleted").unwrap();
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    assert_eq!(handle.pending().await.unwrap()[0].queued, 3);
    store.close().await.unwrap();
}
