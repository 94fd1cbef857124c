//! What a text file's table looks like: delimiter, names, units, where the values begin. Made out from its first lines.

use std::path::Path;

use super::Records;
use super::encoding::Encoding;
use crate::logfile::error::{Fault, refused};
use crate::logfile::number::Numbers;
use crate::logfile::survey::counted;
use crate::logfile::time::{formats_of, has_short_year, is_date, is_time_of_day};
use crate::logfile::units::{Heading, is_unit, meant};
use crate::logfile::{Error, Options};

/// Records that are looked at.
const LOOKED_AT: usize = 200;

/// Delimiters that are tried.
const TRIED: [u8; 4] = [b'\t', b';', b',', b'|'];

/// What a table looks like.
#[derive(Debug, Clone)]
pub(in crate::logfile) struct Layout {
    pub(in crate::logfile) delimiter: u8,
    /// The first line of values.
    pub(in crate::logfile) first_line: u64,
    pub(in crate::logfile) columns: Vec<Heading>,
    pub(in crate::logfile) notes: Vec<String>,
    pub(in crate::logfile) doubts: Vec<String>,
}

/// A record of the beginning of the file.
struct Sampled {
    line: u64,
    cells: Vec<String>,
}

/// The beginning of the file with one delimiter.
struct Sample {
    delimiter: u8,
    records: Vec<Sampled>,
    /// Cells of most records.
    width: usize,
    /// Cells that are numbers, times or nothing, of those in records of this width, below the first.
    understood: usize,
    cells: usize,
    /// Shares of records that have this width.
    fitting: usize,
    /// The last comment before the first record.
    comment: Option<(u64, String)>,
    foreign: bool,
}

impl Layout {
    pub(in crate::logfile) fn detect(path: &Path, options: &Options) -> Result<Self, Error> {
        let sample = choose(path, options)?;
        let mut layout = Self {
            delimiter: sample.delimiter,
            first_line: 0,
            columns: Vec::new(),
            notes: Vec::new(),
            doubts: Vec::new(),
        };
        layout.notes.push(format!("cells are separated by {}", shown(sample.delimiter)));
        if sample.foreign && options.encoding.is_none() {
            layout.notes.push("characters are Windows-1252 (Latin-1): they are no UTF-8".to_owned());
        } else if options.encoding == Some(Encoding::Windows1252) {
            layout.notes.push("characters are Windows-1252 (Latin-1), as was said".to_owned());
        }
        layout.names(path, &sample, options)?;
        Ok(layout)
    }

    /// Finds names and units, and where the values begin.
    fn names(&mut self, path: &Path, sample: &Sample, options: &Options) -> Result<(), Error> {
        let Some(first) = sample.records.first() else {
            return Err(Error::NoTable { path: path.to_owned(), what: "no line of it is part of a table".to_owned() });
        };
        if first.cells.len() != sample.width && !(sample.records.len() == 2 && options.columns.is_empty()) {
            return Err(preamble(path, sample, first));
        }
        let is_data = first.cells.iter().any(|cell| shape(cell).is_value());
        let mut after = 1;
        if !options.columns.is_empty() {
            if options.columns.len() != sample.width {
                let what = format!("has {} columns, and {} names were given", sample.width, options.columns.len());
                return Err(refused(path, Fault::line(first.line, what), "give `--columns` a name for each column"));
            }
            self.columns = options.columns.iter().map(|name| Heading::parse(name)).collect();
            if is_data {
                after = 0;
            } else {
                self.notes.push(format!("the names in line {} are replaced by those of `--columns`", first.line));
            }
        } else if !is_data {
            self.columns = first.cells.iter().map(|cell| Heading::parse(cell)).collect();
        } else if let Some((line, cells)) = commented(sample) {
            self.columns = cells.iter().map(|cell| Heading::parse(cell)).collect();
            self.notes.push(format!("names are taken from the comment in line {line}"));
            after = 0;
        } else {
            let what = "there is no line of names above the values".to_owned();
            let names: Vec<String> =
                (1..=sample.width).map(|n| if n == 1 { "time".into() } else { format!("c{n}") }).collect();
            let hint = format!("give each column a name, as in `--columns {}`", names.join(","));
            return Err(refused(path, Fault::line(first.line, what), hint));
        }
        let mut data = sample.records.iter().skip(after);
        if let Some(row) = data.clone().next()
            && (options.units_row || is_row_of_units(&row.cells))
        {
            for (column, cell) in self.columns.iter_mut().zip(&row.cells) {
                column.unit = meant(cell).or(column.unit.take());
            }
            self.notes.push(format!("units are taken from line {}", row.line));
            data.next();
        }
        self.first_line = match data.next() {
            Some(row) => row.line,
            None => {
                return Err(Error::NoTable {
                    path: path.to_owned(),
                    what: "there is no row of values in it".to_owned(),
                });
            }
        };
        Ok(())
    }
}

/// Samples the file with each delimiter and takes the one with which it makes sense.
fn choose(path: &Path, options: &Options) -> Result<Sample, Error> {
    if let Some(delimiter) = options.delimiter {
        return sample(path, delimiter, options);
    }
    let mut fitting = Vec::new();
    for delimiter in TRIED {
        // A quote that never closes with one delimiter may be none with another.
        match sample(path, delimiter, options) {
            Ok(sample) if sample.width >= 2 && 10 * sample.fitting >= 8 * sample.records.len() => fitting.push(sample),
            Ok(_) => {}
            Err(error @ (Error::Read { .. } | Error::NoTable { .. })) => return Err(error),
            Err(_) => {}
        }
    }
    // Shares of understood cells, compared without a division.
    let better = |a: &Sample, b: &Sample| a.understood * b.cells.max(1) > b.understood * a.cells.max(1);
    let best = fitting.iter().enumerate().find(|(_, one)| !fitting.iter().any(|other| better(other, one)));
    let Some((at, best)) = best else {
        let what = "no tab, semicolon, comma or bar divides its lines into equally many cells".to_owned();
        return Err(refused(
            path,
            Fault::whole(what),
            "name what divides them, as in `--delimiter ' '`; `--skip-lines N` leaves out what stands above the table",
        ));
    };
    if let Some(other) = fitting.iter().skip(at + 1).find(|other| !better(best, other)) {
        let line = best.records.first().map_or(1, |first| first.line);
        let what = format!(
            "could be {} cells between {}s or {} between {}s",
            best.width,
            shown(best.delimiter),
            other.width,
            shown(other.delimiter)
        );
        return Err(refused(path, Fault::line(line, what), "say which with `--delimiter ';'` or the like"));
    }
    Ok(fitting.swap_remove(at))
}

fn sample(path: &Path, delimiter: u8, options: &Options) -> Result<Sample, Error> {
    let comment = options.comment.unwrap_or(b'#');
    let mut input = Records::open(path, delimiter, comment, options.encoding, options.skip_lines)?;
    let (mut records, mut before) = (Vec::new(), None);
    while records.len() < LOOKED_AT && input.advance()? {
        if records.is_empty() {
            before = input.last_comment.take();
        }
        let cells = (0..input.count()).map(|at| input.field(at).trim().to_owned()).collect();
        records.push(Sampled { line: input.line(), cells });
    }
    end_at_names(&mut records);
    let count = |width: usize| records.iter().filter(|record| record.cells.len() == width).count();
    let width =
        records.iter().map(|record| record.cells.len()).max_by_key(|width| (count(*width), *width)).unwrap_or(0);
    let fitting = count(width);
    let mut numbers = Numbers::new(options.decimal, &options.missing);
    let (mut understood, mut cells) = (0, 0);
    for record in records.iter().filter(|record| record.cells.len() == width).skip(1) {
        for cell in &record.cells {
            cells += 1;
            let number = delimiter != b',' || !cell.contains(',');
            let value = number && numbers.text(cell, record.line).is_some();
            understood += usize::from(value || shape(cell) != Shape::Text && (number || shape(cell) != Shape::Number));
        }
    }
    let foreign = input.foreign.is_some();
    Ok(Sample { delimiter, records, width, understood, cells, fitting, comment: before, foreign })
}

/// Takes a delimiter at the end of each line for no cell, where the line of names has none.
fn end_at_names(records: &mut [Sampled]) {
    let Some((first, rest)) = records.split_first_mut() else { return };
    let one_more =
        |row: &Sampled| row.cells.len() == first.cells.len() + 1 && row.cells.last().is_some_and(String::is_empty);
    if rest.iter().all(one_more) {
        rest.iter_mut().for_each(|row| drop(row.cells.pop()));
    }
}

/// What a cell looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::logfile) enum Shape {
    Empty,
    Number,
    DateTime,
    Date,
    TimeOfDay,
    /// A date that can't be read without help.
    ShortYear,
    Text,
}

impl Shape {
    fn is_value(self) -> bool {
        !matches!(self, Self::Empty | Self::Text)
    }
}

pub(in crate::logfile) fn shape(cell: &str) -> Shape {
    let is_number = || Numbers::new(None, &[]).text(cell, 0).is_some();
    match cell {
        "" => Shape::Empty,
        _ if is_number() => Shape::Number,
        _ if !formats_of(cell).is_empty() => Shape::DateTime,
        _ if is_date(cell) => Shape::Date,
        _ if is_time_of_day(cell) => Shape::TimeOfDay,
        _ if has_short_year(cell) => Shape::ShortYear,
        _ => Shape::Text,
    }
}

/// Names that a program has put behind the sign of a comment, right above the values.
fn commented(sample: &Sample) -> Option<(u64, Vec<String>)> {
    let (line, text) = sample.comment.as_ref()?;
    let cells: Vec<String> = text.split(char::from(sample.delimiter)).map(|cell| cell.trim().to_owned()).collect();
    let names = cells.len() == sample.width && cells.iter().all(|cell| shape(cell) == Shape::Text);
    names.then_some((*line, cells))
}

/// Whether a row under the names holds units: at least one that is known as one, and nothing else.
fn is_row_of_units(cells: &[String]) -> bool {
    let bracketed = |cell: &str| cell.starts_with(['[', '(']) && cell.ends_with([']', ')']);
    let allowed = |cell: &String| {
        matches!(shape(cell), Shape::Empty | Shape::Text)
            && (cell.is_empty() || is_unit(cell) || bracketed(cell) || is_pattern(cell))
    };
    cells.iter().all(allowed) && cells.iter().any(|cell| is_unit(cell) && cell != "-" || bracketed(cell))
}

/// `hh:mm:ss` or `dd.mm.yyyy hh:mm:ss.fff`: what some programs write below the name of a time.
fn is_pattern(cell: &str) -> bool {
    cell.chars().all(|c| "yYmMdDhHsSfFjJtT:./- ".contains(c))
}

/// The first record has another width than the table.
fn preamble(path: &Path, sample: &Sample, first: &Sampled) -> Error {
    let table = sample.records.iter().find(|record| record.cells.len() == sample.width);
    let line = table.map_or(first.line, |record| record.line);
    let what = format!(
        "has {} between {}s, and most lines have {}",
        counted(first.cells.len(), "cell"),
        shown(sample.delimiter),
        sample.width
    );
    let hint = format!("if the table begins in line {line}, say `--skip-lines {}`", line.saturating_sub(1));
    refused(path, Fault::line(first.line, what), hint)
}

fn shown(delimiter: u8) -> &'static str {
    match delimiter {
        b'\t' => "tab",
        b';' => "semicolon",
        b',' => "comma",
        b'|' => "bar",
        b' ' => "blank",
        _ => "the given sign",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(text: &str, options: &Options) -> Result<Layout, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().display().to_string();
        Layout::detect(file.path(), options).map_err(|error| error.to_string().replace(&path, "x.csv"))
    }

    fn columns(layout: &Layout) -> Vec<(&str, Option<&str>)> {
        layout.columns.iter().map(|column| (column.name.as_str(), column.unit.as_deref())).collect()
    }

    #[test]
    fn delimiters_are_told_by_what_they_make_of_the_cells() {
        for (text, delimiter) in [
            ("t,T\n1,2\n3,4\n", b','),
            ("t;T\n1,5;2,3\n3,5;4,1\n", b';'),
            ("t\tT\tp\n1,5\t2,3\t1e-9\n", b'\t'),
            ("t|T\n1|2\n", b'|'),
            ("Zeit;T, innen\n22.11.2026 14:03:05,5;650,1\n22.11.2026 14:03:06,5;650,1\n", b';'),
            ("t;T;remark\n1;2;a, b\n3;4;c, d\n", b';'),
        ] {
            let layout = detect(text, &Options::default()).unwrap();
            assert_eq!(layout.delimiter, delimiter, "{text}");
        }
        let error = detect("time 650\n1 2\n", &Options::default()).unwrap_err();
        assert!(error.contains("no tab, semicolon, comma or bar"), "{error}");
    }

    #[test]
    fn names_and_units_are_found_wherever_programs_write_them() {
        let temperature = [("t", Some("s")), ("T", Some("degC"))];
        for (text, first_line) in [
            ("t [s],T (degC)\n1,2\n", 2),
            ("t,T\ns,degC\n1,2\n", 3),
            ("t,T\n[s],[degC]\n1,2\n", 3),
            ("# by logger 3\n# t [s], T [degC]\n1,2\n3,4\n", 3),
            ("#\n\n\"t [s]\",\"T\n(degC)\"\n1,2\n", 5),
        ] {
            let layout = detect(text, &Options::default()).unwrap();
            assert_eq!(layout.first_line, first_line, "{text}");
            assert_eq!(columns(&layout), temperature, "{text}");
        }
        let options = Options { columns: vec!["t [s]".to_owned(), "T [degC]".to_owned()], ..Options::default() };
        assert_eq!(columns(&detect("1,2\n3,4\n", &options).unwrap()), temperature);
        assert_eq!(detect("x,y\n3,4\n", &options).unwrap().first_line, 2);
    }

    #[test]
    fn a_file_that_begins_with_something_else_is_refused() {
        let error = detect("1,2\n3,4\n", &Options::default()).unwrap_err();
        assert_eq!(error, "`x.csv` can't be taken as it is\n\n  x.csv:1: there is no line of names above the values");
        let error = detect("Logger 3\nSerial: 17\nt;T\n1;2\n3;4\n5;6\n7;8\n9;1\n2;3\n4;5\n6;7\n", &Options::default());
        let wanted =
            "`x.csv` can't be taken as it is\n\n  x.csv:1: has 1 cell between semicolons, and most lines have 2";
        assert_eq!(error.unwrap_err(), wanted);
        let options = Options { skip_lines: 2, ..Options::default() };
        assert_eq!(detect("Logger 3\nSerial: 17\nt;T\n1;2\n", &options).unwrap().first_line, 4);
        let error = detect("t,T\n", &Options::default()).unwrap_err();
        assert_eq!(error, "`x.csv` can't be read as a log: there is no row of values in it");
    }
}
