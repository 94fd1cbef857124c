//! Placing samples on ticks, and closing ticks.

use std::collections::BTreeMap;

use super::fill::History;
use super::{Aligned, Fill, Mode, Settings};
use crate::model::{ChannelIndex, Counts, Finite, Mark, Outcome, Point, Quality, Sample, Stamp, Tick, nanos_of};

/// A sample that waits on an open tick.
#[derive(Debug, Clone, Copy)]
struct Placed {
    value: Finite,
    mark: Mark,
    /// Distance from its tick in nanoseconds.
    distance: u64,
}

/// Samples and watermarks in, ticks and counts out.
#[derive(Debug)]
pub struct Aligner {
    settings: Settings,
    /// By tick number (grid) or nanoseconds (native), then channel.
    open: BTreeMap<(i64, usize), Placed>,
    /// Every tick below this one is closed.
    closed_below: Option<i64>,
    /// Only where ticks are to be filled.
    history: Option<History>,
    watermarks: Vec<Option<Stamp>>,
    /// A reading is counted once it is known what becomes of it: whatever is handed out adds up, also if the process dies
    /// right after it.
    counts: Vec<Counts>,
}

impl Aligner {
    /// An aligner for this many channels from this many links.
    pub fn new(settings: Settings, channels: usize, links: usize) -> Self {
        let history = match settings.mode {
            Mode::Grid { fill: Fill::None, .. } | Mode::Native => None,
            Mode::Grid { fill, period } => Some(History::new(fill, nanos(period), channels)),
        };
        Self {
            settings,
            open: BTreeMap::new(),
            closed_below: None,
            history,
            watermarks: vec![None; links],
            counts: vec![Counts::default(); channels],
        }
    }

    /// Takes one sample. Samples of one channel come in the order of their times; those of a channel that the aligner
    /// was not made for are ignored.
    pub fn push(&mut self, sample: &Sample) {
        let channel = sample.channel.0;
        let Some(counts) = self.counts.get_mut(channel) else { return };
        let key = self.settings.mode.key(sample.at);
        let too_late = self.closed_below.is_some_and(|closed| key < closed);
        let (value, mark) = match &sample.outcome {
            Outcome::Bad(reason) => {
                counts.read += 1;
                *counts.bad.entry(reason.clone()).or_default() += 1;
                if let (Some(history), false) = (&mut self.history, too_late) {
                    history.note(channel, sample.at, None);
                }
                return;
            }
            Outcome::Value { value, quality: Quality::Good } => (*value, Mark::Good),
            Outcome::Value { value, quality: Quality::Uncertain(_) } => (*value, Mark::Uncertain),
        };
        if too_late {
            counts.read += 1;
            counts.late += 1;
            return;
        }
        if let Some(history) = &mut self.history {
            history.note(channel, sample.at, Some(value));
        }
        let distance = self.settings.mode.time(key).nanos_since(sample.at).unsigned_abs();
        let placed = Placed { value, mark, distance };
        self.open
            .entry((key, channel))
            .and_modify(|held| {
                counts.read += 1;
                counts.decimated += 1;
                if placed.distance < held.distance {
                    *held = placed;
                }
            })
            .or_insert(placed);
    }

    /// Notes that a link will stamp no further sample before `watermark`. For a link that is down that may be the end of
    /// time, until it is open again.
    pub fn advance(&mut self, link: usize, watermark: Stamp) {
        if let Some(held) = self.watermarks.get_mut(link) {
            *held = Some(watermark);
        }
    }

    /// Closes what can be closed at this time and returns it.
    pub fn drain(&mut self, now: Stamp) -> Aligned {
        let patience = now.minus(self.settings.lateness);
        let slowest = self.watermarks.iter().copied().min().flatten();
        // Never beyond the present, however far ahead the links promise to be silent: one that is opened just now stamps
        // its first sample just now.
        self.close(slowest.map_or(patience, |slowest| slowest.max(patience)).min(now))
    }

    /// Closes every tick, at the end of a run or a session.
    pub fn finish(mut self) -> Aligned {
        self.close(Stamp::from_nanos(i64::MAX))
    }

    /// Samples that wait on ticks not yet handed out.
    pub fn waiting(&self) -> usize {
        self.open.len() + self.history.as_ref().map_or(0, History::waiting)
    }

    /// Readings that are remembered for `fill`.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.history.as_ref().map_or(0, History::remembered)
    }

    fn close(&mut self, frontier: Stamp) -> Aligned {
        let below = self.settings.mode.key(frontier);
        let below = self.closed_below.map_or(below, |closed| closed.max(below));
        self.closed_below = Some(below);
        let still_open = self.open.split_off(&(below, 0));
        let closed = std::mem::replace(&mut self.open, still_open);

        let mut ticks: Vec<Tick> = Vec::new();
        let mut last_key = None;
        for ((key, channel), placed) in closed {
            let point = Point { channel: ChannelIndex(channel), value: placed.value, mark: placed.mark };
            match ticks.last_mut() {
                Some(tick) if last_key == Some(key) => tick.points.push(point),
                _ => ticks.push(Tick { at: self.settings.mode.time(key), points: vec![point] }),
            }
            last_key = Some(key);
        }
        let ticks = match &mut self.history {
            None => ticks,
            Some(history) => history.fill(ticks, below, frontier),
        };
        for point in ticks.iter().flat_map(|tick| &tick.points).filter(|point| point.mark != Mark::Filled) {
            if let Some(counts) = self.counts.get_mut(point.channel.0) {
                counts.read += 1;
            }
        }
        let channels = self.counts.len();
        Aligned { ticks, counts: std::mem::replace(&mut self.counts, vec![Counts::default(); channels]) }
    }
}

impl Mode {
    /// The tick that a time belongs to.
    fn key(self, at: Stamp) -> i64 {
        match self {
            Self::Grid { period, .. } => nearest(at, nanos(period)),
            Self::Native => at.as_nanos(),
        }
    }

    /// The time of a tick.
    fn time(self, key: i64) -> Stamp {
        match self {
            Self::Grid { period, .. } => Stamp::from_nanos(key.saturating_mul(nanos(period))),
            Self::Native => Stamp::from_nanos(key),
        }
    }
}

/// The number of the tick nearest to a time; of two equally near ones the later.
fn nearest(at: Stamp, period: i64) -> i64 {
    let whole = at.as_nanos().div_euclid(period);
    let rest = at.as_nanos().rem_euclid(period);
    if rest >= period - rest { whole + 1 } else { whole }
}

fn nanos(period: std::time::Duration) -> i64 {
    nanos_of(period).max(1)
}
