//! Cuts, against bytes of manuals, dirt, and cuts at every place.

use proptest::prelude::*;

use super::*;
use crate::profile::checksum::{Checksum, ChecksumEncoding, ChecksumKind};
use crate::profile::{Misfit, Raw};

fn exactus() -> Framing {
    Framing { start: Vec::new(), end: End::Pattern, escape: Some(Escape { byte: 0x80, before: 0x80..=0x85 }) }
}

fn exactus_patterns() -> [Pattern; 2] {
    [Pattern::frame("81 {t:f32}", None).unwrap(), Pattern::frame("83 {t:f32} {i:f32}", None).unwrap()]
}

fn bpg() -> (Framing, Pattern) {
    let sum = Checksum { kind: ChecksumKind::Sum8, encoding: ChecksumEncoding::Byte, from: 1, to: None };
    let framing = Framing { start: vec![7, 5], end: End::Fixed(9), escape: None };
    (framing, Pattern::frame("07 05 {st:u8} {err:u8} {p:u16} {_:u16} {ck}", Some(sum)).unwrap())
}

const BPG: [u8; 9] = [0x07, 0x05, 0x00, 0x00, 0xF2, 0x30, 0x14, 0x0A, 0x45];

#[test]
fn a_line_ends_with_its_terminator() {
    let framing = Framing::terminated(b"\r");
    let pattern = Pattern::parse("{v:d5}").unwrap();
    let cut = |bytes: &[u8]| framing.cut(bytes, &[&pattern]);
    assert_eq!(cut(b""), Cut::More);
    assert_eq!(cut(b"02563"), Cut::More);
    assert!(matches!(cut(b"02563\r0"), Cut::Message { taken: 6, which: 0, .. }));
    assert!(matches!(cut(b"\n02563\r"), Cut::Message { taken: 7, .. }), "the end of an earlier CR LF");
    let Cut::Broken { skip: 3, why } = cut(b"no\r02563\r") else { panic!() };
    assert_eq!(why.why, Misfit::Shape);
    let Cut::Broken { skip: 6, why } = cut(b"02\x0063\r") else { panic!() };
    assert_eq!(why.why, Misfit::Parity);
    assert_eq!(cut(&[b'x'; LONGEST_MESSAGE + 1]), Cut::Skip(LONGEST_MESSAGE + 1));
}

/// EI-Bisynch: the check byte stands behind the ETX that ends the text.
#[test]
fn a_tail_belongs_to_the_message() {
    let sum = Checksum { kind: ChecksumKind::Xor8, encoding: ChecksumEncoding::Byte, from: 1, to: None };
    let framing = Framing { start: vec![2], end: End::Terminator { bytes: vec![3], tail: 1 }, escape: None };
    let pattern = Pattern::text("<STX>PV{v:f}<ETX>{ck}", Some(sum)).unwrap();
    let message = b"\x02PV25.3\x03\x1F";
    assert_eq!(framing.cut(&message[..8], &[&pattern]), Cut::More);
    let Cut::Message { taken: 9, fields, .. } = framing.cut(message, &[&pattern]) else { panic!() };
    assert_eq!(fields.get("v"), Some(&Raw::Float(25.3)));
    assert_eq!(framing.cut(b"junk\x02PV", &[&pattern]), Cut::Skip(4));
    assert_eq!(framing.wrapped(message), message);
}

#[test]
fn a_frame_of_fixed_length_is_found_behind_junk() {
    let (framing, pattern) = bpg();
    assert_eq!(framing.cut(&[0xFF, 0x07, 0x05], &[&pattern]), Cut::Skip(1));
    assert_eq!(framing.cut(&[0x07], &[&pattern]), Cut::More);
    assert_eq!(framing.cut(&[0x07, 0x06], &[&pattern]), Cut::Skip(2));
    assert!(matches!(framing.cut(&BPG, &[&pattern]), Cut::Message { taken: 9, .. }));
    let mut wrong = BPG;
    wrong[8] ^= 1;
    let Cut::Broken { skip: 1, why } = framing.cut(&wrong, &[&pattern]) else { panic!() };
    assert_eq!(why.why, Misfit::Checksum);
}

/// BASF Exactus manual: `81 44 28 80 83 00` carries `44 28 83 00`, 674.047 degC.
#[test]
fn escapes_are_taken_off_and_put_on() {
    let patterns = exactus_patterns();
    let expected: Vec<&Pattern> = patterns.iter().collect();
    let wire = [0x81, 0x44, 0x28, 0x80, 0x83, 0x00];
    let Cut::Message { taken: 6, which: 0, fields } = exactus().cut(&wire, &expected) else { panic!() };
    assert!((fields.get("t").and_then(Raw::number).unwrap() - 674.047).abs() < 1e-3);
    assert_eq!(exactus().escaped(&[0x81, 0x44, 0x28, 0x83, 0x00]), wire);
    for short in 1..6 {
        assert_eq!(exactus().cut(&wire[..short], &expected), Cut::More, "{short}");
    }
    // The erratum of the manual, one byte short: what follows interrupts it.
    let erratum = [0x83, 0x43, 0x80, 0x84, 0x1F, 0x32, 0x22, 0x7F, 0x9E, 0x81, 0x44];
    assert_eq!(exactus().cut(&erratum, &expected), Cut::Skip(1));
    assert_eq!(exactus().cut(&[0x85, 0x00], &expected), Cut::Skip(1), "no such packet");
}

#[test]
fn a_length_is_read_from_the_message() {
    let framing = Framing { start: vec![0xAA], end: End::Length { at: 1, plus: 3 }, escape: None };
    let pattern = Pattern::frame("AA 02 {v:u16} 55", None).unwrap();
    assert_eq!(framing.cut(&[0xAA], &[&pattern]), Cut::More);
    assert_eq!(framing.cut(&[0xAA, 2, 1, 0], &[&pattern]), Cut::More);
    assert!(matches!(framing.cut(&[0xAA, 2, 1, 0, 0x55, 9], &[&pattern]), Cut::Message { taken: 5, .. }));
    assert!(matches!(framing.cut(&[0xAA, 1, 1, 0x55], &[&pattern]), Cut::Broken { skip: 1, .. }));
}

#[test]
fn silence_ends_what_has_no_other_end() {
    let framing = Framing { start: Vec::new(), end: End::Idle(Duration::from_millis(5)), escape: None };
    let pattern = Pattern::parse("{v:i}").unwrap();
    assert_eq!(framing.cut(b"12", &[&pattern]), Cut::More);
    assert!(matches!(framing.cut_at_silence(b"12", &[&pattern]), Cut::Message { taken: 2, .. }));
    assert!(matches!(framing.cut_at_silence(b"1x", &[&pattern]), Cut::Broken { skip: 2, .. }));
    let line = Framing::terminated(b"\r");
    assert_eq!(line.cut_at_silence(b"12", &[&pattern]), Cut::Skip(2), "it will never be complete");
    assert_eq!(line.cut_at_silence(b"", &[&pattern]), Cut::More);
}

proptest! {
    /// Whatever comes, cutting gets on, and takes no more than there is.
    #[test]
    fn cutting_gets_on(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(7), Just(5), Just(0x80), Just(0x83), Just(13)], 0..64),
        kind in 0_usize..6,
    ) {
        let (bpg_framing, bpg_pattern) = bpg();
        let exactus_patterns = exactus_patterns();
        let text = Pattern::parse("{v:w}").unwrap();
        let (framing, expected): (Framing, Vec<&Pattern>) = match kind {
            0 => (bpg_framing, vec![&bpg_pattern]),
            1 => (exactus(), exactus_patterns.iter().collect()),
            2 => (Framing::terminated(b"\r"), vec![&text]),
            3 => (Framing { start: vec![7], end: End::Length { at: 2, plus: 0 }, escape: None }, vec![&bpg_pattern]),
            4 => (Framing { start: vec![7], end: End::Terminator { bytes: vec![13], tail: 2 }, escape: None }, vec![&text]),
            _ => (Framing { start: vec![], end: End::Idle(Duration::from_millis(1)), escape: None }, vec![&text]),
        };
        for silent in [false, true] {
            let mut rest = bytes.as_slice();
            loop {
                let cut = if silent { framing.cut_at_silence(rest, &expected) } else { framing.cut(rest, &expected) };
                let used = match cut {
                    Cut::More => break,
                    Cut::Skip(used) | Cut::Broken { skip: used, .. } | Cut::Message { taken: used, .. } => used,
                };
                prop_assert!(used > 0 && used <= rest.len());
                rest = &rest[used..];
            }
            prop_assert!(!silent || rest.is_empty());
        }
    }

    #[test]
    fn what_is_escaped_is_read_back(value in any::<u32>(), current in any::<u32>()) {
        let patterns = exactus_patterns();
        let expected: Vec<&Pattern> = patterns.iter().collect();
        let mut message = vec![0x83];
        message.extend(value.to_be_bytes());
        message.extend(current.to_be_bytes());
        let wire = exactus().escaped(&message);
        match exactus().cut(&wire, &expected) {
            Cut::Message { taken, which: 1, .. } => prop_assert_eq!(taken, wire.len()),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
