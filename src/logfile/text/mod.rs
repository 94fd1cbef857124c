//! Text files: how lines, cells and names are made out.

mod encoding;
mod layout;
mod records;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use encoding::Encoding;
pub(in crate::logfile) use layout::{Layout, Shape, shape};
#[cfg(feature = "parquet")]
pub(in crate::logfile) use records::hex;

use super::cells::{Cell, Rows};
use super::{Error, Options};
use records::Records;

/// The first bytes of a file.
pub(super) fn head(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Read { path: path.to_owned(), error };
    let mut head = Vec::new();
    File::open(path).map_err(failed)?.take(16).read_to_end(&mut head).map_err(failed)?;
    let path = path.to_owned();
    let what = match head.as_slice() {
        [] => "it is empty",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "its characters are UTF-16; save it as UTF-8 or CSV, or turn it into UTF-8 with `iconv -f UTF-16 -t UTF-8`"
        }
        [b'P', b'K', 3, 4, ..] => "it is an Excel or ZIP file; save the table as CSV",
        [0xd0, 0xcf, 0x11, 0xe0, ..] => "it is an old Excel file; save the table as CSV",
        [0x89, b'H', b'D', b'F', ..] => "it is an HDF5 file; save the table as CSV or Parquet",
        [0x1f, 0x8b, ..] => "it is compressed; unpack it first",
        _ => return Ok(head),
    };
    Err(Error::NoTable { path, what: what.to_owned() })
}

/// The rows of a text file, below its names and units.
pub(super) struct TextRows {
    records: Records,
    first_line: u64,
}

impl TextRows {
    pub(super) fn open(path: &Path, layout: &Layout, options: &Options) -> Result<Self, Error> {
        let comment = options.comment.unwrap_or(b'#');
        let records = Records::open(path, layout.delimiter, comment, options.encoding, options.skip_lines)?;
        Ok(Self { records, first_line: layout.first_line })
    }
}

impl Rows for TextRows {
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            if !self.records.advance()? {
                return Ok(false);
            }
            if self.records.line() >= self.first_line {
                return Ok(true);
            }
        }
    }

    fn line(&self) -> u64 {
        self.records.line()
    }

    fn width(&self) -> usize {
        self.records.count()
    }

    fn cell(&self, at: usize) -> Cell<'_> {
        Cell::of(self.records.field(at))
    }

    fn place(&self, at: usize) -> Option<usize> {
        Some(self.records.place(at))
    }

    fn bytes(&self) -> u64 {
        self.records.bytes()
    }

    fn digest(&mut self) -> Result<String, Error> {
        self.records.digest()
    }

    fn oddity(&self) -> Option<String> {
        match (self.records.foreign, self.records.beyond_ascii) {
            (Some(foreign), Some(utf8)) => {
                Some(format!("line {utf8} is UTF-8 and line {foreign} is not: the latter was taken for Windows-1252"))
            }
            _ => None,
        }
    }
}
