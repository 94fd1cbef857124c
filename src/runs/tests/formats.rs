//! Files of every earlier format: read as they are, and gone on with.

use crate::model::RunState;

use super::*;

/// Copies a fixture into a folder of its own, as a dead process of that time left it.
fn left_by(format: u32) -> (TempDir, RunId) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/runs/format-{format}"));
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("runs")).unwrap();
    let mut run = None;
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sqlite") {
            run = Some(RunId::new(path.file_stem().unwrap().to_str().unwrap()));
        }
        fs::copy(&path, folder.path().join("runs").join(path.file_name().unwrap())).unwrap();
    }
    (folder, run.unwrap())
}

/// What the fixture of format 1 was made of: 43 ticks of 3 channels in chunks of 7. On stream 1 a chunk was confirmed, and
/// one but for a channel; on stream 2 one was confirmed and one is frozen after a failed attempt; two are sealed, one tick is open.
fn assert_is_the_fixture(file: &RunFile) {
    let stored = chunks(file);
    let states: Vec<ChunkState> = stored.iter().map(|chunk| chunk.state).collect();
    let (done, waits) = (ChunkState::Confirmed, ChunkState::Sealed);
    assert_eq!(states, [done, done, done, ChunkState::Frozen, waits, waits]);
    let ticked = stored.iter().flat_map(|chunk| chunk.ticks.clone());
    let open = file.open_ticks().unwrap().into_iter().flat_map(|open| open.ticks);
    assert_eq!(ticked.chain(open).collect::<Vec<_>>(), ticks(0..43, 3));
    let sent = stored.iter().filter_map(|chunk| chunk.sent.as_ref()).map(|sent| (sent.stream, sent.chunk.index));
    assert_eq!(sent.collect::<Vec<_>>(), [(1, 0), (1, 1), (2, 0), (2, 1)]);
    assert_eq!(stored[3].sent.as_ref().unwrap().stamps[0], tick(21, 0..1).at.shifted(250_000_000));
    assert_eq!(file.refusals().unwrap().len(), 1);
    assert_eq!(file.streams().unwrap()[0].why.as_deref(), Some("410: gone"));
}

#[test]
fn a_file_of_format_1_is_read_as_it_is() {
    let (folder, run) = left_by(1);
    let file = RunFile::open(run_path(folder.path(), &run)).unwrap();
    assert_is_the_fixture(&file);
    assert_eq!(file.streams().unwrap()[1].base, None);
    assert_eq!((file.resent().unwrap(), file.stream_points().unwrap()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_file_of_format_1_is_gone_on_with_under_the_indices_that_follow() {
    let (folder, run) = left_by(1);
    let frozen = chunks(&RunFile::open(run_path(folder.path(), &run)).unwrap())[3].sent.clone().unwrap();
    let forever = Settings { resume_within: Duration::from_secs(1 << 32), ..settings(folder.path()) };
    let (store, handle) = Store::open(forever).unwrap();
    assert_eq!(handle.begin(start(3, 7)).await.unwrap(), run);
    assert_balanced(&handle.snapshot().borrow().runs[0]);
    let taken = handle.take(&run, 9, &[], 0).await.unwrap();
    let places: Vec<_> = taken.iter().map(|frozen| (frozen.seq, frozen.chunk.index)).collect();
    assert_eq!(places, [(3, 1), (4, 2), (5, 3), (6, 4)]);
    assert_eq!((&taken[0].chunk, taken[0].attempts), (&frozen.chunk, 1), "what was frozen is the same to the bit");
    for frozen in &taken {
        handle.settle(&run, frozen.seq, &[], &[]).await.unwrap();
    }
    handle.end_run().await.unwrap();
    handle.stream_finalized(&run).await.unwrap();
    let file = RunFile::open(run_path(folder.path(), &run)).unwrap();
    assert_eq!((file.info().state, file.streams().unwrap()[1].base), (RunState::Done, Some(2)));
    store.close().await.unwrap();
}
