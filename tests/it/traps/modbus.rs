//! Traps of Modbus instruments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mbe_bridge::model::Kind;
use mbe_bridge::profile::{Library, Raw};
use mbe_bridge::sim::{Fault, Place, Scenario, Sim, SimHandle, SimInstrument, SimSettings};

use super::shows::Shows::{Bad, Value};
use super::shows::{DEADLINE, configured, profile, reader, until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn instrument(name: &str, id: &str, params: &[(&str, &str)], value: f64) -> SimInstrument {
    let params: BTreeMap<String, String> =
        params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let device = profile(id).device(&params, &BTreeSet::new()).unwrap();
    SimInstrument::new(name, device, Scenario::constant(value))
}

fn on_a_port(instruments: Vec<SimInstrument>) -> SimHandle {
    Sim::start(SimSettings::new(Place::Pty { path: None }, instruments)).unwrap()
}

fn on_a_socket(instruments: Vec<SimInstrument>) -> SimHandle {
    Sim::start(SimSettings::new(Place::ModbusTcp { listen: ANY }, instruments)).unwrap()
}

/// The link to a simulator, with more keys of the link.
fn link(sim: &SimHandle, more: &str) -> String {
    match sim.port() {
        Some(port) => format!("[links.bus.serial]\nport = \"{}\"\n{more}\n", port.display()),
        None => format!("[links.bus.modbus-tcp]\naddress = \"{}\"\n{more}\n", sim.address().unwrap()),
    }
}

const EXACTUS: &str = "[[instruments]]\nname = \"pyro\"\nprofile = \"basf-exactus\"\nlink = \"bus\"\nunit = 1\nevery = \"50ms\"\n\
                       params = { refresh = \"50ms\" }\nchannels.temperature = { name = \"temperature\" }\n";

/// T1: an adapter with RTS asserted, or a two-wire loop, sends every request back. The echo of a read parses as an answer
/// with an absurd byte count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_is_named_and_never_read() {
    let sim = on_a_port(vec![instrument("pyro", "basf-exactus", &[], 640.0)]);
    sim.fault("pyro", Fault::Echo.always()).unwrap();
    let unaware = reader(&format!("{}{EXACTUS}", link(&sim, "")));
    until(&unaware, "temperature", &[Bad("echo")]).await;
    sim.clear_faults("pyro").unwrap();
    until(&unaware, "temperature", &[Bad("echo"), Bad("unsettled"), Bad("no_reply"), Value(640.0)]).await;
    unaware.stop().await;

    sim.fault("pyro", Fault::Echo.always()).unwrap();
    let aware = reader(&format!("{}{EXACTUS}", link(&sim, "echo = true")));
    until(&aware, "temperature", &[Value(640.0)]).await;
    aware.stop().await;
}

/// T2: below its range an Exactus pins at the floor of it, a number like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_floor_of_a_range_is_no_temperature() {
    let sim = on_a_port(vec![instrument("pyro", "basf-exactus", &[], 100.0)]);
    let reader = reader(&format!("{}{EXACTUS}", link(&sim, "")));
    until(&reader, "temperature", &[Bad("under_range")]).await;
    sim.set_value("pyro", "temperature", 100.1).unwrap();
    until(&reader, "temperature", &[Bad("under_range"), Value(100.1)]).await;
    sim.set_raw("pyro", "temperature", Raw::Float(f64::NAN)).unwrap();
    until(&reader, "temperature", &[Value(100.1), Bad("under_range"), Bad("not_a_number")]).await;
    reader.stop().await;
}

/// T5 and T13: a unit that is not there, or not yet, says nothing; its neighbour on the bus is read all the same, and
/// nobody's answer is taken for another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_a_missing_reading_of_that_unit_alone() {
    let booting = instrument("booting", "basf-exactus", &[], 640.0).at_unit(3);
    let sim = on_a_port(vec![instrument("pyro", "basf-exactus", &[], 320.0), booting]);
    sim.fault("booting", Fault::Silence.next(4)).unwrap();
    let absent = "[[instruments]]\nname = \"absent\"\nprofile = \"eurotherm-ieee\"\nlink = \"bus\"\nunit = 2\nevery = \"50ms\"\n\
                  channels.process_value = { name = \"absent\" }\n";
    let booting =
        EXACTUS.replace("unit = 1", "unit = 3").replace("pyro", "booting").replace("\"temperature\"", "\"booting\"");
    let others = format!("{absent}{booting}");
    let reader = reader(&format!("{}{EXACTUS}{others}", link(&sim, "baud = 115200")));
    until(&reader, "temperature", &[Value(320.0)]).await;
    until(&reader, "absent", &[Bad("no_reply")]).await;
    let settling = [Bad("warming_up"), Bad("no_reply"), Bad("unsettled"), Value(640.0)];
    until(&reader, "booting", &settling).await;
    sim.fault("booting", Fault::WrongUnit.always()).unwrap();
    until(&reader, "booting", &[&settling[..], &[Bad("mismatch")]].concat()).await;
    reader.stop().await;
}

/// T5: a broadcast is for everybody and answered by nobody.
#[test]
fn nobody_answers_a_broadcast_or_another_unit() {
    let sim = on_a_socket(vec![instrument("pyro", "basf-exactus", &[], 320.0)]);
    let mut socket = TcpStream::connect(sim.address().unwrap()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut ask = |transaction, unit| socket.write_all(&[0, transaction, 0, 0, 0, 6, unit, 3, 0, 0, 0, 2]).unwrap();
    for (transaction, unit) in [(1, 0), (2, 2), (3, 255), (4, 1)] {
        ask(transaction, unit);
    }
    let mut answer = [0; 13];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..8], [0, 4, 0, 0, 0, 7, 1, 3], "the first answer is that to the fourth question");
    assert_eq!(sim.polls_seen("pyro").unwrap(), 1);
}

/// T8: the low word first, as a Watlow comes, and addresses that may count from 0 or from 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn word_order_and_numbering_are_the_profiles_or_asked_for() {
    let watlow = "[[instruments]]\nname = \"heater\"\nprofile = \"watlow-ez-zone\"\nlink = \"bus\"\nunit = 1\nevery = \"50ms\"\n";
    let sim = on_a_port(vec![instrument("heater", "watlow-ez-zone", &[], 1112.0)]);
    let heater = reader(&format!("{}{watlow}", link(&sim, "")));
    until(&heater, "heater_process_value", &[Value(1112.0)]).await;
    assert_eq!(heater.board().snapshot().channels[0].channel.unit.as_deref(), Some("degF"), "T14: degF as delivered");
    heater.stop().await;

    let mi3 = |params: &str| {
        format!(
            "[[instruments]]\nname = \"head\"\nprofile = \"raytek-mi3-modbus\"\nlink = \"bus\"\nunit = 1\nevery = \"50ms\"\nparams = {{ {params} }}\n\
                 channels.object_temperature = {{ name = \"object\" }}\n"
        )
    };
    let sim = on_a_port(vec![instrument("head", "raytek-mi3-modbus", &[("base", "1"), ("head", "2")], 300.0)]);
    sim.set_raw("head", "unit_fahrenheit", Raw::Integer(0)).unwrap();
    let open = configured(&format!("{}{}", link(&sim, ""), mi3("head = 2"))).unwrap_err().to_string();
    assert!(open.contains("needs the parameter `base`"), "{open}");
    // Half of one value and half of the next: this instrument refuses to give them.
    let wrong = reader(&format!("{}{}", link(&sim, ""), mi3("head = 2, base = 0")));
    until(&wrong, "object", &[Bad("exception")]).await;
    wrong.stop().await;
    let right = reader(&format!("{}{}", link(&sim, ""), mi3("head = 2, base = 1")));
    until(&right, "object", &[Value(300.0)]).await;
    right.stop().await;
}

/// T14: the unit of a pressure is a setting of the device, in another table, and somebody changes it while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pressure_keeps_its_unit_when_the_device_does_not() {
    let sim = on_a_socket(vec![instrument("pump", "gamma-qpc-modbus", &[], 2.5e-10)]);
    let pump = "[[instruments]]\nname = \"pump\"\nprofile = \"gamma-qpc-modbus\"\nlink = \"bus\"\nunit = 1\nevery = \"20ms\"\n\
                channels.pressure_1 = { name = \"pressure\" }\n";
    let sure = |unit| sim.set_raw("pump", "pressure_unit", Raw::Integer(unit)).unwrap();
    sure(0);
    let reader = reader(&format!("{}{pump}", link(&sim, "")));
    let mbar = Value(2.5e-10);
    until(&reader, "pressure", &[mbar]).await;
    let said = sim.said().len();
    sure(2);
    wait_for_more(&sim, said).await;
    until(&reader, "pressure", &[mbar]).await;
    sure(7);
    until(&reader, "pressure", &[mbar, Bad("unknown_status")]).await;
    sure(1);
    until(&reader, "pressure", &[Bad("unknown_status"), mbar]).await;
    // Every third answer is an exception: now that to the request for the unit, now that to the one for the pressure.
    sim.fault("pump", Fault::Exception(4).every(3)).unwrap();
    let either = [mbar, Bad("unknown_status"), Bad("exception"), Bad("unknown_setting")];
    until(&reader, "pressure", &either).await;
    reader.stop().await;
}

/// Waits until a simulator has said ten things more.
async fn wait_for_more(sim: &SimHandle, than: usize) {
    let begun = Instant::now();
    while sim.said().len() < than + 10 {
        assert!(begun.elapsed() < DEADLINE, "nobody asks");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// T16: every shipped Modbus profile, over RTU and over Modbus/TCP, all its channels: each is read as it was said, and not
/// one request that could change a device goes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_profile_reads_and_none_writes() {
    let (library, _) = Library::embedded();
    let mut tried = 0;
    for profile in library.iter().filter(|profile| profile.is_modbus()) {
        let given: &[(&str, &str)] = match &*profile.id {
            "analog-gauge-adc" => &[("address", "0"), ("a", "0.00025"), ("b", "-12.5")],
            "generic-modbus-float" => &[("address", "0x0118")],
            _ if profile.params.contains_key("base") => &[("base", "1")],
            _ if profile.params.get("decimals").is_some_and(|decimals| decimals.default.is_none()) => {
                &[("decimals", "1")]
            }
            _ => &[],
        };
        let channels: String =
            profile.sample().channels.iter().map(|channel| format!("channels.{} = true\n", channel.id)).collect();
        let params: String = given.iter().map(|(name, value)| format!("{name} = \"{value}\", ")).collect();
        let text = format!(
            "[[instruments]]\nname = \"one\"\nprofile = \"{}\"\nlink = \"bus\"\nunit = 1\nparams = {{ {} }}\n{channels}",
            profile.id,
            params.trim_end_matches(", ")
        );
        let simulated = || {
            let growth = Scenario::growth(Duration::from_secs(3600));
            vec![SimInstrument { scenario: growth, ..instrument("one", &profile.id, given, 0.0) }]
        };
        for sim in [on_a_port(simulated()), on_a_socket(simulated())] {
            let reader = reader(&format!("{}{text}", link(&sim, "")));
            let begun = Instant::now();
            loop {
                let snapshot = reader.board().snapshot();
                if snapshot.channels.iter().all(|live| live.latest.is_some()) {
                    let said = sim.said();
                    for live in &snapshot.channels {
                        let (_, outcome) = live.latest.as_ref().unwrap();
                        let is_said = said.iter().any(|said| {
                            *said.channel == *live.channel.name.to_string().trim_start_matches("one_")
                                && said.outcome == *outcome
                        });
                        assert!(is_said, "{}: `{}` is {outcome:?}", profile.id, live.channel.name);
                        let measured = matches!(live.channel.kind, Kind::Gauge | Kind::Setting);
                        assert!(!measured || outcome.value().is_some(), "{}: {live:?}", profile.id);
                    }
                    break;
                }
                assert!(begun.elapsed() < DEADLINE, "{}: {snapshot:?}", profile.id);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            reader.stop().await;
            assert!(sim.polls_seen("one").unwrap() > 0);
            assert_eq!(sim.writes_seen("one").unwrap(), 0, "{}", profile.id);
        }
        tried += 1;
    }
    assert!(tried > 10, "only {tried} profiles are Modbus");
}

/// Behind an IFM8-I the unit is the port of the multiplexer. A port that does not answer, whether the multiplexer says so or
/// stays silent (then the connection is opened anew), costs the others nothing but time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_port_of_a_multiplexer_costs_only_itself() {
    let port = |unit: u8, value| instrument(&format!("port_{unit}"), "basf-exactus", &[], value).at_unit(unit);
    let sim = on_a_socket(vec![port(1, 310.0), port(2, 320.0), port(3, 330.0)]);
    let entry = |unit: u8| {
        let name = format!("port_{unit}");
        EXACTUS
            .replace("unit = 1", &format!("unit = {unit}"))
            .replace("pyro\"", &format!("{name}\""))
            .replace("\"temperature\"", &format!("\"{name}_temperature\""))
    };
    let entries: String = (1..=3).map(entry).collect();
    let reader = reader(&format!("{}{entries}", link(&sim, "")));
    until(&reader, "port_1_temperature", &[Value(310.0)]).await;
    until(&reader, "port_2_temperature", &[Value(320.0)]).await;
    until(&reader, "port_3_temperature", &[Value(330.0)]).await;
    sim.fault("port_2", Fault::Exception(0x0B).always()).unwrap();
    sim.fault("port_3", Fault::Silence.always()).unwrap();
    until(&reader, "port_2_temperature", &[Value(320.0), Bad("warming_up")]).await;
    until(&reader, "port_3_temperature", &[Value(330.0), Bad("warming_up")]).await;
    let said = sim.said().len();
    wait_for_more(&sim, said).await;
    until(&reader, "port_1_temperature", &[Value(310.0)]).await;
    sim.clear_faults("port_2").unwrap();
    sim.clear_faults("port_3").unwrap();
    until(&reader, "port_2_temperature", &[Bad("warming_up"), Bad("exception"), Value(320.0)]).await;
    until(&reader, "port_3_temperature", &[Bad("warming_up"), Bad("no_reply"), Value(330.0)]).await;
    reader.stop().await;
}

/// T4: asked faster than it measures, an instrument repeats itself, and half of the record would be copies.
#[test]
fn nobody_asks_faster_than_the_instrument_measures() {
    let lab = |every: &str, params: &str| {
        let link = "[links.bus.serial]\nport = \"/dev/null\"\n";
        let entry = EXACTUS
            .replace("\"50ms\"\nparams = { refresh = \"50ms\" }", &format!("\"{every}\"\nparams = {{ {params} }}"));
        configured(&format!("{link}{entry}"))
    };
    let refused = lab("500ms", "").unwrap_err().to_string();
    assert!(refused.contains("every = \"500ms\"") && refused.contains("1000 ms"), "{refused}");
    lab("1s", "").unwrap();
    // Set to 100 Hz, which the lab has to say.
    lab("10ms", "refresh = \"10ms\"").unwrap();
    assert!(lab("5ms", "refresh = \"10ms\"").is_err());
}
