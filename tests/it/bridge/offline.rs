//! The platform can't be reached: acquisition and recording do not care, and everything arrives later.

use std::net::SocketAddr;

use mbe_bridge::model::RunState;
use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::Settings;
use mbe_bridge::sim::SimHandle;
use tokio::net::TcpSocket;

use super::field::{ANY, Chamber};
use super::lab::Lab;
use super::oracle::Oracle;
use super::platform_with;
use super::process::Process;

/// A port that refuses connections, and that nobody else gets: it is bound, and does not listen.
fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(ANY).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn is_down_with_chunks_waiting(status: &serde_json::Value) -> bool {
    status["platform"]["state"] == "down" && status["run"]["queued_chunks"].as_u64().unwrap() >= 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_platform_records_and_delivers_when_it_comes() {
    let (closed, address) = closed_port();
    let mut lab = Lab::new(&format!("http://{address}"));
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    let status = process.until("chunks wait for the platform", is_down_with_chunks_waiting).await;
    let complaints = status["complaints"].to_string();
    assert!(complaints.contains("the platform is down"), "{complaints}");
    assert_eq!(status["run"]["uploaded"], 0);
    assert!(status["run"]["recorded"].as_u64().unwrap() > 0);

    let server = platform_with(Settings { listen: address, ..Settings::default() }).await;
    drop(closed);
    process
        .until("everything that waited is uploaded", |status| {
            status["platform"]["state"] == "up" && status["run"]["queued_chunks"].as_u64().unwrap() <= 1
        })
        .await;
    process.stop().await;
    let account = Oracle::new(&server, chamber.said()).check(&lab.run());
    account.assert_nothing_was_missed();
    assert_eq!(account.streams.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_a_platform_is_gentle_and_the_next_start_delivers() {
    let (closed, address) = closed_port();
    let mut lab = Lab::new(&format!("http://{address}"));
    lab.top = "shutdown_grace = \"1s\"".to_owned();
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let process = Process::run(&file);
    process.until("chunks wait for the platform", is_down_with_chunks_waiting).await;
    let stopping = std::time::Instant::now();
    let ended = process.stop().await;
    // The grace, and as much again for a busy machine to find out.
    assert!(stopping.elapsed().as_secs() < 5, "{:?}", stopping.elapsed());
    assert!(ended.stderr.contains("the next start goes on with it"), "{}", ended.stderr);
    let old = lab.run();
    assert_eq!(RunFile::open(&old).unwrap().info().state, RunState::Closed);
    let said = chamber.said();
    assert!(
        chamber.lines().into_iter().map(|(_, line)| line).map(SimHandle::forgotten).all(|forgotten| forgotten == 0)
    );

    let server = platform_with(Settings { listen: address, ..Settings::default() }).await;
    drop(closed);
    let process = Process::run(&file);
    process.until_recorded(4).await;
    process.stop().await;
    let runs = lab.runs();
    assert_eq!((runs.len(), &runs[0]), (2, &old), "an ended run is not gone on with");
    Oracle::new(&server, said).check(&old).assert_nothing_was_missed();
    let account = Oracle::new(&server, chamber.said()).check(&runs[1]);
    assert!(account.points.values().all(|points| !points.is_empty()));
    assert_eq!(server.streams().unwrap().len(), 2, "a stream for each run");
}
