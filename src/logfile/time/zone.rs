//! Zones: from the time that a clock on the wall shows to UTC.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// The zone of times that name none.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// Why a text names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no zone `{0}`; write `UTC`, an offset such as `+01:00`, a name such as `Europe/Berlin`, or `system`")]
pub struct InvalidZone(String);

/// Which one is meant of two times that a clock shows alike, in the hour after it was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// The first.
    Earlier,
    /// The second.
    Later,
    /// The first, until the times of the rows go back.
    Order,
}

impl FromStr for Fold {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earlier" => Ok(Self::Earlier),
            "later" => Ok(Self::Later),
            "order" => Ok(Self::Order),
            _ => Err("write `earlier`, `later` or `order`"),
        }
    }
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for Zone {
    type Err = InvalidZone;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        let invalid = || InvalidZone(name.to_owned());
        if matches!(name, "UTC" | "utc" | "Z" | "GMT") {
            return Ok(Self::utc());
        }
        if name == "system" {
            let zone = TimeZone::try_system().map_err(|_| invalid())?;
            let known = zone.iana_name().map_or_else(|| "system".to_owned(), str::to_owned);
            return Ok(Self { name: known, zone });
        }
        if let Some(offset) = offset(name) {
            return Ok(Self { name: name.to_owned(), zone: TimeZone::fixed(offset) });
        }
        let zone = TimeZone::get(name).map_err(|_| invalid())?;
        Ok(Self { name: zone.iana_name().unwrap_or(name).to_owned(), zone })
    }
}

/// `+01:00`, `-0530` or `+2`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=15).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Why a time of a clock is not one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// The clock showed it twice.
    Twice,
    /// The clock was put forward over it.
    Never,
}

/// Turns what clocks show into UTC, row by row.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    zone: Zone,
    fold: Option<Fold>,
    last: Option<DateTime>,
    put_back: bool,
}

impl Clock {
    pub(super) fn new(zone: Zone, fold: Option<Fold>) -> Self {
        Self { zone, fold, last: None, put_back: false }
    }

    pub(super) fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Nanoseconds since 1970.
    pub(super) fn utc(&mut self, at: DateTime) -> Result<i64, Odd> {
        let offset = match self.zone.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                self.put_back = false;
                offset
            }
            AmbiguousOffset::Gap { .. } => return Err(Odd::Never),
            AmbiguousOffset::Fold { before, after } => {
                self.put_back |= self.last.is_some_and(|last| at < last);
                match self.fold {
                    None => return Err(Odd::Twice),
                    Some(Fold::Later) => after,
                    Some(Fold::Order) if self.put_back => after,
                    Some(Fold::Earlier | Fold::Order) => before,
                }
            }
        };
        self.last = Some(at);
        nanos(at, offset.seconds()).ok_or(Odd::Never)
    }
}

/// Nanoseconds since 1970 of what a clock shows so many seconds ahead of UTC.
pub(super) fn nanos(at: DateTime, ahead: i32) -> Option<i64> {
    let offset = Offset::from_seconds(ahead).ok()?;
    i64::try_from(offset.to_timestamp(at).ok()?.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn zones_are_named_in_several_ways() {
        let at = date(2026, 7, 1).at(12, 0, 0, 0);
        for (name, hours) in [("UTC", 0), ("+01:00", -1), ("-0530", 5), ("Europe/Berlin", -2), ("+2", -2)] {
            let found = Clock::new(name.parse().unwrap(), None).utc(at).unwrap();
            let noon = nanos(at, 0).unwrap();
            assert_eq!((found - noon) / 3_600_000_000_000, hours, "{name}");
        }
        for wrong in ["Berlin", "CEST", "", "+25", "local"] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hours_that_come_twice_or_never_are_told() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        // Clocks went back at 03:00 on 25 October 2026 and forward at 02:00 on 29 March 2026. Source: directive 2000/84/EC,
        // last Sundays of October and March at 01:00 UTC.
        let twice = date(2026, 10, 25).at(2, 30, 0, 0);
        assert_eq!(Clock::new(berlin.clone(), None).utc(twice), Err(Odd::Twice));
        let never = date(2026, 3, 29).at(2, 30, 0, 0);
        assert_eq!(Clock::new(berlin.clone(), Some(Fold::Later)).utc(never), Err(Odd::Never));
        let hour = 3_600_000_000_000;
        let earlier = Clock::new(berlin.clone(), Some(Fold::Earlier)).utc(twice).unwrap();
        assert_eq!(Clock::new(berlin.clone(), Some(Fold::Later)).utc(twice), Ok(earlier + hour));

        let mut clock = Clock::new(berlin, Some(Fold::Order));
        let night = date(2026, 10, 25);
        let shown = [(1, 59), (2, 0), (2, 30), (2, 59), (2, 0), (2, 30), (2, 59), (3, 0)];
        let minutes: Vec<i64> = shown
            .iter()
            .map(|(hour, minute)| clock.utc(night.at(*hour, *minute, 0, 0)).unwrap() / 60_000_000_000)
            .collect();
        let since: Vec<i64> = minutes.iter().map(|minute| minute - minutes[0]).collect();
        assert_eq!(since, [0, 1, 31, 60, 61, 91, 120, 121]);
    }
}
