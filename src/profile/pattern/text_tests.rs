//! Patterns, against replies of manuals, against dirt, and there and back.

use proptest::prelude::*;

use super::*;

fn read(pattern: &str, reply: &[u8]) -> Result<Fields, Mismatch> {
    Pattern::parse(pattern).unwrap().read(reply)
}

fn one(pattern: &str, reply: &[u8]) -> Option<Raw> {
    read(pattern, reply).ok().and_then(|fields| fields.get("v").cloned())
}

#[test]
fn replies_of_manuals_are_read() {
    // IMPAC: 02563 is 256.3, -0170 is -17.0 (IN 5 plus).
    assert_eq!(one("{v:d5}", b"02563"), Some(Raw::Integer(2563)));
    assert_eq!(one("{v:d5}", b"-0170"), Some(Raw::Integer(-170)));
    // Pfeiffer TPG 261 and Balzers TPG 300 (a blank after the comma).
    assert_eq!(one("{_:i},{v:f}", b"0,+8.3400E-03"), Some(Raw::Float(0.00834)));
    assert_eq!(one("{_:i},{v:f}", b"0, 8.3E-3"), Some(Raw::Float(0.0083)));
    // MKS 937B: words where numbers are expected.
    let fields = read("@253ACK{v:w} {b:w} {c:w};FF", b"@253ACK2.10E-09 NOGAUGE LO<E-03;FF").unwrap();
    assert_eq!(fields.get("v").and_then(Raw::number), Some(2.1e-9));
    assert_eq!(fields.get("c"), Some(&Raw::text("LO<E-03")));
    assert_eq!(one("{v:x4}", b"FF9D"), Some(Raw::Integer(0xFF9D)));
    assert_eq!(one("<ACK>{v:i}", b"\x0612"), Some(Raw::Integer(12)));
}

#[test]
fn dirt_is_refused_and_shown() {
    for dirt in [
        &b"0256\0"[..],
        b"\0" as &[u8],
        b"025630",
        b" 2563",
        b"0256",
        b"0256\xB3",
        b"--170",
        b"0-170",
        b"no",
        b"",
        b"02563\r",
        b"+2563",
    ] {
        assert_eq!(one("{v:d5}", dirt), None, "{}", printable(dirt));
    }
    let mismatch = read("{v:d5}", b"02\0\xFF3").unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "expected `{v:d5}`, got `02<NUL><xFF>3`: a character came with a wrong parity, or another line speed"
    );
    assert_eq!(one("{v:f}", b"1.2.3"), None);
    assert_eq!(one("{v:f}", b"1e"), None);
    assert_eq!(one("{v:w}", b"a b"), None);
}

#[test]
fn a_regular_expression_has_to_match_the_whole_reply() {
    let pattern = Pattern::regex(r"(?<v>[0-9.]+) ?(?<unit>mbar|Torr)?", 12).unwrap();
    assert_eq!(pattern.read(b"1.5 Torr").unwrap().get("v").and_then(Raw::number), Some(1.5));
    assert!(pattern.read(b"1.5").unwrap().get("unit").is_none());
    assert!(pattern.read(b"x1.5").is_err());
    assert!(pattern.read(b"1.5\n").is_err());
    assert_eq!(pattern.longest(), 12);
    assert!(matches!(pattern.write(&Fields::new()), Err(Unwritable::Regex(_))));
    assert!(matches!(Pattern::regex("(", 1), Err(TextError::Regex(_))));
}

#[test]
fn wrong_patterns_are_named() {
    for (pattern, expected) in [
        ("{v:q}", "form"),
        ("{v:d}", "form"),
        ("{v:d17}", "form"),
        ("{v:é}", "form"),
        ("{v:f}{w:f}", "end can't be told"),
        ("{v:i},{v:i}", "occurs twice"),
        ("{v}", "not a parameter"),
        ("{4:i}", "neither a parameter nor a field"),
    ] {
        let error = Pattern::parse(pattern).unwrap_err().to_string();
        assert!(error.contains(expected), "{pattern}: {error}");
    }
}

#[test]
fn lengths_are_reckoned_for_the_bus() {
    assert_eq!(Pattern::parse("{v:d5}").unwrap().longest(), 5);
    assert_eq!(Pattern::parse("<ACK>").unwrap().longest(), 1);
    assert_eq!(Pattern::parse("{s:i},{v:f}").unwrap().longest(), 33);
}

#[test]
fn values_that_do_not_fit_are_not_written() {
    let pattern = Pattern::parse("{v:d5}").unwrap();
    let write = |raw| {
        let mut fields = Fields::new();
        fields.set(&"v".into(), raw);
        pattern.write(&fields)
    };
    assert_eq!(write(Raw::Float(2563.4)), Ok(b"02563".to_vec()));
    assert_eq!(write(Raw::Integer(-170)), Ok(b"-0170".to_vec()));
    assert!(write(Raw::Integer(100_000)).is_err());
    assert!(write(Raw::text("OFF")).is_err());
    assert!(matches!(pattern.write(&Fields::new()), Err(Unwritable::Missing(_))));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        whole in -9_999_i128..=99_999,
        hex in 0_i128..=0xFFFF,
        float in prop::num::f64::NORMAL,
        word in "[!-+.-~]{1,12}",
    ) {
        let pattern = Pattern::parse("<STX>{d:d5}{x:x4} {i:i},{f:f};{w:w},{_:d2}<ETX>").unwrap();
        let mut fields = Fields::new();
        for (name, raw) in [
            ("d", Raw::Integer(whole)),
            ("x", Raw::Integer(hex)),
            ("i", Raw::Integer(whole)),
            ("f", Raw::Float(float)),
            ("w", Raw::text(&word)),
        ] {
            fields.set(&name.into(), raw);
        }
        let reply = pattern.write(&fields).unwrap();
        prop_assert_eq!(pattern.read(&reply).unwrap(), fields);
    }

    #[test]
    fn random_bytes_never_panic_and_never_leave_ascii(reply in prop::collection::vec(any::<u8>(), 0..40)) {
        for pattern in ["{v:d5}", "{v:f}", "{_:i},{v:f}", "{v:w}", "{v:x4}<CR>", ""] {
            if let Ok(fields) = read(pattern, &reply) {
                prop_assert!(reply.iter().all(|b| b.is_ascii() && *b != 0), "{pattern} read {:?}: {fields:?}", reply);
            }
        }
        let open = Pattern::regex("(?<v>.*)", 40).unwrap();
        if let Ok(fields) = open.read(&reply) {
            prop_assert!(fields.get("v").is_some() && reply.iter().all(|b| b.is_ascii() && *b != 0));
        }
    }

    #[test]
    fn random_patterns_never_panic(source in r"[{}<>:a-z0-9_ \\\[(]{0,20}") {
        drop(Pattern::parse(&source));
        drop(Pattern::regex(&source, 10));
    }
}

#[test]
fn checksums_words_of_a_length_and_exponents() {
    use crate::profile::checksum::{ChecksumEncoding, ChecksumKind};
    let sum = Some(Checksum { kind: ChecksumKind::Mod64, encoding: ChecksumEncoding::Byte, from: 0, to: None });
    // Thyracont V1 and V2: 982.2 mbar; 973.4 mbar, and over range.
    let v1 = Pattern::text("001M{v:m4e2}{ck}", sum).unwrap();
    let read = v1.read(b"001M982122V").unwrap();
    assert_eq!(read.get("v"), Some(&Raw::Float(9821e22)));
    assert_eq!(v1.write(&read), Ok(b"001M982122V".to_vec()));
    assert_eq!(v1.read(b"001M982122W").unwrap_err().why, Misfit::Checksum);
    let v2 = Pattern::text("0011MV{_:d2}{v:w}{ck}", sum).unwrap();
    assert_eq!(v2.read(b"0011MV079.734e2h").unwrap().get("v").and_then(Raw::number), Some(973.4));
    assert_eq!(v2.read(b"0011MV02ORh").unwrap().get("v"), Some(&Raw::text("OR")));
    let forms = Pattern::text("1074006{v:m4e2}", None).unwrap().or(Pattern::text("1074006{v:w6}", None).unwrap());
    assert_eq!(forms.read(b"1074006NO_DEF").unwrap().get("v"), Some(&Raw::text("NO_DEF")));
    let mut fields = Fields::new();
    for (raw, written) in [
        (Raw::Float(1000e20), &b"1074006100020"[..]),
        (Raw::Float(0.0), b"1074006000000"),
        (Raw::Float(12.0), b"1074006001200"),
        (Raw::text("_RANGE"), b"1074006_RANGE"),
    ] {
        fields.set(&"v".into(), raw);
        assert_eq!(forms.write(&fields), Ok(written.to_vec()));
    }
    fields.set(&"v".into(), Raw::Float(1e110));
    assert!(Pattern::parse("{v:m4e2}").unwrap().write(&fields).is_err());
    assert_eq!(one("{_:a3}{v:i}", b"\xFFx 12"), Some(Raw::Integer(12)));
    // Bronkhorst ProPar: 5023.96.
    assert_eq!(one("{v:xf32}", b"459CFFAE"), Some(Raw::Float(f64::from(5023.96_f32))));
    assert!(matches!(Pattern::parse("{ck}"), Err(TextError::NoChecksum)));
}
