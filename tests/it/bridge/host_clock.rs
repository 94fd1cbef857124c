//! The host's clock is wrong, or is set while a run goes on: stamps are right and rise, and the step is on record.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mbe_bridge::model::{SessionId, Stamp, TimeBase};
use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::Settings;
use tokio::net::TcpSocket;

use super::disk::{Ailing, run_under};
use super::field::{ANY, Chamber};
use super::lab::Lab;
use super::oracle::{Oracle, all_chunks};
use super::platform_with;
use crate::shim::Faults;

const HOUR: i64 = 3_600_000_000_000;

/// The stamps of a run as sent rise from one tick to the next, and so do its session's.
fn assert_rising(run: &std::path::Path) {
    let chunks = all_chunks(&RunFile::open(run).unwrap());
    let sent: Vec<Stamp> = chunks.iter().flat_map(|chunk| chunk.sent.as_ref().unwrap().stamps.clone()).collect();
    assert!(sent.windows(2).all(|pair| pair[0] < pair[1]));
    let ticks: Vec<(SessionId, Stamp)> =
        chunks.iter().flat_map(|chunk| chunk.ticks.iter().map(|tick| (chunk.session, tick.at))).collect();
    assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]));
    let span = sent.last().unwrap().since(*sent.first().unwrap());
    assert!(span.as_secs() < 120, "a step bent the series: it spans {span:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_by_an_hour_and_back_leaves_the_series_as_it_is() {
    let ailing = Ailing::start().await;
    for (number, offset) in [(1, HOUR), (2, -HOUR), (3, 0)] {
        ailing.faults.set("clock_offset_ns", offset);
        let status = ailing
            .process
            .until("the step is noticed", |status| status["host_clock"]["steps"].as_u64() == Some(number))
            .await;
        assert!(status["complaints"].to_string().contains("the host's clock was set by"), "{status:#}");
        ailing.process.until_recorded(status["run"]["recorded"].as_u64().unwrap() + 40).await;
    }
    let (_, ended, lab) = ailing.finish().await;
    let run = lab.run();
    assert_rising(&run);
    let events = RunFile::open(&run).unwrap().events().unwrap();
    let steps: Vec<&str> =
        events.iter().filter(|event| event.kind == "host_clock_step").map(|event| event.text.as_str()).collect();
    assert_eq!(steps.len(), 3, "{events:#?}");
    for (step, by) in steps.iter().zip(["(+3600.0", "(-7200.0", "(+3600.0"]) {
        // The host's own clock may be slewed meanwhile, by less than this shows.
        let near =
            step.contains(by) || step.contains(&by.replace("00.0", "99.9").replace("+36", "+35").replace("-72", "-71"));
        assert!(near && step.contains(" to "), "{step}");
    }
    assert_eq!(ended.stderr.matches("the host's clock was set from").count(), 3, "{}", ended.stderr);
}

fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(ANY).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Where the platform can't be reached, the host's clock is all there is, and its step is the news of the right time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_a_step_of_the_clock_is_taken_over_at_once_and_the_platform_s_word_counts_in_the_end() {
    let (closed, address) = closed_port();
    let mut lab = Lab::new(&format!("http://{address}"));
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let faults = Faults::new(&lab.folder().join("faults"), &lab.data());
    // Ten minutes after the epoch.
    let behind = TimeBase::start().now().as_nanos() - 600_000_000_000;
    faults.set("clock_offset_ns", -behind);
    let process = run_under(&lab, &faults);
    let status = process
        .until("the host's clock is taken", |status| {
            status["clock"]["source"] == "host" && status["run"]["queued_chunks"].as_u64().unwrap() >= 3
        })
        .await;
    assert!(status["at"].as_f64().unwrap() < 7_200.0, "it is not 1970: {}", status["at"]);
    assert!(status["clock"]["offset"].as_f64().unwrap().abs() < 1.0, "{}", status["clock"]);

    // Somebody sets the clock, an hour off.
    faults.set("clock_offset_ns", HOUR);
    let set = Instant::now();
    let wanted = (behind + HOUR) as f64 / 1e9;
    process
        .until("the step is taken over", |status| {
            let offset = status["clock"]["offset"].as_f64().unwrap();
            status["clock"]["source"] == "host" && (offset - wanted).abs() < 1.0
        })
        .await;
    // The clock is looked at each second; the platform would not be asked again for several.
    assert!(set.elapsed() < Duration::from_secs(5), "{:?}", set.elapsed());

    let server = platform_with(Settings { listen: address, ..Settings::default() }).await;
    drop(closed);
    process
        .until("everything that waited is uploaded", |status| {
            status["clock"]["source"] == "platform"
                && status["run"]["uploaded"].as_u64().unwrap() > 0
                && status["run"]["queued_chunks"].as_u64().unwrap() <= 1
        })
        .await;
    process.stop().await;
    let run = lab.run();
    assert!(run.file_name().unwrap().to_str().unwrap().starts_with("19700101T00"), "{run:?}");
    let account = Oracle::new(&server, chamber.said()).host_behind(behind).check(&run);
    account.assert_nothing_was_missed();
    assert_eq!(account.streams.len(), 1);
    assert_rising(&run);
    let events = RunFile::open(&run).unwrap().events().unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "host_clock_step").count(), 1, "{events:#?}");
}
