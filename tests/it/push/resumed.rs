//! A push that was interrupted in any way goes on where it was when the command is given again.

use super::{Lab, Running, check, rows, until};

/// Chunks are sent slowly enough to be interrupted on the way.
const SLOW: &str = "slow:20ms";

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on_without_losing_or_repeating_a_point() {
    let lab = Lab::start().await;
    let (text, points) = rows(60_000);
    let log = lab.log("log.csv", text);
    lab.server.faults().set(SLOW.parse().unwrap()).unwrap();
    let mut killed = 0_u64;
    let ended = loop {
        let running = Running::start(lab.push(&log, &[]));
        let before = lab.server.requests().total();
        // A little further each time, from before the stream to the end.
        let wanted = before + killed * 2;
        let mut running = Some(running);
        let reached = until("it sends, or ends", async || {
            let over = running.as_mut().unwrap().0.try_wait().unwrap().is_some();
            (over || lab.server.requests().total() > wanted).then_some(over)
        })
        .await;
        let mut running = running.unwrap();
        if reached || killed == 20 {
            break running.ended().await;
        }
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        killed += 1;
    };
    assert!(killed > 5, "it was killed {killed} times only");
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.err.contains("goes on as stream"), "{ended:#?}");
    // A process that dies between the platform's answer and the record leaves an empty stream behind, and nothing else.
    let streams = lab.server.streams().unwrap();
    let (full, empty): (Vec<_>, Vec<_>) =
        streams.iter().partition(|stream| !lab.server.stored(&stream.data_id).unwrap().is_empty());
    assert_eq!(full.len(), 1, "{streams:#?}");
    assert!(empty.len() <= 1, "{streams:#?}");
    check(&lab, &full[0].data_id, &points);
    assert_eq!(format!("{:?}", full[0].state), "Success");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_once_says_how_to_go_on() {
    let lab = Lab::start().await;
    let (text, points) = rows(12_000);
    let log = lab.log("log.csv", text);
    lab.server.faults().set(SLOW.parse().unwrap()).unwrap();
    let running = Running::start(lab.push(&log, &["--json"]));
    until("it sends", async || (lab.server.requests().total() > 10).then_some(())).await;
    let pid = rustix::process::Pid::from_raw(running.0.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = running.ended().await;
    assert_eq!(said.code, Some(1), "{said:#?}");
    let shown: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(shown["result"]["state"], "interrupted");
    let stream = lab.only_stream().data_id;
    assert_eq!(shown["result"]["data_id"], stream.as_str());

    lab.server.faults().set("none".parse().unwrap()).unwrap();
    let said = lab.pushed(&log, &[]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains(&format!("goes on as stream {stream}")), "{said:#?}");
    check(&lab, &lab.only_stream().data_id, &points);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_is_another_stream_and_is_said() {
    let lab = Lab::start().await;
    let log = lab.log("log.csv", rows(50).0);
    assert_eq!(lab.pushed(&log, &[]).await.code, Some(0));
    lab.log("log.csv", rows(60).0);
    let said = lab.pushed(&log, &[]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains("had another content when it was pushed as stream"), "{said:#?}");
    let copy = lab.log("copy.csv", rows(60).0);
    let said = lab.pushed(&copy, &[]).await;
    assert!(said.err.contains("the same content was pushed from"), "{said:#?}");
    let said = lab.pushed(&log, &["--value", "T"]).await;
    assert!(said.err.contains("was read in another way when it was pushed as stream"), "{said:#?}");
    assert_eq!(lab.server.streams().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_at_a_time_has_a_log() {
    let lab = Lab::start().await;
    let log = lab.log("log.csv", rows(5_000).0);
    lab.server.faults().set("hang".parse().unwrap()).unwrap();
    let running = Running::start(lab.push(&log, &[]));
    until("it asks for a stream", async || (lab.server.requests().total() > 0).then_some(())).await;
    let said = lab.pushed(&log, &[]).await;
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains("another command is pushing"), "{said:#?}");
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_gone_is_said_and_the_file_is_sent_anew() {
    let lab = Lab::start().await;
    let (text, points) = rows(150_000);
    let log = lab.log("log.csv", text);
    // Only chunks hang, so that there is a stream and nothing leaves.
    lab.server.faults().set("hang only chunk".parse().unwrap()).unwrap();
    let running = Running::start(lab.push(&log, &[]));
    let queued = async || {
        let mut command = lab.command();
        command.args(["streams", "--json", "--data-dir"]).arg(lab.data_dir());
        let shown: serde_json::Value = serde_json::from_str(&lab.said(command).await.out).unwrap();
        shown["streams"][0]["queued"].as_u64()
    };
    // Of 1500 chunks some 1024 wait on disk; the rest is left in the file until there is room.
    until("as much waits as may", async || queued().await.filter(|queued| *queued >= 1_024 * 200)).await;
    assert!(queued().await.unwrap() <= 1_100 * 200);
    drop(running);
    lab.server.faults().set("none".parse().unwrap()).unwrap();
    let first = lab.only_stream().data_id;
    std::fs::remove_dir_all(lab.data_dir().join("streamers")).unwrap();
    let said = lab.pushed(&log, &[]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains(&format!("nothing of stream {first} is kept in")), "{said:#?}");
    let streams = lab.server.streams().unwrap();
    let second = streams.iter().find(|stream| stream.data_id != first).unwrap();
    check(&lab, &second.data_id, &points);
    assert_eq!(lab.pushed(&log, &[]).await.code, Some(0));
    assert_eq!(lab.server.streams().unwrap().len(), 2);
}
