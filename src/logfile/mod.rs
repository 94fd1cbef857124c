//! Logs that are there already: tables of times and values in CSV, TSV or Parquet files.
//!
//! [`survey`] reads a file once from end to end and says what it takes it for: columns, units, time format, first and last
//! time, what is missing. [`Survey::chunks`] reads it a second time and gives the points. Memory holds a chunk and not the
//! file. Nothing is guessed where two readings are possible: the file is refused with line numbers and the option that
//! decides. What was concluded is said in [`Survey::notes`], and what somebody should look at first in [`Survey::doubts`].
//!
//! The room knows nothing of streams or networks. A cell that is missing is a point that is left out, never a number.

mod cells;
mod choice;
mod chunks;
mod error;
mod number;
#[cfg(feature = "parquet")]
mod parquet;
mod survey;
mod text;
mod time;
mod units;

use std::path::Path;

pub use chunks::{Batch, Chunks};
pub use error::{Error, Fault, Refusal};
pub use number::Decimal;
pub use survey::{Column, Survey, survey};
pub use text::Encoding;
pub use time::{Fold, InvalidTimeFormat, InvalidZone, Span, TimeFormat, Zone};

/// What is known of a file beforehand. What is left open is detected.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What stands between the cells of a line.
    pub delimiter: Option<u8>,
    /// What stands before the fraction of a number.
    pub decimal: Option<Decimal>,
    /// How characters are written.
    pub encoding: Option<Encoding>,
    /// What a line begins with that is no part of the table; `#` if not set.
    pub comment: Option<u8>,
    /// Lines before the table.
    pub skip_lines: u64,
    /// Names of all columns, for a file without a line of names.
    pub columns: Vec<String>,
    /// The line under the names holds units.
    pub units_row: bool,
    /// The column that holds the time, or the two that hold date and time of day.
    pub time: Vec<String>,
    /// The columns that hold values; all others that hold numbers if empty.
    pub values: Vec<String>,
    /// Units of columns.
    pub units: Vec<(String, String)>,
    /// Names that columns get on the platform.
    pub renames: Vec<(String, String)>,
    /// How times are written.
    pub time_format: Option<TimeFormat>,
    /// The zone of times that name none.
    pub zone: Option<Zone>,
    /// Which one is meant of two times that a clock that was put back shows alike.
    pub fold: Option<Fold>,
    /// When relative times begin.
    pub start: Option<String>,
    /// Cells that stand for no value, beside empty ones and `NaN`.
    pub missing: Vec<String>,
    /// Cells and rows that can't be read are left out and counted.
    pub skip_bad: bool,
}

/// What sort of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lines of text.
    Text,
    /// Apache Parquet.
    Parquet,
}

impl Kind {
    /// Parquet files say so in their first four bytes. Source: the format's specification, "File format".
    pub(in crate::logfile) fn of(path: &Path) -> Result<Self, Error> {
        let head = text::head(path)?;
        Ok(if head.starts_with(b"PAR1") { Self::Parquet } else { Self::Text })
    }
}
