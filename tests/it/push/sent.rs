//! What is in a log is on the platform, and nothing else.

use serde_json::Value;

use super::{Lab, START, check, rows, until};

#[tokio::test(flavor = "multi_thread")]
async fn every_value_comes_back_equal() {
    let lab = Lab::start().await;
    let (text, points) = rows(2_345);
    let log = lab.log("pyrometer.csv", text);
    let said = lab.pushed(&log, &["--name", "Pyrometer log", "--tag", "night", "--sample", "GaN-001"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let stream = lab.only_stream();
    assert_eq!(stream.name.as_deref(), Some("Pyrometer log"));
    assert!(said.out.contains(&format!("stream {}: 4690 points are on the platform", stream.data_id)), "{said:#?}");
    check(&lab, &stream.data_id, &points);
    assert_eq!(lab.stored(&stream.data_id)["T"].0.as_deref(), Some("degC"));
    assert_eq!(lab.stored(&stream.data_id)["p"].0.as_deref(), Some("mbar"));
    assert_eq!(format!("{:?}", stream.state), "Success");

    // Once more, it is there already.
    let said = lab.pushed(&log, &["--name", "Pyrometer log", "--tag", "night", "--sample", "GaN-001"]).await;
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains("this file is on the platform already, as stream"), "{said:#?}");
    assert_eq!(lab.server.streams().unwrap().len(), 1);
    let said = lab.pushed(&log, &["--name", "Pyrometer log", "--tag", "night", "--sample", "GaN-001", "--again"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert_eq!(lab.server.streams().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_german_log_in_latin_1_is_read_as_its_program_meant_it() {
    let lab = Lab::start().await;
    let mut text = b"Datum;Uhrzeit;Temperatur / \xb0C;Druck [mbar]\r\n".to_vec();
    for second in 0..250 {
        text.extend(
            format!("22.11.2026;15:0{}:{:02},5;6{:02},5;\r\n", 3 + second / 60, second % 60, second % 100).bytes(),
        );
    }
    let log = lab.log("ofen.csv", text);
    let said = lab.pushed(&log, &["--zone", "Europe/Berlin", "--json", "--points-per-chunk", "60"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let shown: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(shown["plan"]["columns"][0]["unit"], "°C");
    assert_eq!(shown["plan"]["zone"], "Europe/Berlin");
    assert_eq!((&shown["result"]["uploaded"], &shown["result"]["state"]), (&250.into(), &"finished".into()));
    let stored = lab.stored(shown["result"]["data_id"].as_str().unwrap());
    assert_eq!(stored.len(), 1, "a column without values is no channel");
    let (units, points) = &stored["Temperatur"];
    assert_eq!(units.as_deref(), Some("°C"));
    // 15:03:00,5 in Berlin is 14:03:00.5 in UTC.
    let wanted: Vec<(f64, f64)> =
        (0..250).map(|row| (f64::from(START - 5) + 0.5 + f64::from(row), 600.5 + f64::from(row % 100))).collect();
    assert_eq!(*points, wanted);
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_file_keeps_every_digit() {
    let lab = Lab::start().await;
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/logs/taken/utc-snappy.parquet");
    let said = lab.pushed(log.as_ref(), &["--yes"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let stored = lab.stored(&lab.only_stream().data_id);
    assert_eq!(stored.keys().map(String::as_str).collect::<Vec<_>>(), ["T", "count", "p"]);
    // As tests/fixtures/logs/README.md says that they were made.
    let at = |row: u32| (f64::from(START) * 1e6 + f64::from(row) * 1e5) / 1e6;
    let temperature: Vec<(f64, f64)> =
        (0..2500).filter(|row| row % 7 != 3).map(|row| (at(row), 650.0 + f64::from(row) * 0.01)).collect();
    assert_eq!(stored["T"].1, temperature);
    let counts: Vec<(f64, f64)> = (0..2500).map(|row| (at(row), f64::from(row))).collect();
    assert_eq!(stored["count"].1, counts);
    assert_eq!(stored["p"].1[0].1, 1.5e-9, "the number that was written, not the nearest f32 in 17 digits");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_for() {
    let lab = Lab::start().await;
    let (text, points) = rows(20_000);
    let log = lab.log("log.csv", text);
    lab.server.faults().set("slow:20ms".parse().unwrap()).unwrap();
    let heard = lab.folder.path().join("stderr");
    let mut running = lab
        .push(&log, &[])
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&heard).unwrap())
        .spawn()
        .unwrap();
    until("some of it is stored", async || {
        let stream = lab.server.streams().unwrap().first()?.data_id.clone();
        lab.server.stored(&stream).unwrap().first().filter(|channel| channel.points.len() > 500).map(drop)
    })
    .await;
    lab.server.faults().set("status:503".parse().unwrap()).unwrap();
    let says = |words: &str| std::fs::read_to_string(&heard).unwrap().contains(words).then_some(());
    until("it says that there is an outage", async || says("the platform does not take anything now")).await;
    lab.server.faults().set("none".parse().unwrap()).unwrap();
    let status = until("it ends", async || running.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0), "{}", std::fs::read_to_string(&heard).unwrap());
    says("the platform takes chunks again").unwrap();
    check(&lab, &lab.only_stream().data_id, &points);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_exit_code() {
    let lab = Lab::start().await;
    let (text, _) = rows(10);
    let log = lab.log("log.csv", &text);
    let mut without_key = lab.push(&log, &[]);
    without_key.env_remove("AS_API_KEY");
    let said = lab.said(without_key).await;
    assert_eq!(said.code, Some(2), "{said:#?}");
    assert!(said.err.contains("export AS_API_KEY"), "{said:#?}");

    lab.server.faults().set("unauthorized".parse().unwrap()).unwrap();
    let said = lab.pushed(&log, &[]).await;
    assert_eq!(said.code, Some(5), "{said:#?}");
    lab.server.faults().set("none".parse().unwrap()).unwrap();

    let said = lab.pushed(&log, &["--sample", "01234567-89ab-cdef-0123-456789abcdef"]).await;
    assert_eq!(said.code, Some(5), "{said:#?}");
    assert!(said.err.contains("no physical sample with the id"), "{said:#?}");

    let said = lab.pushed(&lab.folder.path().join("nowhere.csv"), &[]).await;
    assert_eq!(said.code, Some(2), "{said:#?}");
    let file = lab.log("file", "");
    let mut on_a_file = lab.command();
    on_a_file.arg("push").arg(&log).arg("--data-dir").arg(file.join("x"));
    let said = lab.said(on_a_file).await;
    assert_eq!(said.code, Some(4), "{said:#?}");
    assert!(lab.server.streams().unwrap().is_empty());

    // What somebody should look at is sent only if somebody says so.
    let (names, rows) = text.split_once('\n').unwrap();
    let upside_down: Vec<&str> = rows.lines().rev().collect();
    let doubtful = lab.log("doubtful.csv", format!("{names}\n{}\n", upside_down.join("\n")));
    let said = lab.pushed(&doubtful, &[]).await;
    assert_eq!(said.code, Some(2), "{said:#?}");
    assert!(said.err.contains("times go back at 9 rows (the first: line 3)"), "{said:#?}");
    assert!(lab.server.streams().unwrap().is_empty());
    assert_eq!(lab.pushed(&doubtful, &["--yes"]).await.code, Some(0));

    // A channel that the platform refuses costs only itself, and is told.
    lab.server.faults().set("refuse-channel:p".parse().unwrap()).unwrap();
    let said = lab.pushed(&log, &[]).await;
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.out.contains("10 points were refused"), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_platform_is_said_before_anything_is_kept() {
    let lab = Lab::start().await;
    let log = lab.log("log.csv", rows(10).0);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let said = lab.pushed(&log, &["--endpoint", &url]).await;
    assert_eq!(said.code, Some(3), "{said:#?}");
    assert!(said.err.contains("the same command goes on when the platform answers"), "{said:#?}");
}
