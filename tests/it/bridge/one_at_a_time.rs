//! Two programs and one folder, two signals and one end.

use std::fs;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::Oracle;
use super::process::{Process, command};
use super::{platform, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_bridge_is_told_who_has_the_folder() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let first = Process::run(&file);
    first.until_recorded(4).await;
    let second = Process::run(&file).ended().await;
    assert_eq!(second.code(), 4, "{second:#?}");
    assert!(second.stderr.contains(&first.pid().to_string()), "{}", second.stderr);
    assert!(second.stderr.contains("hint: stop the other bridge"), "{}", second.stderr);
    first.until_recorded(20).await;
    first.stop().await;
    Oracle::new(&server, chamber.said()).check(&lab.run()).assert_nothing_was_missed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_during_the_start_is_as_gentle_as_any() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    until(
        "the run begins",
        async || {
            if process.logged("the run begins").is_empty() { Err(process.stderr()) } else { Ok(()) }
        },
    )
    .await;
    let ended = process.stop().await;
    assert!(ended.stderr.contains("run is complete on the platform"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_the_next_start_goes_on() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let process = Process::run(&file);
    process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64().unwrap() > 0).await;
    // With the usual grace it would go on trying for 20 s.
    server.set_fault("status:503".parse().unwrap());
    process.until("the platform is down", |status| status["platform"]["state"] == "down").await;
    process.terminate();
    until("it is stopping", async || {
        let said = process.stderr();
        if said.contains("still stopping; once more to stop at once") { Ok(()) } else { Err(said) }
    })
    .await;
    let twice = std::time::Instant::now();
    process.terminate();
    let ended = process.ended().await;
    assert_eq!(ended.code(), 1, "{ended:#?}");
    assert!(twice.elapsed().as_secs() < 5, "{:?}", twice.elapsed());
    assert!(ended.stderr.contains("error: stopped at once"), "{}", ended.stderr);
    let first = lab.run();

    server.set_fault(mbe_bridge::server::Fault::None);
    let process = Process::run(&file);
    process.until_recorded(4).await;
    process.stop().await;
    for run in lab.runs() {
        let account = Oracle::new(&server, chamber.said()).check(&run);
        assert!(run != first || account.fewest() >= 5, "{:?}", account.counts);
    }
}

/// What only a person reads has no codes for colours in it when no person reads it, and no level where nothing is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_a_file_is_plain_text() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml().replace("impac-upp", "impac-upq");
    let refused = command(&["run", lab.write().to_str().unwrap()]).await;
    assert_eq!(refused.code(), 2, "{refused:#?}");
    assert!(refused.stderr.contains("did you mean `impac-upp`?"), "{}", refused.stderr);
    assert!(!lab.data().exists(), "nothing is made for a file that can't be used");

    lab.field = chamber.toml();
    let process = Process::start(&["run", lab.write().to_str().unwrap()], &[("AS_API_KEY", super::KEY)]);
    until("the links are open", async || {
        let said = process.stderr();
        if said.matches("link is open").count() == 3 { Ok(()) } else { Err(said) }
    })
    .await;
    let ended = process.stop().await;
    assert!(ended.stderr.contains("INFO run is complete on the platform"), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr.escape_debug());
    assert!(fs::metadata(lab.run()).unwrap().len() > 0);
}
