//! The live table: the latest of every channel, how often it comes, and what went wrong last.

use std::collections::VecDeque;
use std::time::Duration;

use super::screen::cut;
use super::table::Table;
use crate::live::number;
use crate::live::{ChannelLive, Snapshot};
use crate::model::Outcome;
use crate::model::Quality;
use crate::model::Stamp;

/// The time that a rate is taken over: ten slow polls of a fast gauge, and no more than a glance.
const RATE_OVER: Duration = Duration::from_secs(10);

/// From this width on there is room for the instrument of each channel.
const WIDE: usize = 100;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct LiveTable {
    /// For each channel, how many readings there were at what time.
    counts: Vec<VecDeque<(Stamp, u64)>>,
    /// For each instrument, its last error and when it was seen last.
    errors: Vec<Option<(Stamp, String)>>,
}

impl LiveTable {
    /// Draws a snapshot. `size` is what it has to fit into, if anything.
    pub(super) fn draw(&mut self, snapshot: &Snapshot, size: Option<(usize, usize)>) -> String {
        self.note(snapshot);
        let (columns, rows) = size.unwrap_or((usize::MAX, usize::MAX));
        let mut below = self.errors_of(snapshot);
        below.extend(snapshot.complaints().into_iter().filter(|complaint| !complaint.starts_with('`')));
        // The table comes first, but what is wrong has to be seen too.
        below.truncate((rows / 3).max(1));
        let room = rows.saturating_sub(below.len() + 4);
        let table = self.table(snapshot, columns, room);
        let mut lines = vec![headline(snapshot)];
        lines.extend(table);
        let hidden = snapshot.channels.len().saturating_sub(room);
        if hidden > 0 {
            lines.push(format!("… {hidden} more channels; `--instrument NAME` shows those of one instrument"));
        }
        lines.push(String::new());
        lines.extend(below);
        lines.iter().map(|line| cut(line, columns)).collect::<Vec<_>>().join("\n")
    }

    fn note(&mut self, snapshot: &Snapshot) {
        self.counts.resize(snapshot.channels.len(), VecDeque::new());
        self.errors.resize(snapshot.instruments.len(), None);
        for (counts, live) in self.counts.iter_mut().zip(&snapshot.channels) {
            counts.push_back((snapshot.at, live.read));
            while counts.get(1).is_some_and(|(at, _)| snapshot.at.since(*at) >= RATE_OVER) {
                counts.pop_front();
            }
        }
        for (error, instrument) in self.errors.iter_mut().zip(&snapshot.instruments) {
            if let Some(failing) = &instrument.failing {
                *error = Some((snapshot.at, failing.words.clone()));
            }
        }
    }

    fn table(&self, snapshot: &Snapshot, columns: usize, rows: usize) -> Vec<String> {
        let wide = columns >= WIDE;
        let mut headings = vec!["channel", ">value", "unit", "quality", ">age", ">latency", ">rate"];
        if wide {
            headings.extend([">bad", "instrument"]);
        }
        let mut table = Table::new(&headings);
        for (place, live) in snapshot.channels.iter().enumerate().take(rows) {
            let (value, quality) = value_and_quality(live);
            let mut cells = vec![
                live.channel.name.to_string(),
                value,
                live.channel.unit.as_deref().unwrap_or("").to_owned(),
                quality,
                age(snapshot, live),
                latency(live),
                self.counts.get(place).map(rate).unwrap_or_default(),
            ];
            if wide {
                cells.extend([live.bad.to_string(), live.channel.instrument.to_string()]);
            }
            table.row(cells);
        }
        table.fitted(columns).to_string().lines().map(str::to_owned).collect()
    }

    /// What each instrument said last that was no answer.
    fn errors_of(&self, snapshot: &Snapshot) -> Vec<String> {
        let errors = self.errors.iter().zip(&snapshot.instruments);
        errors
            .filter_map(|(error, instrument)| {
                let (at, words) = error.as_ref()?;
                let failed = format!("{} of {} polls failed", instrument.failed, instrument.polls);
                Some(match &instrument.failing {
                    Some(failing) => {
                        let since = short(snapshot.at.since(failing.since));
                        format!("{}: failing for {since}: {words} ({failed})", instrument.name)
                    }
                    None => {
                        let ago = short(snapshot.at.since(*at));
                        format!("{}: well; last error {ago} ago: {words} ({failed})", instrument.name)
                    }
                })
            })
            .collect()
    }
}

fn headline(snapshot: &Snapshot) -> String {
    let good = snapshot.channels.iter().filter(|live| is_good(live)).count();
    let running = short(snapshot.at.since(snapshot.started));
    format!("{good} of {} channels good, reading for {running}; Ctrl-C ends it", snapshot.channels.len())
}

fn is_good(live: &ChannelLive) -> bool {
    matches!(&live.latest, Some((_, Outcome::Value { quality: Quality::Good, .. })))
}

/// The value of a channel, empty where there is none, and how far it can be trusted.
pub(super) fn value_and_quality(live: &ChannelLive) -> (String, String) {
    match &live.latest {
        None => (String::new(), "waiting".to_owned()),
        Some((_, Outcome::Bad(reason))) => (String::new(), format!("bad: {reason}")),
        Some((_, Outcome::Value { value, quality: Quality::Good })) => (number(value.get()), "good".to_owned()),
        Some((_, Outcome::Value { value, quality: Quality::Uncertain(reason) })) => {
            (number(value.get()), format!("uncertain: {reason}"))
        }
    }
}

/// How old the last reading is.
pub(super) fn age(snapshot: &Snapshot, live: &ChannelLive) -> String {
    let age = live.latest.as_ref().map(|(at, _)| snapshot.at.since(*at));
    age.map(|age| format!("{:.1} s", age.as_secs_f64())).unwrap_or_default()
}

/// Time from request to answer.
pub(super) fn latency(live: &ChannelLive) -> String {
    let latency = live.uncertainty.as_secs_f64() * 2e3;
    if live.uncertainty.is_zero() { String::new() } else { format!("{latency:.1} ms") }
}

/// Readings per second; per minute where they are rare.
fn rate(counts: &VecDeque<(Stamp, u64)>) -> String {
    let (Some((then, before)), Some((now, after))) = (counts.front(), counts.back()) else { return String::new() };
    let seconds = now.since(*then).as_secs_f64();
    if seconds < 1.0 {
        return String::new();
    }
    let readings = after.saturating_sub(*before);
    let per_second = f64::from(u32::try_from(readings).unwrap_or(u32::MAX)) / seconds;
    match per_second {
        0.0 => "0".to_owned(),
        slow if slow < 0.5 => format!("{:.1}/min", slow * 60.0),
        fast => format!("{fast:.1}/s"),
    }
}

fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5_999 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::live::Board;
    use crate::live::InstrumentLive;
    use crate::live::Limits;
    use crate::live::LinkLive;
    use crate::live::LinkState;
    use crate::model::{Channel, ChannelName, Kind, TimeBase};

    /// A board with so many channels with long names.
    fn snapshot(channels: usize) -> Snapshot {
        let link = LinkLive { name: "bus".into(), target: "nowhere".to_owned(), state: LinkState::Open };
        let instrument = InstrumentLive::new("controller".into(), 0, "eurotherm-3200".into());
        let channel = |number: usize| {
            let name = ChannelName::parse(&format!("manipulator_temperature_of_zone_{number}")).unwrap();
            let unit: Option<Arc<str>> = Some("degC".into());
            (
                Channel {
                    name,
                    unit,
                    kind: Kind::Gauge,
                    instrument: "controller".into(),
                    source: "process_value".into(),
                },
                Limits::default(),
            )
        };
        let channels = (0..channels).map(channel).collect();
        Board::new(TimeBase::start(), vec![link], vec![instrument], channels).snapshot()
    }

    #[test]
    fn it_fits_any_window_and_says_what_it_leaves_out() {
        for (columns, rows) in [(80, 24), (40, 10), (120, 50)] {
            let mut snapshot = snapshot(60);
            snapshot.instruments[0].failing = Some(crate::live::Failing {
                since: snapshot.at,
                reason: crate::model::Reason::NO_REPLY,
                words: "no reply within 250 ms".to_owned(),
            });
            let shown = LiveTable::default().draw(&snapshot, Some((columns, rows)));
            let lines: Vec<&str> = shown.lines().collect();
            assert!(lines.len() <= rows, "{} lines for {rows}:\n{shown}", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}:\n{shown}");
            assert!(shown.contains("more channels"), "{shown}");
            assert!(shown.contains("controller: failing for 0 s"), "{shown}");
        }
        let all = LiveTable::default().draw(&snapshot(60), None);
        assert!(all.contains("zone_59") && !all.contains("more channels"), "{all}");
    }

    #[test]
    fn an_error_is_remembered_when_the_instrument_is_well_again() {
        let mut live = LiveTable::default();
        let mut failing = snapshot(1);
        failing.instruments[0].failing = Some(crate::live::Failing {
            since: failing.at,
            reason: crate::model::Reason::NO_REPLY,
            words: "no reply within 250 ms".to_owned(),
        });
        live.draw(&failing, None);
        let mut well = failing.clone();
        well.instruments[0].failing = None;
        let shown = live.draw(&well, None);
        assert!(shown.contains("controller: well; last error 0 s ago: no reply within 250 ms"), "{shown}");
    }

    #[test]
    fn rates_are_counted_over_the_last_seconds() {
        let base = snapshot(0).at;
        let counts = |pairs: &[(u64, u64)]| {
            pairs.iter().map(|(ms, read)| (base.plus(Duration::from_millis(*ms)), *read)).collect::<VecDeque<_>>()
        };
        assert_eq!(rate(&counts(&[(0, 0), (500, 5)])), "");
        assert_eq!(rate(&counts(&[(0, 10), (5_000, 60)])), "10.0/s");
        assert_eq!(rate(&counts(&[(0, 1), (10_000, 2)])), "6.0/min");
        assert_eq!(rate(&counts(&[(0, 1), (10_000, 1)])), "0");
    }
}
