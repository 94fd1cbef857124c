//! Amounts of the storage table as people write them: how long to keep, how many bytes.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use crate::document::DurationText;

/// `"90d"`, `"2w"`, any other duration, or `"forever"`, which is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeepText(pub(super) Option<Duration>);

struct KeepVisitor;

const DAY: u64 = 24 * 3600;

impl Visitor<'_> for KeepVisitor {
    type Value = KeepText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"90d\", or \"forever\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<KeepText, E> {
        let wrong = || E::invalid_value(Unexpected::Str(text), &self);
        let text = text.trim();
        if text == "forever" {
            return Ok(KeepText(None));
        }
        // Days and weeks are as long as they usually are; clocks that are put forward do not matter here.
        for (unit, seconds) in [("d", DAY), ("w", 7 * DAY)] {
            if let Some(number) = text.strip_suffix(unit).and_then(|number| number.trim().parse::<u64>().ok()) {
                let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
                return Ok(KeepText(Some(Duration::from_secs(seconds))));
            }
        }
        DurationText::parse(text).map(|duration| KeepText(Some(duration.0))).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for KeepText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

/// `"1 GB"`, `"500 MB"`, `"2 GiB"`: bytes with their unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BytesText(pub(super) u64);

struct BytesVisitor;

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl Visitor<'_> for BytesVisitor {
    type Value = BytesText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes with their unit, such as \"500 MB\" or \"2 GiB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<BytesText, E> {
        let wrong = || E::invalid_value(Unexpected::Str(text), &self);
        let digits = text.trim_start().find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.trim().split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        number.checked_mul(*bytes).map(BytesText).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for BytesText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as ValueError;

    use super::*;

    fn of<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
        let deserializer: serde::de::value::StrDeserializer<'de, ValueError> = text.into_deserializer();
        T::deserialize(deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn runs_are_kept_for_days_or_for_ever() {
        let keep = |text| of::<KeepText>(text).map(|keep| keep.0);
        assert_eq!(keep("90d"), Ok(Some(Duration::from_secs(90 * 86_400))));
        assert_eq!(keep(" 2 w"), Ok(Some(Duration::from_secs(14 * 86_400))));
        assert_eq!(keep("36h"), Ok(Some(Duration::from_secs(36 * 3600))));
        assert_eq!(keep("forever"), Ok(None));
        for odd in ["", "90", "always", "-1d", "999999999999999999d"] {
            assert!(keep(odd).unwrap_err().contains("\"90d\", or \"forever\""), "{odd}");
        }
    }

    #[test]
    fn bytes_have_a_unit() {
        let bytes = |text| of::<BytesText>(text).map(|bytes| bytes.0);
        assert_eq!(bytes("500 MB"), Ok(500_000_000));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes(" 1 kB "), Ok(1000));
        for odd in ["", "500", "MB", "1.5 GB", "-1 MB", "1 Mb", "99999999999 TB"] {
            assert!(bytes(odd).unwrap_err().contains("\"500 MB\""), "{odd}");
        }
    }
}
