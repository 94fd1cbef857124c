//! Run files that are damaged, or belong to someone else, when the program starts again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mbe_bridge::model::RunState;
use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::Server;
use serde_json::Value;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::{Oracle, on_disk};
use super::process::Process;
use super::{KEY, platform};

/// A user that owns nothing.
const NOBODY: u32 = 65534;

/// Records for a while, has some of it uploaded, and dies.
async fn die_while_recording(server: &Server) -> (Lab, Chamber) {
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until("some of it is uploaded", |status| status["run"]["uploaded"].as_u64().unwrap() >= 40).await;
    process.kill();
    (lab, chamber)
}

fn set_aside(status: &Value) -> String {
    status["complaints"].to_string()
}

fn salvaged(run: &Path) -> PathBuf {
    run.with_file_name(format!("{}-s1.sqlite", run.file_stem().unwrap().to_str().unwrap()))
}

fn is_done(run: &Path) -> bool {
    RunFile::open(run).is_ok_and(|file| file.info().state == RunState::Done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_readable_of_a_damaged_file_reaches_the_platform_and_a_person_is_told() {
    let server = platform().await;
    let (lab, chamber) = die_while_recording(&server).await;
    let run = lab.run();
    let durable = on_disk(&run);
    let mut bytes = fs::read(&run).unwrap();
    bytes[..4096].fill(0x5A);
    fs::write(&run, &bytes).unwrap();

    let process = Process::run(&lab.folder().join("lab.toml"));
    let new = salvaged(&run);
    let status = process
        .until("what was salvaged is uploaded", |status| {
            is_done(&new) && set_aside(status).contains("salvaged into run")
        })
        .await;
    assert!(status["complaints"].to_string().contains("a run file was set aside"), "{status:#}");
    process.until_recorded(20).await;
    let aside = run.with_extension("sqlite.damaged-1");
    fs::rename(&aside, lab.folder().join("seen to")).unwrap();
    process.until("what was seen to is no complaint", |status| status["state"] == "well").await;
    process.stop().await;
    assert!(!run.exists());

    assert_eq!(on_disk(&new), durable, "the first page holds nothing of a run");
    let runs = lab.runs();
    assert_eq!(runs.len(), 2, "{runs:?}");
    for run in &runs {
        let account = Oracle::new(&server, chamber.said()).check(run);
        assert_eq!(account.streams.len(), 1, "what was salvaged goes on with its stream");
    }
    assert_eq!(server.streams().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_someone_else_is_copied_and_uploaded() {
    let server = platform().await;
    let (lab, _chamber) = die_while_recording(&server).await;
    let run = lab.run();
    let durable = on_disk(&run);
    let log = run.with_extension("sqlite-wal");
    for file in [&run, &log] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"));
    if rustix::process::geteuid().is_root() {
        // Who may do everything is made someone who may not, with a program and a folder that he can reach.
        let program = lab.folder().join("mbe-bridge");
        fs::copy(env!("CARGO_BIN_EXE_mbe-bridge"), &program).unwrap();
        fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        for own in [lab.data(), lab.data().join("runs"), lab.data().join("lock")] {
            chown(own, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
    }
    let file = lab.folder().join("lab.toml");
    let arguments = ["--log-format", "json", "run", file.to_str().unwrap()];
    let process = Process::start_command(&mut command, &arguments, &[("AS_API_KEY", KEY)]);
    let new = salvaged(&run);
    let status = process
        .until("the copy is uploaded", |status| is_done(&new) && set_aside(status).contains("salvaged into run"))
        .await;
    assert!(set_aside(&status).contains("belongs to someone else"), "{status:#}");
    process.stop().await;
    assert_eq!(on_disk(&new), durable);
    assert!(run.with_extension("sqlite.damaged-1").exists());
}
