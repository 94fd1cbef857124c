//! Which column holds the time, how it may be written, and which columns hold values. Made out from the first rows.

use std::path::Path;

use super::cells::{Cell, Rows};
use super::error::{Fault, refused};
use super::number::Numbers;
use super::text::{Shape, shape};
use super::time::{self, Span, TimeFormat, Times, Trouble, Zone, formats_of, likely_labview, likely_unix};
use super::units::Heading;
use super::{Error, Options};

/// Rows that are looked at.
const LOOKED_AT: usize = 100;

/// What is read of each row.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// The column of the time, or those of date and time of day.
    pub(super) time: Vec<usize>,
    /// The ways in which the first time can be read.
    pub(super) times: Vec<Times>,
    pub(super) values: Vec<Wanted>,
    /// The columns were named, and are not just all that hold numbers.
    pub(super) values_given: bool,
    pub(super) first_line: u64,
    pub(super) notes: Vec<String>,
    pub(super) doubts: Vec<String>,
}

/// A column of values.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) at: usize,
    pub(super) heading: String,
    pub(super) name: String,
    pub(super) unit: Option<String>,
}

impl Choice {
    /// The columns of the time, for messages.
    pub(super) fn time_names(&self, headings: &[Heading]) -> String {
        let names = self.time.iter().filter_map(|at| headings.get(*at)).map(|heading| heading.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    }
}

/// What the first rows have in a column.
#[derive(Debug, Clone, Default)]
struct Seen {
    shapes: Vec<Shape>,
    /// The first cell that is not empty: its line, how it is shown, what it is as a number.
    first: Option<(u64, String, Option<f64>)>,
    /// Times of the file's own type.
    stored: bool,
}

impl Seen {
    /// Whether most cells look like this: the others are told with their lines when all is read.
    fn mostly(&self, wanted: Shape) -> bool {
        2 * self.shapes.iter().filter(|shape| **shape == wanted).count() > self.shapes.len()
    }

    fn is_absolute(&self, heading: &Heading) -> bool {
        let number = || {
            self.mostly(Shape::Number)
                && self.first.as_ref().is_some_and(|(_, _, number)| number.and_then(likely_unix).is_some())
        };
        self.stored || self.mostly(Shape::DateTime) || looks_like_time(heading) && number()
    }
}

struct Chooser<'a> {
    path: &'a Path,
    headings: &'a [Heading],
    options: &'a Options,
    seen: Vec<Seen>,
    first_line: u64,
}

/// Looks at the first rows. `rows` is of no use afterwards.
pub(super) fn choose(
    path: &Path,
    headings: &[Heading],
    rows: &mut dyn Rows,
    options: &Options,
) -> Result<Choice, Error> {
    let mut chooser = Chooser { path, headings, options, seen: vec![Seen::default(); headings.len()], first_line: 0 };
    chooser.look(rows)?;
    let mut notes = Vec::new();
    let time = if options.time.is_empty() { chooser.detect_time()? } else { chooser.named_time()? };
    let times = chooser.times(&time, &mut notes)?;
    let values = chooser.values(&time)?;
    Ok(Choice {
        time,
        times,
        values,
        values_given: !options.values.is_empty(),
        first_line: chooser.first_line,
        notes,
        doubts: Vec::new(),
    })
}

impl Chooser<'_> {
    fn look(&mut self, rows: &mut dyn Rows) -> Result<(), Error> {
        let mut numbers = Numbers::new(self.options.decimal, &[]);
        for _ in 0..LOOKED_AT {
            if !rows.advance()? {
                break;
            }
            if self.first_line == 0 {
                self.first_line = rows.line();
            }
            for (at, seen) in self.seen.iter_mut().enumerate() {
                let cell = rows.cell(at);
                let (found, number) = match cell {
                    Cell::Empty => continue,
                    Cell::Text(text) => (shape(text), numbers.text(text, 0)),
                    Cell::Number(number) => (Shape::Number, Some(number)),
                    Cell::Whole(number) => (Shape::Number, Some(number as f64)),
                    Cell::Instant { .. } => {
                        seen.stored = true;
                        (Shape::DateTime, None)
                    }
                    Cell::Other(_) => (Shape::Text, None),
                };
                seen.shapes.push(found);
                seen.first.get_or_insert_with(|| (rows.line(), cell.shown(), number));
            }
        }
        Ok(())
    }

    fn columns(&self) -> impl Iterator<Item = (usize, &Heading, &Seen)> {
        self.headings.iter().zip(&self.seen).enumerate().map(|(at, (heading, seen))| (at, heading, seen))
    }

    fn listed(&self) -> String {
        self.headings.iter().map(|heading| format!("`{}`", heading.name)).collect::<Vec<_>>().join(", ")
    }

    fn refuse(&self, fault: Fault, hint: impl Into<String>) -> Error {
        refused(self.path, fault, hint)
    }

    /// A column by its name, or by its number.
    fn find(&self, wanted: &str) -> Result<usize, Error> {
        let plain = Heading::parse(wanted).name;
        let exact = |heading: &Heading| heading.name == wanted.trim() || heading.name == plain;
        let alike = |heading: &Heading| heading.name.to_lowercase() == plain.to_lowercase();
        let places = |fits: &dyn Fn(&Heading) -> bool| -> Vec<usize> {
            self.columns().filter(|(_, heading, _)| fits(heading)).map(|(at, ..)| at).collect()
        };
        let found = Some(places(&exact)).filter(|found| !found.is_empty()).unwrap_or_else(|| places(&alike));
        match found.as_slice() {
            [at] => return Ok(*at),
            [] => {}
            several => {
                let numbers: Vec<String> = several.iter().map(|at| (at + 1).to_string()).collect();
                let what = format!("`{wanted}` could be columns {}", numbers.join(" and "));
                return Err(self.refuse(Fault::whole(what), "say which by its number"));
            }
        }
        if let Some(at) = wanted.trim().parse::<usize>().ok().and_then(|n| n.checked_sub(1))
            && at < self.headings.len()
        {
            return Ok(at);
        }
        let nearest = self.headings.iter().max_by(|a, b| {
            let near = |heading: &Heading| strsim::jaro_winkler(&heading.name.to_lowercase(), &plain.to_lowercase());
            near(a).total_cmp(&near(b))
        });
        let nearest = nearest
            .filter(|heading| strsim::jaro_winkler(&heading.name.to_lowercase(), &plain.to_lowercase()) > 0.75)
            .map(|heading| format!("did you mean `{}`? ", heading.name))
            .unwrap_or_default();
        let hint = format!("{nearest}the columns are {}", self.listed());
        Err(self.refuse(Fault::whole(format!("there is no column `{wanted}`")), hint))
    }

    fn named_time(&self) -> Result<Vec<usize>, Error> {
        let found: Vec<usize> = self.options.time.iter().map(|name| self.find(name)).collect::<Result<_, _>>()?;
        let [first, second] = found.as_slice() else {
            if found.len() > 2 {
                let what = "more than two columns can't be put together to a time".to_owned();
                return Err(
                    self.refuse(Fault::whole(what), "name one with `--time`, or one of dates and one of times of day")
                );
            }
            return Ok(found);
        };
        // Whichever is named first, the date comes first.
        let is_date = |at: &usize| self.seen.get(*at).is_some_and(|seen| seen.mostly(Shape::Date));
        Ok(if is_date(second) && !is_date(first) { vec![*second, *first] } else { found })
    }

    fn detect_time(&self) -> Result<Vec<usize>, Error> {
        let of = |fits: &dyn Fn(&Heading, &Seen) -> bool| -> Vec<usize> {
            self.columns().filter(|(_, heading, seen)| fits(heading, seen)).map(|(at, ..)| at).collect()
        };
        let absolute = of(&|heading, seen| seen.is_absolute(heading));
        let dates = of(&|_, seen| seen.mostly(Shape::Date));
        let clocks = of(&|_, seen| seen.mostly(Shape::TimeOfDay));
        let named = of(&|heading, seen| looks_like_time(heading) && seen.mostly(Shape::Number));
        let formatted = self.options.time_format.is_some();
        let texts = of(&|heading, seen| formatted && looks_like_time(heading) && !seen.shapes.is_empty());
        let several = |found: &[usize]| {
            let names: Vec<String> =
                found.iter().filter_map(|at| self.headings.get(*at)).map(|of| format!("`{}`", of.name)).collect();
            let what = format!("{} could each be the time", names.join(" and "));
            Err(self.refuse(Fault::line(self.first_line, what), "say which with `--time COLUMN`"))
        };
        match (absolute.as_slice(), dates.as_slice(), clocks.as_slice(), named.as_slice(), texts.as_slice()) {
            ([one], ..) => Ok(vec![*one]),
            ([], [date], [clock], ..) => Ok(vec![*date, *clock]),
            ([], [], [], [one], _) | ([], _, _, [], [one]) => Ok(vec![*one]),
            ([_, _, ..], ..) => several(&absolute),
            ([], [], [], [_, _, ..], _) => several(&named),
            _ => Err(self.no_time(&dates, &clocks)),
        }
    }

    fn no_time(&self, dates: &[usize], clocks: &[usize]) -> Error {
        let short = self.columns().find(|(_, _, seen)| seen.mostly(Shape::ShortYear));
        if let Some((_, heading, Seen { first: Some((line, text, _)), .. })) = short {
            let what = format!("`{}`: `{text}` has a year of two digits", heading.name);
            let hint =
                "say how times are written, as in `--time-format '%d.%m.%y %H:%M:%S'` (with `%.f` for a fraction)";
            return self.refuse(Fault::line(*line, what), hint);
        }
        if !dates.is_empty() || !clocks.is_empty() {
            let what = "there are dates or times of day, and not one column of each".to_owned();
            let hint = "name the columns, as in `--time Date --time Time`; times of day alone are not enough";
            return self.refuse(Fault::line(self.first_line, what), hint);
        }
        let what = format!("no column looks like a time; there are {}", self.listed());
        self.refuse(
            Fault::line(self.first_line, what),
            "name the one that is with `--time COLUMN`, and `--time-format` if it is needed",
        )
    }

    /// The ways to read the time of the first row.
    fn times(&self, columns: &[usize], notes: &mut Vec<String>) -> Result<Vec<Times>, Error> {
        let headings: Vec<&Heading> = columns.iter().filter_map(|at| self.headings.get(*at)).collect();
        let seen: Vec<&Seen> = columns.iter().filter_map(|at| self.seen.get(*at)).collect();
        let says_utc = headings.iter().any(|heading| {
            let words = heading.name.split(|c: char| !c.is_alphanumeric()).chain(heading.unit.as_deref());
            words.into_iter().any(|word| matches!(word, "UTC" | "utc" | "GMT"))
        });
        let zone = self.options.zone.clone().or_else(|| says_utc.then(Zone::utc));
        let formats = match &self.options.time_format {
            Some(format) => vec![format.clone()],
            None => self.formats(&headings, &seen)?,
        };
        let relative = formats.iter().any(|format| matches!(format, TimeFormat::Relative(_)));
        let start = self.start(relative, &headings, zone.as_ref())?;
        if says_utc
            && self.options.zone.is_none()
            && formats.iter().all(|format| !matches!(format, TimeFormat::Unix(_)))
        {
            notes.push("times are in UTC, as the name of their column says".to_owned());
        }
        Ok(formats.into_iter().map(|format| Times::new(format, zone.clone(), self.options.fold, start)).collect())
    }

    fn formats(&self, headings: &[&Heading], seen: &[&Seen]) -> Result<Vec<TimeFormat>, Error> {
        if seen.iter().any(|seen| seen.stored) {
            return Ok(vec![TimeFormat::Stored]);
        }
        let firsts: Vec<&(u64, String, Option<f64>)> = seen.iter().filter_map(|seen| seen.first.as_ref()).collect();
        let name = headings.iter().map(|heading| heading.name.as_str()).collect::<Vec<_>>().join(" ");
        let Some((line, ..)) = firsts.first().copied() else {
            return Err(self.refuse(Fault::whole(format!("`{name}` is empty")), "name another column with `--time`"));
        };
        let unit = headings.first().and_then(|heading| heading.unit.as_deref()).and_then(Span::of_unit);
        if let [(_, text, Some(number))] = firsts.as_slice() {
            return match likely_unix(*number) {
                Some(TimeFormat::Unix(span)) if unit.is_some_and(|unit| unit != span) => {
                    let what = format!("`{name}`: `{text}` counts in other steps than its column says");
                    let hint = "say what it is with `--time-format unix-s`, `unix-ms`, `relative-s` or the like";
                    Err(self.refuse(Fault::line(*line, what), hint))
                }
                Some(format) => Ok(vec![format]),
                None if likely_labview(*number) => {
                    let what = format!(
                        "`{name}`: `{text}` is no time of our days if it counts from 1970, and one if it counts from 1904"
                    );
                    Err(self.refuse(Fault::line(*line, what), "if LabVIEW wrote it, say `--time-format labview`"))
                }
                None if number.abs() < 1e8 || unit.is_some() => {
                    Ok(vec![TimeFormat::Relative(unit.unwrap_or(Span::Seconds))])
                }
                None => {
                    let what = format!("`{name}`: `{text}` is no time of our days");
                    let hint = "say what it counts with `--time-format unix-s`, `relative-s` or the like";
                    Err(self.refuse(Fault::line(*line, what), hint))
                }
            };
        }
        let text = firsts.iter().map(|(_, text, _)| text.as_str()).collect::<Vec<_>>().join(" ");
        let formats = formats_of(&text);
        if formats.is_empty() {
            let what = format!("`{name}`: `{text}` is no time as labs usually write it");
            let hint =
                "say how times are written, as in `--time-format '%d.%m.%y %H:%M:%S'` (with `%.f` for a fraction)";
            return Err(self.refuse(Fault::line(*line, what), hint));
        }
        Ok(formats)
    }

    fn start(&self, relative: bool, headings: &[&Heading], zone: Option<&Zone>) -> Result<i64, Error> {
        let Some(text) = self.options.start.as_deref() else {
            if relative {
                let name = headings.first().map(|heading| heading.name.as_str()).unwrap_or_default();
                let what = format!("`{name}` counts from a start that the file does not name");
                let hint = "say when it began, as in `--start 2026-11-22T14:03:05+01:00`";
                return Err(self.refuse(Fault::line(self.first_line, what), hint));
            }
            return Ok(0);
        };
        if !relative {
            let what = "a start was given, and its times don't count from one".to_owned();
            return Err(self.refuse(Fault::whole(what), "leave `--start` out, or say `--time-format relative-s`"));
        }
        time::given(text, zone).map_err(|trouble| {
            let (what, hint) = match trouble {
                Trouble::NoZone => {
                    ("names no zone", "write it as in `--start 2026-11-22T14:03:05+01:00`, or say `--zone`")
                }
                Trouble::Twice(_) | Trouble::Never(_) => ("is no single time in its zone", "give the start in UTC"),
                _ => ("can't be read", "write it as in `--start 2026-11-22T14:03:05+01:00`"),
            };
            self.refuse(Fault::whole(format!("the start `{text}` {what}")), hint)
        })
    }

    fn values(&self, time: &[usize]) -> Result<Vec<Wanted>, Error> {
        let mut places: Vec<usize> = Vec::new();
        if self.options.values.is_empty() {
            places.extend((0..self.headings.len()).filter(|at| !time.contains(at)));
        }
        for name in &self.options.values {
            let at = self.find(name)?;
            if time.contains(&at) {
                return Err(self.refuse(Fault::whole(format!("`{name}` is the time")), "name a column of values"));
            }
            if !places.contains(&at) {
                places.push(at);
            }
        }
        let mut wanted: Vec<Wanted> = places
            .into_iter()
            .filter_map(|at| {
                let heading = self.headings.get(at)?;
                let (name, unit) = (heading.name.clone(), heading.unit.clone());
                Some(Wanted { at, heading: name.clone(), name, unit })
            })
            .collect();
        for (column, unit) in &self.options.units {
            let at = self.find(column)?;
            let unit = Some(unit.trim().to_owned()).filter(|unit| !unit.is_empty());
            self.of(&mut wanted, at, column)?.unit = unit;
        }
        for (column, name) in &self.options.renames {
            let at = self.find(column)?;
            self.of(&mut wanted, at, column)?.name = name.trim().to_owned();
        }
        Ok(wanted)
    }

    fn of<'w>(&self, wanted: &'w mut [Wanted], at: usize, column: &str) -> Result<&'w mut Wanted, Error> {
        wanted.iter_mut().find(|wanted| wanted.at == at).ok_or_else(|| {
            let what = format!("`{column}` is none of the columns of values");
            self.refuse(Fault::whole(what), "name it with `--value` as well")
        })
    }
}

/// Whether a heading is that of a time.
fn looks_like_time(heading: &Heading) -> bool {
    let name = heading.name.to_lowercase();
    ["time", "zeit", "datum", "date", "elapsed", "epoch", "unix"].iter().any(|word| name.contains(word))
        // A `T` is a temperature.
        || matches!(heading.name.as_str(), "t" | "ts" | "seconds" | "sec" | "s" | "UTC" | "utc")
            && heading.unit.as_deref().is_none_or(|unit| Span::of_unit(unit).is_some() || unit == "UTC")
}
