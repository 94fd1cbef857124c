//! Streams, from every byte of them on, in pieces of every size, with dirt.

use proptest::prelude::*;

use super::*;
use crate::profile::Raw;
use crate::profile::checksum::{Checksum, ChecksumEncoding, ChecksumKind};
use crate::profile::framing::Escape;

fn bpg() -> (Framing, Pattern) {
    let sum = Checksum { kind: ChecksumKind::Sum8, encoding: ChecksumEncoding::Byte, from: 1, to: None };
    let framing = Framing { start: vec![7, 5], end: End::Fixed(9), escape: None };
    (framing, Pattern::frame("07 05 {st:u8} {err:u8} {p:u16} {_:u16} {ck}", Some(sum)).unwrap())
}

fn exactus() -> (Framing, Vec<Pattern>) {
    let framing =
        Framing { start: Vec::new(), end: End::Pattern, escape: Some(Escape { byte: 0x80, before: 0x80..=0x85 }) };
    (framing, vec![Pattern::frame("81 {t:f32}", None).unwrap(), Pattern::frame("83 {t:f32} {i:f32}", None).unwrap()])
}

fn messages(hearing: &mut Hearing) -> Vec<HeardMessage> {
    let mut all = Vec::new();
    while let Some(heard) = hearing.heard() {
        if let Heard::Message(message) = heard {
            all.push(message);
        }
    }
    all
}

fn number(message: &HeardMessage, field: &str) -> f64 {
    message.fields.get(field).and_then(Raw::number).unwrap()
}

#[test]
fn the_end_of_a_line_is_no_line() {
    let mut hearing = Hearing::new(Framing::terminated(b"\n"), vec![Pattern::parse("{v:f}").unwrap()]);
    hearing.push(b"23.5\n1023.5\n");
    let heard = messages(&mut hearing);
    assert_eq!(heard.len(), 1, "23.5 may be the end of 1023.5");
    assert_eq!((number(&heard[0], "v"), heard[0].at), (1023.5, 5));
    assert_eq!(hearing.skipped(), 5);
    // After a silence a line begins.
    hearing.push(b"7");
    hearing.silence();
    hearing.push(b"42\n");
    assert_eq!(messages(&mut hearing).iter().map(|message| number(message, "v")).collect::<Vec<_>>(), [42.0]);
}

#[test]
fn a_broken_line_is_told_and_costs_only_itself() {
    let mut hearing = Hearing::new(Framing::terminated(b"\n"), vec![Pattern::parse("{v:f}").unwrap()]);
    hearing.silence();
    hearing.push(b"1\nx\n2\n");
    let mut broken = 0;
    let mut values = Vec::new();
    while let Some(heard) = hearing.heard() {
        match heard {
            Heard::Message(message) => values.push(number(&message, "v")),
            Heard::Broken(_) => broken += 1,
        }
    }
    assert_eq!((values, broken), (vec![1.0, 2.0], 1));
}

#[test]
fn a_beginning_inside_of_a_message_is_not_believed() {
    // The second header stands inside of the first message's payload, with a checksum that fits it by chance.
    let inside: [u8; 9] = [0x07, 0x05, 1, 2, 3, 4, 5, 6, 26];
    let (framing, pattern) = bpg();
    let mut hearing = Hearing::new(framing, vec![pattern]);
    hearing.push(&inside);
    assert!(messages(&mut hearing).is_empty(), "nothing behind it confirms it");
    hearing.push(&[0xAA, 0xBB]);
    hearing.silence();
    assert!(messages(&mut hearing).is_empty(), "and what is behind it refutes it");
    hearing.push(&inside);
    assert_eq!(messages(&mut hearing).len(), 1, "after a silence it is one");
}

#[test]
fn an_escaped_byte_begins_no_message_though_its_own_beginning_was_not_heard() {
    for start in [Vec::new(), vec![0x81]] {
        let (framing, patterns) = exactus();
        let mut hearing = Hearing::new(Framing { start, ..framing }, patterns);
        // The end of a packet with 81 in its payload, and a whole one that would confirm what is no beginning.
        for byte in [0x05, 0x80, 0x81, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0x81, 0, 0, 0, 0] {
            hearing.push(&[byte]);
        }
        let places: Vec<u64> = messages(&mut hearing).iter().map(|message| message.at).collect();
        assert_eq!(places, [7, 12]);
    }
}

proptest! {
    /// From whichever byte on one listens, in whatever pieces, only real messages are heard, each with the place of its
    /// first byte, and all but the first two at most.
    #[test]
    fn nothing_is_heard_that_was_not_said(
        pressures in prop::collection::vec(prop_oneof![any::<u16>(), Just(0x0705_u16), Just(0x0507)], 3..12),
        states in prop::collection::vec(prop_oneof![Just(0_u8), Just(7), Just(5)], 12),
        start in 0_usize..30, piece in 1_usize..20,
    ) {
        let (framing, pattern) = bpg();
        let mut stream = Vec::new();
        let mut said = Vec::new();
        for (pressure, state) in pressures.iter().zip(&states) {
            let mut fields = Fields::new();
            for (name, raw) in [("st", *state), ("err", 0)] {
                fields.set(&name.into(), Raw::Integer(raw.into()));
            }
            fields.set(&"p".into(), Raw::Integer((*pressure).into()));
            said.push((stream.len(), f64::from(*pressure)));
            stream.extend(pattern.write(&fields).unwrap());
        }
        let start = start.min(stream.len() - 1);
        let mut hearing = Hearing::new(framing, vec![pattern]);
        for bytes in stream[start..].chunks(piece) {
            hearing.push(bytes);
        }
        hearing.silence();
        let heard = messages(&mut hearing);
        for message in &heard {
            let place = start + usize::try_from(message.at).unwrap();
            prop_assert!(said.contains(&(place, number(message, "p"))), "{:?} at {place}", message);
        }
        let whole = said.iter().filter(|(place, _)| *place >= start).count();
        prop_assert!(heard.len() + 2 >= whole, "{} of {whole}", heard.len());
    }

    #[test]
    fn an_escaped_stream_is_heard_from_any_byte_on(
        values in prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>()), 3..10), start in 0_usize..40, piece in 1_usize..12,
    ) {
        let (framing, patterns) = exactus();
        let mut stream = Vec::new();
        let mut said = Vec::new();
        for (temperature, current, both) in &values {
            let mut message = vec![if *both { 0x83 } else { 0x81 }];
            message.extend(temperature.to_be_bytes());
            if *both {
                message.extend(current.to_be_bytes());
            }
            said.push((stream.len(), *temperature));
            stream.extend(framing.escaped(&message));
        }
        let start = start.min(stream.len() - 1);
        let mut hearing = Hearing::new(framing, patterns);
        for bytes in stream[start..].chunks(piece) {
            hearing.push(bytes);
        }
        hearing.silence();
        for message in messages(&mut hearing) {
            let place = start + usize::try_from(message.at).unwrap();
            let heard = message.fields.get("t").and_then(Raw::number).unwrap();
            let real = said.iter().any(|(at, bits)| {
                let value = f64::from(f32::from_bits(*bits));
                *at == place && (value == heard || value.is_nan() && heard.is_nan())
            });
            prop_assert!(real, "{:?} at {place}", message);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..30) {
        let (framing, pattern) = bpg();
        let mut hearing = Hearing::new(framing, vec![pattern]);
        for bytes in bytes.chunks(piece) {
            hearing.push(bytes);
        }
        hearing.silence();
        prop_assert!(!hearing.is_waiting());
    }
}
