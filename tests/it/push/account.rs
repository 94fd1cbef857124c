//! `growth-instruments` and `streams`.

use serde_json::Value;

use super::{Lab, Running, rows, until};

#[tokio::test(flavor = "multi_thread")]
async fn growth_instruments_are_listed_created_and_deleted() {
    let lab = Lab::start().await;
    let said = async |arguments: &[&str]| {
        let mut command = lab.command();
        command.arg("growth-instruments").args(arguments);
        lab.said(command).await
    };
    let create = ["create", "--label", "GEN10", "--name", "gen10", "--type", "mbe", "--serial", "S17"];
    let created = said(&create).await;
    assert_eq!(created.code, Some(0), "{created:#?}");
    let id = created.out.trim().rsplit_once(' ').unwrap().1.to_owned();
    let listed = said(&[]).await;
    assert!(listed.out.lines().any(|line| line.trim_start().starts_with(&id)), "{listed:#?}");
    let listed = said(&["list", "--json"]).await;
    let shown: Value = serde_json::from_str(&listed.out).unwrap();
    let ids: Vec<String> = shown.as_array().unwrap().iter().map(|one| one["synth_source_id"].to_string()).collect();
    assert!(ids.contains(&id), "{shown}");

    assert_eq!(said(&["create", "--label", "x", "--name", "x", "--type", "oven"]).await.code, Some(2));
    let unasked = said(&["delete", &id]).await;
    assert_eq!(unasked.code, Some(2), "{unasked:#?}");
    assert!(unasked.err.contains("`--yes` removes it without asking"), "{unasked:#?}");
    assert_eq!(said(&["delete", &id, "--yes"]).await.code, Some(0));
    let gone = said(&["delete", &id, "--yes"]).await;
    assert_eq!(gone.code, Some(2), "{gone:#?}");
    lab.server.faults().set("unauthorized".parse().unwrap()).unwrap();
    let refused = said(&[]).await;
    assert_eq!(refused.code, Some(5), "{refused:#?}");
    assert!(refused.err.contains("the growth instruments can't be listed"), "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_listed_while_a_program_writes_and_afterwards() {
    let lab = Lab::start().await;
    let list = async || {
        let mut command = lab.command();
        command.args(["streams", "--json", "--data-dir"]).arg(lab.data_dir());
        let said = lab.said(command).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        serde_json::from_str::<Value>(&said.out).unwrap()["streams"].as_array().unwrap().clone()
    };
    assert!(list().await.is_empty());
    // More chunks than may wait, and none of them leaves: the program is kept in the middle of the file.
    let log = lab.log("log.csv", rows(150_000).0);
    lab.server.faults().set("hang only chunk".parse().unwrap()).unwrap();
    let running = Running::start(lab.push(&log, &["--name", "Pyrometer log"]));
    let pid = running.0.id();
    let open = until("the stream is listed with points", async || {
        let streams = list().await;
        streams.first().filter(|stream| stream["points"].as_u64() > Some(0)).cloned()
    })
    .await;
    assert_eq!((&open["state"], &open["name"]), (&"open".into(), &"Pyrometer log".into()), "{open}");
    assert_eq!(open["in_use_by"], pid, "{open}");
    drop(running);
    let [left] = list().await.try_into().unwrap();
    assert_eq!((&left["state"], &left["in_use_by"]), (&"left".into(), &Value::Null), "{left}");
    lab.server.faults().set("none".parse().unwrap()).unwrap();
    assert_eq!(lab.pushed(&log, &["--name", "Pyrometer log"]).await.code, Some(0));
    let [done] = list().await.try_into().unwrap();
    assert_eq!((&done["state"], &done["uploaded"]), (&"finalized".into(), &300_000.into()), "{done}");
    assert_eq!(done["data_id"], lab.only_stream().data_id.as_str());
    let mut command = lab.command();
    command.arg("streams").arg("--data-dir").arg(lab.data_dir());
    let shown = lab.said(command).await.out;
    assert!(shown.lines().nth(1).unwrap().contains("Pyrometer log"), "{shown}");
}
