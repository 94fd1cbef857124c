//! Instruments that give less than the lab wants, and say so: registers that they refuse, silence while they start,
//! connections that they reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mbe_bridge::sim::{Place, SimInstrument};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::field::{ANY, configured, line, profile, rising};
use super::lab::Lab;
use super::platform;
use super::process::{Process, client, command};

/// A Modbus/TCP unit with these channels.
fn unit(address: &str, timing: &str, channels: &[(&str, u16)]) -> String {
    let channels = channels.iter().map(|(id, address)| {
        format!(
            "[[instruments.inline.channel]]\nid = \"{id}\"\ntable = \"holding\"\naddress = {address}\ntype = \"u16\"\n\
             unit = \"K\"\nevery = \"100ms\"\n"
        )
    });
    format!(
        "[links.box.modbus-tcp]\naddress = \"{address}\"\n[[instruments]]\nname = \"controller\"\nlink = \"box\"\nunit = 1\n\
         [instruments.inline]\nengine = \"modbus\"\n{timing}\n{}",
        channels.collect::<String>()
    )
}

/// The instrument that such a text describes, simulated.
fn simulated(text: &str) -> mbe_bridge::sim::SimHandle {
    let device = configured(text).instruments[0].device.clone();
    let instrument = SimInstrument::new("controller", device, rising()).at_unit(1);
    line(Place::ModbusTcp { listen: ANY }, &profile("prevac-mg15"), vec![instrument])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_register_that_the_device_refuses_is_named_wherever_the_bridge_is_looked_at() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let field = simulated(&unit("127.0.0.1:502", "", &[("temperature", 1)]));
    let address = field.address().unwrap().to_string();
    lab.field = unit(&address, "", &[("temperature", 1), ("valve", 2)]);
    let process = Process::run(&lab.write());
    let status = process
        .until("it is noticed", |status| {
            status["instruments"][0]["left_out"].as_array().is_some_and(|left_out| !left_out.is_empty())
        })
        .await;
    let left_out = &status["instruments"][0]["left_out"][0];
    assert_eq!(left_out["channels"], serde_json::json!(["controller_valve"]), "{status:#}");
    let what = left_out["what"].as_str().unwrap();
    assert!(what.contains("holding 2") && what.contains("exception 2"), "{what}");
    assert_eq!(status["state"], "degraded");
    let at = process.url().await;
    let page = client().get(&at).send().await.unwrap().text().await.unwrap();
    let shown = command(&["status", "--at", at.trim_start_matches("http://")]).await;
    assert_eq!(shown.code(), 1);
    for text in [&page, &shown.stdout] {
        for part in ["controller", "valve", "holding 2", "exception 2"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    process.until_recorded(10).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instrument_that_may_still_be_starting_is_no_reason_for_a_warning() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let text = |address: &str| unit(address, "timing = { reply = \"100ms\", warm_up = \"4s\" }", &[("temperature", 1)]);
    let field = simulated(&text("127.0.0.1:502"));
    field.fault("controller", "silence".parse().unwrap()).unwrap();
    lab.field = text(&field.address().unwrap().to_string());
    let process = Process::run(&lab.write());
    let status = process.until("it is asked", |status| status["instruments"][0]["polls"].as_u64().unwrap() >= 4).await;
    let instrument = &status["instruments"][0];
    assert_eq!(instrument["reason"], "warming_up", "{status:#}");
    assert!(!status["complaints"].to_string().contains("controller"), "{status:#}");
    assert!(process.logged("instrument does not answer").is_empty());

    process.until("the time is over", |status| status["instruments"][0]["reason"] == "no_reply").await;
    process.until("it is said", |_| process.logged("instrument does not answer").len() == 1).await;
    field.clear_faults("controller").unwrap();
    process.until_recorded(5).await;
    let ended = process.stop().await;
    assert!(ended.stderr.contains("instrument answers again"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_resets_connections_is_one_line_in_the_log_each_way_and_no_load() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.field = unit(&listener.local_addr().unwrap().to_string(), "", &[("temperature", 1)]);
    let (well, opened) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_well, counted) = (Arc::clone(&well), Arc::clone(&opened));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let is_well = Arc::clone(&is_well);
            tokio::spawn(async move {
                let mut question = [0; 12];
                while stream.read_exact(&mut question).await.is_ok() && is_well.load(Ordering::SeqCst) {
                    let answer = [&question[..4], &[0, 5, question[6], 3, 2, 0, 7]].concat();
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
                stream.set_zero_linger().unwrap();
            });
        }
    });
    let process = Process::run(&lab.write());
    process.until_recorded(5).await;
    let (used, before, began) = (process.processor_time(), opened.load(Ordering::SeqCst), Instant::now());
    well.store(false, Ordering::SeqCst);
    process.until("it was away for a while", |_| began.elapsed() >= Duration::from_secs(3)).await;
    let (used, opens) = (process.processor_time() - used, opened.load(Ordering::SeqCst) - before);
    assert!(opens <= 20, "{opens} connections in {:?}", began.elapsed());
    assert!(used < began.elapsed().mul_f64(0.25), "{used:?} of processor time in {:?}", began.elapsed());
    let (back, read) =
        (Instant::now(), |status: &serde_json::Value| status["instruments"][0]["failing_since"].is_null());
    well.store(true, Ordering::SeqCst);
    process.until("it is read again", read).await;
    assert!(back.elapsed() < Duration::from_secs(2), "after {:?}", back.elapsed());
    let ended = process.stop().await;
    for message in ["link is down", "link is back"] {
        let lines = super::process::logged(&ended.stderr, message).len();
        assert_eq!(lines, 1, "{message}: {}", ended.stderr);
    }
}
