//! The data folder, or what is in it, vanishes while a run goes on: moved away, deleted, replaced, taken by another process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::disk::{Ailing, until_read_on};
use super::lab::Lab;
use super::oracle::on_disk;
use super::process::{Process, logged};
use super::{KEY, until};

fn beside(run: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", run.display()))
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Sees recording pause with these words, and every instrument read on for some seconds.
async fn until_away(ailing: &Ailing, words: &str) {
    let paused = ailing
        .process
        .until("recording pauses", |status| status["run"]["paused"].as_str().is_some_and(|why| why.contains(words)))
        .await;
    let begun = Instant::now();
    let mut seen = paused;
    while begun.elapsed() < Duration::from_millis(2_500) {
        seen = until_read_on(&ailing.process, &seen).await;
        assert!(!seen["run"]["paused"].is_null(), "{:#}", seen["run"]);
    }
}

async fn until_back(ailing: &Ailing) {
    let status = ailing.process.until("recording goes on", |status| status["run"]["paused"].is_null()).await;
    ailing.process.until_recorded(status["run"]["recorded"].as_u64().unwrap() + 60).await;
}

async fn until_put_right(ailing: &Ailing) {
    until("a run file is put right", async || {
        let told = logged(&ailing.process.stderr(), "a run file was put right");
        if told.is_empty() { Err(ailing.process.stderr()) } else { Ok(()) }
    })
    .await;
    until_back(ailing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_is_moved_away_and_back_costs_nothing() {
    let ailing = Ailing::start().await;
    let (data, away) = (ailing.lab.data(), ailing.lab.folder().join("away"));
    for _ in 0..2 {
        fs::rename(&data, &away).unwrap();
        until_away(&ailing, "not where it was").await;
        assert!(!data.exists(), "nothing is made where a disk may be mounted");
        fs::rename(&away, &data).unwrap();
        until_back(&ailing).await;
    }
    fs::rename(data.join("runs"), &away).unwrap();
    until_away(&ailing, "not where it was").await;
    fs::rename(&away, data.join("runs")).unwrap();
    until_back(&ailing).await;
    ailing.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_data_folder_that_says_the_same_is_gone_on_with() {
    let ailing = Ailing::start().await;
    let (data, away) = (ailing.lab.data(), ailing.lab.folder().join("away"));
    fs::rename(&data, &away).unwrap();
    until_away(&ailing, "not where it was").await;
    let copy = ailing.lab.folder().join("copy");
    copy_all(&away, &copy);
    fs::rename(&copy, &data).unwrap();
    until_put_right(&ailing).await;
    // What is written is in the copy.
    let written = on_disk(&ailing.lab.run());
    assert!(written.len() > on_disk(&away.join("runs").join(ailing.lab.run().file_name().unwrap())).len());
    ailing.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_in_the_place_of_a_run_is_not_touched() {
    let ailing = Ailing::start().await;
    let run = ailing.lab.run();
    let (old, away) = (ailing.lab.folder().join("old"), ailing.lab.folder().join("away.sqlite"));
    fs::copy(&run, &old).unwrap();
    ailing.process.until("more is uploaded", |status| status["run"]["uploaded"].as_u64().unwrap() >= 60).await;
    fs::rename(&run, &away).unwrap();
    fs::copy(&old, &run).unwrap();
    until_away(&ailing, "another file in its place").await;
    assert_eq!(fs::read(&run).unwrap(), fs::read(&old).unwrap());
    fs::rename(&away, &run).unwrap();
    until_back(&ailing).await;
    ailing.finish().await;
}

/// Deletes this much of a run while it is recorded; everything is restored.
async fn a_deletion_of(delete: impl FnOnce(&Lab, &Path)) {
    let ailing = Ailing::start().await;
    let run = ailing.lab.run();
    let before = on_disk(&run);
    delete(&ailing.lab, &run);
    until_put_right(&ailing).await;
    assert!(before.is_subset(&on_disk(&run)), "what was on disk is gone");
    // It is there for the next start, too.
    let second = Process::run(&ailing.lab.folder().join("lab.toml")).ended().await;
    let pid = ailing.process.pid().to_string();
    assert!(second.code() == 4 && second.stderr.contains(&pid), "{second:#?}");
    ailing.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_file_that_is_deleted_is_restored() {
    a_deletion_of(|_, run| {
        for suffix in ["", "-wal", "-shm"] {
            fs::remove_file(beside(run, suffix)).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_file_that_is_deleted_without_its_log_is_restored() {
    a_deletion_of(|_, run| fs::remove_file(run).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_deleted_loses_nothing() {
    a_deletion_of(|_, run| fs::remove_file(beside(run, "-wal")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_is_deleted_is_restored() {
    a_deletion_of(|lab, _| fs::remove_dir_all(lab.data()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_another_process_has_taken_is_left_to_it() {
    let ailing = Ailing::start().await;
    let (data, away) = (ailing.lab.data(), ailing.lab.folder().join("away"));
    fs::rename(&data, &away).unwrap();
    until_away(&ailing, "not where it was").await;

    let other = ailing.lab.folder().join("other.toml");
    let text = "data_dir = \"data\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n[platform]\nendpoint = \"http://127.0.0.1:9\"\n\
                [links.bus.modbus-tcp]\naddress = \"127.0.0.1:9\"\n[[instruments]]\nname = \"gauge\"\n\
                profile = \"prevac-mg15\"\nlink = \"bus\"\nunit = 1\n";
    fs::write(&other, text).unwrap();
    let second = Process::run_with(&other, &[("AS_API_KEY", KEY)]);
    second.until("it records", |status| status["run"]["id"].is_string()).await;
    let pid = second.pid().to_string();
    let status = ailing
        .process
        .until("it says who has the folder", |status| {
            status["run"]["paused"].as_str().is_some_and(|why| why.contains(&pid))
        })
        .await;
    until_read_on(&ailing.process, &status).await;
    let told = "another process has taken the data folder; nothing is recorded here until it gives it back";
    assert_eq!(logged(&ailing.process.stderr(), told).len(), 1, "{}", ailing.process.stderr());
    drop(second);

    fs::rename(&data, ailing.lab.folder().join("theirs")).unwrap();
    fs::rename(&away, &data).unwrap();
    until_back(&ailing).await;
    ailing.finish().await;
}
