//! The first reading of a file: everything in it is checked, and what it was taken for is written down.

use std::path::{Path, PathBuf};

use super::cells::{Cell, Rows};
use super::choice::{Choice, choose};
use super::chunks::Chunks;
use super::error::{Fault, Faults, refused};
use super::number::{Decimal, Numbers, Thousands, Value};
use super::text::{Layout, TextRows};
use super::time::{TimeFormat, Times, Trouble, Zone};
use super::units::Heading;
use super::{Error, Kind, Options};

/// Rows between two words about how far it is.
const TOLD_EVERY: u64 = 8_192;

/// What a file holds, and how it is read.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The file.
    pub path: PathBuf,
    /// What sort of file it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub digest: String,
    /// The column of the time, or those of date and time of day.
    pub time_columns: Vec<String>,
    /// How times are written.
    pub time_format: TimeFormat,
    /// The zone of times that name none, if there are such.
    pub zone: Option<Zone>,
    /// The columns of values.
    pub columns: Vec<Column>,
    /// Rows that have a time.
    pub rows: u64,
    /// Rows that were left out because they can't be read.
    pub bad_rows: u64,
    /// The earliest time, in nanoseconds since 1970.
    pub first: i64,
    /// The latest.
    pub last: i64,
    /// What was concluded, a sentence each.
    pub notes: Vec<String>,
    /// What somebody should look at before it is used.
    pub doubts: Vec<String>,
    pub(super) reading: Reading,
}

/// A column of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// As the file has it.
    pub heading: String,
    /// The name that it gets.
    pub name: String,
    /// Its unit.
    pub unit: Option<String>,
    /// Values.
    pub points: u64,
    /// Cells that stand for no value.
    pub missing: u64,
    /// Cells that were left out because they can't be read.
    pub bad: u64,
    pub(super) at: usize,
}

/// All that a second reading needs to find the same.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) layout: Option<Layout>,
    pub(super) options: Options,
    pub(super) time: Vec<usize>,
    pub(super) times: Times,
    pub(super) numbers: Numbers,
    pub(super) width: usize,
}

impl Survey {
    /// Reads the file again, for its points, at most so many of a column at a time.
    pub fn chunks(&self, points: usize) -> Result<Chunks, Error> {
        Chunks::open(self, points)
    }

    /// What decides which points the file gives: two surveys that agree in it and in the content give the same chunks.
    pub fn manner(&self) -> String {
        let columns = self.columns.iter().map(|column| format!("{}={:?} {:?}", column.at, column.name, column.unit));
        let options = &self.reading.options;
        format!(
            "time {:?} {} {:?} {:?} {:?}; values {}; {:?} {:?} {} {:?} {}",
            self.reading.time,
            self.time_format,
            self.zone.as_ref().map(ToString::to_string),
            options.fold,
            options.start,
            columns.collect::<Vec<_>>().join(", "),
            self.reading.numbers.decimal,
            options.missing,
            options.skip_bad,
            self.reading.layout.as_ref().map(|layout| (layout.delimiter, layout.first_line)),
            options.comment.unwrap_or(b'#'),
        )
    }
}

impl Reading {
    /// Opens the file at its first row.
    pub(super) fn rows(&self, path: &Path) -> Result<Box<dyn Rows>, Error> {
        open(path, self.layout.as_ref(), &self.options)
    }
}

fn open(path: &Path, layout: Option<&Layout>, options: &Options) -> Result<Box<dyn Rows>, Error> {
    match layout {
        Some(layout) => Ok(Box::new(TextRows::open(path, layout, options)?)),
        #[cfg(feature = "parquet")]
        None => Ok(Box::new(super::parquet::ParquetRows::open(path)?)),
        #[cfg(not(feature = "parquet"))]
        None => Err(no_parquet(path)),
    }
}

#[cfg(not(feature = "parquet"))]
fn no_parquet(path: &Path) -> Error {
    let what = "it is a Parquet file, and this program was built without the feature `parquet`".to_owned();
    Error::NoTable { path: path.to_owned(), what }
}

#[cfg(feature = "parquet")]
fn parquet_columns(path: &Path) -> Result<Vec<Heading>, Error> {
    super::parquet::columns(path)
}

#[cfg(not(feature = "parquet"))]
fn parquet_columns(path: &Path) -> Result<Vec<Heading>, Error> {
    Err(no_parquet(path))
}

/// Reads a file from end to end. `progress` hears of the bytes that are done with, and says whether to go on.
pub fn survey(path: &Path, options: &Options, progress: &mut dyn FnMut(u64) -> bool) -> Result<Survey, Error> {
    let failed = |error| Error::Read { path: path.to_owned(), error };
    let kind = Kind::of(path)?;
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    let (layout, headings) = match kind {
        Kind::Text => {
            let layout = Layout::detect(path, options)?;
            let headings = layout.columns.clone();
            (Some(layout), headings)
        }
        Kind::Parquet => (None, parquet_columns(path)?),
    };
    let mut rows = open(path, layout.as_ref(), options)?;
    let choice = choose(path, &headings, rows.as_mut(), options)?;
    let rows = open(path, layout.as_ref(), options)?;
    let mut pass = Pass {
        path,
        options,
        width: headings.len(),
        numbers: Numbers::new(decimal(layout.as_ref(), options), &options.missing),
        theories: choice.times.iter().map(|times| Theory::new(times.clone())).collect(),
        tallies: vec![Tally::default(); choice.values.len()],
        choice,
        headings: &headings,
        faults: Faults::new(path),
        rows: 0,
        bad_rows: 0,
        joined: String::new(),
    };
    let digest = pass.read(rows, progress)?;
    pass.finish(kind, bytes, digest, layout)
}

/// A comma that divides cells is none before a fraction.
fn decimal(layout: Option<&Layout>, options: &Options) -> Option<Decimal> {
    let by_delimiter = layout.filter(|layout| layout.delimiter == b',').map(|_| Decimal::Point);
    options.decimal.or(by_delimiter)
}

/// A way to read the times, as long as it lasts.
#[derive(Debug)]
struct Theory {
    times: Times,
    first: i64,
    last: i64,
    before: Option<i64>,
    /// Rows whose time is before that of the row above, and the first of them.
    back: (u64, Option<u64>),
    /// Rows whose time is that of the row above.
    again: (u64, Option<u64>),
    zone_needed: bool,
}

impl Theory {
    fn new(times: Times) -> Self {
        Self {
            times,
            first: i64::MAX,
            last: i64::MIN,
            before: None,
            back: (0, None),
            again: (0, None),
            zone_needed: false,
        }
    }

    fn note(&mut self, at: i64, line: u64) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        if let Some(before) = self.before {
            let of = match at.cmp(&before) {
                std::cmp::Ordering::Less => Some(&mut self.back),
                std::cmp::Ordering::Equal => Some(&mut self.again),
                std::cmp::Ordering::Greater => None,
            };
            if let Some(of) = of {
                of.0 += 1;
                of.1.get_or_insert(line);
            }
        }
        self.before = Some(at);
    }
}

/// What was found in a column.
#[derive(Debug, Clone, Default)]
struct Tally {
    points: u64,
    missing: u64,
    bad: u64,
    /// Faults of its first cells that can't be read.
    first_bad: Vec<Fault>,
}

struct Pass<'a> {
    path: &'a Path,
    options: &'a Options,
    width: usize,
    headings: &'a [Heading],
    choice: Choice,
    numbers: Numbers,
    theories: Vec<Theory>,
    tallies: Vec<Tally>,
    faults: Faults,
    rows: u64,
    bad_rows: u64,
    joined: String,
}

impl Pass<'_> {
    fn read(&mut self, mut rows: Box<dyn Rows>, progress: &mut dyn FnMut(u64) -> bool) -> Result<String, Error> {
        let mut count = 0_u64;
        while rows.advance()? {
            count += 1;
            if count.is_multiple_of(TOLD_EVERY) && !progress(rows.bytes()) {
                return Err(Error::Stopped);
            }
            self.row(rows.as_ref())?;
        }
        if let Some(oddity) = rows.oddity() {
            self.choice.doubts.push(oddity);
        }
        rows.digest()
    }

    fn row(&mut self, rows: &dyn Rows) -> Result<(), Error> {
        let line = rows.line();
        if !fits(rows, self.width) {
            let what = format!("has {}, and there are {} columns", counted(rows.width(), "cell"), self.width);
            self.bad_row(Fault::line(line, what), BAD_ROW);
            return Ok(());
        }
        if !self.time(rows, line)? {
            return Ok(());
        }
        self.rows += 1;
        for (value, tally) in self.choice.values.iter().zip(&mut self.tallies) {
            let cell = rows.cell(value.at);
            match self.numbers.read(cell, line) {
                Value::Is(_) => tally.points += 1,
                Value::Missing => tally.missing += 1,
                Value::Bad => {
                    tally.bad += 1;
                    if tally.first_bad.len() < 10 {
                        let what = format!("`{}`: `{}` is no number", value.heading, cell.shown());
                        tally.first_bad.push(Fault { line: Some(line), column: rows.place(value.at), what });
                    }
                }
            }
        }
        Ok(())
    }

    fn bad_row(&mut self, fault: Fault, hint: &str) {
        self.bad_rows += 1;
        if !self.options.skip_bad {
            self.faults.add(|| fault);
            self.faults.hint(hint);
        }
    }

    /// Holds the time of a row against every way to read it that is left; whether one of them can.
    fn time(&mut self, rows: &dyn Rows, line: u64) -> Result<bool, Error> {
        let cell = time_cell(rows, &self.choice.time, &mut self.joined);
        let mut trouble = None;
        let mut failed = Vec::new();
        for (number, theory) in self.theories.iter_mut().enumerate() {
            match theory.times.read(cell, &mut self.numbers, line) {
                Ok((at, zone_needed)) => {
                    theory.zone_needed |= zone_needed;
                    theory.note(at, line);
                }
                Err(what) => {
                    failed.push(number);
                    trouble = Some(what);
                }
            }
        }
        let Some(trouble) = trouble else { return Ok(true) };
        if failed.len() < self.theories.len() {
            self.choice.notes.push(format!("line {line} (`{}`) shows which number is the month", cell.shown()));
            let mut number = 0;
            self.theories.retain(|_| {
                number += 1;
                !failed.contains(&(number - 1))
            });
            return Ok(true);
        }
        let names = self.choice.time_names(self.headings);
        let (what, hint) = describe(&trouble, &names, cell, self.theories.first());
        let column = self.choice.time.first().and_then(|at| rows.place(*at));
        let fault = Fault { line: Some(line), column, what };
        if trouble == Trouble::NoZone {
            // It is so in every row.
            return Err(refused(self.path, fault, hint));
        }
        self.bad_row(fault, hint);
        Ok(false)
    }

    fn finish(mut self, kind: Kind, bytes: u64, digest: String, layout: Option<Layout>) -> Result<Survey, Error> {
        self.thousands(layout.as_ref());
        if let [one, other, ..] = self.theories.as_slice()
            && self.rows > 0
        {
            let what = format!(
                "`{}`: times are read equally well as {} ({}) and {} ({}), and no row decides it",
                self.choice.time_names(self.headings),
                one.times.format,
                shown(one.first),
                other.times.format,
                shown(other.first),
            );
            self.faults.add(|| Fault::line(self.choice.first_line, what));
            self.faults
                .hint(format!("say which with `--time-format {}` or `{}`", one.times.format, other.times.format));
        }
        let (mut columns, mut left_out) = (Vec::new(), Vec::new());
        for (value, tally) in self.choice.values.iter().zip(std::mem::take(&mut self.tallies)) {
            let name = || value.heading.clone();
            if tally.points == 0 && !self.choice.values_given {
                // A delimiter at the end of each line makes a column of nothing.
                if tally.bad > 0 || !value.heading.is_empty() {
                    left_out.push((name(), tally.bad > 0));
                }
                continue;
            }
            if tally.bad > 0 && !self.options.skip_bad {
                let rest = tally.bad - u64::try_from(tally.first_bad.len()).unwrap_or(0);
                tally.first_bad.into_iter().for_each(|fault| self.faults.add(|| fault));
                (0..rest).for_each(|_| self.faults.add(|| Fault::whole(String::new())));
                self.faults.hint(
                    "say `--missing TEXT` for what stands for no value, `--decimal ,` for decimal commas, `--skip-bad` to leave \
                     such cells out, or name the columns that you want with `--value`",
                );
            } else if tally.points == 0 {
                self.faults.add(|| Fault::whole(format!("`{}` holds no number", value.heading)));
            }
            columns.push(Column {
                heading: value.heading.clone(),
                name: value.name.clone(),
                unit: value.unit.clone(),
                points: tally.points,
                missing: tally.missing,
                bad: tally.bad,
                at: value.at,
            });
        }
        self.names(&columns);
        let in_all: u64 = columns.iter().map(|column| column.points).sum();
        if in_all == 0 && self.rows > 0 {
            self.faults.add(|| Fault::whole("no column beside the time holds numbers"));
        }
        let (mut notes, mut doubts) = (std::mem::take(&mut self.choice.notes), std::mem::take(&mut self.choice.doubts));
        if let Some(layout) = &layout {
            notes.splice(0..0, layout.notes.iter().cloned());
            doubts.extend(layout.doubts.iter().cloned());
        }
        if self.numbers.decimal == Some(Decimal::Comma) {
            notes.push("numbers have a decimal comma".to_owned());
        }
        for (name, text) in left_out {
            let why = if text { "no cell of it is a number" } else { "it is empty" };
            notes.push(format!("column `{name}` is left out: {why}"));
        }
        self.faults.done()?;
        let Some(theory) = self.theories.into_iter().next().filter(|_| self.rows > 0) else {
            return Err(Error::NoTable {
                path: self.path.to_owned(),
                what: "there is no row of values in it".to_owned(),
            });
        };
        if let (rows, Some(line)) = theory.back {
            doubts.push(format!("times go back at {} (the first: line {line})", counted(rows, "row")));
        }
        if let (rows, Some(line)) = theory.again {
            notes.push(format!(
                "the time of the row above is repeated at {} (the first: line {line})",
                counted(rows, "row")
            ));
        }
        if self.bad_rows > 0 {
            doubts.push(format!("left out as unreadable: {}", counted(self.bad_rows, "row")));
        }
        let bad: u64 = columns.iter().map(|column| column.bad).sum();
        if bad > 0 {
            doubts.push(format!("left out as unreadable: {}", counted(bad, "cell")));
        }
        let zone = theory.times.zone().filter(|_| theory.zone_needed).cloned();
        let time_columns = self.choice.time.iter().filter_map(|at| self.headings.get(*at)).map(|of| of.name.clone());
        Ok(Survey {
            path: self.path.to_owned(),
            kind,
            bytes,
            digest,
            time_columns: time_columns.collect(),
            time_format: theory.times.format.clone(),
            zone,
            columns,
            rows: self.rows,
            bad_rows: self.bad_rows,
            first: theory.first,
            last: theory.last,
            notes,
            doubts,
            reading: Reading {
                layout,
                options: self.options.clone(),
                time: self.choice.time,
                times: self
                    .choice
                    .times
                    .into_iter()
                    .find(|times| times.format == theory.times.format)
                    .unwrap_or(theory.times),
                numbers: self.numbers,
                width: self.width,
            },
        })
    }

    /// Commas that could stand between thousands, where semicolons don't tell what commas are for.
    fn thousands(&mut self, layout: Option<&Layout>) {
        if let Thousands::Possible(line) = self.numbers.thousands
            && layout.is_none_or(|layout| layout.delimiter != b';')
        {
            self.faults.add(|| Fault::line(line, "its comma could stand before a fraction or between thousands"));
            self.faults.hint(
                "say `--decimal ,` if commas stand before fractions; take them out if they are between thousands",
            );
        }
    }

    /// Names have to be there and different.
    fn names(&mut self, columns: &[Column]) {
        for (number, column) in columns.iter().enumerate() {
            if column.name.is_empty() {
                self.faults.add(|| Fault::whole(format!("column {} holds values and has no name", column.at + 1)));
                self.faults.hint(format!("name it with `--rename {}=NAME`", column.at + 1));
            } else if columns.iter().take(number).any(|other| other.name == column.name) {
                self.faults.add(|| Fault::whole(format!("two columns are called `{}`", column.name)));
                self.faults.hint(format!("name one of them otherwise: `--rename {}=NAME`", column.at + 1));
            }
        }
    }
}

/// Whether a row has a cell for each column; empty ones beyond them don't count.
pub(super) fn fits(rows: &dyn Rows, width: usize) -> bool {
    rows.width() >= width && (width..rows.width()).all(|at| rows.cell(at) == Cell::Empty)
}

/// The time of a row; date and time of day of two columns are put together.
pub(super) fn time_cell<'a>(rows: &'a dyn Rows, columns: &[usize], joined: &'a mut String) -> Cell<'a> {
    match columns {
        [one] => rows.cell(*one),
        [date, time] => match (rows.cell(*date), rows.cell(*time)) {
            (Cell::Text(date), Cell::Text(time)) => {
                joined.clear();
                joined.push_str(date);
                joined.push(' ');
                joined.push_str(time);
                Cell::Text(joined)
            }
            _ => Cell::Empty,
        },
        _ => Cell::Empty,
    }
}

/// What is wrong with a time, and what to do.
fn describe(trouble: &Trouble, name: &str, cell: Cell<'_>, theory: Option<&Theory>) -> (String, &'static str) {
    let shown = cell.shown();
    match trouble {
        Trouble::Empty => (format!("`{name}`: there is no time"), BAD_ROW),
        Trouble::Unreadable => {
            let format = theory.map(|theory| theory.times.format.to_string()).unwrap_or_default();
            (format!("`{name}`: `{shown}` is no time as others are ({format})"), BAD_TIME)
        }
        Trouble::NoZone => (
            format!("`{name}`: `{shown}` does not say in which zone it is"),
            "say the zone of the clock that wrote it, as in `--zone Europe/Berlin` or `--zone UTC`",
        ),
        Trouble::Twice(zone) => (
            format!("`{name}`: `{shown}` came twice in {zone}: clocks were put back"),
            "say which one is meant with `--fold earlier`, `--fold later`, or `--fold order` if rows are in order",
        ),
        Trouble::Never(zone) => (
            format!("`{name}`: `{shown}` never was in {zone}: clocks were put forward"),
            "the clock that wrote it may be in another zone, or keep winter time: `--zone +01:00`",
        ),
    }
}

const BAD_ROW: &str = "take such rows out, or leave them out with `--skip-bad`";

const BAD_TIME: &str = "say how times are written with `--time-format` (`mbe-bridge push --help` lists the ways), or leave such \
                        rows out with `--skip-bad`";

/// A number of things.
pub(super) fn counted(count: impl TryInto<u64>, of: &str) -> String {
    match count.try_into() {
        Ok(1) => format!("1 {of}"),
        Ok(count) => format!("{count} {of}s"),
        Err(_) => format!("many {of}s"),
    }
}

fn shown(nanos: i64) -> String {
    super::cells::instant(nanos, true)
}
