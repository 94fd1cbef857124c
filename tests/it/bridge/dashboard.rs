//! The bridge's own HTTP, of the real program.

use reqwest::StatusCode;
use reqwest::header::{HOST, ORIGIN};

use super::field::{Chamber, instrument, line, profile};
use super::lab::Lab;
use super::process::{Process, client};
use super::{platform, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_answers_to_its_own_name_only() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until_recorded(4).await;
    let (url, client) = (process.url().await, client());
    for path in ["/", "/api/status", "/api/trace?link=pyro", "/healthz"] {
        let ask = || client.get(format!("{url}{path}"));
        assert_eq!(ask().send().await.unwrap().status(), StatusCode::OK, "{path}");
        let foreign = ask().header(HOST, "evil.example").send().await.unwrap();
        assert_eq!(foreign.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(!foreign.text().await.unwrap().contains("substrate"));
        let page_elsewhere = ask().header(ORIGIN, "https://evil.example").send().await.unwrap();
        assert_eq!(page_elsewhere.status(), StatusCode::FORBIDDEN, "{path}");
        let write = client.post(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(write.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    let page = client.get(&url).send().await.unwrap().text().await.unwrap();
    for shown in ["substrate_temperature", "chamber_pressure", "mbar", "All is well."] {
        assert!(page.contains(shown), "{page}");
    }
    process.stop().await;
}

/// Health is that data flows, not that a process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_that_the_instrument_answers() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let upp = profile("impac-upp");
    let place = mbe_bridge::sim::Place::Pty { path: Some(lab.folder().join("ttyOnly")) };
    let only = line(place, &upp, vec![instrument("only", &upp, &[])]);
    only.fault("only", "silence".parse().unwrap()).unwrap();
    lab.field = format!(
        "[links.pyro.serial]\nport = \"{}\"\n[[instruments]]\nname = \"only\"\nprofile = \"impac-upp\"\nlink = \"pyro\"",
        only.port().unwrap().display()
    );
    let process = Process::run(&lab.write());
    let status =
        process.until("its silence shows", |status| !status["instruments"][0]["failing_since"].is_null()).await;
    assert!(status["complaints"].to_string().contains("`only` has failed for"), "{status:#}");
    let (url, client) = (format!("{}/healthz", process.url().await), client());
    let health = async || client.get(&url).send().await.unwrap().status();
    assert_eq!(health().await, StatusCode::SERVICE_UNAVAILABLE);

    only.clear_faults("only").unwrap();
    until("data flows", async || match health().await {
        StatusCode::OK => Ok(()),
        other => Err(other),
    })
    .await;
    process.until("nothing is complained of", |status| status["state"] == "well").await;
    process.stop().await;
}
