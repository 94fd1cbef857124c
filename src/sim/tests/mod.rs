//! Exchanges with simulated instruments: their answers, then the same over real pseudo-terminals and sockets.

mod answers;
mod faults;
mod library;
mod ports;
mod sockets;
mod traps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::model::{Kind, LineSettings, Parity, Reason};
use crate::profile::{
    Alphabet, Decoding, Device, DeviceChannel, DeviceEngine, FieldRef, Framing, MessageDevice, MessagePoll,
    ModbusDevice, Order, Pattern, QualityMap, Raw, Register, RegisterType, Scaling, Source, Step, Table, Timing,
    Verdict,
};

use super::{Place, Scenario, Sim, SimHandle, SimInstrument, SimSettings};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn linear(scale: f64) -> Decoding {
    Decoding { scaling: Some(Scaling::Linear { scale, offset: 0.0 }), ..Decoding::default() }
}

fn channel(id: &str, unit: Option<&str>, source: Source, decoding: Decoding) -> DeviceChannel {
    DeviceChannel {
        id: id.into(),
        unit: unit.map(Arc::from),
        kind: if unit.is_some() { Kind::Gauge } else { Kind::State },
        every: Duration::from_millis(100),
        optional: false,
        source,
        decoding,
        with: Vec::new(),
    }
}

fn text_device(polls: &[&[(&str, &str)]], channels: Vec<DeviceChannel>) -> Device {
    let step = |(send, expect): &(&str, &str)| Step {
        send: (!send.is_empty()).then(|| send.as_bytes().to_vec()),
        expect: (!expect.is_empty()).then(|| Pattern::parse(expect).unwrap()),
        wait: Duration::ZERO,
    };
    let poll = |steps: &&[(&str, &str)]| MessagePoll {
        every: Duration::from_millis(100),
        steps: steps.iter().map(step).collect(),
    };
    Device {
        profile: "test".into(),
        timing: Timing::default(),
        engine: DeviceEngine::Messages(MessageDevice {
            alphabet: Alphabet::Text,
            listens: Vec::new(),
            framing: Framing::terminated(b"\r"),
            on_connect: Vec::new(),
            polls: polls.iter().map(poll).collect(),
        }),
        channels,
    }
}

/// An IMPAC pyrometer: tenths of a degree in five digits, two of its sentinels, emissivity in per mille.
fn pyrometer(address: &str) -> Device {
    let field = |poll, name: &str| Source::Field { poll, name: name.into(), bits: None };
    let temperature = Decoding {
        sentinels: vec![(88_880.0, Reason::named("over_range")), (77_770.0, Reason::named("not_ready"))],
        ..linear(0.1)
    };
    let mut emissivity = channel("emissivity", None, field(1, "e"), linear(0.001));
    emissivity.kind = Kind::Setting;
    text_device(
        &[&[(&format!("{address}ms\r"), "{t:d5}")], &[(&format!("{address}em\r"), "{e:d4}")]],
        vec![channel("temperature", Some("degC"), field(0, "t"), temperature), emissivity],
    )
}

/// A Pfeiffer TPG: mnemonic, acknowledgement, enquiry, data with a status.
fn gauge_controller() -> Device {
    let pressure = Decoding {
        quality: Some(QualityMap {
            from: FieldRef::parse("s1").unwrap(),
            codes: vec![(Raw::Integer(0), Verdict::Good), (Raw::Integer(5), Verdict::Bad(Reason::named("no_sensor")))],
            other: Verdict::Bad(Reason::named("unknown_status")),
        }),
        ..linear(1.0)
    };
    let source = Source::Field { poll: 0, name: "p1".into(), bits: None };
    text_device(
        &[&[("PR1\r", "\u{6}"), ("\u{5}", "{s1:i},{p1:f}")]],
        vec![channel("pressure_1", Some("mbar"), source, pressure)],
    )
}

fn register(table: Table, address: u16, ty: RegisterType) -> Source {
    let registers = ty.registers().unwrap();
    Source::Register(Register { table, address, registers, ty, order: Order::Abcd, bit: 0, chars: 2 })
}

fn modbus_device(max_gap: u16, channels: Vec<DeviceChannel>) -> Device {
    let modbus = ModbusDevice { max_regs: 125, max_gap, one_per_request: false, functions: BTreeSet::from([3, 4]) };
    Device { profile: "test".into(), timing: Timing::default(), engine: DeviceEngine::Modbus(modbus), channels }
}

/// A PREVAC MG15: float pressures with a state each, three registers apart.
fn multi_gauge() -> Device {
    let mut channels = Vec::new();
    for gauge in 0..2_u16 {
        let state = format!("state_{}", gauge + 1);
        let quality = QualityMap {
            from: FieldRef::parse(&state).unwrap(),
            codes: vec![
                (Raw::Integer(0), Verdict::Good),
                (Raw::Integer(2), Verdict::Bad(Reason::named("emission_off"))),
            ],
            other: Verdict::Bad(Reason::named("unknown_status")),
        };
        let pressure = Decoding { quality: Some(quality), ..linear(1.0) };
        let holding = |address, ty| register(Table::Holding, address, ty);
        let id = format!("pressure_{}", gauge + 1);
        let mut pressure = channel(&id, Some("mbar"), holding(gauge * 3, RegisterType::F32), pressure);
        pressure.with = vec![channels.len() + 1];
        channels.push(pressure);
        channels.push(channel(&state, None, holding(gauge * 3 + 2, RegisterType::U16), linear(1.0)));
    }
    modbus_device(0, channels)
}

/// A Eurotherm: whole numbers with one decimal at their printed addresses.
fn controller() -> Device {
    let holding = |address| register(Table::Holding, address, RegisterType::I16);
    modbus_device(
        4,
        vec![
            channel("process_value", Some("degC"), holding(1), linear(0.1)),
            channel("target_setpoint", Some("degC"), holding(2), linear(0.1)),
            channel("output", Some("%"), holding(4), linear(0.1)),
        ],
    )
}

fn constant(name: &str, device: Device, value: f64) -> SimInstrument {
    SimInstrument::new(name, device, Scenario::constant(value))
}

fn on_a_port(instruments: Vec<SimInstrument>) -> SimHandle {
    Sim::start(SimSettings::new(Place::Pty { path: None }, instruments)).unwrap()
}

fn upp_line() -> LineSettings {
    LineSettings { baud: 19_200, parity: Parity::Even, ..LineSettings::default() }
}

/// The master's end of a line.
struct Client<S>(S);

impl Client<tokio_serial::SerialStream> {
    fn open(sim: &SimHandle) -> Self {
        let builder = tokio_serial::new(sim.port().unwrap().to_str().unwrap(), 19_200);
        Self(tokio_serial::SerialStream::open(&builder).unwrap())
    }
}

impl Client<tokio::net::TcpStream> {
    async fn connect(sim: &SimHandle) -> Self {
        Self(tokio::net::TcpStream::connect(sim.address().unwrap()).await.unwrap())
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Client<S> {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// So many bytes.
    async fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut bytes)).await;
        read.unwrap_or_else(|_| panic!("{count} bytes did not come; got {bytes:02X?}")).unwrap();
        bytes
    }

    /// Sends, and takes as many bytes as are expected: these ones.
    async fn exchange(&mut self, request: &[u8], expected: &[u8]) {
        self.send(request).await;
        assert_eq!(shown(&self.take(expected.len()).await), shown(expected));
    }

    /// Waits until the other end is gone.
    async fn wait_for_hang_up(&mut self) {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        drop(ended.expect("the line was not hung up"));
        assert!(rest.is_empty(), "{rest:02X?}");
    }
}

fn shown(bytes: &[u8]) -> String {
    crate::profile::printable(bytes)
}

fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    super::framing::rtu_frame(unit, pdu)
}

/// Waits for a condition that another thread brings about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
