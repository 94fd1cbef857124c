//! The second reading of a file: its points, a chunk at a time.

use std::path::PathBuf;

use super::Error;
use super::cells::Rows;
use super::number::Value;
use super::survey::{Column, Reading, Survey, fits, time_cell};

/// Points of some rows: a time for each, and a value of each column, which is NaN where there is none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Seconds since 1970.
    pub times: Vec<f64>,
    /// By column, as [`Survey::columns`] lists them.
    pub values: Vec<Vec<f64>>,
}

/// The chunks of a file, from the first.
pub struct Chunks {
    path: PathBuf,
    digest: String,
    rows: Box<dyn Rows>,
    reading: Reading,
    columns: Vec<Column>,
    points: usize,
    joined: String,
}

impl Chunks {
    pub(super) fn open(survey: &Survey, points: usize) -> Result<Self, Error> {
        Ok(Self {
            path: survey.path.clone(),
            digest: survey.digest.clone(),
            rows: survey.reading.rows(&survey.path)?,
            reading: survey.reading.clone(),
            columns: survey.columns.clone(),
            points: points.max(1),
            joined: String::new(),
        })
    }

    /// Puts the next rows into `batch`; false when there are none. An error says that the file is not what it was.
    pub fn next(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.times.clear();
        batch.values.resize(self.columns.len(), Vec::new());
        batch.values.iter_mut().for_each(Vec::clear);
        while batch.times.len() < self.points && self.rows.advance()? {
            let line = self.rows.line();
            if !fits(self.rows.as_ref(), self.reading.width) {
                self.skip()?;
                continue;
            }
            let cell = time_cell(self.rows.as_ref(), &self.reading.time, &mut self.joined);
            let Ok((at, _)) = self.reading.times.read(cell, &mut self.reading.numbers, line) else {
                self.skip()?;
                continue;
            };
            batch.times.push(seconds(at));
            for (column, values) in self.columns.iter().zip(&mut batch.values) {
                let value = match self.reading.numbers.read(self.rows.cell(column.at), line) {
                    Value::Is(value) => value,
                    Value::Missing => f64::NAN,
                    Value::Bad if self.reading.options.skip_bad => f64::NAN,
                    Value::Bad => return Err(Error::Changed(self.path.clone())),
                };
                values.push(value);
            }
        }
        Ok(!batch.times.is_empty())
    }

    /// Leaves a row out as the survey did, or says that the survey has not seen it.
    fn skip(&self) -> Result<(), Error> {
        if self.reading.options.skip_bad { Ok(()) } else { Err(Error::Changed(self.path.clone())) }
    }

    /// Makes sure, at the end, that the content is what the survey found.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.rows.digest()? == self.digest { Ok(()) } else { Err(Error::Changed(self.path)) }
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("path", &self.path).field("line", &self.rows.line()).finish_non_exhaustive()
    }
}

/// Seconds since 1970. Whole ones and the fraction apart: nanoseconds since 1970 have more digits than an `f64`.
pub(super) fn seconds(nanos: i64) -> f64 {
    nanos.div_euclid(1_000_000_000) as f64 + nanos.rem_euclid(1_000_000_000) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::logfile::{Options, Zone, survey};

    /// How a program may write a table.
    #[derive(Debug, Clone)]
    struct Style {
        delimiter: char,
        comma: bool,
        end: &'static str,
        mark: bool,
        trailing: bool,
        time: usize,
    }

    fn style() -> impl Strategy<Value = Style> {
        let delimiters = prop_oneof![Just((',', false)), Just((';', false)), Just((';', true)), Just(('\t', false))];
        let ends = prop_oneof![Just("\n"), Just("\r\n")];
        (delimiters, ends, any::<bool>(), any::<bool>(), 0..4_usize).prop_map(
            |((delimiter, comma), end, mark, trailing, time)| Style { delimiter, comma, end, mark, trailing, time },
        )
    }

    /// Milliseconds since a moment of 2026 as the styles of times write them.
    fn time(style: &Style, millis: i64) -> String {
        let at = jiff::Timestamp::from_millisecond(1_795_356_185_000 + millis).unwrap();
        match style.time {
            0 => at.to_string(),
            1 => at.strftime("%d.%m.%Y %H:%M:%S.%3f").to_string(),
            2 => at.as_millisecond().to_string(),
            _ => at.strftime("%m/%d/%Y %I:%M:%S.%3f %p").to_string(),
        }
    }

    fn text(style: &Style, rows: &[(i64, Option<f64>, f64)]) -> String {
        let (delimiter, tail) =
            (style.delimiter, if style.trailing { style.delimiter.to_string() } else { String::new() });
        let number = |number: f64| if style.comma { number.to_string().replace('.', ",") } else { number.to_string() };
        let mut text = if style.mark { "\u{feff}".to_owned() } else { String::new() };
        write!(text, "time{delimiter}a [V]{delimiter}b{tail}{}", style.end).unwrap();
        for (millis, a, b) in rows {
            let (time, a, b) = (time(style, *millis), a.map(number).unwrap_or_default(), number(*b));
            write!(text, "{time}{delimiter}{a}{delimiter}{b}{tail}{}", style.end).unwrap();
        }
        text
    }

    proptest! {
        /// However a table is written and cut into chunks, its numbers come back to the bit.
        #[test]
        fn every_style_gives_the_same_points(
            style in style(),
            rows in proptest::collection::vec((0..10_000_000_i64, proptest::option::of(-1e9..1e9_f64), -1e-3..1e-3_f64), 1..60),
            points in 1..70_usize,
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text(&style, &rows)).unwrap();
            let options = Options { zone: Some(Zone::utc()), ..Options::default() };
            let found = survey(file.path(), &options, &mut |_| true).unwrap();
            prop_assert_eq!(found.rows, u64::try_from(rows.len()).unwrap());
            let with_a = rows.iter().any(|(_, a, _)| a.is_some());
            prop_assert_eq!(found.columns.len(), 1 + usize::from(with_a));
            let mut chunks = found.chunks(points).unwrap();
            let (mut batch, mut all) = (Batch::default(), Vec::new());
            while chunks.next(&mut batch).unwrap() {
                prop_assert!(batch.times.len() <= points);
                for (place, at) in batch.times.iter().enumerate() {
                    let a = if with_a { batch.values[0][place] } else { f64::NAN };
                    all.push((*at, a.is_finite().then_some(a), batch.values[usize::from(with_a)][place]));
                }
            }
            chunks.finish().unwrap();
            let wanted: Vec<(f64, Option<f64>, f64)> =
                rows.iter().map(|(millis, a, b)| (seconds((1_795_356_185_000 + millis) * 1_000_000), *a, *b)).collect();
            prop_assert_eq!(all, wanted);
        }
    }

    #[test]
    fn a_file_that_changes_between_its_readings_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "time,a\n2026-11-22T14:03:05Z,1\n").unwrap();
        let found = survey(file.path(), &Options::default(), &mut |_| true).unwrap();
        std::fs::write(file.path(), "time,a\n2026-11-22T14:03:05Z,2\n").unwrap();
        let mut chunks = found.chunks(10).unwrap();
        let mut batch = Batch::default();
        while chunks.next(&mut batch).unwrap() {}
        assert!(matches!(chunks.finish(), Err(Error::Changed(_))));
    }
}
