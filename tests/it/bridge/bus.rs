//! Three units on one RS-485 line: what the silence of one costs the others, and the silences that the bridge keeps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mbe_bridge::bridge::Reader;
use mbe_bridge::config::Config;
use mbe_bridge::model::LineSettings;
use mbe_bridge::sim::{Place, Said, Sim, SimHandle, SimInstrument, SimSettings};

use super::field::{self, configured, instrument, profile, rising};
use super::until;

const UNITS: [&str; 3] = ["first", "second", "third"];

/// What every unit is asked: ten times a second, with 100 ms for an answer.
fn toml(port: &Path, baud: u32, timing: [&str; 3]) -> String {
    let units = UNITS.iter().zip(timing).enumerate().map(|(number, (name, timing))| {
        format!(
            r#"
            [[instruments]]
            name = "{name}"
            link = "bus"
            unit = {}
            [instruments.inline]
            engine = "modbus"
            timing = {{ reply = "100ms", {timing} }}
            [[instruments.inline.channel]]
            id = "value"
            table = "holding"
            address = 1
            type = "u16"
            unit = "K"
            every = "100ms"
            "#,
            number + 1
        )
    });
    let port = port.display();
    format!("[links.bus.serial]\nport = \"{port}\"\nbaud = {baud}\n{}", units.collect::<String>())
}

struct Line {
    bus: SimHandle,
    config: Arc<Config>,
    _folder: tempfile::TempDir,
}

fn line(baud: u32, timing: [&str; 3]) -> Line {
    let folder = tempfile::tempdir().unwrap();
    let port: PathBuf = folder.path().join("ttyBus");
    let text = toml(&port, baud, timing);
    let config = configured(&text);
    let units = config
        .instruments
        .iter()
        .map(|unit| SimInstrument::new(&unit.name, unit.device.clone(), rising()).at_unit(unit.unit.unwrap()));
    let settings = SimSettings::new(Place::Pty { path: Some(port) }, units.collect());
    let bus = Sim::start(settings.paced(LineSettings { baud, ..LineSettings::default() })).unwrap();
    Line { bus, config: Arc::new(config), _folder: folder }
}

fn polls(bus: &SimHandle) -> [u64; 3] {
    UNITS.map(|name| bus.polls_seen(name).unwrap())
}

async fn until_polled(bus: &SimHandle, name: &str, more: u64) {
    let before = bus.polls_seen(name).unwrap();
    until("it is asked so often", async || {
        let seen = bus.polls_seen(name).unwrap() - before;
        if seen >= more { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_unit_costs_its_neighbours_no_more_than_its_share_of_the_line() {
    let Line { bus, config, _folder } = line(19_200, ["", "", ""]);
    bus.fault("second", "silence".parse().unwrap()).unwrap();
    let began = Instant::now();
    let reader = Reader::start(&config).unwrap();
    // At the worst, while it is not yet known to be dead: two thirds of the line are the others'.
    until_polled(&bus, "first", 10).await;
    let [first, dead, third] = polls(&bus);
    let elapsed = began.elapsed();
    // 100 ms for the answer, 50 until the line is settled, 8 for the question itself; the last is not yet paid for.
    let taken = Duration::from_millis(158) * u32::try_from(dead.saturating_sub(1)).unwrap();
    assert!(taken <= elapsed / 3, "{dead} polls of the dead unit in {elapsed:?}");
    let seen = reader.board().snapshot().instruments;
    assert!(first.abs_diff(third) <= 3, "{first} and {third}: {seen:#?}");

    // Once it is left alone for seconds. A machine that is busy with other things may spoil a stretch, but not each.
    until_polled(&bus, "first", 20).await;
    let mut stretches = Vec::new();
    while stretches.len() < 3 && !stretches.last().is_some_and(|(kept, _)| *kept >= 0.95) {
        let (before, began) = (polls(&bus), Instant::now());
        until_polled(&bus, "first", 100).await;
        let (after, slots) = (polls(&bus), began.elapsed().as_secs_f64() * 10.0);
        let [first, dead, third] = [0, 1, 2].map(|unit| after[unit] - before[unit]);
        stretches.push((first.min(third) as f64 / slots, dead));
    }
    let (kept, _) = stretches.last().unwrap();
    assert!(*kept >= 0.95, "parts of the readings that are kept, and polls of the dead unit: {stretches:?}");

    bus.clear_faults("second").unwrap();
    until("it is read again by itself", async || {
        let snapshot = reader.board().snapshot();
        if snapshot.complaints().is_empty() { Ok(()) } else { Err(snapshot.complaints()) }
    })
    .await;
    reader.stop().await;
}

/// The least time from the end of an answer of `from` (or of anybody) to the next question, and how often it was seen.
fn least_gap(said: &[Said], from: Option<&str>) -> (Duration, usize) {
    let mut said: Vec<&Said> = said.iter().collect();
    said.sort_by_key(|said| said.request_received);
    let gaps: Vec<Duration> = said
        .windows(2)
        // The values of one answer.
        .filter(|pair| pair[0].request_received != pair[1].request_received)
        .filter(|pair| from.is_none_or(|name| &*pair[0].instrument == name))
        .map(|pair| pair[1].request_received.saturating_duration_since(pair[0].reply_sent))
        .collect();
    (gaps.iter().min().copied().unwrap_or_default(), gaps.len())
}

/// The simulator notes when the last byte of an answer was written and when the first byte of the next question came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_an_answer_and_the_next_question_the_line_is_silent_for_as_long_as_it_has_to_be() {
    for (baud, least) in [(9_600, Duration::from_micros(4_010)), (38_400, Duration::from_micros(1_750))] {
        let Line { bus, config, _folder } = line(baud, ["", "gap = \"15ms\"", ""]);
        let reader = Reader::start(&config).unwrap();
        until_polled(&bus, "third", 20).await;
        reader.stop().await;
        let said = bus.said();
        let (gap, seen) = least_gap(&said, None);
        assert!(gap >= least && seen >= 50, "{baud} baud: {gap:?} of {seen}");
        let (gap, seen) = least_gap(&said, Some("second"));
        assert!(gap >= Duration::from_millis(15) && seen >= 15, "after the slow one: {gap:?} of {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gap_of_a_text_instrument_and_of_a_modbus_tcp_device_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("ttyPyrometer");
    let (upp, mg15) = (profile("impac-upp"), profile("prevac-mg15"));
    let pyrometer =
        field::line(Place::Pty { path: Some(port.clone()) }, &upp, vec![instrument("pyrometer", &upp, &[])]);
    let gauges = vec![instrument("one", &mg15, &[]).at_unit(1), instrument("two", &mg15, &[]).at_unit(2)];
    let gauges = field::line(Place::ModbusTcp { listen: field::ANY }, &mg15, gauges);
    let text = format!(
        r#"
        [links.pyro.serial]
        port = "{}"
        [links.gauges.modbus-tcp]
        address = "{}"
        [[instruments]]
        name = "pyrometer"
        profile = "impac-upp"
        link = "pyro"
        channels.temperature = {{ every = "10ms" }}
        [[instruments]]
        name = "one"
        profile = "prevac-mg15"
        link = "gauges"
        unit = 1
        channels.pressure_1 = {{ every = "50ms" }}
        [[instruments]]
        name = "two"
        profile = "prevac-mg15"
        link = "gauges"
        unit = 2
        channels.pressure_1 = {{ every = "50ms" }}
        "#,
        port.display(),
        gauges.address().unwrap(),
    );
    let reader = Reader::start(&Arc::new(configured(&text))).unwrap();
    until_polled(&pyrometer, "pyrometer", 30).await;
    until_polled(&gauges, "two", 20).await;
    reader.stop().await;
    for (line, gap) in [(&pyrometer, 2), (&gauges, 10)] {
        let (least, seen) = least_gap(&line.said(), None);
        assert!(least >= Duration::from_millis(gap) && seen >= 20, "{least:?} of {seen}");
    }
}
