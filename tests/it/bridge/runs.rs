//! `mbe-bridge runs`, the accounts in status and metrics, and what can be asked of a running bridge.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mbe_bridge::server::{Call, Fault};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HOST, ORIGIN};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::field::Chamber;
use super::lab::Lab;
use super::process::{Ended, Process, client};
use super::{KEY, platform};

async fn runs(lab: &Lab, arguments: &[&str]) -> Ended {
    let file = lab.folder().join("lab.toml");
    let place = ["runs", "--config", file.to_str().unwrap()];
    Process::start(&[&place[..], arguments].concat(), &[("AS_API_KEY", KEY)]).ended().await
}

async fn runs_json(lab: &Lab, arguments: &[&str]) -> (i32, Value) {
    let ended = runs(lab, &[&["--json"], arguments].concat()).await;
    (ended.code(), serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:#?}")))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Every reading and every point of this status, or line of a list, is accounted for.
fn assert_points_balance(of: &Value, whole: &Value) {
    let [recorded, filled, uploaded, queued, rejected] =
        ["recorded", "filled", "uploaded", "queued", "rejected"].map(|key| number(&of[key]));
    assert_eq!(recorded + filled, uploaded + queued + rejected, "{whole:#}");
}

fn assert_readings_balance(of: &Value, whole: &Value) {
    let bad = match &of["bad"] {
        Value::Object(reasons) => reasons.values().map(number).sum(),
        bad => number(bad),
    };
    let others: u64 =
        ["recorded", "decimated", "late", "unrecorded", "waiting"].iter().map(|key| number(&of[key])).sum();
    assert_eq!(number(&of["read"]), bad + others, "{whole:#}");
}

fn assert_adds_up(status: &Value) {
    assert_points_balance(&status["run"], status);
    assert_points_balance(&status["totals"], status);
    assert_readings_balance(&status["run"], status);
    for run in status["runs"].as_array().unwrap() {
        assert_points_balance(run, status);
    }
    for channel in status["channels"].as_array().unwrap() {
        if channel.get("counts").is_some() {
            assert_readings_balance(&channel["counts"], status);
        }
    }
}

/// The samples of a page in Prometheus's text format by name with labels, and the sorts of the families. Strict: whatever a
/// line is that it should not be ends the test.
/// Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>, "Text format details".
fn parsed(page: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut sorts) = (BTreeMap::new(), BTreeMap::<String, String>::new());
    let mut helped = None;
    assert!(page.ends_with('\n'), "the last line has an end");
    for line in page.lines() {
        let is_name = |name: &str| {
            name.starts_with("mbe_bridge_")
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !text.is_empty(), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, sort) = rest.split_once(' ').unwrap();
            assert_eq!(helped.as_deref(), Some(name), "{line}");
            assert!(["counter", "gauge"].contains(&sort), "{line}");
            assert_eq!(sort == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(sorts.insert(name.to_owned(), sort.to_owned()), None, "{name} comes twice");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert_eq!(sorts.keys().find(|known| *known == name).map(String::as_str), helped.as_deref(), "{line}");
            if let Some(labels) = sample.strip_prefix(name).unwrap().strip_prefix('{') {
                for label in labels.strip_suffix('}').unwrap().split("\",") {
                    let (label, text) = label.split_once("=\"").unwrap();
                    assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                    assert!(!text.trim_end_matches('"').contains('"'), "{line}");
                }
            }
            assert_eq!(samples.insert(sample.to_owned(), value.parse().unwrap()), None, "{sample} comes twice");
        }
    }
    (samples, sorts)
}

fn sum(samples: &BTreeMap<String, f64>, family: &str) -> f64 {
    let of_family = samples.iter().filter(|(name, _)| name.split('{').next() == Some(family));
    of_family.map(|(_, value)| value).sum()
}

/// Whoever looks, whenever: status adds up, and so do the metrics, and no counter goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_add_up_at_every_moment_and_no_counter_goes_back() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let process = Process::run(&file);
    process.until_recorded(4).await;
    let (url, client) = (process.url().await, client());
    let mut before: BTreeMap<String, f64> = BTreeMap::new();
    let mut read_before = 0;
    for round in 0..120_u32 {
        match round {
            20 => server.set_fault("status:503".parse().unwrap()),
            50 => server.set_fault(Fault::None),
            60 => server.set_fault_on(Call::ChunkMulti, "status:422".parse().unwrap(), 1),
            80 => server.set_fault_on(Call::ChunkMulti, Fault::CutReply, 2),
            _ => {}
        }
        let status: Value = client.get(format!("{url}/api/status")).send().await.unwrap().json().await.unwrap();
        assert_adds_up(&status);
        let read = number(&status["run"]["read"]);
        assert!(read >= read_before, "readings were taken back: {read_before}, {read}");
        read_before = read;
        let answer = client.get(format!("{url}/metrics")).send().await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        let (samples, sorts) = parsed(&answer.text().await.unwrap());
        let of = |family: &str| sum(&samples, &format!("mbe_bridge_{family}"));
        let parts = ["recorded_total", "bad_total", "decimated_total", "late_total", "unrecorded_total", "waiting"];
        let parts: f64 = parts.iter().map(|part| of(&format!("readings_{part}"))).sum();
        assert_eq!(of("readings_total"), parts);
        assert_eq!(of("points_total"), of("points_uploaded_total") + of("points_queued") + of("points_rejected"));
        assert_eq!(of("points_total"), of("readings_recorded_total") + of("points_filled_total"));
        assert_eq!(of("platform_state"), 1.0, "it is in one state");
        for (name, value) in &samples {
            let family = name.split('{').next().unwrap();
            if sorts[family] == "counter" {
                assert!(before.get(name).is_none_or(|before| before <= value), "{name} goes back");
            }
        }
        assert!(before.keys().all(|name| samples.contains_key(name)), "a sample is gone");
        before = samples;
        tokio::time::sleep(Duration::from_millis(u64::from(round % 7) * 7)).await;
    }
    let status =
        process.until("what waited is uploaded", |status| status["run"]["queued_chunks"].as_u64() <= Some(1)).await;
    assert!(number(&status["platform"]["failed_attempts"]) > 0, "the outage was not met: {status:#}");
    assert!(before["mbe_bridge_upload_attempts_failed_total"] > 0.0);
    let shown = Process::start(&["status", "--at", url.trim_start_matches("http://")], &[]).ended().await;
    for line in ["read ", "recorded "] {
        let line = shown.stdout.lines().find(|text| text.starts_with(line)).unwrap();
        let (sum, parts) = line.split_once('=').unwrap();
        let add = |text: &str| text.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
        assert_eq!(add(sum), add(parts), "{line}");
    }
    process.stop().await;
    let (code, list) = runs_json(&lab, &[]).await;
    assert_eq!((code, list["runs"].as_array().unwrap().len()), (0, 1));
    assert_points_balance(&list["runs"][0], &list);
    assert_points_balance(&list["totals"], &list);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_listed_shown_and_verified_beside_the_bridge_and_after_it() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64() > Some(20)).await;

    let (code, beside) = runs_json(&lab, &["verify", "--platform"]).await;
    assert_eq!(code, 0, "{beside:#}");
    let (_, list) = runs_json(&lab, &["list"]).await;
    assert_eq!(list["runs"][0]["state"], "recording");
    process.stop().await;

    let run = lab.run();
    let id = run.file_stem().unwrap().to_str().unwrap();
    let table = runs(&lab, &[]).await;
    for words in [id, "done", "1 runs", "0 queued + 0 rejected"] {
        assert!(table.stdout.contains(words), "{words}: {table:#?}");
    }
    let (_, sheet) = runs_json(&lab, &["show", &id[..12]]).await;
    assert_eq!(sheet["run"]["run"], id);
    assert_eq!(sheet["streams"][0]["state"], "finalized", "{sheet:#}");
    assert_eq!(sheet["streams"][0]["points_confirmed"], sheet["run"]["uploaded"]);
    for channel in sheet["channels"].as_array().unwrap() {
        assert_points_balance(channel, &sheet);
    }
    let shown = runs(&lab, &["show"]).await;
    for words in ["sessions", "streams", "substrate_temperature", "clock readings", "finalized"] {
        assert!(shown.stdout.contains(words), "{words}: {shown:#?}");
    }
    let (code, verified) = runs_json(&lab, &["verify", "--all", "--platform"]).await;
    assert_eq!(code, 0, "{verified:#}");
    assert_eq!(verified["runs"][0]["platform"]["found"], sheet["run"]["uploaded"]);
    // A copy elsewhere says the same, and needs no folder.
    let copy = lab.folder().join("copy of it.sqlite");
    std::fs::copy(&run, &copy).unwrap();
    let of_copy = Process::start(&["runs", "verify", copy.to_str().unwrap()], &[]).ended().await;
    assert_eq!(of_copy.code(), 0, "{of_copy:#?}");
    let unknown = runs(&lab, &["show", "19700101T"]).await;
    assert_eq!(unknown.code(), 2);
    assert!(unknown.stderr.contains("there is no run `19700101T`"), "{unknown:#?}");
}

fn change(run: &Path, statement: &str) {
    assert!(Connection::open(run).unwrap().execute(statement, []).unwrap() > 0, "{statement}");
}

/// Whatever is changed in a file, or on the platform, is found and named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_says_what_is_wrong_with_chunk_and_channel() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until("some chunks are uploaded", |status| status["run"]["uploaded"].as_u64() > Some(60)).await;
    process.stop().await;
    let run = lab.run();
    let good = lab.folder().join("good.sqlite");
    std::fs::copy(&run, &good).unwrap();
    for (statement, chunk, words) in [
        ("UPDATE bodies SET body = zeroblob(20) WHERE seq = 1", Some(1), "checksum"),
        ("DELETE FROM bodies WHERE seq = 2", Some(2), "its ticks are not there"),
        ("UPDATE chunks SET chunk_index = 0 WHERE seq = 1", Some(1), "as chunk 0 has"),
        (
            "UPDATE chunks SET points = json_replace(points, '$[1]', 4) WHERE seq = 1",
            Some(1),
            "points are said to be there",
        ),
        ("UPDATE chunks SET offset_nanos = offset_nanos - 3000000000 WHERE seq = 2", Some(2), "its last stamp is not"),
        (
            "UPDATE chunks SET offset_nanos = offset_nanos - 3000000000, last_utc = last_utc - 3000000000, \
             floor_utc = floor_utc - 9000000000 WHERE seq = 2",
            Some(2),
            "its stamps begin",
        ),
        ("UPDATE chunks SET state = 'sealed', stream = NULL WHERE seq = 1", None, "chunks wait for the platform"),
        ("UPDATE counts SET recorded = recorded + 1, read = read + 1 WHERE channel = 0", None, "recorded"),
        ("UPDATE counts SET late = late + 1 WHERE channel = 2", None, "accounted for"),
        ("DELETE FROM chunks WHERE seq = 1", None, "chunk 1 of this run is missing"),
    ] {
        std::fs::copy(&good, &run).unwrap();
        change(&run, statement);
        let (code, report) = runs_json(&lab, &["verify"]).await;
        assert_eq!(code, 1, "{statement}: {report:#}");
        let problems = report["runs"][0]["file"]["problems"].as_array().unwrap();
        let named = problems
            .iter()
            .any(|problem| problem["what"].as_str().unwrap().contains(words) && problem["chunk"].as_u64() == chunk);
        assert!(named, "{statement}: {report:#}");
    }
    // The platform has what the file has not, and the other way round.
    std::fs::copy(&good, &run).unwrap();
    change(
        &run,
        "UPDATE chunks SET offset_nanos = offset_nanos + 30000000, last_utc = last_utc + 30000000 WHERE seq = 3",
    );
    let ended = runs(&lab, &["verify", "--platform"]).await;
    assert_eq!(ended.code(), 1, "{ended:#?}");
    for words in ["chunk 3: ", "confirmed points are not on stream", "are not in the file", "what to do: "] {
        assert!(ended.stdout.contains(words), "{words}: {ended:#?}");
    }
    std::fs::copy(&good, &run).unwrap();
    server.set_fault("unauthorized".parse().unwrap());
    assert_eq!(runs(&lab, &["verify", "--platform"]).await.code(), 5);
    server.set_fault("status:503".parse().unwrap());
    let ended = runs(&lab, &["verify", "--platform"]).await;
    assert!([0, 3].contains(&ended.code()), "{ended:#?}");
    server.set_fault(Fault::CutReply);
    assert_eq!(runs(&lab, &["verify", "--platform"]).await.code(), 3);
    server.set_fault("forget".parse().unwrap());
    let ended = runs(&lab, &["verify", "--platform"]).await;
    assert_eq!(ended.code(), 1);
    assert!(ended.stdout.contains("the platform does not have stream"), "{ended:#?}");
    std::fs::write(&run, "no run at all").unwrap();
    let ended = runs(&lab, &["verify", "--all"]).await;
    assert_eq!(ended.code(), 1, "{ended:#?}");
}

/// One channel has so long a name that its requests alone are too large, and all together are.
const TOO_LARGE: &str = "too-large:390";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_platform_refused_is_sent_again_beside_the_bridge_and_without_one() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    let long = format!("heater_{}", "o".repeat(220));
    lab.field = chamber.toml().replace("heater_output", &long);
    let file = lab.write();
    server.set_fault(TOO_LARGE.parse().unwrap());
    let process = Process::run(&file);
    let enough = |status: &Value| {
        status["run"]["rejected"].as_u64() >= Some(10) && status["run"]["uploaded"].as_u64() > Some(20)
    };
    let status = process.until("a channel is refused", enough).await;
    assert_adds_up(&status);
    let (_, sheet) = runs_json(&lab, &["show"]).await;
    assert_eq!(sheet["refusals"][0]["channel"], long.as_str());
    assert!(sheet["refusals"][0]["words"].as_str().unwrap().contains("larger than 390 bytes"), "{sheet:#}");
    let (code, report) = runs_json(&lab, &["verify", "--platform"]).await;
    assert_eq!(code, 0, "what is refused is no fault of the file: {report:#}");

    server.set_fault(Fault::None);
    let address = process.url().await.trim_start_matches("http://").to_owned();
    let id = status["run"]["id"].as_str().unwrap().to_owned();
    let (code, done) = runs_json(&lab, &["resend", &id, "--at", &address]).await;
    assert_eq!((code, &done["bridge_runs"]), (0, &json!(true)), "{done:#}");
    assert!(number(&done["points"]) >= 10);
    let is_sent = |status: &Value| status["run"]["rejected"] == 0 && status["run"]["queued_chunks"].as_u64() <= Some(1);
    let status = process.until("what was refused is sent", is_sent).await;
    assert_adds_up(&status);
    // Once more, up to the end of the run.
    server.set_fault(TOO_LARGE.parse().unwrap());
    process.until("a channel is refused again", |status| status["run"]["rejected"].as_u64() >= Some(10)).await;
    process.terminate();
    assert_eq!(process.ended().await.code(), 1, "something was refused");
    server.set_fault(Fault::None);
    let old = lab.run();
    let (_, list) = runs_json(&lab, &[]).await;
    let refused = number(&list["runs"][0]["rejected"]);
    assert!(list["runs"][0]["state"] == "done" && refused >= 10, "{list:#}");
    let (code, done) = runs_json(&lab, &["resend", &id]).await;
    assert_eq!((code, &done["points"], &done["bridge_runs"]), (0, &json!(refused), &json!(false)), "{done:#}");
    let (_, list) = runs_json(&lab, &[]).await;
    assert_eq!((&list["runs"][0]["state"], &list["runs"][0]["queued"]), (&json!("closed"), &json!(refused)));
    assert_points_balance(&list["runs"][0], &list);

    let process = Process::run(&file);
    let status = process.until("the old run is done", |status| number(&status["totals"]["done_runs"]) == 1).await;
    assert_adds_up(&status);
    process.stop().await;
    let (code, report) = runs_json(&lab, &["verify", "--all", "--platform"]).await;
    assert_eq!(code, 0, "{report:#}");
    let (_, sheet) = runs_json(&lab, &["show", old.to_str().unwrap()]).await;
    assert_eq!((&sheet["run"]["rejected"], &sheet["run"]["streams"]), (&json!(0), &json!(2)), "{sheet:#}");
    assert_eq!(report["runs"][0]["platform"]["found"], sheet["run"]["uploaded"]);
}

/// What changes something is asked by our own pages and by programs only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resending_is_refused_to_strangers() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    let status = process.until_recorded(4).await;
    let run = status["run"]["id"].as_str().unwrap();
    let (url, client) = (process.url().await, client());
    let post = || client.post(format!("{url}/api/runs/resend"));
    let wish = json!({ "run": run });
    let foreign = post().header(HOST, "evil.example").json(&wish).send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::MISDIRECTED_REQUEST);
    let elsewhere = post().header(ORIGIN, "https://evil.example").json(&wish).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    for plain in ["text/plain", "application/x-www-form-urlencoded"] {
        let form = post().header(CONTENT_TYPE, plain).body(wish.to_string()).send().await.unwrap();
        assert_eq!(form.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{plain}");
    }
    let odd = post().json(&json!({ "run": run, "all": true })).send().await.unwrap();
    assert_eq!(odd.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let unknown = post().json(&json!({ "run": "19700101T000000Z-aaaa" })).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let done: Value = post().json(&wish).send().await.unwrap().json().await.unwrap();
    assert_eq!(done, json!({ "run": run, "points": 0, "later": 0 }));
    assert_eq!(
        client.get(format!("{url}/api/runs/resend")).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    process.stop().await;
}
