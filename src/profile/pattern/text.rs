//! Patterns of text: `{addr}1MV{_:d2}{p:w}{ck}`.
//!
//! A pattern becomes one anchored regular expression over bytes, so a NUL from a parity error, a byte above 0x7F or
//! anything left over makes a mismatch; nothing is skipped to find a number.

use std::fmt::Write;
use std::sync::Arc;

use regex::bytes::Regex;

use super::super::checksum::Checksum;
use super::super::raw::{is_name, whole_of};
use super::super::text::{Piece, TextError, pieces, printable};
use super::{Fields, Misfit, Mismatch, Raw, Unwritable, misfit};

/// The longest number or word that a field without a length of its own is reckoned with.
const LONGEST_FREE_FIELD: usize = 16;

/// What a message of text looks like.
#[derive(Debug, Clone)]
pub(super) struct TextPattern {
    source: Arc<str>,
    regex: Regex,
    /// One for each group of the expression.
    groups: Vec<Group>,
    checksum: Option<Checksum>,
    longest: usize,
    /// Empty for a regular expression, which can't be written.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Group {
    Field(Field),
    Checksum,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    /// None for a field that is skipped.
    name: Option<Arc<str>>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Float,
    Integer,
    /// So many characters: digits, the first of which may be a minus sign.
    Decimal(usize),
    Hex(usize),
    /// Eight hex digits of a single float, the high ones first.
    HexFloat,
    Word,
    /// So many printable characters.
    Characters(usize),
    /// So many bytes of any kind.
    Any(usize),
    /// A mantissa and an exponent of ten of so many digits each, without a point: `100023`.
    Mantissa(usize, usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(u8),
    Field(Field),
    Checksum,
}

impl TextPattern {
    /// Compiles a pattern of literals, control tokens and fields; parameters are in it already.
    pub(super) fn parse(source: &str, checksum: Option<Checksum>) -> Result<Self, TextError> {
        let parse = |piece| Part::parse(piece, checksum.is_some());
        let parts: Vec<Part> = pieces(source)?.into_iter().map(parse).collect::<Result<_, _>>()?;
        let mut expression = String::from(r"(?s-u)\A");
        let mut groups: Vec<Group> = Vec::new();
        let mut longest = 0;
        for (place, part) in parts.iter().enumerate() {
            match part {
                Part::Literal(byte) => {
                    // Writing to a String can't fail.
                    write!(expression, r"\x{byte:02X}").unwrap_or_default();
                    longest += 1;
                }
                Part::Checksum => {
                    let width = checksum.map_or(0, |checksum| checksum.encoding.width());
                    write!(expression, "(.{{{width}}})").unwrap_or_default();
                    longest += width;
                    groups.push(Group::Checksum);
                }
                Part::Field(field) => {
                    let next = parts.get(place + 1);
                    if field.form.length().is_none() && matches!(next, Some(Part::Field(_))) {
                        return Err(TextError::Endless(field.shown()));
                    }
                    if let Some(name) = field.name.as_ref().filter(|name| groups.iter().any(|group| group.is(name))) {
                        return Err(TextError::Twice(name.to_string()));
                    }
                    let stop = match next {
                        Some(Part::Literal(byte)) => Some(*byte),
                        _ => None,
                    };
                    expression.push_str(&field.form.expression(stop));
                    longest += field.form.length().unwrap_or(LONGEST_FREE_FIELD);
                    groups.push(Group::Field(field.clone()));
                }
            }
        }
        expression.push_str(r"\z");
        let regex = Regex::new(&expression).map_err(|error| TextError::Regex(error.to_string()))?;
        Ok(Self { source: source.into(), regex, groups, checksum, longest, parts })
    }

    /// Compiles a regular expression. Its named groups are the fields, read as words; it has to match the whole reply.
    pub(super) fn regex(source: &str, longest: usize) -> Result<Self, TextError> {
        let regex =
            Regex::new(&format!(r"(?-u)\A(?:{source})\z")).map_err(|error| TextError::Regex(error.to_string()))?;
        // Group 0 is the whole match; groups without a name are skipped.
        let groups = regex.capture_names().skip(1);
        let groups = groups.map(|name| Group::Field(Field { name: name.map(Arc::from), form: Form::Word })).collect();
        Ok(Self { source: source.into(), groups, regex, checksum: None, longest, parts: Vec::new() })
    }

    /// Reads a reply, which comes without its terminator.
    pub(super) fn read(&self, reply: &[u8]) -> Result<Fields, Mismatch> {
        let mismatch = |why| Mismatch { expected: Arc::clone(&self.source), got: printable(reply), why };
        if reply.contains(&0) {
            return Err(mismatch(Misfit::Parity));
        }
        let captures = self.regex.captures(reply).ok_or_else(|| mismatch(Misfit::Shape))?;
        let mut read = Fields::new();
        let mut wrong_sum = false;
        for (number, group) in self.groups.iter().enumerate() {
            // A group of a regular expression may be optional.
            let Some(found) = captures.get(number + 1) else { continue };
            match group {
                Group::Field(Field { name: None, .. }) => {}
                Group::Field(Field { name: Some(name), form }) => {
                    let text = str::from_utf8(found.as_bytes()).ok().filter(|text| text.is_ascii());
                    let raw = text.and_then(|text| form.raw(text)).ok_or_else(|| mismatch(Misfit::Shape))?;
                    read.set(name, raw);
                }
                Group::Checksum => {
                    let before = reply.get(..found.start()).unwrap_or_default();
                    wrong_sum |= self.checksum.is_some_and(|checksum| !checksum.is_right(before, found.as_bytes()));
                }
            }
        }
        if wrong_sum { Err(mismatch(Misfit::Checksum)) } else { Ok(read) }
    }

    /// Makes the reply that these fields give, without the terminator. Skipped fields are written as 0.
    pub(super) fn write(&self, fields: &Fields) -> Result<Vec<u8>, Unwritable> {
        if self.parts.is_empty() && !self.source.is_empty() {
            return Err(Unwritable::Regex(Arc::clone(&self.source)));
        }
        let mut reply = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(byte) => reply.push(*byte),
                Part::Checksum => {
                    let sum = self.checksum.map(|checksum| checksum.of(&reply)).unwrap_or_default();
                    reply.extend(sum);
                }
                Part::Field(Field { name: None, form }) => {
                    reply.extend(form.text(&Raw::Integer(0)).unwrap_or_default().bytes());
                }
                Part::Field(Field { name: Some(name), form }) => {
                    let raw = fields.get(name).ok_or_else(|| Unwritable::Missing(Arc::clone(name)))?;
                    reply.extend(form.text(raw).ok_or_else(|| misfit(name, raw))?.bytes());
                }
            }
        }
        Ok(reply)
    }

    pub(super) fn has_checksum(&self) -> bool {
        self.groups.contains(&Group::Checksum)
    }

    /// Bytes of the longest regular reply, without the terminator: for the bus-time budget.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The names of its fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.iter().filter_map(|group| match group {
            Group::Field(field) => field.name.as_ref(),
            Group::Checksum => None,
        })
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.parts.is_empty() == other.parts.is_empty()
            && self.checksum == other.checksum
    }
}

impl Part {
    fn parse(piece: Piece, has_checksum: bool) -> Result<Self, TextError> {
        let inside = match piece {
            Piece::Char(byte) | Piece::Control(byte) => return Ok(Self::Literal(byte)),
            Piece::Braces(inside) => inside,
        };
        if inside == "ck" {
            return if has_checksum { Ok(Self::Checksum) } else { Err(TextError::NoChecksum) };
        }
        let Some((name, form)) = inside.split_once(':') else {
            return Err(TextError::UnknownParam(inside));
        };
        if !is_name(name) {
            return Err(TextError::Brace(inside.clone()));
        }
        let wrong = || TextError::Form { name: name.to_owned(), form: form.to_owned() };
        let name = (name != "_").then(|| name.into());
        Ok(Self::Field(Field { name, form: Form::parse(form).ok_or_else(wrong)? }))
    }
}

impl Group {
    fn is(&self, name: &Arc<str>) -> bool {
        matches!(self, Self::Field(field) if field.name.as_ref() == Some(name))
    }
}

impl Field {
    fn shown(&self) -> String {
        let form = match self.form {
            Form::Float => "f".to_owned(),
            Form::Integer => "i".to_owned(),
            Form::Decimal(length) => format!("d{length}"),
            Form::Hex(length) => format!("x{length}"),
            Form::HexFloat => "xf32".to_owned(),
            Form::Word => "w".to_owned(),
            Form::Characters(length) => format!("w{length}"),
            Form::Any(length) => format!("a{length}"),
            Form::Mantissa(digits, exponent) => format!("m{digits}e{exponent}"),
        };
        format!("{}:{form}", self.name.as_deref().unwrap_or("_"))
    }
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        let length = |digits: &str| digits.parse().ok().filter(|length| (1..=16).contains(length));
        Some(match text {
            "f" => Self::Float,
            "i" => Self::Integer,
            "w" => Self::Word,
            "xf32" => Self::HexFloat,
            _ => match text.split_at_checked(1)? {
                ("d", digits) => Self::Decimal(length(digits)?),
                ("x", digits) => Self::Hex(length(digits)?),
                ("w", digits) => Self::Characters(length(digits)?),
                ("a", digits) => Self::Any(length(digits)?),
                ("m", digits) => {
                    let (digits, exponent) = digits.split_once('e')?;
                    Self::Mantissa(length(digits)?, length(exponent).filter(|exponent| *exponent <= 2)?)
                }
                _ => return None,
            },
        })
    }

    fn length(self) -> Option<usize> {
        match self {
            Self::Decimal(length) | Self::Hex(length) | Self::Characters(length) | Self::Any(length) => Some(length),
            Self::Mantissa(digits, exponent) => Some(digits + exponent),
            Self::HexFloat => Some(8),
            Self::Float | Self::Integer | Self::Word => None,
        }
    }

    /// Blanks before a number are padding. A word ends where the literal after it begins.
    fn expression(self, stop: Option<u8>) -> String {
        match self {
            Self::Float => r" *([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)".to_owned(),
            Self::Integer => " *([+-]?[0-9]+)".to_owned(),
            Self::Decimal(1) => "([0-9])".to_owned(),
            Self::Decimal(length) => format!("([0-9]{{{length}}}|-[0-9]{{{}}})", length - 1),
            Self::Hex(length) => format!("([0-9A-Fa-f]{{{length}}})"),
            Self::HexFloat => "([0-9A-Fa-f]{8})".to_owned(),
            Self::Characters(length) => format!(r"([\x20-\x7E]{{{length}}})"),
            Self::Any(length) => format!("(.{{{length}}})"),
            Self::Mantissa(digits, exponent) => format!("([0-9]{{{}}})", digits + exponent),
            Self::Word => match stop {
                Some(byte) => format!(r"([\x21-\x7E&&[^\x{byte:02X}]]+)"),
                None => r"([\x21-\x7E]+)".to_owned(),
            },
        }
    }

    fn raw(self, text: &str) -> Option<Raw> {
        Some(match self {
            Self::Float => Raw::Float(text.parse().ok()?),
            Self::Integer | Self::Decimal(_) => Raw::Integer(text.parse().ok()?),
            Self::Hex(_) => Raw::Integer(i128::from_str_radix(text, 16).ok()?),
            Self::HexFloat => Raw::Float(f32::from_bits(u32::from_str_radix(text, 16).ok()?).into()),
            Self::Word => Raw::text(text),
            Self::Characters(_) | Self::Any(_) => Raw::text(text.trim_matches(' ')),
            Self::Mantissa(digits, _) => {
                let (mantissa, exponent) = text.split_at_checked(digits)?;
                Raw::Float(format!("{mantissa}e{exponent}").parse().ok()?)
            }
        })
    }

    fn text(self, raw: &Raw) -> Option<String> {
        let whole = || match raw {
            Raw::Integer(whole) => Some(*whole),
            _ => whole_of(raw.number()?.round()),
        };
        match self {
            Self::Float => raw.number().filter(|number| number.is_finite()).map(|number| format!("{number:E}")),
            Self::Integer => Some(whole()?.to_string()),
            Self::Decimal(length) => Some(format!("{:0length$}", whole()?)).filter(|text| text.len() == length),
            Self::Hex(length) => {
                Some(whole()?).filter(|w| *w >= 0).map(|w| format!("{w:0length$X}")).filter(|text| text.len() == length)
            }
            #[expect(clippy::cast_possible_truncation, reason = "what a single float can't hold exactly is rounded")]
            Self::HexFloat => raw.number().map(|number| format!("{:08X}", (number as f32).to_bits())),
            Self::Word => Some(word(raw)),
            Self::Characters(length) | Self::Any(length) => {
                let word = match raw {
                    Raw::Integer(whole) => format!("{whole:0length$}"),
                    _ => format!("{:<length$}", word(raw)),
                };
                Some(word).filter(|word| word.len() == length && word.is_ascii())
            }
            Self::Mantissa(digits, exponent) => mantissa(raw.number()?, digits, exponent),
        }
    }
}

fn word(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) => text.to_string(),
        Raw::Integer(whole) => whole.to_string(),
        Raw::Float(number) => format!("{number:E}"),
    }
}

/// `digits` digits of mantissa and as many of exponent as there are, whose product comes nearest.
fn mantissa(number: f64, digits: usize, exponent: usize) -> Option<String> {
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    // Rust writes the digits rounded right: `1.235E4`.
    let written = format!("{number:.*E}", digits - 1);
    let (mantissa, power) = written.split_once('E')?;
    let power = if number == 0.0 { 0 } else { power.parse::<i32>().ok()? - i32::try_from(digits - 1).ok()? };
    let mantissa: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    // A number too small for the exponent has fewer digits of mantissa.
    let (mantissa, power) = if power < 0 {
        let (kept, power) = (digits.checked_sub(usize::try_from(-power).ok()?).filter(|kept| *kept > 0)?, 0);
        (format!("{:0>digits$}", mantissa.get(..kept)?), power)
    } else {
        (mantissa, power)
    };
    let power = format!("{power:0exponent$}");
    (power.len() == exponent).then(|| mantissa + &power)
}

/// The bytes of a message that is sent, its checksum put in, and whether its last piece is a control token: such a message
/// brings its own end, and no terminator is added.
pub(in crate::profile) fn text_message(text: &str, checksum: Option<Checksum>) -> Result<(Vec<u8>, bool), TextError> {
    let pieces = pieces(text)?;
    let ends_itself = matches!(pieces.last(), Some(Piece::Control(_)));
    let mut message = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Char(byte) | Piece::Control(byte) => message.push(byte),
            Piece::Braces(inside) if inside == "ck" => {
                let sum = checksum.ok_or(TextError::NoChecksum)?.of(&message);
                message.extend(sum);
            }
            Piece::Braces(inside) if inside.contains(':') => return Err(TextError::FieldInMessage(inside)),
            Piece::Braces(inside) => return Err(TextError::UnknownParam(inside)),
        }
    }
    Ok((message, ends_itself))
}
