//! Finished runs go; what the platform does not have stays, whatever its age.

use std::fs::File;
use std::time::SystemTime;

use super::*;
use crate::model::ChannelName;

/// Ends a run with so many chunks and settles them, with these refusals of the first chunk.
async fn finish(handle: &Handle, refused: &[(ChannelName, String)], clock: ClockReading) -> RunId {
    let run = handle.begin(start(1, 10)).await.unwrap();
    handle.record_clock(clock).await.unwrap();
    handle.append(batch(ticks(0..50, 1))).unwrap();
    handle.end_run().await.unwrap();
    handle.stream_opened(&run, "data").await.unwrap();
    for chunk in handle.take(&run, 10, &[], 0).await.unwrap() {
        let refused = if chunk.seq == 0 { refused } else { &[] };
        handle.settle(&run, chunk.seq, refused, &[]).await.unwrap();
    }
    handle.stream_finalized(&run).await.unwrap();
    run
}

/// Makes a run as if it had been done so many days ago.
fn age(path: &Path, days: u64) {
    let at = SystemTime::UNIX_EPOCH + now().checked_sub(Duration::from_secs(days * 86_400)).unwrap();
    File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
}

fn now() -> Duration {
    Duration::from_nanos(u64::try_from(TimeBase::start().now().as_nanos()).unwrap())
}

/// A reading with which the ticks of these tests are of 2001.
fn long_ago() -> ClockReading {
    reading(-790_000_000 * SECOND)
}

fn names(plan: &[Prunable]) -> Vec<(&RunId, Option<PruneReason>)> {
    plan.iter().map(|prunable| (&prunable.run, prunable.why)).collect()
}

#[tokio::test]
async fn by_age_goes_what_is_done_whole_and_old() {
    let folder = TempDir::new().unwrap();
    let keep = Settings { keep_runs: Some(Duration::from_secs(30 * 86_400)), min_free: 0, ..settings(folder.path()) };
    let (store, handle) = Store::open(keep.clone()).unwrap();
    let old = finish(&handle, &[], long_ago()).await;
    let rejected = finish(&handle, &[(channel(0).name, "no".to_owned())], long_ago()).await;
    let young = finish(&handle, &[], long_ago()).await;
    let stamped = finish(&handle, &[], reading(0)).await;
    let queued = handle.begin(start(1, 10)).await.unwrap();
    handle.append(batch(ticks(0..50, 1))).unwrap();
    handle.end_run().await.unwrap();
    store.close().await.unwrap();
    let path = |run: &RunId| run_path(folder.path(), run);
    let damaged = folder.path().join("runs/x.sqlite.damaged-1");
    std::fs::write(&damaged, "not a run").unwrap();
    for run in [&old, &rejected, &queued] {
        age(&path(run), 40);
    }
    age(&damaged, 40);
    age(&path(&young), 20);

    // In the order of their ends; the platform's stamps say that one is not as old as its file.
    let plan = prune(&keep, true).unwrap();
    assert_eq!(names(&plan)[..2], [(&old, Some(PruneReason::Age)), (&young, None)]);
    assert!(plan.len() == 3 && plan[2].run == stamped && plan[0].bytes > 4096, "{plan:#?}");
    assert!(path(&old).exists(), "it was only asked what would be done");

    // Who reads a run reads on.
    let reader = RunFile::open(path(&old)).unwrap();
    prune(&keep, false).unwrap();
    assert_eq!(chunks(&reader).len(), 5);
    let left = [&old, &rejected, &young, &stamped, &queued].map(|run| path(run).exists());
    assert_eq!(left, [false, true, true, true, true]);
    assert!(damaged.exists());
    assert_eq!(names(&prune(&Settings { keep_runs: None, ..keep }, true).unwrap())[0], (&young, None));
}

#[tokio::test]
async fn for_space_goes_the_oldest_and_never_the_run_just_recorded() {
    let folder = TempDir::new().unwrap();
    let greedy = Settings { keep_runs: None, min_free: u64::MAX, ..settings(folder.path()) };
    let modest = Settings { min_free: 0, ..greedy.clone() };
    let (store, handle) = Store::open(modest).unwrap();
    let first = finish(&handle, &[], long_ago()).await;
    let second = finish(&handle, &[], long_ago()).await;
    store.close().await.unwrap();
    age(&run_path(folder.path(), &second), 40);
    age(&run_path(folder.path(), &first), 20);
    let space = Some(PruneReason::Space);
    assert_eq!(names(&prune(&greedy, true).unwrap()), [(&second, space), (&first, space)]);
    let (store, handle) = Store::open(greedy).unwrap();
    let mut status = handle.snapshot();
    let gone = status.wait_for(|status| status.pruned.runs == 2);
    tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
    let third = finish(&handle, &[], long_ago()).await;
    assert_eq!(handle.prune(false).await.unwrap(), []);
    assert!(run_path(folder.path(), &third).exists());
    assert!(handle.snapshot().borrow().disk.low);
    assert!(matches!(prune(&settings(folder.path()), false), Err(Error::InUse { .. })));
    store.close().await.unwrap();
}

/// A host whose clock is years ahead must not think that every run is old.
#[tokio::test]
async fn without_the_platform_s_time_nothing_goes_for_its_age() {
    let folder = TempDir::new().unwrap();
    let keep = Settings { keep_runs: Some(Duration::from_secs(1)), min_free: 0, ..settings(folder.path()) };
    let (store, handle) = Store::open(keep).unwrap();
    let old = finish(&handle, &[], long_ago()).await;
    age(&run_path(folder.path(), &old), 40);
    handle.begin(start(1, 10)).await.unwrap();
    assert_eq!(names(&handle.prune(false).await.unwrap()), [(&old, None)]);
    let host = ClockReading { source: ClockSource::Host, ..reading(0) };
    handle.record_clock(host).await.unwrap();
    assert_eq!(names(&handle.prune(false).await.unwrap()), [(&old, None)]);
    handle.record_clock(reading(0)).await.unwrap();
    let mut status = handle.snapshot();
    let gone = status.wait_for(|status| status.pruned.runs == 1);
    tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
    assert!(!run_path(folder.path(), &old).exists());
    store.close().await.unwrap();
}
