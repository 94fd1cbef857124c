//! The end of a stream meets faults: it is finalized once all is confirmed, never before, and however often it takes.

use mbe_bridge::model::RunState;
use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::{Call, StreamState};

use super::rehearsal::Rehearsal;
use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_finalized_when_all_is_confirmed_and_not_before() {
    tokio::join!(
        fails_several_times("status:500 only finalize next 3"),
        fails_several_times("garbage:json only finalize next 3"),
        fails_several_times("reset-reply only finalize next 3"),
        waits_for_the_last_chunk(),
        is_killed_before(),
    );
}

async fn fails_several_times(fault: &str) {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    bench.fault(fault);
    process.stop().await;
    assert_eq!(bench.server.requests().of(Call::Finalize), 4, "{fault}");
    assert_eq!(bench.check(&bench.lab.run()).streams.len(), 1, "{fault}");
}

/// The last chunks hang, again and again; a stream that was finalized meanwhile would refuse them.
async fn waits_for_the_last_chunk() {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    bench.fault("hang only chunk");
    bench.until_struck(1).await;
    process.terminate();
    until("the run is closed", async || {
        let state = RunFile::open(bench.lab.run()).unwrap().info().state;
        if state == RunState::Closed { Ok(()) } else { Err(state) }
    })
    .await;
    bench.until_struck(bench.server.faults().struck() + 2).await;
    assert_eq!(bench.server.requests().of(Call::Finalize), 0, "a chunk is not confirmed");
    bench.fault("none");
    let ended = process.ended().await;
    assert_eq!(ended.code(), 0, "{ended:#?}");
    let account = bench.check(&bench.lab.run());
    assert_eq!((account.streams.len(), bench.server.requests().of(Call::Finalize)), (1, 1));
}

/// `kill -9` between the last confirmation and the end: the next start ends the stream.
async fn is_killed_before() {
    let mut bench = Rehearsal::new().await;
    // Its own time-out does not end the wait.
    bench.lab.platform.clear();
    let process = bench.uploading().await;
    bench.fault("hang only finalize");
    process.terminate();
    bench.until_struck(1).await;
    process.kill();
    let old = bench.lab.run();
    let info = RunFile::open(&old).unwrap().info();
    assert_eq!(info.state, RunState::Closed);
    assert_eq!(bench.server.streams().unwrap()[0].state, StreamState::Active);
    let said = bench.said();

    bench.fault("none");
    let process = bench.uploading().await;
    until("the old stream is finalized", async || {
        let streams = bench.server.streams().unwrap();
        if streams[0].state == StreamState::Success { Ok(()) } else { Err(streams) }
    })
    .await;
    process.stop().await;
    bench.check_against(said, &old);
    assert_eq!(bench.server.streams().unwrap().len(), 2, "the old run's, and the new one's");
}
