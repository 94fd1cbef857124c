//! The platform ends a stream in the middle of a run: a continuation takes the rest, with the same links.

use std::time::Duration;

use mbe_bridge::server::{Server, Settings, StoredStream, StreamState};

use super::rehearsal::{Rehearsal, until_caught_up, until_down};
use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_ended_is_continued() {
    tokio::join!(ended_with(400), ended_with(404), ended_with(409), ended_with(410), ended_by_silence());
}

fn linked(bench: &mut Rehearsal) {
    bench.lab.stream =
        "name = \"GEN10\"\nphysical_sample = \"GaN-001\"\nproject_id = \"p-1\"\ntags = [\"growth\", \"e2e\"]\n\
                        points_per_chunk = 5"
            .to_owned();
}

async fn until_two_streams(server: &Server) {
    until("a continuation is opened", async || {
        let streams = server.streams().unwrap();
        if streams.len() >= 2 { Ok(()) } else { Err(streams) }
    })
    .await;
}

/// The second belongs to the first, and says so.
fn assert_continued(streams: &[StoredStream]) {
    let [first, second] = streams else { panic!("{streams:#?}") };
    assert_eq!((first.state, second.state), (StreamState::Error, StreamState::Success));
    assert_eq!(first.name.as_deref(), Some("GEN10"));
    assert_eq!(second.name.as_deref(), Some("GEN10 (continued 2)"));
    assert_eq!((&first.sample, &first.tags, &first.project_id), (&second.sample, &second.tags, &second.project_id));
    assert_eq!((first.sample.as_deref(), first.tags.len(), first.tracked), (Some("GaN-001"), 2, true));
    assert_eq!(first.points_per_chunk, second.points_per_chunk);
}

async fn ended_with(status: u16) {
    let mut bench = Rehearsal::new().await;
    linked(&mut bench);
    let process = bench.uploading().await;
    bench.fault(&format!("ended:{status}"));
    until_two_streams(&bench.server).await;
    until_caught_up(&process).await;
    process.stop().await;
    assert_continued(&bench.server.streams().unwrap());
    let account = bench.check(&bench.lab.run());
    assert_eq!(account.streams.len(), 2, "status {status}");
}

/// An outage that outlasts the platform's patience with a silent stream.
async fn ended_by_silence() {
    let silence = Duration::from_secs(3);
    let mut bench = Rehearsal::with(Settings { silence, ..Settings::default() }).await;
    linked(&mut bench);
    let process = bench.uploading().await;
    bench.fault("down");
    until_down(&process).await;
    until("the platform loses patience", async || {
        let streams = bench.server.streams().unwrap();
        if streams[0].state == StreamState::Error { Ok(()) } else { Err(streams) }
    })
    .await;
    bench.fault("none");
    until_two_streams(&bench.server).await;
    until_caught_up(&process).await;
    process.stop().await;
    assert_continued(&bench.server.streams().unwrap());
    assert_eq!(bench.check(&bench.lab.run()).streams.len(), 2);
}
