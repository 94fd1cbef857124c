//! Patterns of bytes: `07 05 {st:u8} {p:u16} {_:b2} {ck}`. Each has one length.

use std::fmt::Write as _;
use std::sync::Arc;

use super::super::checksum::Checksum;
use super::super::raw::{is_name, whole_of};
use super::super::text::TextError;
use super::{Fields, Misfit, Mismatch, Raw, Unwritable, misfit};

/// What a message of bytes looks like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FramePattern {
    source: Arc<str>,
    parts: Vec<Part>,
    checksum: Option<Checksum>,
    size: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(u8),
    /// Bytes that are not looked at.
    Skipped(usize),
    Field(Arc<str>, Form),
    Checksum(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Bytes, whether signed, whether the low byte comes first.
    Integer(usize, bool, bool),
    /// Bytes, whether the low byte comes first.
    Float(usize, bool),
    /// So many characters.
    Text(usize),
}

impl FramePattern {
    pub(super) fn parse(source: &str, checksum: Option<Checksum>) -> Result<Self, TextError> {
        let mut parts = Vec::new();
        for token in source.split_whitespace() {
            let Some(inside) = token.strip_prefix('{').and_then(|token| token.strip_suffix('}')) else {
                parts.extend(hex(token)?.into_iter().map(Part::Literal));
                continue;
            };
            let part = Part::parse(inside, checksum.as_ref())?;
            if let Part::Field(name, _) = &part
                && parts.iter().any(|other| matches!(other, Part::Field(known, _) if known == name))
            {
                return Err(TextError::Twice(name.to_string()));
            }
            parts.push(part);
        }
        let size = parts.iter().map(Part::size).sum();
        if size == 0 {
            return Err(TextError::Empty);
        }
        Ok(Self { source: source.into(), parts, checksum, size })
    }

    pub(super) fn read(&self, message: &[u8]) -> Result<Fields, Mismatch> {
        let mismatch = |why| Mismatch { expected: Arc::clone(&self.source), got: hex_of(message), why };
        if message.len() != self.size {
            return Err(mismatch(Misfit::Shape));
        }
        let mut read = Fields::new();
        let mut rest = message;
        let mut wrong_sum = false;
        for part in &self.parts {
            let (bytes, after) = rest.split_at_checked(part.size()).ok_or_else(|| mismatch(Misfit::Shape))?;
            match part {
                Part::Literal(byte) if bytes != [*byte] => return Err(mismatch(Misfit::Shape)),
                Part::Literal(_) | Part::Skipped(_) => {}
                Part::Field(name, form) => read.set(name, form.raw(bytes).ok_or_else(|| mismatch(Misfit::Shape))?),
                Part::Checksum(_) => {
                    let before = message.get(..message.len() - rest.len()).unwrap_or_default();
                    wrong_sum |= self.checksum.is_some_and(|checksum| !checksum.is_right(before, bytes));
                }
            }
            rest = after;
        }
        if wrong_sum { Err(mismatch(Misfit::Checksum)) } else { Ok(read) }
    }

    pub(super) fn write(&self, fields: &Fields) -> Result<Vec<u8>, Unwritable> {
        let mut message = Vec::with_capacity(self.size);
        for part in &self.parts {
            match part {
                Part::Literal(byte) => message.push(*byte),
                Part::Skipped(count) => message.resize(message.len() + count, 0),
                Part::Checksum(_) => {
                    let sum = self.checksum.map(|checksum| checksum.of(&message)).unwrap_or_default();
                    message.extend(sum);
                }
                Part::Field(name, form) => {
                    let raw = fields.get(name).ok_or_else(|| Unwritable::Missing(Arc::clone(name)))?;
                    message.extend(form.bytes(raw).ok_or_else(|| misfit(name, raw))?);
                }
            }
        }
        Ok(message)
    }

    pub(super) fn has_checksum(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Checksum(_)))
    }

    /// Bytes of every message.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name, _) => Some(name),
            _ => None,
        })
    }

    /// Whether a message of one can be the beginning of a message of the other, so that only what follows tells them apart.
    pub(super) fn can_begin_as(&self, other: &Self) -> bool {
        let literals = |pattern: &Self| -> Vec<Option<u8>> {
            let one = |part: &Part| match part {
                Part::Literal(byte) => vec![Some(*byte)],
                part => vec![None; part.size()],
            };
            pattern.parts.iter().flat_map(one).collect()
        };
        let agree = |(one, other): (Option<u8>, Option<u8>)| one.is_none() || other.is_none() || one == other;
        self.size != other.size && literals(self).into_iter().zip(literals(other)).all(agree)
    }

    /// Whether its literal bytes are those at their places, as far as the bytes go.
    pub(super) fn may_begin(&self, beginning: &[u8]) -> bool {
        let mut at = 0;
        self.parts.iter().all(|part| {
            let here = beginning.get(at);
            at += part.size();
            match part {
                Part::Literal(byte) => here.is_none_or(|here| here == byte),
                _ => true,
            }
        })
    }
}

impl Part {
    fn parse(inside: &str, checksum: Option<&Checksum>) -> Result<Self, TextError> {
        if inside == "ck" {
            return checksum.map(|ck| Self::Checksum(ck.encoding.width())).ok_or(TextError::NoChecksum);
        }
        let Some((name, form)) = inside.split_once(':') else {
            return Err(TextError::UnknownParam(inside.to_owned()));
        };
        if !is_name(name) {
            return Err(TextError::Brace(inside.to_owned()));
        }
        let wrong = || TextError::FrameForm { name: name.to_owned(), form: form.to_owned() };
        let count = |digits: &str| digits.parse().ok().filter(|count| (1..=255).contains(count));
        let skipped = form.strip_prefix('b').and_then(count);
        match (name, skipped) {
            ("_", Some(count)) => Ok(Self::Skipped(count)),
            ("_", None) => Ok(Self::Skipped(Form::parse(form).ok_or_else(wrong)?.size())),
            (name, None) => Ok(Self::Field(name.into(), Form::parse(form).ok_or_else(wrong)?)),
            (_, Some(_)) => Err(wrong()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Literal(_) => 1,
            Self::Skipped(size) | Self::Checksum(size) => *size,
            Self::Field(_, form) => form.size(),
        }
    }
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        let (form, low_first) = match text.strip_suffix("le") {
            Some(form) => (form, true),
            None => (text, false),
        };
        Some(match form {
            "u8" | "i8" if low_first => return None,
            "u8" => Self::Integer(1, false, false),
            "i8" => Self::Integer(1, true, false),
            "u16" => Self::Integer(2, false, low_first),
            "i16" => Self::Integer(2, true, low_first),
            "u24" => Self::Integer(3, false, low_first),
            "i24" => Self::Integer(3, true, low_first),
            "u32" => Self::Integer(4, false, low_first),
            "i32" => Self::Integer(4, true, low_first),
            "f32" => Self::Float(4, low_first),
            "f64" => Self::Float(8, low_first),
            _ if low_first => return None,
            _ => Self::Text(form.strip_prefix('s')?.parse().ok().filter(|count| (1..=255).contains(count))?),
        })
    }

    fn size(self) -> usize {
        match self {
            Self::Integer(size, ..) | Self::Float(size, _) | Self::Text(size) => size,
        }
    }

    fn raw(self, bytes: &[u8]) -> Option<Raw> {
        let high_first =
            |low_first| -> Vec<u8> { if low_first { bytes.iter().rev().copied().collect() } else { bytes.to_vec() } };
        Some(match self {
            Self::Integer(size, signed, low_first) => {
                let whole = high_first(low_first).iter().fold(0_i128, |whole, byte| (whole << 8) | i128::from(*byte));
                let half = 1_i128 << (size * 8 - 1);
                Raw::Integer(if signed && whole >= half { whole - 2 * half } else { whole })
            }
            Self::Float(4, low_first) => Raw::Float(f32::from_be_bytes(high_first(low_first).try_into().ok()?).into()),
            Self::Float(_, low_first) => Raw::Float(f64::from_be_bytes(high_first(low_first).try_into().ok()?)),
            Self::Text(_) => {
                let text = str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
                Raw::text(text.trim_end_matches(['\0', ' ']))
            }
        })
    }

    fn bytes(self, raw: &Raw) -> Option<Vec<u8>> {
        let mut bytes = match self {
            Self::Integer(size, signed, _) => {
                let whole = match raw {
                    Raw::Integer(whole) => *whole,
                    _ => whole_of(raw.number()?.round())?,
                };
                let range = 1_i128 << (size * 8);
                let fits = if signed { -range / 2..range / 2 } else { 0..range };
                let all = fits.contains(&whole).then_some(whole)?.to_be_bytes();
                all.get(all.len() - size..)?.to_vec()
            }
            #[expect(clippy::cast_possible_truncation, reason = "what a single float can't hold exactly is rounded")]
            Self::Float(4, _) => (raw.number()? as f32).to_be_bytes().to_vec(),
            Self::Float(..) => raw.number()?.to_be_bytes().to_vec(),
            Self::Text(size) => {
                let Raw::Text(text) = raw else { return None };
                let mut bytes = text.as_bytes().to_vec();
                bytes.resize(bytes.len().max(size), b' ');
                (bytes.len() == size && text.is_ascii()).then_some(bytes)?
            }
        };
        if matches!(self, Self::Integer(_, _, true) | Self::Float(_, true)) {
            bytes.reverse();
        }
        Some(bytes)
    }
}

/// The bytes of one or more pairs of hex digits.
pub(in crate::profile) fn hex(token: &str) -> Result<Vec<u8>, TextError> {
    let wrong = || TextError::Hex(token.to_owned());
    if token.is_empty() || token.len() % 2 == 1 || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pair = |at: usize| token.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..token.len()).step_by(2).map(pair).collect::<Option<_>>().ok_or_else(wrong)
}

/// The bytes of a text of hex pairs, without fields or checksum.
pub(in crate::profile) fn frame_bytes(text: &str) -> Result<Vec<u8>, TextError> {
    frame_message(text, None)
}

/// The bytes of a message that is sent, its checksum put in.
pub(in crate::profile) fn frame_message(text: &str, checksum: Option<Checksum>) -> Result<Vec<u8>, TextError> {
    let mut message = Vec::new();
    for token in text.split_whitespace() {
        match token.strip_prefix('{').map(|token| token.trim_end_matches('}')) {
            Some("ck") => {
                let sum = checksum.ok_or(TextError::NoChecksum)?.of(&message);
                message.extend(sum);
            }
            Some(inside) if inside.contains(':') => return Err(TextError::FieldInMessage(inside.to_owned())),
            Some(inside) => return Err(TextError::UnknownParam(inside.to_owned())),
            None => message.extend(hex(token)?),
        }
    }
    Ok(message)
}

/// Bytes as people read them: `07 05 F2`.
pub(in crate::profile) fn hex_of(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if !shown.is_empty() {
            shown.push(' ');
        }
        // Writing to a String can't fail.
        write!(shown, "{byte:02X}").unwrap_or_default();
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::checksum::{ChecksumEncoding, ChecksumKind};
    use super::*;

    fn sum_from_1() -> Option<Checksum> {
        let kind = ChecksumKind::Sum8;
        Some(Checksum { kind, encoding: ChecksumEncoding::Byte, from: 1, to: None })
    }

    /// INFICON BPG400 manual p. 32: 1000 mbar.
    const BPG: [u8; 9] = [0x07, 0x05, 0x00, 0x00, 0xF2, 0x30, 0x14, 0x0A, 0x45];

    #[test]
    fn a_frame_of_a_manual_is_read_and_written() {
        let pattern = FramePattern::parse("07 05 {st:u8} {err:u8} {p:u16} {sw:u8} {ty:u8} {ck}", sum_from_1()).unwrap();
        let fields = pattern.read(&BPG).unwrap();
        assert_eq!(fields.get("p"), Some(&Raw::Integer(0xF230)));
        assert_eq!(pattern.write(&fields), Ok(BPG.to_vec()));
        let mut wrong = BPG;
        wrong[5] ^= 1;
        assert_eq!(pattern.read(&wrong).unwrap_err().why, Misfit::Checksum);
        assert_eq!(pattern.read(&BPG[..8]).unwrap_err().why, Misfit::Shape);
        assert!(pattern.may_begin(&[7]) && pattern.may_begin(&BPG) && !pattern.may_begin(&[7, 6]));
    }

    #[test]
    fn signs_orders_and_texts() {
        let one = |pattern: &str, bytes: &[u8]| {
            FramePattern::parse(pattern, None).unwrap().read(bytes).unwrap().get("v").cloned().unwrap()
        };
        assert_eq!(one("{v:i16}", &[0xFF, 0xFE]), Raw::Integer(-2));
        assert_eq!(one("{v:u16le}", &[0x34, 0x12]), Raw::Integer(0x1234));
        assert_eq!(one("{v:i24}", &[0x80, 0, 0]), Raw::Integer(-0x80_0000));
        assert_eq!(one("{v:u24le}", &[1, 2, 3]), Raw::Integer(0x03_0201));
        assert_eq!(one("{v:f32}", &[0x43, 0x55, 0xD7, 0x2F]), Raw::Float(f64::from(213.840_56_f32)));
        assert_eq!(one("{v:f32le}", &[0x2F, 0xD7, 0x55, 0x43]), Raw::Float(f64::from(213.840_56_f32)));
        assert_eq!(one("{v:s4}", b"EX \0"), Raw::text("EX"));
        assert_eq!(one("{_:b2} {v:u8}", &[1, 2, 3]), Raw::Integer(3));
    }

    #[test]
    fn wrong_patterns_are_named() {
        for (pattern, expected) in [
            ("0", "hex"),
            ("0G", "hex"),
            ("{v:u9}", "form"),
            ("{v:u8le}", "form"),
            ("{v:b2}", "form"),
            ("{v:u8} {v:u8}", "occurs twice"),
            ("07 {ck}", "checksum"),
            ("{v}", "not a parameter"),
            ("", "nothing"),
        ] {
            let error = FramePattern::parse(pattern, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
        assert_eq!(frame_message("02 30 {ck}", sum_from_1()), Ok(vec![0x02, 0x30, 0x30]));
        assert!(frame_message("{v:u8}", None).is_err() && frame_message("{ck}", None).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            small in any::<u8>(), signed in any::<i16>(), wide in 0_u32..0x100_0000, single in prop::num::f32::NORMAL,
            double in prop::num::f64::NORMAL,
        ) {
            let pattern = FramePattern::parse("81 {a:u8} {b:i16le} {c:u24} {d:f32le} {e:f64} {ck} 0D", sum_from_1()).unwrap();
            let mut fields = Fields::new();
            for (name, raw) in [
                ("a", Raw::Integer(small.into())), ("b", Raw::Integer(signed.into())), ("c", Raw::Integer(wide.into())),
                ("d", Raw::Float(single.into())), ("e", Raw::Float(double)),
            ] {
                fields.set(&name.into(), raw);
            }
            let message = pattern.write(&fields).unwrap();
            prop_assert_eq!(message.len(), pattern.size());
            prop_assert_eq!(pattern.read(&message).unwrap(), fields);
        }

        #[test]
        fn nothing_panics(source in r"[{}a-z0-9:_ ]{0,24}", bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(pattern) = FramePattern::parse(&source, sum_from_1()) {
                drop(pattern.read(&bytes));
                pattern.may_begin(&bytes);
            }
        }
    }
}
