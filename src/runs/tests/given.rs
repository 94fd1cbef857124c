//! Runs that a program gives chunks to.

use std::sync::Arc;

use super::*;
use crate::model::{Chunk, ChunkChannel, Frozen};

pub(super) const AT: i64 = 1_790_000_000 * SECOND;

fn spec(points_per_chunk: usize) -> StreamSpec {
    StreamSpec { name: "log".to_owned(), points_per_chunk, ..StreamSpec::default() }
}

fn given(points_per_chunk: usize) -> GivenStart {
    GivenStart {
        spec: spec(points_per_chunk),
        data_id: "d-1".to_owned(),
        time: TimeBase::start(),
        config_text: String::new(),
    }
}

fn axis(seconds: &[i64]) -> Arc<[Stamp]> {
    seconds.iter().map(|second| Stamp::from_nanos(AT + second * SECOND)).collect()
}

fn series(name: &str, stamps: &Arc<[Stamp]>, values: &[f64]) -> ChunkChannel {
    ChunkChannel {
        name: ChannelName::parse(name).unwrap(),
        unit: Some("C".into()),
        stamps: Arc::clone(stamps),
        values: values.to_vec(),
    }
}

fn chunk(index: u64, channels: Vec<ChunkChannel>) -> Arc<Chunk> {
    Arc::new(Chunk { index, channels })
}

/// A chunk of channel `a` whose values tell which it is.
fn one(index: u64, value: f64) -> Arc<Chunk> {
    let stamps = axis(&[index as i64 * 2, index as i64 * 2 + 1]);
    chunk(index, vec![series("a", &stamps, &[value, value + 0.5])])
}

async fn open(folder: &Path) -> (Store, Handle) {
    let (store, handle) = Store::open(Settings { keep_clock: true, ..settings(folder) }).unwrap();
    handle.record_clock(reading(0)).await.unwrap();
    (store, handle)
}

async fn take(handle: &Handle, run: &RunId) -> Vec<Frozen> {
    handle.take(run, 100, &[], 0).await.unwrap()
}

/// Name, stamps in seconds, values.
type Series = (String, Vec<i64>, Vec<f64>);

fn sent(frozen: &Frozen) -> (u64, Vec<Series>) {
    let channels = frozen.chunk.channels.iter().map(|channel| {
        let stamps = channel.stamps.iter().map(|stamp| (stamp.as_nanos() - AT) / SECOND).collect();
        (channel.name.to_string(), stamps, channel.values.clone())
    });
    (frozen.chunk.index, channels.collect())
}

fn totals(handle: &Handle, run: &RunId) -> RunTotals {
    let status = handle.snapshot().borrow().clone();
    status.runs.iter().chain(status.done.iter()).find(|totals| totals.run == *run).unwrap().clone()
}

#[tokio::test]
async fn chunks_leave_as_they_were_given_whether_read_back_or_at_hand() {
    for freeze in [true, false] {
        let folder = TempDir::new().unwrap();
        let (store, handle) = open(folder.path()).await;
        let run = handle.open_given(given(3)).await.unwrap();
        let shared = axis(&[0, 1, 1]);
        let other = axis(&[9, 5]);
        let first = vec![
            series("b", &shared, &[1.0, 2.0, 3.0]),
            series("a", &other, &[4.0, 5.0]),
            series("c", &shared, &[6.0, 7.0, 8.0]),
        ];
        let taken = handle.give(&run, chunk(7, first), freeze).await.unwrap();
        assert_eq!((taken.seq, taken.queued_chunks, taken.queued_points), (0, 1, 8));
        handle.give(&run, chunk(2, vec![series("a", &other, &[-1.0, 1e300])]), freeze).await.unwrap();
        let chunks = take(&handle, &run).await;
        let mut first = sent(&chunks[0]);
        first.1.sort_by(|a, b| a.0.cmp(&b.0));
        let wanted = vec![
            ("a".to_owned(), vec![9, 5], vec![4.0, 5.0]),
            ("b".to_owned(), vec![0, 1, 1], vec![1.0, 2.0, 3.0]),
            ("c".to_owned(), vec![0, 1, 1], vec![6.0, 7.0, 8.0]),
        ];
        assert_eq!(first, (7, wanted), "freeze {freeze}");
        assert_eq!(sent(&chunks[1]), (2, vec![("a".to_owned(), vec![9, 5], vec![-1.0, 1e300])]));
        assert!(chunks.iter().all(|frozen| frozen.data_id == "d-1"));
        // Taken again they come from the disk, the same.
        let by_name = |frozen: &Frozen| {
            let mut channels = frozen.chunk.channels.clone();
            channels.sort_by(|a, b| a.name.cmp(&b.name));
            (frozen.seq, frozen.chunk.index, channels)
        };
        let again = take(&handle, &run).await;
        assert_eq!(again.iter().map(by_name).collect::<Vec<_>>(), chunks.iter().map(by_name).collect::<Vec<_>>());
        store.close().await.unwrap();
        let file = RunFile::open(run_path(folder.path(), &run)).unwrap();
        assert_eq!(file.info().axis, Axis::Given);
        let counts = file.counts().unwrap();
        assert_eq!(
            counts.iter().map(|counts| (counts.read, counts.recorded)).collect::<Vec<_>>(),
            [(3, 3), (4, 4), (3, 3)]
        );
    }
}

#[tokio::test]
async fn a_chunk_that_can_t_be_taken_leaves_nothing_behind_and_does_not_concern_its_neighbours() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2)).await.unwrap();
    let two = axis(&[0, 1]);
    handle.give(&run, one(0, 1.0), true).await.unwrap();
    let unlike = ChunkChannel { unit: Some("K".into()), ..series("a", &two, &[1.0, 2.0]) };
    let refused = [
        vec![],
        vec![series("a", &axis(&[]), &[])],
        vec![series("a", &two, &[1.0])],
        vec![series("new", &axis(&[0, 1, 2]), &[1.0, 2.0, 3.0])],
        vec![series("new", &two, &[1.0, f64::NAN])],
        vec![series("new", &two, &[1.0, 2.0]), series("new", &two, &[1.0, 2.0])],
        vec![series("new", &two, &[1.0, 2.0]), unlike],
    ];
    let before = handle.accept(&run, one(1, 2.0), true).unwrap();
    for channels in refused {
        let error = handle.give(&run, chunk(5, channels), true).await.unwrap_err();
        assert!(matches!(error, Error::Given(_)), "{error:?}");
    }
    assert_eq!(before.await.unwrap().unwrap().seq, 1);
    let totals = totals(&handle, &run);
    assert_eq!((totals.sealed_chunks, totals.channels.len(), totals.points[0].queued), (2, 1, 4));
    let chunks: Vec<_> = take(&handle, &run).await.iter().map(sent).collect();
    assert_eq!(chunks.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_dead_program_s_run_waits_for_it_with_all_that_was_durable() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2)).await.unwrap();
    for index in [0, 1, 4] {
        handle.give(&run, one(index, index as f64), true).await.unwrap();
    }
    take(&handle, &run).await;
    handle.settle(&run, 0, &[], &[]).await.unwrap();
    let copy = crash_copy(folder.path());
    let (store, again) = open(copy.path()).await;
    assert!(matches!(again.give(&run, one(5, 5.0), true).await, Err(Error::Given(BadChunk::Closed(_)))));
    assert!(matches!(again.reopen_given("d-2", TimeBase::start()).await, Err(Error::UnknownStream { .. })));
    let reopened = again.reopen_given("d-1", TimeBase::start()).await.unwrap();
    assert_eq!((&reopened.run, reopened.next_index, &reopened.spec), (&run, 5, &spec(2)));
    let channel = &reopened.channels[0];
    assert_eq!((channel.name.as_str(), channel.next_index, channel.points), ("a", 5, 6));
    assert_eq!(channel.last, Some(Stamp::from_nanos(AT + 9 * SECOND)));
    assert!(matches!(again.reopen_given("d-1", TimeBase::start()).await, Err(Error::AlreadyOpen { .. })));
    again.give(&run, one(5, 5.0), true).await.unwrap();
    let waiting: Vec<_> = take(&again, &run).await.iter().map(|frozen| (frozen.seq, frozen.chunk.index)).collect();
    assert_eq!(waiting, [(1, 1), (2, 4), (3, 5)]);
    for seq in 1..4 {
        again.settle(&run, seq, &[], &[]).await.unwrap();
    }
    again.close_given(&run).await.unwrap();
    again.stream_finalized(&run).await.unwrap();
    let done = totals(&again, &run);
    assert_eq!((done.state, done.points[0].uploaded), (crate::model::RunState::Done, 8));
    assert!(matches!(again.reopen_given("d-1", TimeBase::start()).await, Err(Error::Finalized { .. })));
    store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_can_be_taken_before_it_is_durable() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2)).await.unwrap();
    let commits = || handle.snapshot().borrow().commits.commits;
    for index in 0..100 {
        let before = commits();
        let answer = handle.accept(&run, one(index, 1.0), true).unwrap();
        // Both are in the hands of the thread when it comes to the second, and may share a transaction.
        let taken = handle.take(&run, 1, &[], index).await.unwrap();
        let durable = commits();
        assert_eq!(taken[0].seq, index);
        assert!(durable > before, "chunk {index} could be sent before it was on disk");
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_abandoned_run_is_closed_so_that_it_can_be_finalized() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2)).await.unwrap();
    handle.give(&run, one(0, 1.0), true).await.unwrap();
    let copy = crash_copy(folder.path());
    let settings = Settings { abandon_after: Duration::from_millis(100), ..settings(copy.path()) };
    let (_again, handle) = Store::open(settings).unwrap();
    let mut status = handle.snapshot();
    let closed = |status: &Status| status.runs.iter().all(|run| run.state == crate::model::RunState::Closed);
    tokio::time::timeout(DEADLINE, status.wait_for(closed)).await.unwrap().unwrap();
    assert_eq!(take(&handle, &run).await.len(), 1, "what it holds is still sent");
}

#[tokio::test]
async fn what_is_given_twice_arrives_in_the_order_in_which_it_was_given() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2)).await.unwrap();
    let stamps = axis(&[0, 1]);
    handle.give(&run, one(0, 1.0), true).await.unwrap();
    handle.give(&run, chunk(0, vec![series("b", &stamps, &[2.0, 2.0])]), true).await.unwrap();
    handle.give(&run, one(0, 3.0), true).await.unwrap();
    handle.give(&run, one(1, 4.0), true).await.unwrap();
    let first = take(&handle, &run).await;
    assert_eq!(first.iter().map(|frozen| frozen.seq).collect::<Vec<_>>(), [0, 1, 3], "2 waits for 0");
    handle.settle(&run, 0, &[], &[(ChannelName::parse("a").unwrap(), 2)]).await.unwrap();
    let second = handle.take(&run, 10, &[1, 3], 0).await.unwrap();
    assert_eq!(second.iter().map(|frozen| frozen.seq).collect::<Vec<_>>(), [2]);
    handle.settle(&run, 2, &[], &[(ChannelName::parse("a").unwrap(), 2)]).await.unwrap();
    assert!(totals(&handle, &run).disagreements.is_empty(), "a slice was written over");
}

#[tokio::test]
async fn a_continuation_keeps_the_indexes() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2)).await.unwrap();
    for index in [3, 9] {
        handle.give(&run, one(index, 1.0), true).await.unwrap();
    }
    take(&handle, &run).await;
    handle.settle(&run, 0, &[], &[]).await.unwrap();
    handle.stream_ended(&run, "2 h of silence").await.unwrap();
    handle.give(&run, one(4, 1.0), true).await.unwrap();
    handle.stream_opened(&run, "d-2").await.unwrap();
    handle.give(&run, one(10, 1.0), true).await.unwrap();
    let chunks = take(&handle, &run).await;
    let sent: Vec<_> = chunks.iter().map(|frozen| (frozen.data_id.as_str(), frozen.chunk.index)).collect();
    assert_eq!(sent, [("d-2", 9), ("d-2", 4), ("d-2", 10)]);
}

#[tokio::test]
async fn stamps_leave_in_reference_time() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = Store::open(Settings { keep_clock: true, ..settings(folder.path()) }).unwrap();
    let run = handle.open_given(given(2)).await.unwrap();
    handle.give(&run, one(0, 1.0), false).await.unwrap();
    handle.record_clock(reading(-3 * SECOND)).await.unwrap();
    handle.give(&run, one(1, 1.0), true).await.unwrap();
    let late = handle.open_given(GivenStart { data_id: "d-2".to_owned(), ..given(2) }).await.unwrap();
    handle.give(&late, one(0, 1.0), true).await.unwrap();
    let stamps = |frozen: &Frozen| sent(frozen).1[0].1.clone();
    let chunks = take(&handle, &run).await;
    assert_eq!(chunks.iter().map(stamps).collect::<Vec<_>>(), [[-3, -2], [-1, 0]]);
    assert_eq!(stamps(&take(&handle, &late).await[0]), [-3, -2], "the measurement was kept for it");
}

#[tokio::test]
async fn confirmations_that_wait_for_company_are_undone_by_a_crash_and_by_nothing_else() {
    let folder = TempDir::new().unwrap();
    let hour = Duration::from_secs(3600);
    let (store, handle) = Store::open(Settings { settle_within: hour, ..settings(folder.path()) }).unwrap();
    let run = handle.open_given(given(2)).await.unwrap();
    for index in 0..3 {
        handle.give(&run, one(index, 1.0), true).await.unwrap();
    }
    take(&handle, &run).await;
    let commits = handle.snapshot().borrow().commits.commits;
    handle.settle(&run, 0, &[], &[]).await.unwrap();
    assert_eq!(handle.pending().await.unwrap()[0].queued, 2);
    assert_eq!(totals(&handle, &run).queued_chunks, 2, "whoever asks is told");
    let copy = crash_copy(folder.path());
    assert_eq!(handle.snapshot().borrow().commits.commits, commits, "nothing was written for it alone");
    let (_crashed, after) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(totals(&after, &run).queued_chunks, 3, "it will be sent again");
    handle.give(&run, one(3, 1.0), true).await.unwrap();
    let copy = crash_copy(folder.path());
    let (_crashed, after) = Store::open(settings(copy.path())).unwrap();
    assert_eq!(totals(&after, &run).queued_chunks, 3, "it was written with the next");
    handle.settle(&run, 1, &[], &[]).await.unwrap();
    store.close().await.unwrap();
    let (_again, after) = Store::open(settings(folder.path())).unwrap();
    assert_eq!(totals(&after, &run).queued_chunks, 2);
}

#[tokio::test]
async fn a_full_disk_is_said_and_what_was_taken_stays() {
    let folder = TempDir::new().unwrap();
    let (_store, handle) = open(folder.path()).await;
    let run = handle.open_given(given(2000)).await.unwrap();
    handle.give(&run, one(0, 1.0), true).await.unwrap();
    handle.limit_pages(Some(0)).await.unwrap();
    let stamps: Arc<[Stamp]> = (0..2000).map(|second| Stamp::from_nanos(AT + second)).collect();
    let large = chunk(1, vec![series("b", &stamps, &vec![1.5; 2000])]);
    let error = handle.give(&run, Arc::clone(&large), true).await.unwrap_err();
    assert!(error.is_full(), "{error:?}");
    assert_eq!((totals(&handle, &run).sealed_chunks, totals(&handle, &run).channels.len()), (1, 1));
    handle.limit_pages(None).await.unwrap();
    handle.give(&run, large, true).await.unwrap();
    let chunks = take(&handle, &run).await;
    assert_eq!(chunks.iter().map(|frozen| frozen.chunk.points()).collect::<Vec<_>>(), [2, 2000]);
}

#[tokio::test]
async fn many_runs_are_open_beside_one_that_is_recorded() {
    let bench = Bench::new(start(2, 10)).await;
    let mut runs = Vec::new();
    for number in 0..3 {
        let start = GivenStart { data_id: format!("d-{number}"), ..given(2) };
        runs.push(bench.handle.open_given(start).await.unwrap());
    }
    for (number, run) in runs.iter().enumerate() {
        bench.handle.give(run, one(number as u64, number as f64), true).await.unwrap();
    }
    bench.append(ticks(0..10, 2)).await;
    for (number, run) in runs.iter().enumerate() {
        let chunks = take(&bench.handle, run).await;
        assert_eq!((chunks.len(), chunks[0].data_id.clone()), (1, format!("d-{number}")));
    }
    assert_eq!(bench.totals().sealed_chunks, 1);
    bench.handle.end_run().await.unwrap();
    bench.handle.give(&runs[0], one(5, 5.0), true).await.unwrap();
}
