//! Parquet files: columns of types of their own, read some hundred rows at a time.
//!
//! The column readers are used as they are, without arrow, which takes five times as long to build. Types that stand for a
//! time or a number are read; nested columns, decimals and the like count as text, and are left out.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::ColumnDescriptor;
use ring::digest;

use super::Error;
use super::cells::{Cell, Rows};
use super::text::hex;
use super::units::Heading;

/// Rows that are read at once.
const BLOCK: usize = 1024;

/// The columns of a file, by name.
pub(super) fn columns(path: &Path) -> Result<Vec<Heading>, Error> {
    let reader = open(path)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    Ok(schema.columns().iter().map(|column| Heading::parse(&column.path().string())).collect())
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, Error> {
    let file = File::open(path).map_err(|error| Error::Read { path: path.to_owned(), error })?;
    SerializedFileReader::new(file).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &ParquetError) -> Error {
    Error::NoTable { path: path.to_owned(), what: format!("its Parquet content can't be read ({error})") }
}

/// What the numbers of a column mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    Number,
    Unsigned,
    /// Nanoseconds of one, and whether it counts in UTC.
    Time(i64, bool),
    Text,
    Other(&'static str),
}

impl Meaning {
    fn of(column: &ColumnDescriptor) -> Self {
        if column.max_rep_level() > 0 {
            return Self::Other("a list");
        }
        if let Some(LogicalType::Timestamp(time)) = column.logical_type_ref() {
            let nanos = match time.unit {
                TimeUnit::MILLIS => 1_000_000,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1,
            };
            return Self::Time(nanos, time.is_adjusted_to_u_t_c);
        }
        match (column.physical_type(), column.converted_type()) {
            // Files older than logical types count in UTC. Source: the format's LogicalTypes.md, "Deprecated timestamp".
            (PhysicalType::INT64, ConvertedType::TIMESTAMP_MILLIS) => Self::Time(1_000_000, true),
            (PhysicalType::INT64, ConvertedType::TIMESTAMP_MICROS) => Self::Time(1_000, true),
            (PhysicalType::INT96, _) => Self::Time(1, true),
            (_, ConvertedType::DECIMAL) => Self::Other("a decimal"),
            (_, ConvertedType::DATE) => Self::Other("a date"),
            (_, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => Self::Other("a time of day"),
            (_, ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64) => {
                Self::Unsigned
            }
            (PhysicalType::INT32 | PhysicalType::INT64 | PhysicalType::FLOAT | PhysicalType::DOUBLE, _) => {
                match column.logical_type_ref() {
                    Some(LogicalType::Time(_)) => Self::Other("a time of day"),
                    _ => Self::Number,
                }
            }
            (PhysicalType::BYTE_ARRAY, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::NONE) => Self::Text,
            (PhysicalType::BOOLEAN, _) => Self::Other("true or false"),
            _ => Self::Other("neither a number nor a time"),
        }
    }
}

/// Cells of a block of rows; none where the file has no value.
enum Block {
    Numbers(Vec<Option<f64>>),
    Wholes(Vec<Option<i64>>),
    Times(Vec<Option<i64>>, bool),
    Texts(Vec<Option<String>>),
    Others(usize, &'static str),
}

/// The rows of a file.
pub(super) struct ParquetRows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    meanings: Vec<Meaning>,
    most: Vec<i16>,
    /// Readers of the columns of the row group that is being read.
    columns: Vec<ColumnReader>,
    blocks: Vec<Block>,
    /// The row group after this one.
    next_group: usize,
    /// Rows of this group that are not read yet.
    left: usize,
    /// The row in the block, and how many it has.
    at: usize,
    held: usize,
    /// Rows gone by.
    row: u64,
    bytes: u64,
    rows_in_all: u64,
}

impl ParquetRows {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let reader = open(path)?;
        let metadata = reader.metadata().file_metadata();
        let schema = metadata.schema_descr();
        let columns: Vec<Arc<ColumnDescriptor>> = schema.columns().to_vec();
        let rows_in_all = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let bytes = std::fs::metadata(path).map_err(|error| Error::Read { path: path.to_owned(), error })?.len();
        Ok(Self {
            path: path.to_owned(),
            meanings: columns.iter().map(|column| Meaning::of(column)).collect(),
            most: columns.iter().map(|column| column.max_def_level()).collect(),
            reader,
            columns: Vec::new(),
            blocks: Vec::new(),
            next_group: 0,
            left: 0,
            at: 0,
            held: 0,
            row: 0,
            bytes,
            rows_in_all,
        })
    }

    /// Reads the next rows; false after the last.
    fn fill(&mut self) -> Result<bool, Error> {
        while self.left == 0 {
            if self.next_group >= self.reader.num_row_groups() {
                return Ok(false);
            }
            let group = self.reader.get_row_group(self.next_group).map_err(|error| broken(&self.path, &error))?;
            self.next_group += 1;
            self.left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let readers = (0..self.meanings.len()).map(|at| group.get_column_reader(at));
            self.columns = readers.collect::<Result<_, _>>().map_err(|error| broken(&self.path, &error))?;
        }
        let rows = self.left.min(BLOCK);
        self.blocks.clear();
        for ((column, meaning), most) in self.columns.iter_mut().zip(&self.meanings).zip(&self.most) {
            let block = block(column, *meaning, *most, rows).map_err(|error| broken(&self.path, &error))?;
            self.blocks.push(block);
        }
        (self.left, self.at, self.held) = (self.left - rows, 0, rows);
        Ok(true)
    }
}

/// Reads the cells of one column.
fn block(column: &mut ColumnReader, meaning: Meaning, most: i16, rows: usize) -> Result<Block, ParquetError> {
    if let Meaning::Other(what) = meaning {
        // Not read at all: nothing else is asked of this column.
        return Ok(Block::Others(rows, what));
    }
    Ok(match column {
        ColumnReader::DoubleColumnReader(reader) => Block::Numbers(cells(reader, most, rows, |value| *value)?),
        ColumnReader::FloatColumnReader(reader) => {
            // The number that was written: 650.1 and not 650.0999755859375.
            Block::Numbers(cells(reader, most, rows, |value| value.to_string().parse().unwrap_or(f64::NAN))?)
        }
        ColumnReader::Int32ColumnReader(reader) => Block::Wholes(cells(reader, most, rows, |value| {
            if meaning == Meaning::Unsigned { i64::from(value.cast_unsigned()) } else { i64::from(*value) }
        })?),
        ColumnReader::Int64ColumnReader(reader) => match meaning {
            Meaning::Time(nanos, utc) => {
                let times = cells(reader, most, rows, |value| value.saturating_mul(nanos))?;
                Block::Times(times, utc)
            }
            Meaning::Unsigned => Block::Numbers(cells(reader, most, rows, |value| value.cast_unsigned() as f64)?),
            _ => Block::Wholes(cells(reader, most, rows, |value| *value)?),
        },
        ColumnReader::Int96ColumnReader(reader) => {
            Block::Times(cells(reader, most, rows, parquet::data_type::Int96::to_nanos)?, true)
        }
        ColumnReader::ByteArrayColumnReader(reader) => {
            Block::Texts(cells(reader, most, rows, |value| String::from_utf8_lossy(value.data()).trim().to_owned())?)
        }
        _ => Block::Others(rows, "neither a number nor a time"),
    })
}

/// Reads cells; a definition level below the highest says that there is no value.
fn cells<T: DataType, V: Clone>(
    reader: &mut ColumnReaderImpl<T>,
    most: i16,
    rows: usize,
    convert: impl Fn(&T::T) -> V,
) -> Result<Vec<Option<V>>, ParquetError> {
    let mut found = Vec::with_capacity(rows);
    while found.len() < rows {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let wanted = rows - found.len();
        let (records, _, _) = reader.read_records(wanted, (most > 0).then_some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::General("a column is shorter than its row group".to_owned()));
        }
        let mut values = values.iter().map(&convert);
        if most == 0 {
            found.extend(values.map(Some));
        } else {
            found.extend(levels.iter().map(|level| if *level == most { values.next() } else { None }));
        }
    }
    Ok(found)
}

impl Rows for ParquetRows {
    fn advance(&mut self) -> Result<bool, Error> {
        self.at += 1;
        if self.at >= self.held && !self.fill()? {
            return Ok(false);
        }
        self.row += 1;
        Ok(true)
    }

    fn line(&self) -> u64 {
        self.row
    }

    fn width(&self) -> usize {
        self.meanings.len()
    }

    fn cell(&self, at: usize) -> Cell<'_> {
        let number = |number: &f64| Cell::Number(*number);
        let cell = match self.blocks.get(at) {
            Some(Block::Numbers(cells)) => cells.get(self.at).and_then(Option::as_ref).map(number),
            Some(Block::Wholes(cells)) => cells.get(self.at).copied().flatten().map(Cell::Whole),
            Some(Block::Times(cells, utc)) => {
                cells.get(self.at).copied().flatten().map(|nanos| Cell::Instant { nanos, utc: *utc })
            }
            Some(Block::Texts(cells)) => cells.get(self.at).and_then(Option::as_deref).map(Cell::of),
            Some(Block::Others(rows, what)) => (self.at < *rows).then_some(Cell::Other(what)),
            None => None,
        };
        cell.unwrap_or(Cell::Empty)
    }

    fn place(&self, _: usize) -> Option<usize> {
        None
    }

    fn bytes(&self) -> u64 {
        self.bytes.saturating_mul(self.row).checked_div(self.rows_in_all).unwrap_or(self.bytes)
    }

    fn digest(&mut self) -> Result<String, Error> {
        let failed = |error: io::Error| Error::Read { path: self.path.clone(), error };
        let mut file = File::open(&self.path).map_err(failed)?;
        let mut context = digest::Context::new(&digest::SHA256);
        let mut part = vec![0; 1 << 16];
        loop {
            match file.read(&mut part).map_err(failed)? {
                0 => return Ok(hex(context.finish().as_ref())),
                read => context.update(part.get(..read).unwrap_or_default()),
            }
        }
    }
}
