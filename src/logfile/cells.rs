//! Rows of cells: what text and Parquet files have in common.

use super::Error;

/// What stands in a row under a column.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(all(not(feature = "parquet"), not(test)), expect(dead_code, reason = "only typed files have them"))]
pub(super) enum Cell<'a> {
    /// Nothing.
    Empty,
    /// Text without white space around it, not empty.
    Text(&'a str),
    /// A number of a typed file.
    Number(f64),
    /// A whole number of a typed file.
    Whole(i64),
    /// A time of a typed file, in nanoseconds since 1970; in UTC, or in a zone that the file does not name.
    Instant {
        /// Nanoseconds since 1970.
        nanos: i64,
        /// Whether they are in UTC.
        utc: bool,
    },
    /// Something that is neither a number nor a time.
    Other(&'static str),
}

impl<'a> Cell<'a> {
    /// A cell of a text file.
    pub(super) fn of(text: &'a str) -> Self {
        match text.trim() {
            "" => Self::Empty,
            text => Self::Text(text),
        }
    }

    /// As it is shown in messages.
    pub(super) fn shown(self) -> String {
        const LONGEST: usize = 60;
        match self {
            Self::Empty => String::new(),
            Self::Text(text) if text.chars().count() > LONGEST => {
                format!("{}…", text.chars().take(LONGEST).collect::<String>())
            }
            Self::Text(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
            Self::Number(number) => number.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Instant { nanos, utc } => instant(nanos, utc),
            Self::Other(what) => what.to_owned(),
        }
    }
}

/// A time as people read it; one in a zone that nobody has named is shown as its clock shows it.
pub(super) fn instant(nanos: i64, utc: bool) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanos));
    let pattern = if utc { "%Y-%m-%dT%H:%M:%S%.fZ" } else { "%Y-%m-%d %H:%M:%S%.f" };
    at.map_or_else(|_| nanos.to_string(), |at| at.strftime(pattern).to_string())
}

/// A file row by row.
pub(super) trait Rows: Send {
    /// Goes to the next row; false after the last.
    fn advance(&mut self) -> Result<bool, Error>;
    /// Its line in a text file, its number in others, from 1.
    fn line(&self) -> u64;
    /// How many cells it has.
    fn width(&self) -> usize;
    /// A cell; empty where there is none.
    fn cell(&self, at: usize) -> Cell<'_>;
    /// The character of the line that a cell begins with, from 1, where there are lines.
    fn place(&self, at: usize) -> Option<usize>;
    /// Bytes of the file that are done with.
    fn bytes(&self) -> u64;
    /// SHA-256 of the whole file, once it was read to its end.
    fn digest(&mut self) -> Result<String, Error>;
    /// Something odd about the characters that was found on the way.
    fn oddity(&self) -> Option<String> {
        None
    }
}
