//! The API key: without one everything is recorded, and with one it is never seen anywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mbe_bridge::runs::read::RunFile;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::Oracle;
use super::process::Process;
use super::{KEY, platform};

/// A run without a usable key, up to its end. Returns what the status complains of.
async fn complaint_without_key(lab: &Lab, environment: &[(&str, &str)]) -> String {
    let process = Process::run_with(&lab.write(), environment);
    let status = process.until_recorded(8).await;
    assert_eq!((&status["platform"]["state"], &status["state"]), (&"holding".into(), &"degraded".into()), "{status:#}");
    let complaints = status["complaints"].to_string();
    let ended = process.stop().await;
    assert!(ended.stderr.contains("nothing can be uploaded; data is recorded and kept"), "{}", ended.stderr);
    for text in [&complaints, &status.to_string(), &ended.stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
    let file = RunFile::open(lab.runs().last().unwrap()).unwrap();
    assert!(file.counts().unwrap().iter().all(|counts| counts.recorded > 0));
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_everything_is_recorded_and_the_cure_is_named() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let complaint = complaint_without_key(&lab, &[]).await;
    assert!(complaint.contains("the environment variable `AS_API_KEY` is not set"), "{complaint}");

    let key = lab.folder().join("api-key");
    lab.platform = format!("api_key = {{ file = \"{}\" }}", key.display());
    let complaint = complaint_without_key(&lab, &[]).await;
    assert!(complaint.contains(&format!("could not read the key file `{}`", key.display())), "{complaint}");

    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let complaint = complaint_without_key(&lab, &[]).await;
    assert!(complaint.contains(&format!("chmod 600 {}", key.display())), "{complaint}");
    assert_eq!(server.requests().total(), 0, "nobody was asked anything without a key");

    // Cured: this start delivers what the three others have recorded.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let process = Process::run_with(&lab.write(), &[]);
    process.until_recorded(8).await;
    process.stop().await;
    let runs = lab.runs();
    assert_eq!((runs.len(), server.streams().unwrap().len()), (4, 4));
    for run in &runs {
        Oracle::new(&server, chamber.said()).check(run);
    }
}

/// Whether the bytes of any file below this folder hold the key.
fn holds_key(folder: &Path) -> Vec<String> {
    let mut holding = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holding.extend(holds_key(&path));
        } else if fs::read(&path).unwrap().windows(KEY.len()).any(|window| window == KEY.as_bytes()) {
            holding.push(path.display().to_string());
        }
    }
    holding
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_use_is_seen_nowhere() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    lab.top = "shutdown_grace = \"1s\"".to_owned();
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let arguments = ["--log", "trace", "--log-format", "json", "run", file.to_str().unwrap()];
    let process = Process::start(&arguments, &[("AS_API_KEY", KEY)]);
    let status = process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64().unwrap() >= 20).await;
    // Refused answers are logged with more words than good ones.
    server.set_fault("unauthorized".parse().unwrap());
    let holding = process.until("the key is refused", |status| status["platform"]["state"] == "holding").await;
    let ended = process.stop().await;
    assert!(ended.stderr.len() > 10_000, "a trace says more than this: {}", ended.stderr);
    for text in [status.to_string(), holding.to_string(), ended.stdout, ended.stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
    assert!(fs::read(lab.run()).unwrap().len() > 4096);
    assert_eq!(holds_key(&lab.data()), Vec::<String>::new());
}
