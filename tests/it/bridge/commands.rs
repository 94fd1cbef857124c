//! The other commands of the real program: what they print and how they end.

use std::fs;
use std::path::{Path, PathBuf};

use super::field::Chamber;
use super::lab::Lab;
use super::platform;
use super::process::{Ended, Process, command};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn assert_ended(ended: &Ended, code: i32, stdout: &[&str], stderr: &[&str]) {
    assert_eq!(ended.code(), code, "{ended:#?}");
    for (said, expected) in [(&ended.stdout, stdout), (&ended.stderr, stderr)] {
        for words in expected {
            assert!(said.contains(words), "`{words}` is missing in {ended:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_takes_the_examples_and_shows_what_the_lines_carry() {
    let examples: Vec<PathBuf> = fs::read_dir(in_repository("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    assert!(!examples.is_empty(), "the check reads nothing");
    for example in examples {
        let ended = command(&["check", example.to_str().unwrap()]).await;
        assert_ended(&ended, 0, &["of the link's time", "bytes = ", "\nwell\n"], &[]);
        assert!(!ended.stderr.contains("error"), "{ended:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_refuses_a_plan_that_a_line_can_not_carry_with_the_arithmetic() {
    let mut lab = Lab::new("http://127.0.0.1:1");
    lab.field = "[links.furnace.serial]\nport = \"/dev/ttyUSB0\"\nbaud = 9600\n[[instruments]]\nname = \"oven\"\n\
                 profile = \"eurotherm-3200\"\nlink = \"furnace\"\nunit = 1\nevery = \"20ms\"\n"
        .to_owned();
    let file = lab.write();
    let arithmetic = ["9600 8N1, 10 bits a character", "every 20 ms: "];
    let checked = command(&["check", file.to_str().unwrap()]).await;
    assert_ended(&checked, 2, &arithmetic, &["link `furnace` can't carry its poll plan", "hint: "]);
    let run = command(&["run", file.to_str().unwrap()]).await;
    assert_ended(&run, 2, &[], &[&arithmetic[..], &["a link can't carry its poll plan", "hint: "]].concat());
    assert!(!lab.data().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reports_all_mistakes_with_their_places() {
    let file = in_repository("tests/fixtures/config/three_problems.toml");
    let file = file.to_str().unwrap();
    let ended = command(&["check", file]).await;
    let places = [(1, 1, "unknown key `colour`"), (4, 20, "whole number"), (12, 8, "unknown link `pyrro`")];
    for (line, column, words) in places {
        assert_ended(&ended, 2, &[], &[&format!("{file}:{line}:{column}"), words]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_profile_library_is_listed_shown_and_checked() {
    let listed = command(&["devices"]).await;
    assert_ended(&listed, 0, &["impac-upp", "eurotherm-3200", "prevac-mg15", "modbus", "text"], &[]);
    let shown = command(&["devices", "show", "impac-upp"]).await;
    assert_ended(&shown, 0, &["temperature", "emissivity", "19200 8E1", "param:   addr", "beware:", "source:"], &[]);
    let unknown = command(&["devices", "show", "impac-up"]).await;
    assert_ended(&unknown, 2, &[], &["there is no profile `impac-up`", "did you mean `impac-upp`?"]);

    let good = in_repository("devices/impac/impac-upp.toml");
    let checked = command(&["devices", "check", good.to_str().unwrap()]).await;
    assert_ended(&checked, 0, &["its test vectors pass"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("impac-upp.toml");
    let text = fs::read_to_string(&good).unwrap();
    fs::write(&broken, text.replacen("temperature = 256.3", "temperature = 256.4", 1)).unwrap();
    let checked = command(&["devices", "check", broken.to_str().unwrap()]).await;
    assert_ended(&checked, 2, &[], &["`temperature` should be 256.4, is 256.3", "impac-upp.toml:"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_shows_each_channel_once_and_says_who_is_silent() {
    let mut lab = Lab::new("http://127.0.0.1:1");
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let file = lab.write();
    let read = async |more: &[&str]| command(&[&["read", file.to_str().unwrap()], more].concat()).await;
    let all = read(&[]).await;
    assert_ended(&all, 0, &["substrate_temperature", "degC", "chamber_pressure", "mbar", "good", "latency"], &[]);
    assert!(!lab.data().exists(), "reading records nothing");

    chamber.pyrometer.fault("pyrometer", "silence".parse().unwrap()).unwrap();
    let one_dead = read(&[]).await;
    assert_ended(&one_dead, 1, &["bad: no_reply", "`pyrometer` has failed", "good"], &[]);
    let only_the_dead = read(&["--instrument", "pyrometer"]).await;
    assert_ended(&only_the_dead, 3, &["bad: no_reply"], &[]);
    assert!(!only_the_dead.stdout.contains("chamber_pressure"), "{only_the_dead:#?}");
    let nobody = read(&["--instrument", "pyrometre"]).await;
    assert_ended(&nobody, 2, &[], &["there is no instrument `pyrometre`", "pyrometer, gauge, controller"]);

    chamber.gauge.hang_up().unwrap();
    let unplugged = read(&["--instrument", "gauge", "--patience", "1"]).await;
    assert_ended(&unplugged, 3, &["waiting", "link `gauges` has been down", "Connection refused"], &[]);
    for (name, line) in chamber.lines() {
        assert_eq!(line.writes_seen(name).unwrap(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_how_a_running_bridge_is() {
    // Bound and not listening: nobody answers there, whoever else is on this machine.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(super::field::ANY).unwrap();
    let nowhere = closed.local_addr().unwrap().to_string();
    let ended = command(&["status", "--at", &nowhere]).await;
    assert_ended(&ended, 3, &[], &["no bridge answers at", "hint: start one with `mbe-bridge run"]);

    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    lab.stream.push_str("\nname = \"Run 7\"");
    let process = Process::run(&lab.write());
    process.until("all is well", |status| status["state"] == "well" && status["run"]["recorded"] != 0).await;
    let at = process.url().await.replace("http://", "");
    let ended = command(&["status", "--at", &at]).await;
    assert_ended(&ended, 0, &["well: Run 7", "substrate_temperature", "= recorded", "platform up"], &[]);
    let ended = command(&["status", "--json", "--at", &at]).await;
    assert_ended(&ended, 0, &[], &[]);
    let status: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let run = |key: &str| status["run"][key].as_u64().unwrap();
    let parts = ["recorded", "bad", "decimated", "late", "unrecorded", "waiting"].map(run);
    assert_eq!(run("read"), parts.iter().sum::<u64>(), "{status:#}");

    chamber.gauge.fault("gauge", "silence".parse().unwrap()).unwrap();
    process.until("the gauge is missed", |status| status["state"] == "degraded").await;
    let ended = command(&["status", "--at", &at]).await;
    assert_ended(&ended, 1, &["degraded: Run 7", "`gauge` has failed"], &[]);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_accounts_for_every_value() {
    let ended = command(&["demo", "--for", "3s"]).await;
    let table = [
        "dashboard http://127.0.0.1:",
        "success",
        "channel                  read  recorded  bad  decimated  late  uploaded  stored  as given",
        "substrate_temperature",
        "heater_output",
        "every value that was read is accounted for, and stored as the instrument gave it",
    ];
    assert_ended(&ended, 0, &table, &[]);
    assert!(!ended.stdout.contains("not right"), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_and_help() {
    let ports = command(&["ports", "--json"]).await;
    assert_ended(&ports, 0, &[], &[]);
    assert!(serde_json::from_str::<serde_json::Value>(&ports.stdout).unwrap().is_array(), "{ports:#?}");
    let shown = command(&["ports"]).await;
    assert_eq!(shown.code(), 0, "{shown:#?}");
    assert!(shown.stdout.contains("no serial ports") || shown.stdout.starts_with("port"), "{shown:#?}");

    let help = command(&["--help"]).await;
    let commands =
        ["demo", "run", "check", "read", "ports", "scan", "init", "registers", "devices", "sim", "server", "status"];
    assert_ended(&help, 0, &commands.map(|command| format!("\n  {command} ")).each_ref().map(String::as_str), &[]);
    assert_ended(&command(&["--version"]).await, 0, &[env!("CARGO_PKG_VERSION")], &[]);
    assert_ended(&command(&["rune"]).await, 2, &[], &["run"]);
}
