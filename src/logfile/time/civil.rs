//! Dates and times of day as labs write them: `2026-11-22T14:03:05.123+01:00`, `22.11.2026 14:03:05`, `11/22/2026 2:03 PM`.

use jiff::civil::{Date, DateTime, Time};

/// Which comes first in a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::logfile) enum Order {
    /// `2026-11-22`, also ISO 8601.
    Year,
    /// `22.11.2026`
    Day,
    /// `11/22/2026`
    Month,
}

impl Order {
    pub(in crate::logfile) const ALL: [Self; 3] = [Self::Year, Self::Day, Self::Month];
}

/// A date and time of day, with its distance from UTC in seconds if it says so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Civil {
    pub(super) at: DateTime,
    pub(super) offset: Option<i32>,
}

/// Reads a date and a time of day; none if it is written in another way.
pub(super) fn read(text: &str, order: Order) -> Option<Civil> {
    let mut scan = Scan { rest: text.as_bytes() };
    let date = scan.date(order)?;
    let between = scan.skip(b" T_,t");
    let time = scan.time(if between == 0 { Colons::Never } else { Colons::AsWritten })?;
    let offset = scan.offset()?;
    scan.rest.is_empty().then_some(Civil { at: DateTime::from_parts(date, time), offset })
}

/// Whether it is a date alone, in any order.
pub(in crate::logfile) fn is_date(text: &str) -> bool {
    Order::ALL.into_iter().any(|order| {
        let mut scan = Scan { rest: text.as_bytes() };
        scan.date(order).is_some() && scan.rest.is_empty()
    })
}

/// Whether it is a time of day alone.
pub(in crate::logfile) fn is_time_of_day(text: &str) -> bool {
    let mut scan = Scan { rest: text.as_bytes() };
    text.contains(':') && scan.time(Colons::AsWritten).is_some() && scan.offset().is_some() && scan.rest.is_empty()
}

/// Whether it is a date with a two-digit year, which says neither which number is the year nor which century it is in.
pub(in crate::logfile) fn has_short_year(text: &str) -> bool {
    let mut scan = Scan { rest: text.as_bytes() };
    let mut number = || scan.number(1, 2).is_some() && scan.one(b"-/.").is_some();
    number() && number() && scan.number(2, 2).is_some() && !scan.rest.first().is_some_and(u8::is_ascii_digit)
}

#[derive(Clone, Copy, PartialEq)]
enum Colons {
    AsWritten,
    /// `T140305` right behind a date that has no separators either is not read: it could be anything.
    Never,
}

struct Scan<'a> {
    rest: &'a [u8],
}

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

impl Scan<'_> {
    /// A number of so many digits, and how many it has.
    fn number(&mut self, least: usize, most: usize) -> Option<(i32, usize)> {
        let digits = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if digits < least {
            return None;
        }
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        Some((number.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')), digits))
    }

    /// One of these characters.
    fn one(&mut self, of: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        of.contains(first).then(|| {
            self.rest = rest;
            *first
        })
    }

    fn skip(&mut self, of: &[u8]) -> usize {
        let count = self.rest.iter().take_while(|byte| of.contains(byte)).count();
        self.rest = self.rest.get(count..).unwrap_or_default();
        count
    }

    fn month_name(&mut self) -> Option<i32> {
        let name = self.rest.get(..3)?.to_ascii_lowercase();
        let month = MONTHS.iter().position(|month| *month == name)?;
        self.rest = self.rest.get(3..)?;
        // The rest of a month that is written out.
        let letters = self.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        self.rest = self.rest.get(letters..)?;
        i32::try_from(month + 1).ok()
    }

    fn date(&mut self, order: Order) -> Option<Date> {
        let compact = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count() == 8;
        if compact {
            let all = self.number(8, 8)?.0;
            return (order == Order::Year).then(|| date(all / 10_000, all / 100 % 100, all % 100)).flatten();
        }
        let (first, digits) = self.number(1, 4)?;
        if (digits == 4) != (order == Order::Year) {
            return None;
        }
        let separator = self.one(b"-/. ")?;
        let named = self.month_name();
        let (second, _) = named.map_or_else(|| self.number(1, 2), |month| Some((month, 0)))?;
        self.one(&[separator])?;
        if named.is_none() && separator == b' ' {
            return None;
        }
        match order {
            Order::Year => date(first, second, self.number(1, 2)?.0),
            // Nobody writes 11.22.2026, and a month that is written out is no day.
            Order::Month if separator == b'.' || named.is_some() => None,
            Order::Day => date(self.number(4, 4)?.0, second, first),
            Order::Month => date(self.number(4, 4)?.0, first, second),
        }
    }

    fn time(&mut self, colons: Colons) -> Option<Time> {
        let compact = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count() == 6;
        let (mut hour, minute, mut second) = if compact && colons == Colons::AsWritten {
            (self.number(2, 2)?.0, self.number(2, 2)?.0, Some(self.number(2, 2)?.0))
        } else {
            if colons == Colons::Never {
                return None;
            }
            let hour = self.number(1, 2)?.0;
            self.one(b":")?;
            let minute = self.number(2, 2)?.0;
            let second = if self.one(b":").is_some() { Some(self.number(2, 2)?.0) } else { None };
            (hour, minute, second)
        };
        let mut nanos = 0;
        if second.is_some() && self.one(b".,").is_some() {
            let (number, digits) = self.number(1, 9)?;
            nanos = (digits..9).fold(number, |number, _| number * 10);
            // Finer than a nanosecond.
            self.skip(b"0123456789");
        }
        let before = self.rest;
        self.skip(b" ");
        match self.half() {
            Some(_) if !(1..=12).contains(&hour) => return None,
            Some(afternoon) => hour = hour % 12 + if afternoon { 12 } else { 0 },
            None => self.rest = before,
        }
        let second = *second.get_or_insert(0);
        let small = |number: i32| i8::try_from(number).ok();
        Time::new(small(hour)?, small(minute)?, small(second)?, nanos).ok()
    }

    /// `AM` or `PM`.
    fn half(&mut self) -> Option<bool> {
        let afternoon = match self.rest.get(..2)?.to_ascii_lowercase().as_slice() {
            b"am" => false,
            b"pm" => true,
            _ => return None,
        };
        self.rest = self.rest.get(2..)?;
        Some(afternoon)
    }

    /// What says how far from UTC it is. None if there is something that can't be read.
    fn offset(&mut self) -> Option<Option<i32>> {
        self.skip(b" ");
        if self.rest.is_empty() {
            return Some(None);
        }
        for word in ["Z", "z", "UTC", "GMT"] {
            if self.rest == word.as_bytes() {
                self.rest = &[];
                return Some(Some(0));
            }
        }
        let sign = if self.one(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.number(2, 2)?.0;
        self.skip(b":");
        let minutes = if self.rest.is_empty() { 0 } else { self.number(2, 2)?.0 };
        (hours <= 15 && minutes < 60).then_some(Some(sign * (hours * 3600 + minutes * 60)))
    }
}

fn date(year: i32, month: i32, day: i32) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str, order: Order) -> Option<String> {
        read(text, order).map(|civil| match civil.offset {
            Some(offset) => format!("{} {offset}", civil.at),
            None => civil.at.to_string(),
        })
    }

    #[test]
    fn labs_write_times_in_many_ways() {
        let cases = [
            ("2026-11-22T14:03:05.123Z", Order::Year, "2026-11-22T14:03:05.123 0"),
            ("2026-11-22 14:03:05,5 +01:00", Order::Year, "2026-11-22T14:03:05.5 3600"),
            ("2026-11-22T14:03:05-0530", Order::Year, "2026-11-22T14:03:05 -19800"),
            ("2026/1/2 3:04", Order::Year, "2026-01-02T03:04:00"),
            ("20261122T140305", Order::Year, "2026-11-22T14:03:05"),
            ("20261122 140305.25", Order::Year, "2026-11-22T14:03:05.25"),
            ("22.11.2026 14:03:05.123456789123", Order::Day, "2026-11-22T14:03:05.123456789"),
            ("22.11.2026, 14:03", Order::Day, "2026-11-22T14:03:00"),
            ("22-Nov-2026 14:03:05", Order::Day, "2026-11-22T14:03:05"),
            ("22 November 2026 14:03:05 UTC", Order::Day, "2026-11-22T14:03:05 0"),
            ("11/22/2026 2:03:05 PM", Order::Month, "2026-11-22T14:03:05"),
            ("11/22/2026 12:00:00 am", Order::Month, "2026-11-22T00:00:00"),
        ];
        for (text, order, wanted) in cases {
            assert_eq!(read_as(text, order).as_deref(), Some(wanted), "{text}");
            let others = Order::ALL.into_iter().filter(|other| *other != order);
            assert!(others.clone().all(|other| read(text, other).is_none()), "{text}");
        }
    }

    #[test]
    fn a_date_that_could_be_two_is_read_as_both() {
        assert_eq!(read_as("03/04/2026 00:00:00", Order::Day).as_deref(), Some("2026-04-03T00:00:00"));
        assert_eq!(read_as("03/04/2026 00:00:00", Order::Month).as_deref(), Some("2026-03-04T00:00:00"));
        assert_eq!(read("03.04.2026 00:00:00", Order::Month), None);
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "2026-11-22",
            "14:03:05",
            "2026-13-22 14:03:05",
            "2026-02-29 00:00",
            "22.11.26 14:03:05",
            "2026-11-22 24:00:00",
            "2026-11-22 14:03:05 CET",
            "2026-11-22 14:03:05 PM",
            "2026-11-22 14:03:05x",
            "2026-11-22 14",
            "",
            "650.5",
            "20261122140305",
            "2026-11/22 14:03:05",
            "22 11 2026 14:03:05",
        ] {
            assert!(Order::ALL.into_iter().all(|order| read(text, order).is_none()), "{text}");
        }
    }

    #[test]
    fn halves_are_told_from_each_other() {
        assert!(is_date("22.11.2026") && is_date("2026-11-22") && is_date("20261122") && !is_date("22.11.26"));
        assert!(is_time_of_day("14:03:05,5") && is_time_of_day("2:03 PM") && !is_time_of_day("140305"));
        assert!(has_short_year("22.11.26 14:03") && has_short_year("11/22/26") && !has_short_year("22.11.2026"));
        assert!(!has_short_year("1.2e-9") && !has_short_year("2026-11-22"));
    }
}
