//! Times as files have them, and what they are in nanoseconds since 1970.

mod civil;
mod zone;

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;

use super::cells::Cell;
use super::number::Numbers;
pub(super) use civil::{Order, has_short_year, is_date, is_time_of_day};
use zone::Clock;
pub use zone::{Fold, InvalidZone, Zone};

/// What a number of a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// 3600 s.
    Hours,
    /// 60 s.
    Minutes,
    /// 1 s.
    Seconds,
    /// 1/1000 s.
    Millis,
    /// 1/1000 of that.
    Micros,
    /// 1/1000 of that.
    Nanos,
}

/// Longest times of a stream: stamps are nanoseconds in 64 bits, which last from 1678 to 2261.
const LARGEST_SECONDS: f64 = 9.2e9;

impl Span {
    /// The unit of a heading as a span.
    pub(super) fn of_unit(unit: &str) -> Option<Self> {
        Some(match unit {
            "h" | "hours" => Self::Hours,
            "min" | "minutes" => Self::Minutes,
            "s" | "sec" | "seconds" => Self::Seconds,
            "ms" => Self::Millis,
            "us" | "µs" | "μs" => Self::Micros,
            "ns" => Self::Nanos,
            _ => return None,
        })
    }

    fn nanos(self) -> i64 {
        match self {
            Self::Hours => 3_600_000_000_000,
            Self::Minutes => 60_000_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Millis => 1_000_000,
            Self::Micros => 1_000,
            Self::Nanos => 1,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Hours => "h",
            Self::Minutes => "min",
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Nanos => "ns",
        }
    }

    /// Nanoseconds of a number of these. Seconds and their fraction go apart, so that no digit of an `f64` is lost.
    fn of(self, number: f64) -> Option<i64> {
        let per_second = 1e9 / self.nanos() as f64;
        if !number.is_finite() || (number / per_second).abs() > LARGEST_SECONDS {
            return None;
        }
        let unit = self.nanos() as f64;
        let whole = number.trunc();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both are in the range of nanoseconds, as was just checked"
        )]
        let (whole, fraction) = (whole as i64, ((number - whole) * unit).round() as i64);
        whole.checked_mul(self.nanos())?.checked_add(fraction)
    }
}

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// Counted from 1970.
    Unix(Span),
    /// Seconds from 1904, as LabVIEW counts.
    LabView,
    /// Counted from a start that somebody has to say.
    Relative(Span),
    /// `2026-11-22T14:03:05.123+01:00` and the like: the year first.
    Iso,
    /// `22.11.2026 14:03:05` and the like.
    DayFirst,
    /// `11/22/2026 14:03:05` and the like.
    MonthFirst,
    /// As `strptime` takes it.
    Pattern(String),
    /// A type of the file's own.
    Stored,
}

/// Why a text names no time format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time format; write `unix-s`, `unix-ms`, `unix-us`, `unix-ns`, `relative-s` (or -h, -min, -ms, -us, -ns), \
     `labview`, `iso`, `day-first`, `month-first`, or a pattern such as `%m/%d/%y %H:%M:%S%.f`"
)]
pub struct InvalidTimeFormat(String);

impl FromStr for TimeFormat {
    type Err = InvalidTimeFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTimeFormat(text.to_owned());
        if text.contains('%') {
            return Ok(Self::Pattern(text.to_owned()));
        }
        if let Some(span) = text.strip_prefix("unix-") {
            let span = Span::of_unit(span).filter(|span| !matches!(span, Span::Hours | Span::Minutes));
            return span.map(Self::Unix).ok_or_else(invalid);
        }
        if let Some(span) = text.strip_prefix("relative-") {
            return Span::of_unit(span).map(Self::Relative).ok_or_else(invalid);
        }
        match text {
            "unix" => Ok(Self::Unix(Span::Seconds)),
            "relative" => Ok(Self::Relative(Span::Seconds)),
            "labview" => Ok(Self::LabView),
            "iso" | "year-first" => Ok(Self::Iso),
            "day-first" => Ok(Self::DayFirst),
            "month-first" => Ok(Self::MonthFirst),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(span) => write!(f, "unix-{}", span.word()),
            Self::LabView => f.write_str("labview"),
            Self::Relative(span) => write!(f, "relative-{}", span.word()),
            Self::Iso => f.write_str("iso"),
            Self::DayFirst => f.write_str("day-first"),
            Self::MonthFirst => f.write_str("month-first"),
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::Stored => f.write_str("time stamps of the file"),
        }
    }
}

impl TimeFormat {
    fn order(&self) -> Option<Order> {
        match self {
            Self::Iso => Some(Order::Year),
            Self::DayFirst => Some(Order::Day),
            Self::MonthFirst => Some(Order::Month),
            _ => None,
        }
    }
}

/// The formats of dates in which a text can be read.
pub(super) fn formats_of(text: &str) -> Vec<TimeFormat> {
    let all = [TimeFormat::Iso, TimeFormat::DayFirst, TimeFormat::MonthFirst];
    all.into_iter().filter(|format| format.order().is_some_and(|order| civil::read(text, order).is_some())).collect()
}

/// Seconds from 1904 to 1970: 66 years, 17 of them leap years. LabVIEW counts from the beginning of 1904 in UTC. Source: NI,
/// "LabVIEW Timestamp Overview".
const LABVIEW_ZERO: i64 = 2_082_844_800;

/// Times that a log of today can have: 2000 to 2060, in seconds from 1970. Counts from 1904 do not overlap with it.
const LIKELY: std::ops::Range<f64> = 946_684_800.0..2_840_140_800.0;

/// What a number is if it is a time of our days.
pub(super) fn likely_unix(number: f64) -> Option<TimeFormat> {
    let spans = [Span::Seconds, Span::Millis, Span::Micros, Span::Nanos];
    let found = spans.into_iter().find(|span| LIKELY.contains(&(number * span.nanos() as f64 / 1e9)));
    found.map(TimeFormat::Unix)
}

/// Whether a number is a time of our days if it counts from 1904.
pub(super) fn likely_labview(number: f64) -> bool {
    LIKELY.contains(&(number - LABVIEW_ZERO as f64))
}

/// Why a time can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is none.
    Empty,
    /// It is written in another way.
    Unreadable,
    /// It names no zone, and nobody said which one is meant.
    NoZone,
    /// The zone's clocks showed it twice.
    Twice(Zoned),
    /// The zone's clocks never showed it.
    Never(Zoned),
}

/// The zone of a time, for messages.
pub(super) type Zoned = String;

/// Reads times of one format, row by row.
#[derive(Debug, Clone)]
pub(super) struct Times {
    pub(super) format: TimeFormat,
    clock: Option<Clock>,
    start: i64,
}

impl Times {
    pub(super) fn new(format: TimeFormat, zone: Option<Zone>, fold: Option<Fold>, start: i64) -> Self {
        Self { format, clock: zone.map(|zone| Clock::new(zone, fold)), start }
    }

    /// The zone of times that name none.
    pub(super) fn zone(&self) -> Option<&Zone> {
        self.clock.as_ref().map(Clock::zone)
    }

    /// Nanoseconds since 1970, and whether the zone was needed.
    pub(super) fn read(&mut self, cell: Cell<'_>, numbers: &mut Numbers, line: u64) -> Result<(i64, bool), Trouble> {
        match (cell, &self.format) {
            (Cell::Empty, _) => Err(Trouble::Empty),
            (Cell::Instant { nanos, utc: true }, TimeFormat::Stored) => Ok((nanos, false)),
            (Cell::Instant { nanos, utc: false }, TimeFormat::Stored) => {
                let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_err(|_| Trouble::Unreadable)?;
                self.local(jiff::tz::Offset::UTC.to_datetime(at))
            }
            (_, TimeFormat::Unix(span)) => Ok((counted(cell, *span, numbers, line)?, false)),
            (_, TimeFormat::LabView) => {
                let from_1904 = counted(cell, Span::Seconds, numbers, line)?;
                Ok((from_1904.checked_sub(LABVIEW_ZERO * 1_000_000_000).ok_or(Trouble::Unreadable)?, false))
            }
            (_, TimeFormat::Relative(span)) => {
                let since = counted(cell, *span, numbers, line)?;
                Ok((self.start.checked_add(since).ok_or(Trouble::Unreadable)?, false))
            }
            (Cell::Text(text), TimeFormat::Pattern(pattern)) => self.patterned(text, &pattern.clone()),
            (Cell::Text(text), format) => {
                let civil = format.order().and_then(|order| civil::read(text, order)).ok_or(Trouble::Unreadable)?;
                match civil.offset {
                    Some(offset) => Ok((zone::nanos(civil.at, offset).ok_or(Trouble::Unreadable)?, false)),
                    None => self.local(civil.at),
                }
            }
            _ => Err(Trouble::Unreadable),
        }
    }

    fn patterned(&mut self, text: &str, pattern: &str) -> Result<(i64, bool), Trouble> {
        let read = jiff::fmt::strtime::parse(pattern, text).map_err(|_| Trouble::Unreadable)?;
        if read.offset().is_some() || read.iana_time_zone().is_some() || pattern.contains("%s") {
            let at = read.to_timestamp().map_err(|_| Trouble::Unreadable)?;
            return Ok((i64::try_from(at.as_nanosecond()).map_err(|_| Trouble::Unreadable)?, false));
        }
        self.local(read.to_datetime().map_err(|_| Trouble::Unreadable)?)
    }

    fn local(&mut self, at: DateTime) -> Result<(i64, bool), Trouble> {
        let clock = self.clock.as_mut().ok_or(Trouble::NoZone)?;
        let nanos = clock.utc(at).map_err(|odd| match odd {
            zone::Odd::Twice => Trouble::Twice(clock.zone().to_string()),
            zone::Odd::Never => Trouble::Never(clock.zone().to_string()),
        })?;
        Ok((nanos, true))
    }
}

/// A number as a time.
fn counted(cell: Cell<'_>, span: Span, numbers: &mut Numbers, line: u64) -> Result<i64, Trouble> {
    let found = match cell {
        Cell::Whole(number) => number.checked_mul(span.nanos()),
        Cell::Number(number) => span.of(number),
        // Whole numbers as they are: nanoseconds since 1970 have more digits than an f64.
        Cell::Text(text) => match text.parse::<i64>() {
            Ok(number) => number.checked_mul(span.nanos()),
            Err(_) => numbers.text(text, line).and_then(|number| span.of(number)),
        },
        _ => None,
    };
    found.ok_or(Trouble::Unreadable)
}

/// A time that a person gives: with a zone, or in this one.
pub(super) fn given(text: &str, zone: Option<&Zone>) -> Result<i64, Trouble> {
    let zone = zone.cloned();
    let mut numbers = Numbers::new(Some(super::Decimal::Point), &[]);
    let formats = [TimeFormat::Iso, TimeFormat::DayFirst];
    let read =
        |format: TimeFormat| Times::new(format, zone.clone(), None, 0).read(Cell::of(text), &mut numbers.clone(), 0);
    if text.contains(':') {
        let [iso, day_first] = formats;
        return match read(iso) {
            Err(Trouble::Unreadable) if text.contains('.') => read(day_first).map(|(nanos, _)| nanos),
            found => found.map(|(nanos, _)| nanos),
        };
    }
    let number = numbers.text(text.trim(), 0).ok_or(Trouble::Unreadable)?;
    match likely_unix(number) {
        Some(TimeFormat::Unix(span)) => span.of(number).ok_or(Trouble::Unreadable),
        _ => Err(Trouble::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(format: &str, zone: Option<&str>, text: &str) -> Result<i64, Trouble> {
        let zone = zone.map(|zone| zone.parse().unwrap());
        let mut times = Times::new(format.parse().unwrap(), zone, None, 1_000_000_000);
        times.read(Cell::of(text), &mut Numbers::new(None, &[]), 1).map(|(nanos, _)| nanos)
    }

    #[test]
    fn every_format_leads_to_the_same_instant() {
        // 2026-11-22T14:03:05.5Z
        let wanted = Ok(1_795_356_185_500_000_000);
        for (format, zone, text) in [
            ("unix-s", None, "1795356185.5"),
            ("unix-s", None, "1795356185,5"),
            ("unix-s", None, "1.7953561855e9"),
            ("unix-ms", None, "1795356185500"),
            ("unix-us", None, "1795356185500000"),
            ("unix-ns", None, "1795356185500000000"),
            ("labview", None, "3878200985.5"),
            ("iso", None, "2026-11-22T15:03:05.5+01:00"),
            ("iso", Some("Europe/Berlin"), "2026-11-22 15:03:05.5"),
            ("day-first", Some("UTC"), "22.11.2026 14:03:05,5"),
            ("month-first", Some("-05:00"), "11/22/2026 9:03:05.5 AM"),
            ("%d.%m.%y %H-%M-%S%.f", Some("UTC"), "22.11.26 14-03-05.5"),
            ("%Y-%m-%dT%H:%M:%S%.f%z", None, "2026-11-22T15:03:05.5+0100"),
        ] {
            assert_eq!(read(format, zone, text), wanted, "{format} {text}");
        }
        assert_eq!(read("relative-ms", None, "1500.25"), Ok(2_500_250_000));
        assert_eq!(read("relative-min", None, "0.5"), Ok(31_000_000_000));
        assert_eq!(read("iso", None, "2026-11-22 15:03:05"), Err(Trouble::NoZone));
        assert_eq!(read("unix-s", None, "1e300"), Err(Trouble::Unreadable));
    }

    #[test]
    fn formats_have_names_that_lead_back() {
        for name in
            ["unix-s", "unix-ns", "relative-h", "relative-us", "labview", "iso", "day-first", "month-first", "%s"]
        {
            assert_eq!(name.parse::<TimeFormat>().unwrap().to_string(), name);
        }
        for wrong in ["", "unix-h", "excel", "relative-d"] {
            assert!(wrong.parse::<TimeFormat>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_our_days_say_what_they_count() {
        assert_eq!(likely_unix(1_795_356_185.5), Some(TimeFormat::Unix(Span::Seconds)));
        assert_eq!(likely_unix(1_795_356_185_500.0), Some(TimeFormat::Unix(Span::Millis)));
        assert_eq!(likely_unix(1.7953561855e18), Some(TimeFormat::Unix(Span::Nanos)));
        assert_eq!([0.0, 12.5, 3_878_200_985.5, 45_983.6].map(likely_unix), [const { None }; 4]);
        assert!(likely_labview(3_878_200_985.5) && !likely_labview(1_795_356_185.5));
    }

    #[test]
    fn a_start_is_taken_as_people_write_it() {
        let utc = Zone::utc();
        assert_eq!(given("2026-11-22T14:03:05.5Z", None), Ok(1_795_356_185_500_000_000));
        assert_eq!(given("2026-11-22 14:03:05.5", Some(&utc)), Ok(1_795_356_185_500_000_000));
        assert_eq!(given("22.11.2026 14:03:05.5", Some(&utc)), Ok(1_795_356_185_500_000_000));
        assert_eq!(given("1795356185.5", None), Ok(1_795_356_185_500_000_000));
        assert_eq!(given("2026-11-22 14:03:05", None), Err(Trouble::NoZone));
        assert_eq!(given("03/04/2026 14:03:05", Some(&utc)), Err(Trouble::Unreadable));
    }

    proptest! {
        /// Seconds with a fraction come back to the bit.
        #[test]
        fn no_digit_of_a_time_is_lost(seconds in 946_684_800.0..2_840_140_800.0_f64) {
            let nanos = Span::Seconds.of(seconds).unwrap();
            prop_assert_eq!(crate::logfile::chunks::seconds(nanos), seconds);
        }
    }
}
