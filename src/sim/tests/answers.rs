//! What instruments answer, without a line.

use std::time::Instant;

use proptest::prelude::*;

use super::super::bench::{Bench, Reply};
use super::super::framing::Request;
use super::super::instrument::Shown;
use super::super::line::Speech;
use super::*;
use crate::model::Outcome;
use crate::profile::Fields;

fn told(bench: &mut Bench, message: &[u8]) -> Option<Vec<u8>> {
    only(bench.told(message, Instant::now()))
}

fn asked(bench: &mut Bench, unit: u8, pdu: &[u8]) -> Option<Vec<u8>> {
    let request = Request { unit, pdu: pdu.to_vec(), transaction: 0 };
    only(bench.asked(&request, Speech::Rtu, Instant::now()))
}

/// What the only instrument of a bench has to say to a good request is in the record when it goes out.
fn only(mut replies: Vec<Reply>) -> Option<Vec<u8>> {
    assert!(replies.len() < 2, "two instruments answer at once");
    replies.pop().map(|reply| match reply {
        Reply::Bytes(outgoing) => outgoing.bytes,
        Reply::HangUp(_) => panic!("nobody asked for a hang-up"),
    })
}

fn bench(instrument: SimInstrument) -> Bench {
    Bench::new(vec![instrument], 100)
}

#[test]
fn a_pyrometer_says_what_its_manual_says() {
    let mut bench = bench(constant("p", pyrometer("00"), 256.3));
    assert_eq!(told(&mut bench, b"00ms\r").unwrap(), b"02563\r");
    let bay = bench.bay("p").unwrap();
    bay.set(0, Shown::Set(Outcome::good(-17.0)));
    bay.set(1, Shown::Set(Outcome::good(0.97)));
    assert_eq!(told(&mut bench, b"00ms\r").unwrap(), b"-0170\r");
    assert_eq!(told(&mut bench, b"00em\r").unwrap(), b"0970\r");
}

#[test]
fn what_a_pyrometer_can_t_show_is_over_range() {
    let mut bench = bench(constant("p", pyrometer("00"), 10_000.0));
    assert_eq!(told(&mut bench, b"00ms\r").unwrap(), b"88880\r");
}

#[test]
fn an_unknown_message_brings_silence_or_the_refusal() {
    let mut silent = bench(constant("p", pyrometer("00"), 1.0));
    assert_eq!(told(&mut silent, b"00xx\r"), None);
    assert_eq!(silent.bay("p").unwrap().polls, 0);
    let refusing = SimInstrument { refusal: Some(b"no\r".to_vec()), ..constant("p", pyrometer("00"), 1.0) };
    assert_eq!(told(&mut bench(refusing), b"00xx\r").unwrap(), b"no\r");
}

#[test]
fn a_conversation_goes_step_by_step() {
    let mut bench = bench(constant("g", gauge_controller(), 8.34e-3));
    assert_eq!(told(&mut bench, b"\x05"), None, "an enquiry about nothing");
    assert_eq!(told(&mut bench, b"PR1\r").unwrap(), b"\x06\r");
    assert_eq!(told(&mut bench, b"\x05").unwrap(), b"0,8.34E-3\r");
    assert_eq!(told(&mut bench, b"\x05").unwrap(), b"0,8.34E-3\r", "asked again, answered again");
    bench.bay("g").unwrap().set(0, Shown::Set(Outcome::Bad(Reason::named("no_sensor"))));
    assert_eq!(told(&mut bench, b"PR1\r").unwrap(), b"\x06\r");
    assert!(told(&mut bench, b"\x05").unwrap().starts_with(b"5,"));
}

/// A status that comes in another step than the number is in the number's outcome all the same.
#[test]
fn a_conversation_gives_its_values_at_its_end() {
    let mut device = gauge_controller();
    let DeviceEngine::Messages(text) = &mut device.engine else { panic!() };
    text.polls[0].steps[0].expect = Some(Pattern::parse("{s1:i}").unwrap());
    text.polls[0].steps[1].expect = Some(Pattern::parse("{p1:f}").unwrap());
    let mut bench = bench(constant("g", device, 8.34e-3));
    let mut said = |message: &[u8]| match bench.told(message, Instant::now()).pop() {
        Some(Reply::Bytes(outgoing)) => outgoing.said,
        other => panic!("{other:?}"),
    };
    assert_eq!(said(b"PR1\r"), []);
    assert_eq!(said(b"\x05"), [("pressure_1".into(), Outcome::good(8.34e-3))]);
}

#[test]
fn a_multi_gauge_answers_as_its_documents_have_it() {
    let mut bench = bench(constant("g", multi_gauge(), 1.2e-9));
    assert_eq!(
        asked(&mut bench, 1, &[3, 0, 0, 0, 3]).unwrap(),
        [0x01, 0x03, 0x06, 0x30, 0xA4, 0xED, 0x3F, 0x00, 0x00, 0x50, 0x3C]
    );
}

#[test]
fn a_controller_answers_as_its_documents_have_it() {
    let mut bench = bench(constant("c", controller(), 25.3));
    assert_eq!(asked(&mut bench, 1, &[3, 0, 1, 0, 1]).unwrap(), [0x01, 0x03, 0x02, 0x00, 0xFD, 0x79, 0xC5]);
    assert_eq!(
        asked(&mut bench, 1, &[4, 0, 1, 0, 4]).unwrap(),
        rtu(1, &[4, 8, 0x00, 0xFD, 0x00, 0xFD, 0, 0, 0x00, 0xFD]),
        "input registers are the same, and what lies between reads as 0"
    );
}

#[test]
fn exceptions_are_those_of_the_specification() {
    let mut bench = bench(constant("g", multi_gauge(), 1e-9));
    let mut exception = |pdu: &[u8]| {
        let frame = asked(&mut bench, 1, pdu).unwrap();
        assert_eq!(frame, rtu(1, &frame[1..3]));
        assert_eq!(frame[1], pdu[0] | 0x80);
        frame[2]
    };
    assert_eq!(exception(&[3, 0, 0, 0, 1]), 2, "half a float");
    assert_eq!(exception(&[3, 0, 1, 0, 2]), 2, "the other half");
    assert_eq!(exception(&[3, 0, 0, 0, 4]), 2, "a float and half of the next");
    assert_eq!(exception(&[3, 0, 0, 0, 7]), 2, "one too far");
    assert_eq!(exception(&[3, 0xFF, 0xFF, 0, 2]), 2, "past the end of the address space");
    assert_eq!(exception(&[3, 0, 0, 0, 0]), 3);
    assert_eq!(exception(&[3, 0, 0, 0, 126]), 3);
    assert_eq!(exception(&[3, 0, 0, 0]), 3, "too short");
    assert_eq!(exception(&[1, 0, 0, 0, 1]), 1);
    assert_eq!(exception(&[0x2B, 14, 1, 0]), 1);
    assert_eq!(exception(&[6, 0, 0, 0, 1]), 1);
    assert_eq!(exception(&[16, 0, 0, 0, 1, 2, 0, 0]), 1);
    assert_eq!(bench.bay("g").unwrap().writes, 2);
}

#[test]
fn gaps_are_refused_where_the_profile_does_not_cross_them() {
    let mut device = controller();
    let DeviceEngine::Modbus(modbus) = &mut device.engine else { panic!() };
    modbus.max_gap = 0;
    let mut bench = bench(constant("c", device, 25.3));
    assert_eq!(asked(&mut bench, 1, &[3, 0, 1, 0, 4]).unwrap(), rtu(1, &[0x83, 2]));
    assert!(asked(&mut bench, 1, &[3, 0, 1, 0, 2]).is_some());
}

#[test]
fn other_units_and_broadcasts_bring_silence() {
    let mut bench = bench(constant("c", controller(), 25.3).at_unit(7));
    for unit in [0, 1, 8, 255] {
        assert_eq!(asked(&mut bench, unit, &[3, 0, 1, 0, 1]), None);
    }
    assert_eq!(bench.bay("c").unwrap().polls, 0);
    assert!(asked(&mut bench, 7, &[3, 0, 1, 0, 1]).is_some());
}

#[test]
fn coils_are_packed_lowest_first() {
    let mut channels: Vec<_> = (0..10_u16)
        .map(|n| channel(&format!("c{n}"), None, register(Table::Coil, n, RegisterType::Bit), linear(1.0)))
        .collect();
    channels.push(channel("d", None, register(Table::Discrete, 3, RegisterType::Bit), linear(1.0)));
    let mut device = modbus_device(0, channels);
    let DeviceEngine::Modbus(modbus) = &mut device.engine else { panic!() };
    modbus.functions = BTreeSet::from([1, 2]);
    let mut bench = bench(constant("c", device, 0.0));
    for coil in [0, 2, 9] {
        bench.bay("c").unwrap().set(coil, Shown::Set(Outcome::good(1.0)));
    }
    assert_eq!(asked(&mut bench, 1, &[1, 0, 0, 0, 10]).unwrap(), rtu(1, &[1, 2, 0b101, 0b10]));
    assert_eq!(asked(&mut bench, 1, &[2, 0, 3, 0, 1]).unwrap(), rtu(1, &[2, 1, 0]));
    assert_eq!(asked(&mut bench, 1, &[3, 0, 3, 0, 1]).unwrap(), rtu(1, &[0x83, 1]));
}

/// The fields that a driver reads from an answer of the multi-gauge to a read of all its registers.
fn read_back(device: &Device, words: &[u16]) -> Fields {
    let mut fields = Fields::new();
    for channel in &device.channels {
        let Source::Register(register) = &channel.source else { panic!() };
        let from = usize::from(register.address);
        let words = &words[from..from + usize::from(register.registers)];
        fields.set(channel.field(), register.read(words).unwrap());
    }
    fields
}

proptest! {
    /// Whatever the growth is at, a reader of the bytes gets what the scenario said, to the resolution of the wire, and
    /// exactly what the record says.
    #[test]
    fn what_goes_out_is_what_was_meant(value in 0.0_f64..3000.0, exponent in -11.0_f64..3.0) {
        let mut bench = bench(constant("p", pyrometer("00"), value));
        let Some(Reply::Bytes(out)) = bench.told(b"00ms\r", Instant::now()).pop() else { panic!() };
        let digits: f64 = str::from_utf8(&out.bytes[..5]).unwrap().parse().unwrap();
        prop_assert_eq!(&out.said, &[("temperature".into(), Outcome::good(digits / 10.0))]);
        prop_assert!((digits / 10.0 - value).abs() <= 0.1 + 1e-9);

        let pressure = 10_f64.powf(exponent);
        let device = multi_gauge();
        let mut bench = Bench::new(vec![constant("g", device.clone(), 0.0)], 0);
        bench.bay("g").unwrap().set(0, Shown::Set(Outcome::good(pressure)));
        let request = Request { unit: 1, pdu: vec![3, 0, 0, 0, 6], transaction: 0 };
        let Some(Reply::Bytes(out)) = bench.asked(&request, Speech::Rtu, Instant::now()).pop() else { panic!() };
        let words: Vec<u16> = out.bytes[3..15].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let fields = read_back(&device, &words);
        for (channel, said) in device.channels.iter().zip(&out.said) {
            prop_assert_eq!(&channel.id, &said.0);
            prop_assert_eq!(&channel.evaluate(fields.get(channel.field()).unwrap(), &fields), &said.1);
        }
        let read = out.said[0].1.value().unwrap().get();
        prop_assert!((read / pressure - 1.0).abs() < 1e-6);
    }

    /// Nothing that can be asked brings an instrument to panic or to speak out of turn.
    #[test]
    fn any_request_is_survived(unit in 0_u8..4, pdu in proptest::collection::vec(any::<u8>(), 1..12)) {
        let mut bench = bench(constant("g", multi_gauge(), 1e-9));
        let answer = asked(&mut bench, unit, &pdu);
        prop_assert_eq!(answer.is_some(), unit == 1);
        if let Some(answer) = answer {
            prop_assert_eq!(&answer, &rtu(1, &answer[1..answer.len() - 2]));
        }
        prop_assert_eq!(told(&mut bench, &pdu), None);
    }
}
