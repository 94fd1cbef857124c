//! What a salvaged run is made of: judged from what was found, before anything is written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::rows::{Head, SessionRow, kind_from};
use super::super::{body, counts};
use super::find::{self, Chunk, Finds, Place, State};
use super::pages::Pages;
use crate::model::{Channel, ChannelName, Counts, Kind, RunId, RunState, SessionId, Stamp, StreamSpec, Tick};

/// No count of a run comes near.
const LARGEST_COUNT: u64 = 1 << 53;

/// What its first row and its channels say, under a new name; or why there is nothing to go on.
pub(super) fn head(finds: &Finds, id: &str) -> Result<Head, &'static str> {
    let run = finds.run.get(&()).ok_or("what run it is can't be read any more")?;
    let wanted = finds.chunks.iter().map(|(_, chunk)| chunk.points.len()).max();
    let wanted =
        wanted.or_else(|| finds.counts.iter().next_back().and_then(|(last, _)| usize::try_from(last + 1).ok()));
    let lost = "the list of its channels can't be read any more";
    let mut channels = Vec::new();
    for ((number, row), place) in finds.channels.iter().zip(0..) {
        let name = ChannelName::parse(&row.name).map_err(|_| lost)?;
        if *number != place || channels.iter().any(|channel: &Channel| channel.name == name) {
            return Err(lost);
        }
        channels.push(Channel {
            name,
            unit: row.unit.as_deref().map(Into::into),
            instrument: row.instrument.as_str().into(),
            source: row.source.as_str().into(),
            kind: kind_from(&row.kind).unwrap_or(Kind::Gauge),
        });
    }
    if channels.is_empty() || wanted.is_some_and(|wanted| wanted != channels.len()) {
        return Err(lost);
    }
    let points_per_chunk = usize::try_from(run.points_per_chunk).ok().filter(|points| *points > 0);
    Ok(Head {
        id: RunId::new(id),
        state: if run.state == "done" { RunState::Done } else { RunState::Closed },
        created: run.created,
        spec: StreamSpec {
            name: run.name.clone(),
            synth_source_id: run.synth_source_id,
            physical_sample: run.physical_sample.clone(),
            project_id: run.project_id.clone(),
            tags: serde_json::from_str(&run.tags)
                .map_err(|_| "what its streams are created with can't be read any more")?,
            points_per_chunk: points_per_chunk.ok_or("the length of its chunks can't be read any more")?,
        },
        axis: run.axis,
        period: run.period.and_then(|period| u64::try_from(period).ok()).map(Duration::from_nanos),
        channels: channels.into(),
    })
}

/// The bytes of a body whose checksum is right, and its ticks.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) ticks: Vec<Tick>,
    pub(super) points: Vec<u64>,
}

impl Body {
    /// Reads the best of the candidates: one that is as the chunk's row says; without a row, one that is whole.
    pub(super) fn read(pages: &mut Pages, places: &[Place], channels: usize, row: Option<&Chunk>) -> Option<Self> {
        let mut best: Option<Self> = None;
        for place in places {
            let Some(body) = find::body(pages, *place).and_then(|bytes| Self::of(bytes, channels)) else { continue };
            match row.map(|row| body.likeness(row)) {
                None | Some(3) => return Some(body),
                // Of a row that is damaged itself, something is still right. The checksum vouches for the body.
                Some(1..) if best.is_none() => best = Some(body),
                _ => {}
            }
        }
        best
    }

    fn of(bytes: Vec<u8>, channels: usize) -> Option<Self> {
        let ticks = body::decode(&bytes).ok()?;
        let known = ticks.iter().flat_map(|tick| &tick.points).all(|point| point.channel.0 < channels);
        let points = counts::points_of(&ticks, channels);
        (known && !ticks.is_empty()).then_some(Self { bytes, ticks, points })
    }

    fn likeness(&self, row: &Chunk) -> usize {
        let (first, last) = self.span();
        [first == row.first, last == row.last, self.points == row.points].iter().filter(|same| **same).count()
    }

    /// The times of its first and last tick.
    pub(super) fn span(&self) -> (i64, i64) {
        let at = |tick: Option<&Tick>| tick.map_or(0, |tick| tick.at.as_nanos());
        (at(self.ticks.first()), at(self.ticks.last()))
    }
}

/// Rows that can't be right are dropped, and bodies without a row that are those of a known chunk are given to it: else a
/// damaged number would make another chunk of the same ticks.
pub(super) fn sort_out(pages: &mut Pages, finds: &mut Finds, channels: usize) {
    finds.chunks.0.retain(|seq, (_, chunk)| *seq >= 0 && chunk.points.len() == channels);
    finds.bodies.retain(|seq, _| *seq >= 0);
    let spans: BTreeMap<(i64, i64), i64> =
        finds.chunks.iter().map(|(seq, chunk)| ((chunk.first, chunk.last), *seq)).collect();
    let without: Vec<i64> = finds.bodies.keys().copied().filter(|seq| finds.chunks.get(seq).is_none()).collect();
    for seq in without {
        let Some(places) = finds.bodies.remove(&seq) else { continue };
        let Some(body) = Body::read(pages, &places, channels, None) else { continue };
        match spans.get(&body.span()) {
            Some(of) => finds.bodies.entry(*of).or_default().extend(places),
            None => drop(finds.bodies.insert(seq, places)),
        }
    }
}

/// The stream that the run goes on with, where its number and its indices are beyond doubt: its number and the chunk that has
/// index 0 on it.
pub(super) fn continued(finds: &Finds) -> Option<(i64, i64)> {
    let (number, stream) = finds.streams.iter().next_back()?;
    let on = |chunk: &Chunk| chunk.sent.first().copied().flatten();
    let newer = finds.chunks.iter().any(|(_, chunk)| on(chunk).is_some_and(|stream| stream > *number));
    if stream.state != "open" || newer {
        return None;
    }
    let base_of = |(seq, chunk): (&i64, &Chunk)| match chunk.sent {
        [Some(on), Some(index), Some(_), _, Some(_)] if on == *number => seq.checked_sub(index),
        _ => None,
    };
    let newest = finds.chunks.iter().rev().find_map(base_of);
    let base = stream.base.or(newest).filter(|base| *base >= 0)?;
    let mut waiting = finds.chunks.iter().filter(|(_, chunk)| matches!(chunk.state, State::Sealed | State::Frozen));
    let in_place = waiting.all(|(seq, chunk)| {
        let frozen = chunk.state == State::Frozen && on(chunk) == Some(*number);
        *seq >= base && (!frozen || base_of((seq, chunk)) == Some(base))
    });
    (in_place && newest.is_none_or(|newest| newest == base)).then_some((*number, base))
}

/// Chunks before this one were settled when the newest stream was opened.
pub(super) fn settled_before(finds: &Finds, stream: Option<(i64, i64)>) -> i64 {
    let vouched = |(number, stream): (&i64, &find::Stream)| {
        let base = stream.base?;
        let on_it = |(seq, chunk): (&i64, &Chunk)| {
            chunk.sent[0] == Some(*number) && chunk.sent[1].is_some_and(|index| seq.checked_sub(index) == Some(base))
        };
        finds.chunks.iter().any(on_it).then_some(base)
    };
    let bases = finds.streams.iter().filter_map(vouched).chain(stream.map(|(_, base)| base));
    bases.max().unwrap_or(0)
}

/// Every session that anything speaks of; of those whose rows are lost, no more than when they were.
pub(super) fn sessions(finds: &Finds, created: Stamp) -> Vec<SessionRow> {
    let mut sessions: BTreeMap<i64, SessionRow> = BTreeMap::new();
    for (number, row) in finds.sessions.iter() {
        let row = row.clone();
        sessions.insert(
            *number,
            SessionRow {
                number: SessionId(*number),
                anchor: row.anchor,
                boot_id: row.boot_id,
                uptime_nanos: row.uptime_nanos,
                program: row.program,
                config: row.config,
                started: row.started,
                ended: row.ended,
            },
        );
    }
    let of_chunks = finds.chunks.iter().map(|(_, chunk)| (chunk.session, Stamp::from_nanos(chunk.first)));
    let of_open = finds.open.iter().map(|(_, open)| (open.session, Stamp::from_nanos(open.written)));
    let first = (sessions.is_empty() && !finds.bodies.is_empty()).then_some((1, created));
    for (number, at) in of_chunks.chain(of_open).chain(first) {
        sessions.entry(number).or_insert_with(|| SessionRow {
            number: SessionId(number),
            anchor: at,
            boot_id: None,
            uptime_nanos: None,
            program: "unknown: this row was lost".to_owned(),
            config: String::new(),
            started: at,
            ended: None,
        });
    }
    sessions.into_values().collect()
}

/// The session of a chunk whose row is lost: that of its neighbours, or the newest that had begun by then.
pub(super) fn session_of(finds: &Finds, sessions: &[SessionRow], seq: i64, first: i64) -> i64 {
    let before = finds.chunks.0.range(..seq).next_back().map(|(_, (_, chunk))| chunk.session);
    let after = finds.chunks.0.range(seq..).next().map(|(_, (_, chunk))| chunk.session);
    let between =
        |number: i64| before.is_none_or(|before| before <= number) && after.is_none_or(|after| number <= after);
    match (before, after) {
        (Some(before), Some(after)) if before == after => before,
        _ => {
            let begun = sessions.iter().filter(|session| between(session.number.0));
            let mut begun = begun.filter(|session| session.started.as_nanos() <= first).map(|session| session.number.0);
            begun.next_back().or(before).or(after).or(sessions.first().map(|session| session.number.0)).unwrap_or(1)
        }
    }
}

/// Ticks that no chunk holds, by session, and what the batches that hold them have counted.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) ticks: BTreeMap<i64, BTreeMap<Stamp, Tick>>,
    pub(super) news: Vec<Counts>,
}

impl Left {
    /// What open batches say that is not in a chunk. A batch of a freed page was made into a chunk long ago: it is older than
    /// a chunk of its session. `ends` are the times of the last tick of each session's chunks.
    pub(super) fn of(finds: &Finds, ends: &BTreeMap<i64, i64>, channels: usize) -> Self {
        let mut left = Self { ticks: BTreeMap::new(), news: vec![Counts::default(); channels] };
        let mut written: BTreeMap<i64, i64> = BTreeMap::new();
        for (_, chunk) in finds.chunks.iter() {
            let newest = written.entry(chunk.session).or_insert(chunk.written);
            *newest = chunk.written.max(*newest);
        }
        for (_, open) in finds.open.iter() {
            if written.get(&open.session).is_some_and(|newest| open.written < *newest) {
                continue;
            }
            let ticks = body::decode(&open.ticks).unwrap_or_default();
            let known = |tick: &Tick| tick.points.iter().all(|point| point.channel.0 < channels);
            let new = |tick: &Tick| ends.get(&open.session).is_none_or(|end| tick.at.as_nanos() > *end);
            let some = !ticks.is_empty();
            let ticks: Vec<Tick> = ticks.into_iter().filter(|tick| known(tick) && new(tick)).collect();
            let mut news = vec![Counts::default(); channels];
            if (!some || !ticks.is_empty()) && counts::add_text(&mut news, &open.counts).is_some() {
                counts::add_all(&mut left.news, &news.into_iter().map(bounded).collect::<Vec<_>>());
            }
            let of_session = left.ticks.entry(open.session).or_default();
            of_session.extend(ticks.into_iter().map(|tick| (tick.at, tick)));
        }
        left.ticks.retain(|_, ticks| !ticks.is_empty());
        left
    }
}

/// The counts up to the last sealed chunk, where their row can be read.
pub(super) fn folded(finds: &Finds, channel: usize) -> Option<Counts> {
    let row = finds.counts.get(&i64::try_from(channel).ok()?)?;
    let [read, recorded, filled, decimated, late, unrecorded] =
        row.numbers.map(|number| u64::try_from(number).unwrap_or(0));
    let bad = counts::bad_from_text(&row.bad)?;
    Some(bounded(Counts { read, recorded, filled, bad, decimated, late, unrecorded }))
}

/// Numbers that can't be are zero, so that sums stay sums.
fn bounded(mut counts: Counts) -> Counts {
    let Counts { read, recorded, filled, bad, decimated, late, unrecorded } = &mut counts;
    for number in [read, recorded, filled, decimated, late, unrecorded].into_iter().chain(bad.values_mut()) {
        if *number > LARGEST_COUNT {
            *number = 0;
        }
    }
    counts
}
