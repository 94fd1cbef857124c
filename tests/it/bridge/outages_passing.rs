//! Faults that pass: whatever the platform, or something on the way to it, does to requests and answers, each point is
//! stored once, on one stream.

use std::time::{Duration, Instant};

use mbe_bridge::server::Call;

use super::process::Process;
use super::rehearsal::{Rehearsal, count, until_caught_up, until_down};
use super::until;

/// Meets each fault until it has hit twice (its request, and the one that tries again), then lives on without it.
async fn meets(faults: &[&str]) {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    for fault in faults {
        bench.fault(fault);
        if *fault == "down" {
            let status = until_down(&process).await;
            assert!(status["complaints"].to_string().contains("the platform is down"), "{status}");
        } else {
            bench.until_struck(2).await;
        }
        bench.fault("none");
        until_caught_up(&process).await;
    }
    process.stop().await;
    let account = bench.check(&bench.lab.run());
    assert_eq!((account.streams.len(), bench.server.streams().unwrap().len()), (1, 1), "{faults:?}");
    let attempts: u64 = account.chunks.iter().map(|chunk| chunk.attempts).sum();
    assert!(attempts >= faults.len() as u64, "{faults:?}: {attempts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_that_pass_cost_nothing() {
    tokio::join!(
        meets(&["down", "reset-request", "status:408", "garbage"]),
        meets(&["reset-reply", "status:500", "garbage:404", "garbage:json stored", "truncate-reply only chunk"]),
        meets(&["hang only chunk next 2", "garbage:json only chunk", "status:504 stored", "random:60 next 6"]),
        is_left_alone(),
        is_garbled_from_the_start(),
    );
}

/// `Retry-After` is granted.
async fn is_left_alone() {
    let bench = Rehearsal::new().await;
    let process = bench.uploading().await;
    bench.fault("status:429:3s only chunk next 1");
    bench.until_struck(1).await;
    let struck = Instant::now();
    // By then, what was under way when it was heard has arrived.
    process.until("the wish is heard", |status| count(status, "queued_chunks") >= 2).await;
    let before = bench.server.requests().of(Call::ChunkMulti);
    until("a chunk comes again", async || {
        if bench.server.requests().of(Call::ChunkMulti) > before { Ok(()) } else { Err(before) }
    })
    .await;
    // The strike was seen a moment after it.
    assert!(struck.elapsed() >= Duration::from_millis(2_800), "{:?}", struck.elapsed());
    until_caught_up(&process).await;
    process.stop().await;
    assert_eq!(bench.check(&bench.lab.run()).streams.len(), 1);
}

/// A portal answers before anything has been said: no stream, no clock, and no crowd of requests.
async fn is_garbled_from_the_start() {
    let bench = Rehearsal::new().await;
    bench.fault("garbage:json");
    let process = bench.run();
    let started = Instant::now();
    let status = until_down(&process).await;
    assert!(status["platform"]["why"].as_str().unwrap().contains("can't be read"), "{status}");
    bench.until_struck(4).await;
    assert_eq!((count(&status, "uploaded"), bench.server.streams().unwrap().len()), (0, 0));
    // The pauses double: fewer than one a second at the end, besides the clock's own.
    let asked = bench.server.requests().of(Call::Initialize);
    assert!(asked <= 6 + started.elapsed().as_secs() * 2, "{asked} in {:?}", started.elapsed());
    bench.fault("none");
    until_caught_up(&process).await;
    process.stop().await;
    assert_eq!(bench.check(&bench.lab.run()).streams.len(), 1);
}

/// What runs is ended without the platform, well; the next start delivers.
pub(super) async fn is_not_reached_until_the_next_start(endpoint: &str, why: &[&str]) {
    let mut bench = Rehearsal::new().await;
    let right = std::mem::replace(&mut bench.lab.endpoint, endpoint.to_owned());
    bench.lab.top = "shutdown_grace = \"1s\"".to_owned();
    let process: Process = bench.run();
    let status = until_down(&process).await;
    let said = status["platform"]["why"].as_str().unwrap().to_lowercase();
    assert!(why.iter().any(|why| said.contains(why)), "{endpoint}: {said}");
    assert_eq!(count(&status, "uploaded"), 0);
    let ended = process.stop().await;
    assert!(ended.stderr.contains("the next start goes on with it"), "{}", ended.stderr);
    let old = bench.lab.run();
    assert!(Rehearsal::points_in(&old).iter().all(|points| *points > 0));
    let said = bench.said();

    bench.lab.endpoint = right;
    let process = bench.uploading().await;
    process.stop().await;
    bench.check_against(said, &old);
    assert_eq!(bench.server.streams().unwrap().len(), 2);
}
