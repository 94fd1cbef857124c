//! The Modbus driver against a device that refuses some of its registers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::Kind;
use crate::model::Outcome;
use crate::model::Reason;
use crate::profile::Case;
use crate::profile::Decoding;
use crate::profile::DeviceChannel;
use crate::profile::FieldRef;
use crate::profile::ModbusDevice;
use crate::profile::Order;
use crate::profile::Raw;
use crate::profile::Register;
use crate::profile::RegisterType;
use crate::profile::Scaling;
use crate::profile::Source;

use super::super::{LeftOut, ModbusDriver, Polled, driver};
use super::*;

pub(super) fn text_channel(name: Arc<str>) -> DeviceChannel {
    channel(Arc::clone(&name), Source::Field { poll: 0, name, bits: None })
}

pub(super) fn channel(id: Arc<str>, source: Source) -> DeviceChannel {
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
            what: format!("holding {address} (`r{address}`): exception {code}, illegal data {name}"),
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

/// A value at input 0 whose law depends on a setting at holding 280, and one that does not.
fn with_a_setting_far_away() -> Device {
    let modbus = ModbusDevice { max_regs: 125, max_gap: 8, one_per_request: false, functions: [3, 4].into() };
    let case = |code, scale| Case {
        when: vec![(FieldRef::parse("r280").unwrap(), Raw::Integer(code))],
        scaling: Scaling::Linear { scale, offset: 0.0 },
    };
    let at = |table, address| {
        let Source::Register(place) = register(address).source else { panic!("a register") };
        DeviceChannel { source: Source::Register(Register { table, ..place }), ..register(address) }
    };
    let decoding = Decoding { cases: vec![case(0, 1.0), case(1, 100.0)], ..Decoding::default() };
    let setting = DeviceChannel { kind: Kind::Setting, every: Duration::from_secs(60), ..at(Table::Holding, 280) };
    let value = DeviceChannel { decoding, with: vec![0], ..at(Table::Input, 5) };
    Device {
        profile: "test".into(),
        timing: timing(1000),
        engine: DeviceEngine::Modbus(modbus),
        channels: vec![setting, value, at(Table::Input, 100)],
    }
}

/// A bus whose device gives what `cell` says for a table's function and address, or an exception.
async fn telling(mut cell: impl FnMut(u8, u16) -> Result<u16, u8> + Send + 'static) -> (Bus, Questions, SerialStream) {
    let questions = Questions::default();
    let seen = Arc::clone(&questions);
    let Pty { master, keep, mut connector } = pty(fast_line());
    tokio::spawn(serve(master, rtu_question, move |question| {
        let [unit, function, a1, a2, c1, c2, ..] = question else { panic!("{question:?}") };
        let (address, count) = (u16::from_be_bytes([*a1, *a2]), u16::from_be_bytes([*c1, *c2]));
        seen.lock().unwrap().push((address, count));
        let words: Result<Vec<u16>, u8> = (address..address + count).map(|at| cell(*function, at)).collect();
        let body = match words {
            Ok(words) => {
                let data = words.into_iter().flat_map(u16::to_be_bytes).collect();
                [vec![*unit, *function, u8::try_from(count * 2).unwrap()], data].concat()
            }
            Err(code) => vec![*unit, function | 0x80, code],
        };
        vec![(Duration::ZERO, with_crc(&body))]
    }));
    (open(&mut connector, Protocol::ModbusRtu).await, questions, keep)
}

#[tokio::test]
async fn a_setting_far_away_is_asked_for_first_each_time() {
    let unit = Arc::new(Mutex::new(Ok(0)));
    let told = Arc::clone(&unit);
    let (mut bus, questions, _keep) = telling(move |function, address| match (function, address) {
        (3, 280) => *told.lock().unwrap(),
        (4, 5) => Ok(7),
        (4, 100) => Ok(1),
        _ => Err(2),
    })
    .await;
    let mut driver = driver(with_a_setting_far_away(), 7);
    assert_eq!(driver.polls()[0].channels, [1, 2], "the setting itself has a period of its own");
    assert_eq!(driver.polls()[0].exchanges.len(), 3, "and costs the bus a request all the same");
    for (code, expected) in [
        (Ok(0), Outcome::good(7.0)),
        // Switched between two polls: the very next value is in the new unit.
        (Ok(1), Outcome::good(700.0)),
        (Ok(9), Outcome::Bad(Reason::named("unknown_status"))),
        (Err(4), Outcome::Bad(Reason::named("unknown_setting"))),
        (Ok(1), Outcome::good(700.0)),
        (Err(2), Outcome::Bad(Reason::named("unknown_setting"))),
    ] {
        *unit.lock().unwrap() = code;
        questions.lock().unwrap().clear();
        let polled = driver.poll(&mut bus, 0).await;
        assert!(polled.failure.is_none(), "{polled:?}");
        assert_eq!(outcomes(&polled), [(1, expected), (2, Outcome::good(1.0))].into());
        assert_eq!(*questions.lock().unwrap(), [(280, 1), (5, 1), (100, 1)]);
    }
    let what = "holding 280 (`r280`): exception 2, illegal data address".to_owned();
    assert_eq!(driver.left_out(), [LeftOut { channels: vec![1], what }], "named by what it costs");
    questions.lock().unwrap().clear();
    driver.poll(&mut bus, 0).await;
    assert_eq!(*questions.lock().unwrap(), [(5, 1), (100, 1)], "left out, it is not asked for again");
}

#[tokio::test]
async fn values_of_one_request_share_one_time() {
    let (mut bus, questions, _keep) = telling(|_, address| Ok(address)).await;
    let mut device = ten_registers();
    device.channels.push(register(200));
    let mut driver = driver(device, 7);
    let polled = driver.poll(&mut bus, 0).await;
    assert_eq!(*questions.lock().unwrap(), [(0, 10), (200, 1)]);
    let [first, second] = polled.exchanges.as_slice() else { panic!("{polled:?}") };
    assert_eq!(first.readings.len(), 10, "ten values, one time");
    assert_eq!(second.readings.len(), 1);
    assert!(first.asked < first.answered && first.answered <= second.asked && second.asked < second.answered);
}

#[tokio::test]
async fn what_is_refused_is_asked_for_again_after_a_minute() {
    let refused = Arc::new(Mutex::new(true));
    let told = Arc::clone(&refused);
    let (mut bus, questions, _keep) = telling(move |_, address| match address {
        6 if *told.lock().unwrap() => Err(2),
        _ => Ok(address),
    })
    .await;
    let mut driver = driver(ten_registers(), 7);
    driver.poll(&mut bus, 0).await;
    assert_eq!(driver.left_out().len(), 1);
    *refused.lock().unwrap() = false;

    // Only the driver's own clock jumps; the exchange runs on real time, since the port does.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let polled = driver.poll(&mut bus, 0).await;
    assert_eq!(outcomes(&polled)[&6], Outcome::good(6.0));
    assert_eq!(driver.left_out(), []);
    questions.lock().unwrap().clear();
    driver.poll(&mut bus, 0).await;
    assert_eq!(*questions.lock().unwrap(), [(0, 10)], "the plan is whole again");
}

#[tokio::test]
async fn what_lies_between_values_may_be_refused_for_ever() {
    let (mut bus, questions, _keep) = telling(|_, address| if address == 3 { Err(2) } else { Ok(address) }).await;
    let device = ten_registers();
    let mut driver = driver(device.narrowed(&[0, 1, 2, 4, 5]).0, 7);
    for round in 0..3 {
        questions.lock().unwrap().clear();
        let polled = driver.poll(&mut bus, 0).await;
        assert!(outcomes(&polled).values().all(|outcome| outcome.value().is_some()), "{polled:?}");
        assert_eq!(driver.left_out(), []);
        let asked = questions.lock().unwrap().clone();
        assert!(round == 0 || asked.iter().all(|(address, count)| *address > 3 || address + count <= 3), "{asked:?}");
    }
}

#[tokio::test]
async fn a_lone_register_that_is_refused_is_named_once_the_device_has_spoken() {
    let (mut bus, questions, _keep) = telling(|_, address| if address == 100 { Err(2) } else { Ok(address) }).await;
    let mut device = ten_registers().narrowed(&[0]).0;
    device.channels.push(register(100));
    let mut driver = driver(device, 7);
    for _ in 0..2 {
        let polled = driver.poll(&mut bus, 0).await;
        assert_eq!(outcomes(&polled), [(0, Outcome::good(0.0)), (1, Outcome::Bad(Reason::EXCEPTION))].into());
    }
    let what = "holding 100 (`r100`): exception 2, illegal data address".to_owned();
    assert_eq!(driver.left_out(), [LeftOut { channels: vec![1], what }]);
    questions.lock().unwrap().clear();
    driver.poll(&mut bus, 0).await;
    assert_eq!(*questions.lock().unwrap(), [(0, 1)]);
}

/// Acknowledge (some vendors' word for busy), busy, and numbers of vendors' own: an answer for now, about nothing else.
#[tokio::test]
async fn passing_exceptions_skip_the_reading_and_nothing_else() {
    let code = Arc::new(Mutex::new(0));
    let told = Arc::clone(&code);
    let (mut bus, questions, _keep) = telling(move |_, address| match *told.lock().unwrap() {
        0 => Ok(address),
        code => Err(code),
    })
    .await;
    let mut driver = driver(ten_registers(), 7);
    for exception in [5, 6, 7, 8, 0x13, 1, 4] {
        *code.lock().unwrap() = exception;
        let polled = driver.poll(&mut bus, 0).await;
        let failure = polled.failure.as_ref().unwrap();
        assert!(matches!(failure, Error::Exception { code, .. } if *code == exception), "{failure}");
        assert_eq!(failure.recovery(), Recovery::SkipReading);
        assert!(outcomes(&polled).values().all(|outcome| *outcome == Outcome::Bad(Reason::EXCEPTION)));
        assert_eq!(driver.left_out(), []);
        *code.lock().unwrap() = 0;
        let polled = driver.poll(&mut bus, 0).await;
        assert_eq!(outcomes(&polled)[&9], Outcome::good(9.0), "at once, after exception {exception}");
    }
    assert_eq!(questions.lock().unwrap().len(), 14, "one request each, undivided");
}
