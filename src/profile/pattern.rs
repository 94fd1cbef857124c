//! Patterns: what a text reply looks like, read strictly and, for simulators, written.
//!
//! A pattern becomes one anchored regular expression over bytes, so a NUL from a parity error, a byte above 0x7F or
//! anything left over makes a mismatch; nothing is skipped to find a number.

use std::fmt::Write;
use std::sync::Arc;

use regex::bytes::Regex;

use super::raw::{is_name, whole_of};
use super::text::{Piece, TextError, pieces, printable};
use super::{Fields, Raw};

/// The longest number or word that a field without a length of its own is reckoned with.
const LONGEST_FREE_FIELD: usize = 16;

/// What a reply looks like, without the terminator.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Arc<str>,
    regex: Regex,
    fields: Vec<Field>,
    longest: usize,
    /// Empty for a regular expression, which can't be written.
    parts: Vec<Part>,
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
    Word,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(u8),
    Field(Field),
}

/// A reply that is not what the profile describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `{expected}`, got `{got}`")]
pub struct Mismatch {
    /// The pattern, as the profile writes it.
    pub expected: Arc<str>,
    /// The reply, printable.
    pub got: String,
}

/// Why no reply can be made of these fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The pattern is a regular expression.
    #[error("`{0}` is a regular expression; no reply can be made from it")]
    Regex(Arc<str>),
    /// A field of the pattern has no value.
    #[error("the field `{0}` has no value")]
    Missing(Arc<str>),
    /// A value that does not go into its field.
    #[error("`{value}` does not fit the field `{field}`")]
    DoesNotFit {
        /// The field.
        field: Arc<str>,
        /// The value.
        value: String,
    },
}

impl Pattern {
    /// Compiles a pattern of literals, control tokens and fields; parameters are in it already.
    pub fn parse(source: &str) -> Result<Self, TextError> {
        let parts: Vec<Part> = pieces(source)?.into_iter().map(Part::parse).collect::<Result<_, _>>()?;
        let mut expression = String::from(r"(?s-u)\A");
        let mut fields: Vec<Field> = Vec::new();
        let mut longest = 0;
        for (place, part) in parts.iter().enumerate() {
            match part {
                Part::Literal(byte) => {
                    // Writing to a String can't fail.
                    write!(expression, r"\x{byte:02X}").unwrap_or_default();
                    longest += 1;
                }
                Part::Field(field) => {
                    let next = parts.get(place + 1);
                    if field.form.length().is_none() && matches!(next, Some(Part::Field(_))) {
                        return Err(TextError::Endless(field.shown()));
                    }
                    if let Some(name) = field.name.as_ref().filter(|name| fields.iter().any(|f| f.is(name))) {
                        return Err(TextError::Twice(name.to_string()));
                    }
                    let stop = match next {
                        Some(Part::Literal(byte)) => Some(*byte),
                        _ => None,
                    };
                    expression.push_str(&field.form.expression(stop));
                    longest += field.form.length().unwrap_or(LONGEST_FREE_FIELD);
                    fields.push(field.clone());
                }
            }
        }
        expression.push_str(r"\z");
        let regex = Regex::new(&expression).map_err(|error| TextError::Regex(error.to_string()))?;
        Ok(Self { source: source.into(), regex, fields, longest, parts })
    }

    /// Compiles a regular expression: the way out. Its named groups are the fields, read as words; it has to match the
    /// whole reply. `longest` is the longest reply, in bytes.
    pub fn regex(source: &str, longest: usize) -> Result<Self, TextError> {
        let regex =
            Regex::new(&format!(r"(?-u)\A(?:{source})\z")).map_err(|error| TextError::Regex(error.to_string()))?;
        // Group 0 is the whole match; groups without a name are skipped.
        let fields = regex.capture_names().skip(1).map(|name| Field { name: name.map(Arc::from), form: Form::Word });
        Ok(Self { source: source.into(), fields: fields.collect(), regex, longest, parts: Vec::new() })
    }

    /// Reads a reply, which comes without its terminator.
    pub fn read(&self, reply: &[u8]) -> Result<Fields, Mismatch> {
        let mismatch = || Mismatch { expected: Arc::clone(&self.source), got: printable(reply) };
        let captures = self.regex.captures(reply).ok_or_else(mismatch)?;
        let mut read = Fields::new();
        for (group, field) in self.fields.iter().enumerate() {
            let Some(name) = &field.name else { continue };
            // A group of a regular expression may be optional.
            let Some(found) = captures.get(group + 1) else { continue };
            let text = str::from_utf8(found.as_bytes()).ok().filter(|text| text.is_ascii() && !text.contains('\0'));
            let raw = text.and_then(|text| field.form.raw(text)).ok_or_else(mismatch)?;
            read.set(name, raw);
        }
        Ok(read)
    }

    /// Makes the reply that these fields give, without the terminator. Skipped fields are written as 0.
    pub fn write(&self, fields: &Fields) -> Result<Vec<u8>, Unwritable> {
        if self.parts.is_empty() && !self.source.is_empty() {
            return Err(Unwritable::Regex(Arc::clone(&self.source)));
        }
        let mut reply = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(byte) => reply.push(*byte),
                Part::Field(Field { name: None, form }) => {
                    reply.extend(form.text(&Raw::Integer(0)).unwrap_or_default().bytes());
                }
                Part::Field(Field { name: Some(name), form }) => {
                    let raw = fields.get(name).ok_or_else(|| Unwritable::Missing(Arc::clone(name)))?;
                    let text = form
                        .text(raw)
                        .ok_or_else(|| Unwritable::DoesNotFit { field: Arc::clone(name), value: format!("{raw:?}") })?;
                    reply.extend(text.bytes());
                }
            }
        }
        Ok(reply)
    }

    /// Bytes of the longest regular reply, without the terminator: for the bus-time budget.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.fields.iter().filter_map(|field| field.name.as_ref())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.parts.is_empty() == other.parts.is_empty()
    }
}

impl Part {
    fn parse(piece: Piece) -> Result<Self, TextError> {
        let inside = match piece {
            Piece::Char(byte) | Piece::Control(byte) => return Ok(Self::Literal(byte)),
            Piece::Braces(inside) => inside,
        };
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

impl Field {
    fn is(&self, name: &Arc<str>) -> bool {
        self.name.as_ref() == Some(name)
    }

    fn shown(&self) -> String {
        let form = match self.form {
            Form::Float => "f".to_owned(),
            Form::Integer => "i".to_owned(),
            Form::Decimal(length) => format!("d{length}"),
            Form::Hex(length) => format!("x{length}"),
            Form::Word => "w".to_owned(),
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
            _ => match text.split_at_checked(1)? {
                ("d", digits) => Self::Decimal(length(digits)?),
                ("x", digits) => Self::Hex(length(digits)?),
                _ => return None,
            },
        })
    }

    fn length(self) -> Option<usize> {
        match self {
            Self::Decimal(length) | Self::Hex(length) => Some(length),
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
            Self::Word => Raw::text(text),
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
            Self::Word => Some(match raw {
                Raw::Text(text) => text.to_string(),
                Raw::Integer(whole) => whole.to_string(),
                Raw::Float(number) => format!("{number:E}"),
            }),
        }
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
