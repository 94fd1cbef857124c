//! Every kind of link at once: raw socket, RTU over a socket, two units on one RS-485 line, an instrument without a profile.

use mbe_bridge::sim::{Place, SimInstrument};

use super::field::{ANY, configured, instrument, line, pressures, profile};
use super::lab::Lab;
use super::oracle::Oracle;
use super::platform;
use super::process::Process;

/// An ion gauge behind an analogue input: a raw count on a curve of decades.
const INLINE: &str = r#"
[[instruments]]
name = "ion_gauge"
link = "adc"
unit = 7
[instruments.inline]
engine = "modbus"
[[instruments.inline.channel]]
id = "pressure"
table = "input"
address = 30
type = "u16"
unit = "mbar"
every = "100ms"
curve = { kind = "pow10", a = 0.000152590, b = -12.0 }
"#;

/// The instrument that the lab describes in line, simulated as the lab describes it.
fn described_in_line() -> SimInstrument {
    let text = format!("[links.adc.modbus-tcp]\naddress = \"127.0.0.1:502\"\n{INLINE}");
    let device = configured(&text).instruments[0].device.clone();
    SimInstrument::new("ion_gauge", device, pressures()).at_unit(7)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_link_brings_what_its_instruments_say() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let (upp, eurotherm, mg15) = (profile("impac-upp"), profile("eurotherm-3200"), profile("prevac-mg15"));
    let raw = line(Place::Tcp { listen: ANY }, &upp, vec![instrument("head", &upp, &[("addr", "07")])]);
    let rtu = line(Place::RtuOverTcp { listen: ANY }, &eurotherm, vec![instrument("oven", &eurotherm, &[]).at_unit(2)]);
    let bus = Place::Pty { path: Some(lab.folder().join("ttyBus")) };
    let cells =
        vec![instrument("cell_3", &eurotherm, &[]).at_unit(3), instrument("cell_7", &eurotherm, &[]).at_unit(7)];
    let bus = line(bus, &eurotherm, cells);
    let adc = line(Place::ModbusTcp { listen: ANY }, &mg15, vec![described_in_line()]);
    lab.field = format!(
        r#"
        [links.raw.tcp]
        address = "{}"
        [links.rtu.rtu-over-tcp]
        address = "{}"
        [links.bus.serial]
        port = "{}"
        [links.adc.modbus-tcp]
        address = "{}"
        [[instruments]]
        name = "head"
        profile = "impac-upp"
        link = "raw"
        params = {{ addr = "07" }}
        channels.temperature = {{ name = "head" }}
        [[instruments]]
        name = "oven"
        profile = "eurotherm-3200"
        link = "rtu"
        unit = 2
        channels.process_value = {{ name = "oven", every = "100ms" }}
        [[instruments]]
        name = "cell_3"
        profile = "eurotherm-3200"
        link = "bus"
        unit = 3
        channels.process_value = {{ name = "cell_3", every = "200ms" }}
        [[instruments]]
        name = "cell_7"
        profile = "eurotherm-3200"
        link = "bus"
        unit = 7
        channels.process_value = {{ name = "cell_7", every = "200ms" }}
        {INLINE}"#,
        raw.address().unwrap(),
        rtu.address().unwrap(),
        bus.port().unwrap().display(),
        adc.address().unwrap(),
    );
    let process = Process::run(&lab.write());
    process
        .until("every channel is recorded often enough", |status| {
            let channels = status["channels"].as_array().unwrap();
            let recorded = |channel: &serde_json::Value| channel["counts"]["recorded"].as_u64().unwrap_or(0);
            channels.len() == 5 && channels.iter().all(|channel| recorded(channel) >= 10)
        })
        .await;
    process.stop().await;

    let said = [&raw, &rtu, &bus, &adc].into_iter().map(mbe_bridge::sim::SimHandle::said).collect();
    let account = Oracle::new(&server, said).check(&lab.run());
    account.assert_nothing_was_missed();
    account.assert_hardly_anything_is_bad();
    for (line, name) in [(&raw, "head"), (&rtu, "oven"), (&bus, "cell_3"), (&bus, "cell_7"), (&adc, "ion_gauge")] {
        assert_eq!(line.writes_seen(name).unwrap(), 0, "{name}");
    }
}
