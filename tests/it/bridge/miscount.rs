//! The platform's count of points, with each reply, is held against the run file.

use mbe_bridge::server::Settings;
use rusqlite::Connection;
use tempfile::TempDir;

use super::field::Chamber;
use super::lab::Lab;
use super::platform_with;
use super::process::{Process, command};

/// Changes how many points the platform thinks it has of each channel.
fn change_count(folder: &TempDir, by: i64) {
    let platform = Connection::open(folder.path().join("platform.sqlite")).unwrap();
    platform.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    assert_ne!(platform.execute("UPDATE channels SET points = points + ?1", [by]).unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_that_the_platform_loses_or_makes_up_are_noticed() {
    for (by, degraded) in [(-3, true), (3, false)] {
        let folder = TempDir::new().unwrap();
        let server = platform_with(Settings { data: Some(folder.path().to_owned()), ..Settings::default() }).await;
        let mut lab = Lab::new(&server.url());
        let chamber = Chamber::start(lab.folder());
        lab.field = chamber.toml();
        let process = Process::run(&lab.write());
        let before = process.until("it uploads", |status| status["run"]["uploaded"].as_u64().unwrap() >= 20).await;
        assert_eq!(before["disagreements"].as_array().map(Vec::len), Some(0), "{before:#}");

        change_count(&folder, by);
        let status =
            process.until("it is noticed", |status| !status["disagreements"].as_array().unwrap().is_empty()).await;
        let words = status["disagreements"].to_string();
        assert!(words.contains("the platform says to hold") && words.contains("chamber_pressure"), "{words}");
        assert_eq!(status["complaints"].to_string().contains("are missing"), degraded, "{status:#}");
        let at = process.url().await.replace("http://", "");
        let shown = command(&["status", "--at", &at]).await;
        assert!(shown.stdout.contains("the platform counts otherwise"), "{shown:#?}");
        process.stop().await;
    }
}
