//! Patterns: what a message looks like, read strictly and, for simulators, written.
//!
//! A pattern has one form or several; the first that fits counts. Forms are of text ([`text`]) or of bytes ([`frame`]).

mod frame;
mod text;

use std::fmt;
use std::sync::Arc;

use crate::model::Reason;

use super::checksum::Checksum;
use super::text::{TextError, printable};
use super::{Fields, Raw};

use frame::FramePattern;
use text::TextPattern;

pub(super) use frame::{frame_bytes, frame_message, hex, hex_of};
pub(super) use text::text_message;

/// What a message looks like, without the terminator.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    forms: Vec<Form>,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Text(TextPattern),
    Frame(FramePattern),
}

/// A message that is not what the profile describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `{expected}`, got `{got}`{why}")]
pub struct Mismatch {
    /// The pattern, as the profile writes it.
    pub expected: Arc<str>,
    /// The message, for people.
    pub got: String,
    /// What is wrong with it.
    pub why: Misfit,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It does not look so.
    Shape,
    /// It looks so and its checksum is wrong.
    Checksum,
    /// It holds a NUL, as which a character with a wrong parity shows.
    Parity,
}

/// Why no message can be made of these fields.
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

impl Mismatch {
    /// A message where none was expected.
    pub(super) fn unexpected(message: &[u8]) -> Self {
        Self { expected: "".into(), got: printable(message), why: Misfit::Shape }
    }

    /// Why a reading is missing because of it.
    pub fn reason(&self) -> Reason {
        match self.why {
            Misfit::Checksum => Reason::CHECKSUM,
            Misfit::Shape | Misfit::Parity => Reason::MALFORMED,
        }
    }

    /// Whether it came nearer to being right: a wrong checksum says more than a wrong shape.
    pub(super) fn is_nearer_than(&self, other: &Self) -> bool {
        other.why == Misfit::Shape && self.why != Misfit::Shape
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "",
            Self::Checksum => ": its checksum is wrong",
            Self::Parity => ": a character came with a wrong parity, or another line speed",
        })
    }
}

impl Pattern {
    /// Compiles a pattern of text without a checksum; parameters are in it already.
    pub fn parse(source: &str) -> Result<Self, TextError> {
        Self::text(source, None)
    }

    /// Compiles a pattern of literals, control tokens, fields and, if there is one, the checksum `{ck}`.
    pub fn text(source: &str, checksum: Option<Checksum>) -> Result<Self, TextError> {
        Ok(Self { forms: vec![Form::Text(TextPattern::parse(source, checksum)?)] })
    }

    /// Compiles a pattern of hex bytes, fields and, if there is one, the checksum `{ck}`.
    pub fn frame(source: &str, checksum: Option<Checksum>) -> Result<Self, TextError> {
        Ok(Self { forms: vec![Form::Frame(FramePattern::parse(source, checksum)?)] })
    }

    /// Compiles a regular expression: the way out. Its named groups are the fields, read as words; it has to match the
    /// whole message. `longest` is the longest message, in bytes.
    pub fn regex(source: &str, longest: usize) -> Result<Self, TextError> {
        Ok(Self { forms: vec![Form::Text(TextPattern::regex(source, longest)?)] })
    }

    /// The same with another form beside those that it has.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.forms.extend(other.forms);
        self
    }

    /// Reads a message, which comes without its terminator. Of several forms the first that fits counts; where none does,
    /// what is said is of the one that came nearest: a wrong checksum rather than a wrong shape.
    pub fn read(&self, message: &[u8]) -> Result<Fields, Mismatch> {
        let mut nearest: Option<Mismatch> = None;
        for form in &self.forms {
            match form.read(message) {
                Ok(fields) => return Ok(fields),
                Err(mismatch) => {
                    if nearest.as_ref().is_none_or(|nearest| mismatch.is_nearer_than(nearest)) {
                        nearest = Some(mismatch);
                    }
                }
            }
        }
        Err(nearest.unwrap_or_else(|| Mismatch::unexpected(message)))
    }

    /// Makes the message that these fields give, without the terminator: in the first form that takes them. Skipped fields
    /// are written as 0.
    pub fn write(&self, fields: &Fields) -> Result<Vec<u8>, Unwritable> {
        let mut first = None;
        for form in &self.forms {
            match form.write(fields) {
                Ok(message) => return Ok(message),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| Unwritable::Missing("".into())))
    }

    /// Each of its forms by itself, in the order in which they are tried: for simulators, which choose one.
    pub fn forms(&self) -> impl Iterator<Item = Self> + '_ {
        self.forms.iter().map(|form| Self { forms: vec![form.clone()] })
    }

    /// Whether it has more than one form.
    pub fn has_choice(&self) -> bool {
        self.forms.len() > 1
    }

    /// Bytes of the longest regular message, without the terminator: for the bus-time budget.
    pub fn longest(&self) -> usize {
        self.forms.iter().map(Form::longest).max().unwrap_or(0)
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut seen: Vec<&Arc<str>> = Vec::new();
        for name in self.forms.iter().flat_map(Form::names) {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        seen.into_iter()
    }

    /// Whether each of its forms has a checksum.
    pub fn has_checksum(&self) -> bool {
        self.forms.iter().all(|form| match form {
            Form::Text(text) => text.has_checksum(),
            Form::Frame(frame) => frame.has_checksum(),
        })
    }

    /// Whether two forms, of this or of the other pattern, have different lengths and can begin alike.
    pub(super) fn can_be_confused_with(&self, other: &Self) -> bool {
        let frames = |pattern: &Self| -> Vec<FramePattern> {
            let frame = |form: &Form| match form {
                Form::Frame(frame) => Some(frame.clone()),
                Form::Text(_) => None,
            };
            pattern.forms.iter().filter_map(frame).collect()
        };
        let theirs = frames(other);
        frames(self).iter().any(|own| theirs.iter().any(|their| own.can_begin_as(their)))
    }

    /// Lengths of the messages of bytes that may begin so; none of text, whose length its terminator tells.
    pub(super) fn lengths<'a>(&'a self, beginning: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        self.forms.iter().filter_map(|form| match form {
            Form::Frame(frame) => frame.may_begin(beginning).then(|| frame.size()),
            Form::Text(_) => None,
        })
    }
}

impl Form {
    fn read(&self, message: &[u8]) -> Result<Fields, Mismatch> {
        match self {
            Self::Text(text) => text.read(message),
            Self::Frame(frame) => frame.read(message),
        }
    }

    fn write(&self, fields: &Fields) -> Result<Vec<u8>, Unwritable> {
        match self {
            Self::Text(text) => text.write(fields),
            Self::Frame(frame) => frame.write(fields),
        }
    }

    fn longest(&self) -> usize {
        match self {
            Self::Text(text) => text.longest(),
            Self::Frame(frame) => frame.size(),
        }
    }

    fn names(&self) -> Vec<&Arc<str>> {
        match self {
            Self::Text(text) => text.names().collect(),
            Self::Frame(frame) => frame.names().collect(),
        }
    }
}

/// A value that does not go into its field, as an error.
fn misfit(field: &Arc<str>, raw: &Raw) -> Unwritable {
    Unwritable::DoesNotFit { field: Arc::clone(field), value: format!("{raw:?}") }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod text_tests;
