//! Messages: patterns, and where they begin and end in a stream.

use std::time::Duration;

use mbe_bridge::profile::{
    Checksum, ChecksumEncoding, ChecksumKind, Cut, End, Escape, Framing, Heard, Hearing, MessageDevice, Pattern,
};

use super::head;

/// Longer streams are only listened to as a whole.
const COMPARED: usize = 512;

/// All that a device says.
pub(super) fn patterns(device: &MessageDevice) -> Vec<Pattern> {
    let connect = device.on_connect.iter().filter_map(|connect| connect.step.expect.clone());
    let polls = device.polls.iter().flat_map(|poll| &poll.steps).filter_map(|step| step.expect.clone());
    let listens = device.listens.iter().map(|listen| listen.expect.clone());
    connect.chain(polls).chain(listens).collect()
}

/// Listens to a stream that falls silent at its end. Every byte is accounted for, and what is heard does not depend on
/// how the stream comes in pieces; but where nothing but the patterns tells the length and they have several, a short
/// message that is complete is not held back for a longer one that may be coming.
pub(super) fn heard(framing: &Framing, patterns: &[Pattern], stream: &[u8]) {
    let whole = listened(framing, patterns, stream, stream.len().max(1));
    let one_length = patterns.windows(2).all(|pair| pair[0].longest() == pair[1].longest());
    if stream.len() <= COMPARED && (framing.end != End::Pattern || one_length) {
        assert_eq!(listened(framing, patterns, stream, 1), whole, "byte by byte and all at once");
    }
    let expected: Vec<&Pattern> = patterns.iter().collect();
    match framing.cut(stream, &expected) {
        Cut::More => {}
        Cut::Skip(count) | Cut::Broken { skip: count, .. } | Cut::Message { taken: count, .. } => {
            assert!((1..=stream.len()).contains(&count), "{count} of {} bytes", stream.len());
        }
    }
}

fn listened(framing: &Framing, patterns: &[Pattern], stream: &[u8], piece: usize) -> Vec<String> {
    let mut hearing = Hearing::new(framing.clone(), patterns.to_vec());
    let mut said = Vec::new();
    let mut place = 0;
    let mut next = 0;
    let mut note = |hearing: &mut Hearing| {
        while let Some(heard) = hearing.heard() {
            if let Heard::Message(message) = &heard {
                assert!(message.at >= next && message.at < stream.len() as u64, "a message at {}", message.at);
                next = message.at + 1;
            }
            // NaN is a value of a frame and equals nothing.
            said.push(format!("{heard:?}"));
        }
        assert!(hearing.place() >= place && hearing.place() <= stream.len() as u64, "place {}", hearing.place());
        place = hearing.place();
        assert!(hearing.skipped() <= stream.len() as u64);
    };
    for bytes in stream.chunks(piece) {
        hearing.push(bytes);
        note(&mut hearing);
    }
    hearing.silence();
    note(&mut hearing);
    assert!(!hearing.is_waiting(), "after a silence nothing is waited for");
    said
}

/// A pattern is compiled or refused; a message that it reads can be written from its fields and reads the same again.
/// Three bytes choose the sort of pattern; the pattern itself ends with a byte 0xFF, and the message follows.
pub fn pattern(data: &[u8]) {
    let Some(([sort, sum, from], rest)) = head(data) else { return };
    let mut parts = rest.splitn(2, |byte| *byte == 0xFF);
    let (Some(source), message) = (parts.next(), parts.next().unwrap_or_default()) else { return };
    let Ok(source) = std::str::from_utf8(source) else { return };
    let compiled = match sort % 3 {
        0 => Pattern::text(source, checksum(sum, from)),
        1 => Pattern::frame(source, checksum(sum, from)),
        _ => Pattern::regex(source, usize::from(from)),
    };
    let Ok(pattern) = compiled else { return };
    assert!(pattern.longest() < usize::MAX || !pattern.has_checksum());
    let Ok(fields) = pattern.read(message) else { return };
    let Ok(written) = pattern.write(&fields) else { return };
    match pattern.read(&written) {
        Ok(again) => assert_eq!(format!("{again:?}"), format!("{fields:?}"), "`{source}` wrote {written:?}"),
        Err(mismatch) => panic!("`{source}` read {message:?}, wrote {written:?} and does not read that: {mismatch}"),
    }
}

/// A stream with some framing. Eight bytes choose the framing; the rest is the stream.
pub fn framing(data: &[u8]) {
    let Some(([end, a, b, start, escape, low, sum, which], stream)) = head(data) else { return };
    let end = match end % 5 {
        0 if a % 2 == 0 => End::Terminator { bytes: vec![b'\r'], tail: usize::from(b % 4) },
        0 => End::Terminator { bytes: vec![b'\r', b'\n'], tail: usize::from(b % 4) },
        1 => End::Fixed(usize::from(a).max(1)),
        2 => End::Length { at: usize::from(a), plus: usize::from(b) },
        3 => End::Pattern,
        _ => End::Idle(Duration::from_millis(5)),
    };
    let sized = matches!(end, End::Fixed(_) | End::Length { .. } | End::Pattern);
    let escape =
        (sized && escape % 2 == 1).then(|| Escape { byte: low, before: low..=low.saturating_add(escape / 16) });
    let start = [b'@', 0x07].iter().copied().take(usize::from(start % 3)).collect();
    let framing = Framing { start, end, escape };
    let frames = ["07 05 {st:u8} {p:u16} {_:u16} {ck}", "{a:u8} {s:s3} {x:f32le}", "07 {n:i24}", "{b:u8} {ck}"];
    let texts = ["@{t:d3}{ck}", "{t:f},{n:i}", "{w:w6}{x:x4}", "{t:w}"];
    let chosen = |source: &&&str| which == 0 || source.len() % 8 == usize::from(which % 8);
    let patterns: Vec<Pattern> = if which % 2 == 0 {
        frames.iter().filter(chosen).filter_map(|source| Pattern::frame(source, checksum(sum, 0)).ok()).collect()
    } else {
        texts.iter().filter(chosen).filter_map(|source| Pattern::text(source, checksum(sum, 0)).ok()).collect()
    };
    heard(&framing, &patterns, stream);
}

fn checksum(sum: u8, from: u8) -> Option<Checksum> {
    use ChecksumEncoding as Encoding;
    use ChecksumKind as Kind;
    let kinds = [
        Kind::Sum8,
        Kind::NotSum8,
        Kind::NegSum8,
        Kind::Mod64,
        Kind::Xor8,
        Kind::Crc8,
        Kind::Crc16Modbus,
        Kind::Crc16CcittFalse,
        Kind::Crc16Xmodem,
        Kind::Crc16Arc,
    ];
    let encodings = [Encoding::Byte, Encoding::Hex2, Encoding::Hex4, Encoding::Dec3, Encoding::Be, Encoding::Le];
    let kind = *kinds.get(usize::from(sum % 16))?;
    let encoding = *encodings.get(usize::from(sum / 16) % encodings.len())?;
    encoding.fits(kind).then_some(Checksum { kind, encoding, from: usize::from(from), to: None })
}
