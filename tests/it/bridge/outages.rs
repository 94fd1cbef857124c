//! The platform misbehaves while a run goes on: everything is stored once.

use std::time::Duration;

use mbe_bridge::server::{Call, Fault, Server};

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::Oracle;
use super::process::Process;
use super::{platform, until};

/// Waits until the platform has got so many more requests of this call.
async fn until_asked(server: &Server, call: Call, more: u64) {
    let before = server.requests().of(call);
    until("the platform is asked", async || {
        let asked = server.requests().of(call) - before;
        if asked >= more { Ok(()) } else { Err(asked) }
    })
    .await;
}

async fn until_caught_up(process: &Process) {
    process
        .until("what waited is uploaded", |status| {
            status["platform"]["state"] == "up" && status["run"]["queued_chunks"].as_u64().unwrap() <= 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_platform_answers_each_point_is_stored_once() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64().unwrap() > 0).await;

    let switched = std::time::Instant::now();
    server.set_fault("status:503".parse().unwrap());
    process
        .until("the outage shows", |status| {
            status["platform"]["state"] == "down"
                && status["run"]["queued_chunks"].as_u64().unwrap() >= 3
                && switched.elapsed() >= Duration::from_secs(2)
        })
        .await;
    server.set_fault(Fault::None);
    until_caught_up(&process).await;
    for fault in [Fault::CutReply, Fault::CutRequest] {
        server.set_fault_on(Call::ChunkMulti, fault, 2);
        until_asked(&server, Call::ChunkMulti, 3).await;
        until_caught_up(&process).await;
    }
    server.set_fault_on(Call::Finalize, Fault::CutReply, 1);
    process.stop().await;
    let account = Oracle::new(&server, chamber.said()).check(&lab.run());
    account.assert_nothing_was_missed();
    assert_eq!(account.streams.len(), 1);
    let attempts: u64 = account.chunks.iter().map(|chunk| chunk.attempts).sum();
    assert!(attempts >= 3, "the faults were not met: {attempts}");
    assert!(server.requests().of(Call::Finalize) >= 2, "an answer that was cut is asked for again");
}

/// A request that hangs holds up its own chunk only, and at the end nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_hangs_holds_up_one_chunk_until_the_next_start() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    lab.top = "shutdown_grace = \"1s\"".to_owned();
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let process = Process::run(&file);
    process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64().unwrap() > 0).await;
    server.set_fault_on(Call::ChunkMulti, Fault::Hang, 1);
    let hung = server.requests().of(Call::ChunkMulti) + 1;
    until("others go on beside it", async || {
        let asked = server.requests().of(Call::ChunkMulti);
        if asked >= hung + 2 { Ok(()) } else { Err(asked) }
    })
    .await;
    let stopping = std::time::Instant::now();
    let ended = process.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(5), "{:?}", stopping.elapsed());
    assert!(ended.stderr.contains("the next start goes on with it"), "{}", ended.stderr);
    let (said, old) = (chamber.said(), lab.run());

    let process = Process::run(&file);
    process.until_recorded(4).await;
    process.stop().await;
    Oracle::new(&server, said).check(&old).assert_nothing_was_missed();
    Oracle::new(&server, chamber.said()).check(&lab.runs()[1]);
    assert_eq!(server.streams().unwrap().len(), 2);
}
