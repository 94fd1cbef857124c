//! The lab's file: bad ones beside the exact text that is shown, good ones and what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mbe_bridge::config::{self, AlignMode, Config, Fill, KeySource, Loaded};
use mbe_bridge::document::{Problems, Severity};
use mbe_bridge::model::{Kind, Outcome, Parity, Rs485, Transport};
use mbe_bridge::profile::{DeviceEngine, Fields, Library, Raw, Source};

fn folder(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(inside)
}

fn no_variables(_: &str) -> Option<String> {
    None
}

fn read(text: &str) -> Result<Loaded, Problems> {
    let (library, problems) = Library::embedded();
    assert!(problems.is_empty(), "{problems}");
    config::read(Path::new("lab.toml"), text, &library, &no_variables)
}

fn config(text: &str) -> Config {
    read(text).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// Set `UPDATE_FIXTURES=1` to write what is shown now, and read the difference before committing it.
#[test]
fn each_bad_file_is_answered_by_its_text() {
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(folder("tests/fixtures/config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let problems = read(&fs::read_to_string(&path).unwrap()).expect_err("a bad file was taken");
        let shown = format!("{problems}\n");
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &shown).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        assert!(shown == expected, "{} shows now:\n{shown}\nand should show:\n{expected}", path.display());
        seen += 1;
    }
    assert!(seen >= 10, "the check reads nothing");
}

#[test]
fn no_problem_shows_a_secret() {
    for (name, secrets) in [
        ("literal_key", ["sk-live-0123456789abcdef", "hunter2"]),
        ("syntax", ["sk-live-0123456789abcdef", "0123456789"]),
    ] {
        let text = fs::read_to_string(folder(&format!("tests/fixtures/config/{name}.toml"))).unwrap();
        let problems = read(&text).unwrap_err();
        for secret in secrets {
            assert!(!problems.to_string().contains(secret), "{name}: {problems}");
            assert!(!format!("{problems:?}").contains(secret), "{name}: in Debug");
        }
    }
    // A misspelt key may be the one for a secret, so its value is not shown either.
    let text = "[platform]\napi_kee = \"sk-live-2\"\n";
    let problems = read(text).unwrap_err();
    assert!(problems.to_string().contains("did you mean `api_key`?"));
    assert!(!format!("{problems} {problems:?}").contains("sk-live-2"), "{problems}");
    // The text that goes into the run file is masked as well.
    let text = format!("# api_key = \"sk-live-1\"\n{PYROMETER}");
    assert!(!config(&text).text.contains("sk-live-1"));
}

#[test]
fn the_examples_load_without_a_warning() {
    let (library, _) = Library::embedded();
    let mut seen = 0;
    for entry in fs::read_dir(folder("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let loaded = config::load(&path, &library, &no_variables).unwrap_or_else(|problems| panic!("{problems}"));
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

const PYROMETER: &str = r#"
[links.pyro.serial]
port = "/dev/ttyUSB0"
[[instruments]]
name = "pyrometer"
profile = "impac-upp"
link = "pyro"
"#;

#[test]
fn a_key_that_leaves_this_machine_in_the_clear_is_warned_of() {
    for (endpoint, warned) in [
        ("http://localhost.example.com", true),
        ("http://127.example.com:8080", true),
        ("http://127.0.0.1:8080", false),
        ("http://[::1]:8080/", false),
        ("http://LOCALHOST", false),
        ("https://example.com", false),
    ] {
        let loaded = read(&format!("[platform]\nendpoint = \"{endpoint}\"\n{PYROMETER}")).unwrap();
        assert_eq!(loaded.warnings.to_string().contains("in the clear"), warned, "{endpoint}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = config(PYROMETER);
    assert_eq!(config.platform.endpoint, "https://api.atomscale.ai");
    assert_eq!(config.platform.api_key, KeySource::Env("AS_API_KEY".to_owned()));
    assert_eq!(config.stream.points_per_chunk, 100);
    assert_eq!(config.align.mode, AlignMode::Grid { period: Duration::from_millis(100), fill: Fill::None });
    assert_eq!((config.platform.timeout, config.platform.hold), (Duration::from_secs(30), Duration::from_secs(60)));
    assert_eq!(config.align.lateness, Duration::from_secs(3));
    assert_eq!(config.storage.commit_every, Duration::from_secs(1));
    assert_eq!(config.storage.resume_within, Duration::from_secs(600));
    assert_eq!(config.storage.max_span, Duration::from_secs(60));
    assert_eq!(config.storage.keep_runs, Some(Duration::from_secs(90 * 24 * 3600)));
    assert_eq!(config.storage.min_free, 500_000_000);
    assert_eq!(config.shutdown_grace, Duration::from_secs(20));
    assert_eq!(config.dashboard.unwrap().listen.to_string(), "127.0.0.1:8730");
    assert_eq!(config.data_dir, Path::new("/var/lib/mbe-bridge"));

    // The line is set as the profile says, and the only gauge is there under the instrument's name.
    let Transport::Serial { line, .. } = &config.links[0].transport else { panic!() };
    assert_eq!((line.baud, line.parity), (19_200, Parity::Even));
    let [channel] = config.instruments[0].channels.as_slice() else { panic!("one gauge") };
    assert_eq!(channel.channel.name.as_str(), "pyrometer_temperature");
    assert_eq!(channel.channel.unit.as_deref(), Some("degC"));
    // The poll for the emissivity, which nobody wants, is gone.
    let DeviceEngine::Messages(text) = &config.instruments[0].device.engine else { panic!() };
    assert_eq!(text.polls.len(), 1);
    assert_eq!(text.polls[0].steps[0].send.as_deref(), Some(&b"00ms\r"[..]));
}

#[test]
fn the_environment_fills_in_what_the_file_leaves_out() {
    let (library, _) = Library::embedded();
    let variables = |name: &str| match name {
        "AS_API_ENDPOINT" => Some("http://127.0.0.1:9/".to_owned()),
        "XDG_STATE_HOME" => Some("/home/grower/.local/state".to_owned()),
        _ => None,
    };
    let read = |text: &str| config::read(Path::new("lab.toml"), text, &library, &variables).unwrap().config;
    let plain = read(PYROMETER);
    assert_eq!(plain.platform.endpoint, "http://127.0.0.1:9");
    assert_eq!(plain.data_dir, Path::new("/home/grower/.local/state/mbe-bridge"));
    // What the file says counts more.
    let text = format!("data_dir = \"data\"\n[platform]\nendpoint = \"https://lab.example/\"\n{PYROMETER}");
    let stated = read(&text);
    assert_eq!(stated.platform.endpoint, "https://lab.example");
    assert_eq!(stated.data_dir, Path::new("data"));
}

#[test]
fn a_channels_table_names_exactly_what_is_wanted() {
    let gauges = |channels: &str| {
        let text = format!(
            "[links.g.modbus-tcp]\naddress = \"10.0.0.1\"\n[[instruments]]\nname = \"mg\"\nprofile = \"prevac-mg15\"\nlink = \"g\"\nunit = 1\n{channels}"
        );
        let config = config(&text);
        let names: Vec<String> = config.instruments[0].channels.iter().map(|c| c.channel.source.to_string()).collect();
        (names, config)
    };
    assert_eq!(gauges("").0.len(), 7, "all gauges, and no states");
    assert_eq!(
        gauges("channels.pressure_2 = true\nchannels.state_1 = { name = \"state\" }").0,
        ["state_1", "pressure_2"]
    );
    let (names, _) = gauges("channels.pressure_7 = false");
    assert_eq!(names.len(), 6);
    assert!(!names.contains(&"pressure_7".to_owned()));

    // The state that a pressure needs comes along, as often as the pressure, and is no channel of the lab.
    let (_, config) = gauges("channels.pressure_3 = { every = \"250ms\" }");
    let instrument = &config.instruments[0];
    let ids: Vec<&str> = instrument.device.channels.iter().map(|channel| &*channel.id).collect();
    assert_eq!(ids, ["pressure_3", "state_3"]);
    assert_eq!(instrument.channels[0].device_channel, 0);
    assert_eq!(instrument.device.channels[0].with, [1]);
    assert!(instrument.device.channels.iter().all(|channel| channel.every == Duration::from_millis(250)));
    assert_eq!(config.links[0].transport, Transport::ModbusTcp { address: "10.0.0.1:502".to_owned() });
}

#[test]
fn periods_of_the_lab_count() {
    let text = format!("{PYROMETER}every = \"50ms\"\nchannels.temperature = true\nchannels.emissivity = true\n");
    let loaded = config(&text);
    let DeviceEngine::Messages(device) = &loaded.instruments[0].device.engine else { panic!() };
    let periods: Vec<u128> = device.polls.iter().map(|poll| poll.every.as_millis()).collect();
    assert_eq!(periods, [50, 60_000], "a setting keeps its own period");
    let emissivity = &loaded.instruments[0].channels[1];
    assert_eq!(emissivity.channel.kind, Kind::Setting);

    let text = format!("{PYROMETER}every = \"50ms\"\nchannels.temperature = {{ every = \"2s\" }}\n");
    let loaded = config(&text);
    let DeviceEngine::Messages(device) = &loaded.instruments[0].device.engine else { panic!() };
    assert_eq!(device.polls[0].every, Duration::from_secs(2));
}

#[test]
fn the_labs_calibration_is_part_of_the_decoding() {
    let outcome = |calibration: &str, raw: i128| {
        let text = format!("{PYROMETER}channels.temperature = {{ {calibration} }}\n");
        let config = config(&text);
        config.instruments[0].device.channels[0].evaluate(&Raw::Integer(raw), &Fields::new())
    };
    assert_eq!(outcome("scale = 2.0, offset = -10.0", 2563), Outcome::good(502.6));
    assert_eq!(outcome("table = [[0, 0], [1000, 900]]", 5000), Outcome::good(450.0));
    assert!(
        matches!(outcome("table = [[0, 0], [100, 90]]", 5000), Outcome::Bad(reason) if reason.as_str() == "over_range")
    );
    assert!(matches!(outcome("offset = 1.0", 88_880), Outcome::Bad(reason) if reason.as_str() == "over_range"));
}

#[test]
fn odd_files_are_taken_with_a_warning() {
    let text = format!("[links.spare.serial]\nport = \"/dev/ttyUSB9\"\n[align]\nmax_age = \"1s\"\n{PYROMETER}");
    let loaded = read(&text).unwrap();
    assert!(loaded.warnings.iter().all(|warning| warning.severity == Severity::Warning));
    let shown = loaded.warnings.to_string();
    assert!(shown.contains("no instrument is on the link `spare`"), "{shown}");
    assert!(shown.contains("`max_age` does nothing"), "{shown}");
}

#[test]
fn a_lateness_that_costs_the_reading_after_each_lost_reply_is_warned_of() {
    let warnings = |lateness: &str| {
        let loaded = read(&format!("[align]\nlateness = \"{lateness}\"\n{PYROMETER}")).unwrap();
        loaded.warnings.to_string()
    };
    let shown = warnings("999ms");
    assert!(shown.contains("too short for `pyrometer`") && shown.contains("lab.toml:2:12"), "{shown}");
    assert!(shown.contains("lateness = \"1000ms\" or more"), "twice its reply of 250 ms, and 500 ms: {shown}");
    assert_eq!(warnings("1s"), "");
}

#[test]
fn a_message_that_changes_the_device_is_there_only_if_it_is_allowed() {
    let text = |allow: &str| {
        format!(
            r#"
[links.g.tcp]
address = "10.0.0.1:8000"
[[instruments]]
name = "tpg"
link = "g"
{allow}
[instruments.inline]
engine = "text"
framing = {{ terminator = "<CR><LF>" }}
[[instruments.inline.on_connect]]
id = "greeting"
send = "AYT<CR>"
expect = "<ACK>"
[[instruments.inline.on_connect]]
id = "unit_mbar"
send = "UNI,0<CR>"
expect = "<ACK>"
changes_device = true
[[instruments.inline.poll]]
every = "1s"
steps = [{{ send = "PRX<CR>", expect = "<ACK>" }}, {{ send = "<ENQ>", expect = "{{s:i}},{{p:f}}" }}]
[[instruments.inline.channel]]
id = "pressure"
from = "p"
unit = "mbar"
quality = {{ from = "s", 0 = "good", 1 = "under_range", 5 = "bad:no_sensor" }}
"#
        )
    };
    let sent = |allow: &str| {
        let config = config(&text(allow));
        let DeviceEngine::Messages(device) = &config.instruments[0].device.engine else { panic!() };
        device.on_connect.iter().map(|connect| connect.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(sent(""), ["greeting"]);
    assert_eq!(sent("allow = [\"unit_mbar\"]"), ["greeting", "unit_mbar"]);
    let problems = read(&text("allow = [\"unit_mba\"]")).unwrap_err().to_string();
    assert!(problems.contains("did you mean `unit_mbar`?"), "{problems}");

    // A poll can't, whatever the lab says.
    let poll = text("").replace("every = \"1s\"", "every = \"1s\"\nchanges_device = true");
    let problems = read(&poll).unwrap_err().to_string();
    assert!(problems.contains("a poll can't change the device"), "{problems}");

    // Two steps, the second without a terminator of its own.
    let config = config(&text(""));
    let device = &config.instruments[0].device;
    let DeviceEngine::Messages(text) = &device.engine else { panic!() };
    let sends: Vec<&[u8]> = text.polls[0].steps.iter().filter_map(|step| step.send.as_deref()).collect();
    assert_eq!(sends, [&b"PRX\r"[..], b"\x05"]);
    let fields = text.polls[0].steps[1].expect.as_ref().unwrap().read(b"0,+8.3400E-03").unwrap();
    let Source::Field { name, .. } = &device.channels[0].source else { panic!() };
    assert_eq!(device.channels[0].evaluate(fields.get(name).unwrap(), &fields), Outcome::good(0.00834));
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let (library, _) = Library::embedded();
    let problems = config::load(Path::new("nowhere/lab.toml"), &library, &no_variables).unwrap_err().to_string();
    assert!(problems.contains("could not read `nowhere/lab.toml`"), "{problems}");
}

#[test]
fn an_rs485_line_is_switched_as_the_lab_says() {
    let line = |says: &str| {
        let text = format!(
            r#"
            [links.bus.serial]
            port = "/dev/ttyS1"
            {says}
            [[instruments]]
            name = "controller"
            profile = "eurotherm-3200"
            link = "bus"
            unit = 1
            "#
        );
        read(&text).map(|loaded| match &loaded.config.links[0].transport {
            Transport::Serial { line, .. } => line.clone(),
            other => panic!("{other}"),
        })
    };
    assert_eq!(line("").unwrap().rs485, None);
    assert_eq!(line("rs485 = false").unwrap().rs485, None);
    assert_eq!(line("rs485 = true").unwrap().rs485, Some(Rs485::default()));
    assert_eq!(line("rs485 = { rts_after_send = true }").unwrap().rs485.map(|rs485| rs485.rts_on_send), Some(false));
    let full = line("rs485 = { rts_on_send = false, delay_before = \"1ms\", delay_after = \"20ms\" }").unwrap();
    let ms = Duration::from_millis;
    assert_eq!(full.rs485, Some(Rs485 { rts_on_send: false, delay_before: ms(1), delay_after: ms(20) }));
    for (says, words) in [
        ("rs485 = true\nrts = true", "exclude each other"),
        ("rs485 = { rts_on_send = true, rts_after_send = true }", "turns no direction"),
        ("rs485 = { delay_before = \"500us\" }", "whole milliseconds"),
        ("rs485 = { delay_after = \"2s\" }", "100 at most"),
        ("rs485 = { rts_on_sent = true }", "rts_on_send"),
        ("rs485 = 1", "true, false or a table"),
    ] {
        let problems = line(says).unwrap_err().to_string();
        assert!(problems.contains(words), "{says}: {problems}");
    }
}
