//! The commands of the first day: scan, registers, init, check, read --watch.

use std::fs;
use std::path::Path;

use mbe_bridge::sim::{Place, SimHandle};
use serde_json::Value;

use super::field::{ANY, Chamber, instrument, line, profile};
use super::lab::Lab;
use super::process::{Ended, Process, command};

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
}

fn found<'a>(scan: &'a Value, profile: &str) -> Vec<&'a Value> {
    scan["found"].as_array().unwrap().iter().filter(|found| found["profile"] == profile).collect()
}

fn nothing_was_written(sim: &SimHandle, instruments: &[&str]) {
    for name in instruments {
        assert_eq!(sim.writes_seen(name).unwrap(), 0, "{name}");
    }
}

/// Two Eurotherm controllers on one RS-485 line.
fn controllers(folder: &Path) -> (SimHandle, String) {
    let port = folder.join("ttyControllers");
    let eurotherm = profile("eurotherm-3200");
    let one = instrument("one", &eurotherm, &[]).at_unit(2);
    let two = instrument("two", &eurotherm, &[]).at_unit(5);
    let sim = line(Place::Pty { path: Some(port.clone()) }, &eurotherm, vec![one, two]);
    (sim, port.display().to_string())
}

/// A lab's file of tables that a scan has printed: it has to pass `check`.
async fn passes_check(folder: &Path, tables: &str) {
    let file = folder.join("pasted.toml");
    fs::write(&file, tables).unwrap();
    let checked = command(&["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code(), 0, "{tables}\n{checked:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_finds_two_units_on_one_line_and_writes_to_neither() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, port) = controllers(folder.path());
    let arguments = ["scan", "--port", &port, "--baud", "9600", "--units", "1-6", "--modbus", "--quick"];
    let scan = command(&[&arguments[..], &["--yes", "--json", "--listen", "0s"]].concat()).await;
    assert_eq!(scan.code(), 0, "{scan:#?}");
    let result = json(&scan);
    let mut units: Vec<u64> =
        result["found"].as_array().unwrap().iter().map(|found| found["unit"].as_u64().unwrap()).collect();
    units.dedup();
    assert_eq!(units, [2, 5], "{result:#}");
    nothing_was_written(&sim, &["one", "two"]);
    passes_check(folder.path(), result["fragment"].as_str().unwrap()).await;

    // What a scan has found becomes a lab's file.
    let (scanned, lab) = (folder.path().join("scan.json"), folder.path().join("lab.toml"));
    fs::write(&scanned, &scan.stdout).unwrap();
    let (scanned, lab) = (scanned.to_str().unwrap(), lab.to_str().unwrap());
    let init = command(&["init", "--from-scan", scanned, "--out", lab]).await;
    assert_eq!(init.code(), 0, "{init:#?}");
    let checked = command(&["check", lab]).await;
    assert_eq!(checked.code(), 0, "{checked:#?}");
    let again = command(&["init", "--from-scan", scanned, "--out", lab]).await;
    assert_eq!(again.code(), 2, "{again:#?}");
    assert!(again.stderr.contains("is there already"), "{again:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_finds_a_pyrometer_by_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("ttyPyrometer");
    let upp = profile("impac-upp");
    let sim = line(Place::Pty { path: Some(port.clone()) }, &upp, vec![instrument("pyrometer", &upp, &[])]);
    let port = port.to_str().unwrap();
    let scan = command(&["scan", "--port", port, "--profile", "impac-upp", "--baud", "19200", "--yes", "--json"]).await;
    nothing_was_written(&sim, &["pyrometer"]);
    let result = json(&scan);
    assert_eq!(scan.code(), 0, "{scan:#?}");
    assert_eq!(found(&result, "impac-upp").len(), 1, "{result:#}");
    assert_eq!(found(&result, "impac-upp")[0]["line"], "19200 8E1");
    passes_check(folder.path(), result["fragment"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_finds_units_behind_modbus_tcp() {
    let mg15 = profile("prevac-mg15");
    let sim = line(Place::ModbusTcp { listen: ANY }, &mg15, vec![instrument("gauge", &mg15, &[]).at_unit(3)]);
    let address = sim.address().unwrap().to_string();
    let scan = command(&["scan", "--tcp", &address, "--modbus", "--units", "1-4", "--quick", "--yes", "--json"]).await;
    assert_eq!(scan.code(), 0, "{scan:#?}");
    let result = json(&scan);
    assert!(result["found"].as_array().unwrap().iter().all(|found| found["unit"] == 3), "{result:#}");
    assert!(result["fragment"].as_str().unwrap().contains("modbus-tcp"), "{result:#}");
    nothing_was_written(&sim, &["gauge"]);
    let folder = tempfile::tempdir().unwrap();
    passes_check(folder.path(), result["fragment"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_says_what_it_would_send_and_sends_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, port) = controllers(folder.path());
    let unasked = command(&["scan", "--port", &port]).await;
    assert_eq!(unasked.code(), 2, "{unasked:#?}");
    for words in ["nothing was sent", "distinct message", "if nobody answers", "add `--yes`"] {
        assert!(unasked.stderr.contains(words), "`{words}` is missing in {unasked:#?}");
    }
    let dry = command(&["scan", "--port", &port, "--dry-run", "--yes"]).await;
    assert_eq!(dry.code(), 0, "{dry:#?}");
    assert!(dry.stderr.contains("and the like for the other units"), "{dry:#?}");
    for name in ["one", "two"] {
        assert_eq!(sim.polls_seen(name).unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_of_a_silent_line_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, port) = controllers(folder.path());
    for name in ["one", "two"] {
        sim.fault(name, "silence".parse().unwrap()).unwrap();
    }
    let arguments = ["scan", "--port", &port, "--baud", "9600", "--modbus", "--units", "1-3", "--quick"];
    let scan = command(&[&arguments[..], &["--yes", "--listen", "100ms"]].concat()).await;
    assert_eq!(scan.code(), 3, "{scan:#?}");
    assert!(scan.stdout.contains("nothing found with"), "{scan:#?}");
    nothing_was_written(&sim, &["one", "two"]);

    let nowhere = command(&["scan", "--port", "/nonexistent/ttyUSB0", "--yes"]).await;
    assert_eq!(nowhere.code(), 3, "{nowhere:#?}");
    assert!(nowhere.stderr.contains("there is no serial port"), "{nowhere:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_scan_says_what_it_has_found() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, port) = controllers(folder.path());
    let process = Process::start(
        &["scan", "--port", &port, "--baud", "9600", "--modbus", "--units", "2-247", "--yes", "--listen", "0s"],
        &[],
    );
    // Unit 5 has been asked: the first find is behind it.
    super::until("unit 5 is asked", async || {
        let seen = sim.polls_seen("two").unwrap();
        if seen > 0 { Ok(()) } else { Err(seen) }
    })
    .await;
    process.terminate();
    let ended = process.ended().await;
    assert_eq!(ended.code(), 1, "{ended:#?}");
    assert!(ended.stderr.contains("interrupted"), "{ended:#?}");
    assert!(ended.stdout.contains("unit 2"), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_are_shown_in_all_types_over_rtu_and_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, port) = controllers(folder.path());
    sim.set_value("one", "process_value", 650.0).unwrap();
    let read = command(&["registers", "--port", &port, "--unit", "2", "--address", "1", "--count", "1"]).await;
    assert_eq!(read.code(), 0, "{read:#?}");
    for words in ["holding registers 1, function 03", "40002", "as given", "if the manual counts from 1", "u16 BA"] {
        assert!(read.stdout.contains(words), "`{words}` is missing in {read:#?}");
    }
    let refused = command(&["registers", "--port", &port, "--unit", "2", "--address", "9999", "--json"]).await;
    assert_eq!(refused.code(), 1, "{refused:#?}");
    assert_eq!(json(&refused)["reads"][0]["reason"], "exception");
    assert!(json(&refused)["reads"][0]["hint"].as_str().unwrap().contains("--table input"), "{refused:#?}");
    let silent = command(&["registers", "--port", &port, "--unit", "9", "--address", "1", "--timeout", "100"]).await;
    assert_eq!(silent.code(), 3, "{silent:#?}");
    assert!(silent.stdout.contains("nobody answers as unit 9"), "{silent:#?}");
    nothing_was_written(&sim, &["one", "two"]);

    let mg15 = profile("prevac-mg15");
    let gauge = line(Place::ModbusTcp { listen: ANY }, &mg15, vec![instrument("gauge", &mg15, &[])]);
    gauge.set_value("gauge", "pressure_1", 1.25e-9).unwrap();
    let source = mg15.sample().channels.iter().find(|channel| &*channel.id == "pressure_1").unwrap();
    let mbe_bridge::profile::Source::Register(register) = &source.source else { panic!("{source:?}") };
    let at = gauge.address().unwrap().to_string();
    let address = register.address.to_string();
    let table = register.table.name();
    let read = command(&["registers", "--tcp", &at, "--table", table, "--address", &address, "--json"]).await;
    let read = json(&read);
    let values = read["values"].as_array().unwrap();
    let here = values.iter().find(|value| value["address"] == register.address).unwrap();
    let floats = here["types"]["f32"].as_object().unwrap();
    assert!(floats.values().any(|value| (value.as_f64().unwrap() / 1.25e-9 - 1.0).abs() < 1e-5), "{read:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_init_writes_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = ["--port", "/dev/ttyUSB0", "--port", "usb:0403:6001:A1"];
    let two = ["--profile", "impac-upp", "--profile", "eurotherm-3200", "--profile", "eurotherm-3200"];
    let cases: [(&str, Vec<&str>); 4] = [
        ("none.toml", vec![]),
        ("port.toml", port.to_vec()),
        ("two.toml", [&port[..], &two].concat()),
        ("tcp.toml", vec!["--tcp", "192.168.10.20", "--profile", "prevac-mg15"]),
    ];
    for (name, more) in cases {
        let out = file(name);
        let init = command(&[&["init", "--out", &out][..], &more].concat()).await;
        assert_eq!(init.code(), 0, "{init:#?}");
        let checked = command(&["check", &out]).await;
        assert_eq!(checked.code(), 0, "{}\n{checked:#?}", fs::read_to_string(&out).unwrap());
    }
    let written = fs::read_to_string(file("two.toml")).unwrap();
    for words in ["impac-upp", "unit = 2", "[links.link_2.serial]", "usb:0403:6001:A1"] {
        assert!(written.contains(words), "`{words}` is missing in\n{written}");
    }
    fs::write(file("mine.toml"), "mine").unwrap();
    let refused = command(&["init", "--out", &file("mine.toml")]).await;
    assert_eq!(refused.code(), 2, "{refused:#?}");
    assert_eq!(fs::read_to_string(file("mine.toml")).unwrap(), "mine");
    let forced = command(&["init", "--force", "--out", &file("mine.toml")]).await;
    assert_eq!(forced.code(), 0, "{forced:#?}");
    let unknown = command(&["init", "--profile", "impac-up", "--out", &file("x.toml")]).await;
    assert_eq!(unknown.code(), 2, "{unknown:#?}");
    assert!(unknown.stderr.contains("did you mean `impac-upp`?"), "{unknown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_watch_prints_below_where_nobody_watches() {
    let mut lab = Lab::new("http://127.0.0.1:1");
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let process = Process::start(&["read", file.to_str().unwrap(), "--watch"], &[]);
    let ended = {
        super::until("the gauge was polled for a while", async || {
            let seen = chamber.gauge.polls_seen("gauge").unwrap();
            if seen > 50 { Ok(()) } else { Err(seen) }
        })
        .await;
        process.terminate();
        process.ended().await
    };
    assert_eq!(ended.code(), 0, "{ended:#?}");
    for words in ["4 of 4 channels good", "substrate_temperature", "rate", "/s"] {
        assert!(ended.stdout.contains(words), "`{words}` is missing in {ended:#?}");
    }
    assert!(!ended.stdout.contains('\x1b'), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_would_fit() {
    let mut lab = Lab::new("http://127.0.0.1:1");
    lab.field = "[links.furnace.serial]\nport = \"/dev/ttyUSB0\"\nbaud = 9600\n[[instruments]]\nname = \"oven\"\n\
                 profile = \"eurotherm-3200\"\nlink = \"furnace\"\nunit = 1\nevery = \"20ms\"\n"
        .to_owned();
    let file = lab.write();
    let checked = command(&["check", file.to_str().unwrap(), "--json"]).await;
    assert_eq!(checked.code(), 2, "{checked:#?}");
    let result = json(&checked);
    assert_eq!(result["fits"], false);
    let fastest = result["links"][0]["polls"][0]["fastest_every_ms"].as_f64().unwrap();
    lab.field = lab.field.replace("20ms", &format!("{fastest}ms"));
    let file = lab.write();
    let checked = command(&["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code(), 0, "{checked:#?}");
    assert!(fastest > 20.0, "{result:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_tells_a_talking_gauge_from_its_relatives_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("ttyGauge");
    let bpg = profile("inficon-bpg400");
    let sim = line(Place::Pty { path: Some(port.clone()) }, &bpg, vec![instrument("gauge", &bpg, &[])]);
    let scan =
        command(&["scan", "--port", port.to_str().unwrap(), "--baud", "9600", "--quick", "--yes", "--json"]).await;
    nothing_was_written(&sim, &["gauge"]);
    let result = json(&scan);
    assert_eq!(scan.code(), 0, "{scan:#?}");
    assert_eq!(result["sent"], 0, "it was recognised before anything was sent");
    let profiles: Vec<&str> =
        result["found"].as_array().unwrap().iter().filter_map(|found| found["profile"].as_str()).collect();
    assert!(profiles.contains(&"inficon-bpg400"), "{result:#}");
    assert!(!profiles.contains(&"inficon-hpg400"), "a frame of another type is not its own: {result:#}");
    assert!(result["found"].as_array().unwrap().iter().all(|found| found["line"] == "9600 8N1"), "{result:#}");
    passes_check(folder.path(), result["fragment"].as_str().unwrap()).await;
}
