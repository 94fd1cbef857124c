//! Run files against the platform: every point that was not refused is in one place of one stream, to the bit, and nothing
//! is there that no run file accounts for.

use std::collections::BTreeMap;

use mbe_bridge::model::StreamState;
use mbe_bridge::runs::read::{ChunkState, StoredChunk};
use mbe_bridge::server;

use super::Judgement;
use crate::witness::{RunOnDisk, StreamThere, Witnesses};

const SORT: &str = "places";

/// Stream, channel, index.
type Place = (String, String, i64);
/// Stamps and values, to the bit.
type Slice = Vec<(u64, u64)>;

/// Most chunks that can be under way on a stream when it ends: the widest window of requests.
const UNDER_WAY: usize = 16;

#[derive(Debug)]
struct Expected {
    slice: Slice,
    /// The platform has confirmed it; else it has refused it, which does not mean that it does not have it.
    confirmed: bool,
}

pub(super) fn check(witnesses: &Witnesses, judgement: &mut Judgement) {
    let mut expected: BTreeMap<Place, Expected> = BTreeMap::new();
    for run in &witnesses.runs {
        expect(run, &mut expected, judgement);
    }
    let mut owners: BTreeMap<&str, (&RunOnDisk, i64)> = BTreeMap::new();
    for run in &witnesses.runs {
        for stream in &run.streams {
            if owners.insert(&stream.record.data_id, (run, stream.record.number)).is_some() {
                judgement.complain(SORT, format!("stream {} is of two runs", stream.record.data_id));
            }
        }
    }
    for there in &witnesses.platform {
        judgement.totals.streams += 1;
        rises(there, owners.get(there.data_id.as_str()).map(|(run, _)| *run), judgement);
        let owner = owners.get(there.data_id.as_str()).copied();
        if !ended_well(there, owner) {
            judgement.totals.unfinalized += 1;
            // A stream that is said to be gone is left as it is; when it is back, nobody finalizes it.
            if !witnesses.deeds.streams_were_gone {
                judgement.complain(SORT, format!("stream {} is not finalized on the platform", there.data_id));
            }
        }
        let mut again: BTreeMap<u64, u64> = BTreeMap::new();
        for (channel, index, slice) in slices(there) {
            let place = (there.data_id.clone(), channel.to_owned(), index);
            match expected.remove(&place) {
                Some(expected) if expected.slice == slice => {
                    // What the platform refused it may have taken before, when its answer was lost.
                    judgement.totals.uploaded += if expected.confirmed { slice.len() as u64 } else { 0 };
                    continue;
                }
                Some(_) => {
                    judgement.complain(SORT, format!("{place:?} differs from what was sent"));
                    continue;
                }
                None => {}
            }
            let Some((run, number)) = owners.get(there.data_id.as_str()) else {
                judgement.complain(SORT, format!("{place:?} is on a stream that no run file knows"));
                continue;
            };
            match sent_before(run, *number, channel, &slice) {
                Some(seq) => *again.entry(seq).or_default() += slice.len() as u64,
                None => judgement.complain(SORT, format!("{place:?} is in no run file: {} points", slice.len())),
            }
        }
        if again.len() > UNDER_WAY {
            let id = &there.data_id;
            judgement.complain(SORT, format!("{} chunks of stream {id} were sent again after it", again.len()));
        }
        judgement.totals.again += again.values().sum::<u64>();
    }
    for (place, expected) in expected {
        if expected.confirmed {
            judgement
                .complain("missing", format!("{place:?}: {} points are not on the platform", expected.slice.len()));
        }
    }
}

/// What a run file says was sent.
fn expect(run: &RunOnDisk, expected: &mut BTreeMap<Place, Expected>, judgement: &mut Judgement) {
    let mut indices: BTreeMap<(i64, u64), u64> = BTreeMap::new();
    for chunk in &run.chunks {
        let Some(sent) = &chunk.sent else { continue };
        let Some(stream) = run.streams.iter().find(|stream| stream.record.number == sent.stream) else {
            judgement.complain(SORT, format!("{} chunk {} is of no stream", run.info.run, chunk.seq));
            continue;
        };
        if let Some(other) = indices.insert((sent.stream, sent.chunk.index), chunk.seq) {
            let index = sent.chunk.index;
            judgement.complain(SORT, format!("{}: chunks {other} and {} have index {index}", run.info.run, chunk.seq));
        }
        let index = i64::try_from(sent.chunk.index).unwrap();
        for channel in &sent.chunk.channels {
            let refused = |name: &str| {
                let place = run.info.channels.iter().position(|channel| channel.name.as_str() == name);
                run.refusals.iter().any(|one| one.seq == chunk.seq && Some(one.channel) == place)
            };
            let bits = channel.stamps.iter().zip(&channel.values);
            let slice: Slice = bits.map(|(at, value)| (at.as_unix_seconds().to_bits(), value.to_bits())).collect();
            let name = channel.name.to_string();
            let confirmed = chunk.state == ChunkState::Confirmed && !refused(&name);
            if slice.len() > run.info.spec.points_per_chunk {
                judgement.complain(SORT, format!("{} chunk {}: {name} is too long", run.info.run, chunk.seq));
            }
            expected.insert((stream.record.data_id.clone(), name, index), Expected { slice, confirmed });
        }
    }
}

/// The slices of a stream: channel, index, content.
fn slices(there: &StreamThere) -> Vec<(&str, i64, Slice)> {
    let mut found = Vec::new();
    for channel in &there.channels {
        for slice in channel.points.chunk_by(|a, b| a.chunk_index == b.chunk_index) {
            let bits = slice.iter().map(|point| (point.unix_seconds.to_bits(), point.value.to_bits())).collect();
            found.push((channel.name.as_str(), slice[0].chunk_index, bits));
        }
    }
    found
}

/// The chunk with these values that was not confirmed on this stream before it ended, and so was sent on a later one, or
/// refused there.
fn sent_before(run: &RunOnDisk, number: i64, channel: &str, slice: &Slice) -> Option<u64> {
    let record = &run.streams.iter().find(|stream| stream.record.number == number)?.record;
    let ended = record.state == StreamState::Ended;
    let values = |chunk: &StoredChunk| -> Option<Vec<u64>> {
        let sent = chunk.sent.as_ref().filter(|sent| sent.stream > number)?;
        let series = sent.chunk.channels.iter().find(|series| series.name.as_str() == channel)?;
        Some(series.values.iter().map(|value| value.to_bits()).collect())
    };
    let wanted: Vec<u64> = slice.iter().map(|(_, value)| *value).collect();
    run.chunks.iter().find(|chunk| ended && values(chunk).is_some_and(|values| values == wanted)).map(|chunk| chunk.seq)
}

/// Stamps rise in the order of the stream, but where the run file says that the clock was found to have been fast.
fn rises(there: &StreamThere, run: Option<&RunOnDisk>, judgement: &mut Judgement) {
    let steps = run.map_or(0, |run| run.events.iter().filter(|event| event.kind == "clock_step").count());
    for server::StoredChannel { name, points, .. } in &there.channels {
        let falls = points.windows(2).filter(|pair| pair[0].unix_seconds >= pair[1].unix_seconds).count();
        if falls > steps {
            let id = &there.data_id;
            judgement.complain(
                "order",
                format!(
                    "stream {id} {name}: stamps do not rise in {falls} places; the run file tells of {steps} steps"
                ),
            );
        }
    }
}

/// Whether a stream that the run file calls finalized is so on the platform.
fn ended_well(there: &StreamThere, owner: Option<(&RunOnDisk, i64)>) -> bool {
    let stream = owner.and_then(|(run, number)| run.streams.iter().find(|stream| stream.record.number == number));
    let finalized = stream.is_some_and(|stream| stream.record.state == StreamState::Finalized);
    !finalized || there.state != server::StreamState::Active
}
