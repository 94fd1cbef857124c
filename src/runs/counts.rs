//! Counts as JSON text, so that SQL can read them: see the head of this room.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::{Counts, Mark, Reason, Tick};

/// The counts of one commit: `{"0": [read, recorded, filled, decimated, late, unrecorded, {"no_reply": 2}]}`.
/// Channels without news are left out, and so is the object without reasons.
pub(super) fn to_text(counts: &[Counts]) -> String {
    let mut channels = Map::new();
    for (channel, counts) in counts.iter().enumerate() {
        if *counts == Counts::default() {
            continue;
        }
        let mut row: Vec<Value> =
            [counts.read, counts.recorded, counts.filled, counts.decimated, counts.late, counts.unrecorded]
                .into_iter()
                .map(Value::from)
                .collect();
        if !counts.bad.is_empty() {
            row.push(bad_value(&counts.bad));
        }
        channels.insert(channel.to_string(), Value::Array(row));
    }
    Value::Object(channels).to_string()
}

/// Adds the counts of one commit to `counts`; nothing if the text is not of that form or names a channel beyond it.
pub(super) fn add_text(counts: &mut [Counts], text: &str) -> Option<()> {
    for (channel, row) in serde_json::from_str::<Map<String, Value>>(text).ok()? {
        let target = counts.get_mut(channel.parse::<usize>().ok()?)?;
        let mut row = row.as_array()?.iter();
        let mut next = || row.next()?.as_u64();
        target.add(&Counts {
            read: next()?,
            recorded: next()?,
            filled: next()?,
            decimated: next()?,
            late: next()?,
            unrecorded: next()?,
            bad: row.next().map_or(Some(BTreeMap::new()), bad_from)?,
        });
    }
    Some(())
}

/// The bad readings of a channel by reason, as JSON.
pub(super) fn bad_to_text(bad: &BTreeMap<Reason, u64>) -> String {
    bad_value(bad).to_string()
}

/// The reverse of [`bad_to_text`].
pub(super) fn bad_from_text(text: &str) -> Option<BTreeMap<Reason, u64>> {
    bad_from(&serde_json::from_str(text).ok()?)
}

fn bad_value(bad: &BTreeMap<Reason, u64>) -> Value {
    json!(bad.iter().map(|(reason, count)| (reason.as_str(), *count)).collect::<BTreeMap<_, _>>())
}

fn bad_from(value: &Value) -> Option<BTreeMap<Reason, u64>> {
    value.as_object()?.iter().map(|(reason, count)| Some((Reason::named(reason), count.as_u64()?))).collect()
}

/// Points per channel as JSON text: `[100,98,0]`.
pub(super) fn points_to_text(points: &[u64]) -> String {
    let points: Vec<String> = points.iter().map(u64::to_string).collect();
    format!("[{}]", points.join(","))
}

/// The reverse of [`points_to_text`].
pub(super) fn points_from_text(text: &str) -> Option<Vec<u64>> {
    serde_json::from_str(text).ok()
}

/// Places of channels as JSON text: `[0,2]`.
pub(super) fn channels_to_text(channels: &[usize]) -> String {
    json!(channels).to_string()
}

/// The reverse of [`channels_to_text`].
pub(super) fn channels_from_text(text: &str) -> Option<Vec<usize>> {
    serde_json::from_str(text).ok()
}

/// Adds `more` to `counts`, channel by channel; channels beyond `counts` are of no run and are left out.
pub(super) fn add_all(counts: &mut [Counts], more: &[Counts]) {
    for (target, more) in counts.iter_mut().zip(more) {
        target.add(more);
    }
}

/// Points per channel of some ticks.
pub(super) fn points_of<'a>(ticks: impl IntoIterator<Item = &'a Tick>, channels: usize) -> Vec<u64> {
    let mut points = vec![0; channels];
    for point in ticks.into_iter().flat_map(|tick| &tick.points) {
        if let Some(count) = points.get_mut(point.channel.0) {
            *count += 1;
        }
    }
    points
}

/// Counts the points of some ticks: `count` tells what a sample (not a filled point) adds to, `fill` is for filled points.
pub(super) fn count_ticks<'a>(
    counts: &mut [Counts],
    ticks: impl IntoIterator<Item = &'a Tick>,
    samples: impl Fn(&mut Counts) -> &mut u64,
    filled: impl Fn(&mut Counts) -> Option<&mut u64>,
) {
    for point in ticks.into_iter().flat_map(|tick| &tick.points) {
        if let Some(counts) = counts.get_mut(point.channel.0) {
            match point.mark {
                Mark::Good | Mark::Uncertain => *samples(counts) += 1,
                Mark::Filled => {
                    if let Some(count) = filled(counts) {
                        *count += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_the_way_through_text() {
        let counts = [
            Counts { read: 12, recorded: 9, bad: [(Reason::NO_REPLY, 2)].into(), late: 1, ..Counts::default() },
            Counts::default(),
            Counts { filled: 3, decimated: 4, unrecorded: 5, ..Counts::default() },
        ];
        let text = to_text(&counts);
        assert_eq!(text, r#"{"0":[12,9,0,0,1,0,{"no_reply":2}],"2":[0,0,3,4,0,5]}"#);
        let mut back = vec![Counts::default(); 3];
        assert_eq!(add_text(&mut back, &text), Some(()));
        assert_eq!(back, counts);
        assert_eq!(add_text(&mut back[..1], &text), None, "channel 2 is not there");
        assert_eq!(add_text(&mut back, "[]"), None);
    }
}
