//! Refusals: of the key, of large requests, of one channel. What can be sent is sent, the rest is kept and shown.

use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::Call;

use super::rehearsal::{CHANNELS, Rehearsal, count, until_caught_up};
use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_held_or_kept_and_never_lost() {
    tokio::join!(
        holds_loudly("unauthorized", "401"),
        holds_loudly("forbidden", "403"),
        goes_channel_by_channel(),
        keeps_a_refused_channel(),
    );
}

/// A key that is no longer accepted is complained of, tried again, and all arrives once it is accepted.
async fn holds_loudly(fault: &str, status_code: &str) {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    bench.fault(fault);
    let status = process
        .until("the refusal shows", |status| {
            status["platform"]["state"] == "holding" && count(status, "queued_chunks") >= 2
        })
        .await;
    assert_eq!(status["state"], "degraded", "{status}");
    let complaints = status["complaints"].to_string();
    assert!(complaints.contains("the platform is holding") && complaints.contains(status_code), "{complaints}");
    let struck = bench.server.faults().struck();
    bench.until_struck(struck + 2).await;
    bench.fault("none");
    let status = until_caught_up(&process).await;
    assert!(!status["complaints"].to_string().contains(status_code), "{status}");
    process.stop().await;
    assert_eq!(bench.check(&bench.lab.run()).streams.len(), 1);
}

/// Chunks that are too large go channel by channel, and are whole on the platform.
async fn goes_channel_by_channel() {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    // Two channels of five points have some 390 bytes, one has some 230.
    bench.fault("too-large:310");
    until("channels are sent alone", async || {
        let alone = bench.server.requests().of(Call::Chunk);
        if alone >= 4 { Ok(()) } else { Err(bench.server.requests()) }
    })
    .await;
    bench.fault("none");
    until_caught_up(&process).await;
    process.stop().await;
    assert_eq!(bench.check(&bench.lab.run()).streams.len(), 1);
}

/// A channel that the platform refuses costs itself only. It is kept, counted, and told of.
async fn keeps_a_refused_channel() {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    bench.fault(&format!("refuse-channel:{}", CHANNELS[1]));
    let status = process.until("points are refused", |status| count(status, "rejected") >= 10).await;
    assert!(status["complaints"].to_string().contains("points; they are kept"), "{status}");
    bench.fault("none");
    let status = until_caught_up(&process).await;
    let sums = ["recorded", "uploaded", "queued", "rejected"].map(|name| count(&status, name));
    assert!(sums[0] >= sums[1] + sums[3], "{sums:?}");
    process.terminate();
    let ended = process.ended().await;
    assert_eq!(ended.code(), 1, "something was refused: {ended:#?}");

    let run = bench.lab.run();
    let refusals = RunFile::open(&run).unwrap().refusals().unwrap();
    let chunks = super::oracle::all_chunks(&RunFile::open(&run).unwrap());
    assert!(refusals.iter().all(|refusal| refusal.channel == 1 && refusal.words.contains("refused on purpose")));
    let rejected: u64 = refusals
        .iter()
        .map(|refusal| chunks.iter().find(|chunk| chunk.seq == refusal.seq).unwrap().points[refusal.channel])
        .sum();
    assert!(rejected >= 10);
    let recorded = Rehearsal::points_in(&run);
    let streams = bench.server.streams().unwrap();
    assert_eq!(streams.len(), 1, "a refused channel does not end the stream");
    let stored = bench.server.stored(&streams[0].data_id).unwrap();
    let on_platform = |name: &str| stored.iter().find(|one| one.name == name).unwrap().points.len() as u64;
    assert_eq!(on_platform(CHANNELS[0]), recorded[0]);
    assert_eq!(on_platform(CHANNELS[1]), recorded[1] - rejected);
}
