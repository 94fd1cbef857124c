//! The Modbus driver against a device that refuses some of its registers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::Kind;
use crate::model::Outcome;
use crate::model::Reason;
use crate::profile::Decoding;
use crate::profile::DeviceChannel;
use crate::profile::ModbusDevice;
use crate::profile::Order;
use crate::profile::Register;
use crate::profile::RegisterType;
use crate::profile::Scaling;
use crate::profile::Source;

use super::super::{LeftOut, ModbusDriver, Polled, driver};
use super::*;

pub(super) fn text_channel(name: Arc<str>) -> DeviceChannel {
    channel(Arc::clone(&name), Source::Field { poll: 0, name, bits: None })
}

fn channel(id: Arc<str>, source: Source) -> DeviceChannel {
    DeviceChannel {
        id,
        unit: None,
        kind: Kind::Gauge,
        every: Duration::from_millis(100),
        optional: false,
        source,
        decoding: Decoding { scaling: Some(Scaling::IDENTITY), ..Decoding::default() },
        with: Vec::new(),
    }
}

fn register(address: u16) -> DeviceChannel {
    let register = Register {
        table: Table::Holding,
        address,
        registers: 1,
        ty: RegisterType::U16,
        order: Order::default(),
        bit: 0,
        chars: 2,
    };
    channel(format!("r{address}").into(), Source::Register(register))
}

/// A device with registers 0 to 9, in one block.
fn ten_registers() -> Device {
    let modbus = ModbusDevice { max_regs: 125, max_gap: 8, one_per_request: false, functions: [3].into() };
    Device {
        profile: "test".into(),
        timing: timing(1000),
        engine: DeviceEngine::Modbus(modbus),
        channels: (0..10).map(register).collect(),
    }
}

/// A Modbus unit with holding registers 0 and 100, which are two requests; for the tests of other rooms.
pub(crate) fn modbus_unit(unit: u8, every: Duration) -> ModbusDriver {
    let modbus = ModbusDevice { max_regs: 125, max_gap: 8, one_per_request: false, functions: [3].into() };
    let device = Device {
        profile: "test".into(),
        timing: Timing::default(),
        engine: DeviceEngine::Modbus(modbus.clone()),
        channels: [0, 100].map(|address| DeviceChannel { every, ..register(address) }).into(),
    };
    ModbusDriver::new(modbus, device, unit)
}

type Questions = Arc<Mutex<Vec<(u16, u16)>>>;

/// A bus whose device gives each register its address times ten, and answers blocks with these registers with an exception.
async fn refusing(refused: &'static [u16], code: u8) -> (Bus, Questions, SerialStream) {
    let questions = Questions::default();
    let seen = Arc::clone(&questions);
    let Pty { master, keep, mut connector } = pty(fast_line());
    tokio::spawn(serve(master, rtu_question, move |question| {
        let [unit, function, a1, a2, c1, c2, ..] = question else { panic!("{question:?}") };
        let (address, count) = (u16::from_be_bytes([*a1, *a2]), u16::from_be_bytes([*c1, *c2]));
        seen.lock().unwrap().push((address, count));
        let body = if refused.iter().any(|register| (address..address + count).contains(register)) {
            vec![*unit, function | 0x80, code]
        } else {
            let words = (address..address + count).flat_map(|register| (register * 10).to_be_bytes());
            [vec![*unit, *function, u8::try_from(count * 2).unwrap()], words.collect()].concat()
        };
        vec![(Duration::ZERO, with_crc(&body))]
    }));
    (open(&mut connector, Protocol::ModbusRtu).await, questions, keep)
}

fn outcomes(polled: &Polled) -> BTreeMap<usize, Outcome> {
    let readings = polled.exchanges.iter().flat_map(|exchange| &exchange.readings);
    readings.map(|reading| (reading.channel, reading.outcome.clone())).collect()
}

fn expected(refused: &[u16]) -> BTreeMap<usize, Outcome> {
    let outcome = |address: u16| {
        if refused.contains(&address) {
            Outcome::Bad(Reason::EXCEPTION)
        } else {
            Outcome::good(f64::from(address * 10))
        }
    };
    (0..10).map(|address| (usize::from(address), outcome(address))).collect()
}

#[tokio::test]
async fn a_whole_block_takes_one_exchange() {
    let (mut bus, questions, _keep) = refusing(&[], 2).await;
    let mut driver = driver(ten_registers(), 7);
    let polled = driver.poll(&mut bus, 0).await;
    assert_eq!(outcomes(&polled), expected(&[]));
    assert_eq!(*questions.lock().unwrap(), [(0, 10)]);
    assert_eq!(driver.polls()[0].exchanges[0].reply, 25);
}

#[tokio::test]
async fn culprits_are_found_left_out_and_remembered() {
    for (refused, code) in [(&[6_u16][..], 2), (&[0, 9], 3), (&[4, 5], 2)] {
        let (mut bus, questions, _keep) = refusing(refused, code).await;
        let mut driver = driver(ten_registers(), 7);
        driver.connect(&mut bus).await.unwrap();
        let first = driver.poll(&mut bus, 0).await;
        assert!(first.failure.is_none(), "{first:?}");
        assert_eq!(outcomes(&first), expected(refused));
        let mut left_out = driver.left_out();
        left_out.sort_unstable_by_key(|left_out| left_out.channels.clone());
        let name = if code == 2 { "address" } else { "value" };
        let named = refused.iter().map(|address| LeftOut {
            channels: vec![usize::from(*address)],
            what: format!("holding {address}: exception {code}, illegal data {name}"),
        });
        assert_eq!(left_out, named.collect::<Vec<_>>());

        questions.lock().unwrap().clear();
        let second = driver.poll(&mut bus, 0).await;
        assert_eq!(outcomes(&second), expected(refused), "left out channels are missing with a reason");
        let asked = questions.lock().unwrap().clone();
        for (address, count) in asked {
            assert!(!refused.iter().any(|r| (address..address + count).contains(r)), "{address} is asked for again");
        }

        driver.connect(&mut bus).await.unwrap();
        assert_eq!(driver.left_out(), [], "a reopened link gives each register another chance");
    }
}

#[tokio::test]
async fn a_device_that_refuses_everything_has_failed() {
    let (mut bus, _questions, _keep) = refusing(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 2).await;
    let mut driver = driver(ten_registers(), 7);
    for _ in 0..2 {
        let polled = driver.poll(&mut bus, 0).await;
        assert!(matches!(polled.failure, Some(Error::Exception { code: 2, .. })), "{polled:?}");
    }
}

#[tokio::test]
async fn a_busy_device_is_not_taken_apart() {
    let (mut bus, questions, _keep) = refusing(&[3], 6).await;
    let mut driver = driver(ten_registers(), 7);
    let polled = driver.poll(&mut bus, 0).await;
    assert!(matches!(polled.failure, Some(Error::Exception { code: 6, what: "busy" })), "{polled:?}");
    assert_eq!(outcomes(&polled).len(), 10, "an exception is an answer for all its channels");
    assert_eq!(questions.lock().unwrap().len(), 1);
    assert_eq!(driver.left_out(), []);
}
