//! Courses of values that were recorded elsewhere, as a table of text: a column of times, and one for each channel.

use std::collections::BTreeMap;
use std::time::Duration;

/// A recorded course of one or more channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Seconds since the first row, and the value; by the channel's id.
    columns: BTreeMap<String, Vec<(f64, f64)>>,
    /// Seconds from the first row to the last.
    length: f64,
}

/// What a channel shows between two rows, and after the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Playing {
    /// A straight line from one row to the next; otherwise the row before holds.
    pub linear: bool,
    /// Begin anew at the end; otherwise the last row holds.
    pub again: bool,
}

/// Why a text is no recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct InvalidRecording {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Recording {
    /// Reads a table: a head with the channels' ids, then rows of a time (seconds, or stamps such as `2026-11-22T17:30:01Z`)
    /// and numbers, between commas, semicolons or tabs. An empty cell says nothing of its channel. Lines that begin with `#`
    /// are remarks.
    pub fn parse(text: &str) -> Result<Self, InvalidRecording> {
        let mut lines = (1..)
            .zip(text.trim_start_matches('\u{feff}').lines())
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let wrong = |line: usize, why: String| InvalidRecording { line, why };
        let (at, head) = lines.next().ok_or_else(|| wrong(1, "there is no head with the channels' ids".to_owned()))?;
        let separator = [',', ';', '\t'].into_iter().find(|sign| head.contains(*sign));
        let Some(separator) = separator else {
            return Err(wrong(
                at,
                "the head needs a column of times and at least one channel's id behind it".to_owned(),
            ));
        };
        let cells = |line: &str| -> Vec<String> {
            line.split(separator).map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
        };
        let ids: Vec<String> = cells(head).into_iter().skip(1).collect();
        if let Some(twice) =
            ids.iter().enumerate().find(|(place, id)| ids.iter().take(*place).any(|other| other == *id))
        {
            return Err(wrong(at, format!("the channel `{}` has two columns", twice.1)));
        }
        let mut columns: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        let mut first = None;
        let mut last = f64::NEG_INFINITY;
        for (line, row) in lines {
            let row = cells(row);
            let time = row.first().map(String::as_str).unwrap_or_default();
            let seconds = seconds(time).ok_or_else(|| {
                wrong(line, format!("`{time}` is no time: write seconds, or a stamp such as `2026-11-22T17:30:01Z`"))
            })?;
            if seconds <= last {
                return Err(wrong(line, format!("`{time}` is not after the line before")));
            }
            last = seconds;
            let since = seconds - *first.get_or_insert(seconds);
            if row.len() > ids.len() + 1 {
                return Err(wrong(line, format!("{} cells, and the head has {}", row.len(), ids.len() + 1)));
            }
            for (id, cell) in ids.iter().zip(row.iter().skip(1)).filter(|(_, cell)| !cell.is_empty()) {
                let value = cell.parse::<f64>().ok().filter(|value| value.is_finite());
                let value = value.ok_or_else(|| wrong(line, format!("`{cell}` is no number for `{id}`")))?;
                columns.entry(id.clone()).or_default().push((since, value));
            }
        }
        let Some(first) = first else { return Err(wrong(at, "there are no rows below the head".to_owned())) };
        Ok(Self { columns, length: last - first })
    }

    /// The channels that it has values of.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// What a channel shows at a time since the start; none if it has no column. Before its first value it shows that one.
    pub(super) fn value(&self, channel: &str, at: Duration, playing: Playing) -> Option<f64> {
        let column = self.columns.get(channel)?;
        let mut at = at.as_secs_f64();
        if playing.again && self.length > 0.0 {
            at %= self.length;
        }
        let next = column.partition_point(|(time, _)| *time <= at);
        let before = next.checked_sub(1).and_then(|place| column.get(place));
        match (before, column.get(next)) {
            (Some((from, low)), Some((to, high))) if playing.linear => {
                Some(low + (high - low) * (at - from) / (to - from))
            }
            (Some((_, value)), _) | (None, Some((_, value))) => Some(*value),
            (None, None) => None,
        }
    }
}

/// Seconds, or a stamp in seconds since 1970; a stamp without a zone is taken as UTC.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    let stamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(stamp.as_duration().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Playing = Playing { linear: false, again: false };

    fn at(recording: &Recording, channel: &str, millis: u64, playing: Playing) -> Option<f64> {
        recording.value(channel, Duration::from_millis(millis), playing)
    }

    #[test]
    fn rows_are_held_or_joined_and_end_or_begin_anew() {
        let recording = Recording::parse("t,temperature,pressure\n10,100,1e-9\n11,200,\n# remark\n14,,4e-9\n").unwrap();
        assert_eq!(recording.channels().collect::<Vec<_>>(), ["pressure", "temperature"]);
        let linear = Playing { linear: true, again: false };
        assert_eq!(at(&recording, "temperature", 500, HELD), Some(100.0));
        assert_eq!(at(&recording, "temperature", 500, linear), Some(150.0));
        assert_eq!(at(&recording, "pressure", 2_000, linear), Some(2.5e-9));
        assert_eq!(at(&recording, "temperature", 60_000, linear), Some(200.0));
        let again = Playing { linear: false, again: true };
        assert_eq!(at(&recording, "temperature", 4_500, again), Some(100.0));
        assert_eq!(at(&recording, "other", 0, HELD), None);
    }

    #[test]
    fn times_may_be_stamps() {
        let text = "\u{feff}time;x\n2026-11-22T17:30:01Z;1\n2026-11-22T17:30:01.5Z;2\n";
        assert_eq!(at(&Recording::parse(text).unwrap(), "x", 500, HELD), Some(2.0));
        let without_zone = "time\tx\n2026-11-22 17:30:01\t1\n2026-11-22 17:31:01\t2";
        assert_eq!(at(&Recording::parse(without_zone).unwrap(), "x", 60_000, HELD), Some(2.0));
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_line() {
        let said = |text: &str| Recording::parse(text).unwrap_err().to_string();
        assert_eq!(said(""), "line 1: there is no head with the channels' ids");
        assert!(said("t\n1\n").starts_with("line 1: the head needs"));
        assert_eq!(said("t,x\n"), "line 1: there are no rows below the head");
        assert_eq!(said("t,x,x\n1,2,3\n"), "line 1: the channel `x` has two columns");
        assert!(said("t,x\nnoon,1\n").starts_with("line 2: `noon` is no time"));
        assert_eq!(said("t,x\n1,1\n1,2\n"), "line 3: `1` is not after the line before");
        assert_eq!(said("t,x\n1,NaN\n"), "line 2: `NaN` is no number for `x`");
        assert_eq!(said("t,x\n1,2,3\n"), "line 2: 3 cells, and the head has 2");
    }
}
