//! Chunks as JSON, written by hand: a stamp that channels share is formatted once and copied.
//!
//! Numbers are the shortest that read back as the same `f64`. JSON has no NaN and no infinity: such a point is left out,
//! with its stamp. A channel without points is left out, since the platform refuses a chunk that names one.

use std::ops::Range;

use serde_json::Error;

use crate::model::Chunk;
use crate::model::ChunkChannel;
use crate::model::Stamp;

/// JSON of a point with a ten-digit second, a few decimals, a value and two commas; measured: 27 bytes.
const BYTES_PER_POINT: usize = 32;

/// The body of `chunk/multi`.
pub(super) fn multi(data_id: &str, chunk: &Chunk) -> Result<Vec<u8>, Error> {
    let mut body = Vec::with_capacity(256 + chunk.points() * BYTES_PER_POINT + chunk.channels.len() * 96);
    body.extend_from_slice(b"{\"data_id\":");
    serde_json::to_writer(&mut body, data_id)?;
    body.extend_from_slice(b",\"chunk_index\":");
    serde_json::to_writer(&mut body, &chunk.index)?;
    body.extend_from_slice(b",\"channels\":{");
    let mut axis = Axis::default();
    let mut first = true;
    for channel in chunk.channels.iter().filter(|channel| has_points(channel)) {
        if !first {
            body.push(b',');
        }
        first = false;
        serde_json::to_writer(&mut body, channel.name.as_str())?;
        body.extend_from_slice(b":{\"timestamps\":");
        series(&mut body, &mut axis, channel)?;
        body.push(b'}');
    }
    body.extend_from_slice(b"}}");
    Ok(body)
}

/// The body of `chunk`: one channel.
pub(super) fn single(data_id: &str, index: u64, channel: &ChunkChannel) -> Result<Vec<u8>, Error> {
    let mut body = Vec::with_capacity(256 + channel.values.len() * BYTES_PER_POINT);
    body.extend_from_slice(b"{\"data_id\":");
    serde_json::to_writer(&mut body, data_id)?;
    body.extend_from_slice(b",\"chunk_index\":");
    serde_json::to_writer(&mut body, &index)?;
    body.extend_from_slice(b",\"channel_name\":");
    serde_json::to_writer(&mut body, channel.name.as_str())?;
    body.extend_from_slice(b",\"timestamps\":");
    series(&mut body, &mut Axis::default(), channel)?;
    body.push(b'}');
    Ok(body)
}

/// Whether there is anything to send of a channel.
pub(super) fn has_points(channel: &ChunkChannel) -> bool {
    channel.stamps.iter().zip(&channel.values).any(|(_, value)| value.is_finite())
}

/// The time axis that was written last, and where in the body its JSON stands.
#[derive(Default)]
struct Axis<'a> {
    stamps: &'a [Stamp],
    written: Range<usize>,
}

impl Axis<'_> {
    /// Whether these stamps are the ones that were written. Channels of one axis share it, which is seen at a glance.
    fn is(&self, stamps: &[Stamp]) -> bool {
        std::ptr::eq(self.stamps, stamps) || self.stamps == stamps
    }
}

/// Writes the stamps (the key is there already), the values and the unit.
fn series<'a>(body: &mut Vec<u8>, axis: &mut Axis<'a>, channel: &'a ChunkChannel) -> Result<(), Error> {
    let whole = channel.stamps.len() == channel.values.len() && channel.values.iter().all(|value| value.is_finite());
    let points = || channel.stamps.iter().zip(&channel.values).filter(|(_, value)| value.is_finite());
    if whole && !axis.written.is_empty() && axis.is(&channel.stamps) {
        body.extend_from_within(axis.written.clone());
    } else {
        let from = body.len();
        numbers(body, points().map(|(stamp, _)| stamp.as_unix_seconds()))?;
        if whole {
            *axis = Axis { stamps: &channel.stamps, written: from..body.len() };
        }
    }
    body.extend_from_slice(b",\"values\":");
    numbers(body, points().map(|(_, value)| *value))?;
    if let Some(unit) = &channel.unit {
        body.extend_from_slice(b",\"units\":");
        serde_json::to_writer(&mut *body, unit.as_ref())?;
    }
    Ok(())
}

fn numbers(body: &mut Vec<u8>, numbers: impl Iterator<Item = f64>) -> Result<(), Error> {
    body.push(b'[');
    let mut first = true;
    for number in numbers {
        if !first {
            body.push(b',');
        }
        first = false;
        serde_json::to_writer(&mut *body, &number)?;
    }
    body.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::model::ChannelName;

    fn channel(name: &str, unit: Option<&str>, points: &[(i64, f64)]) -> ChunkChannel {
        ChunkChannel {
            name: ChannelName::parse(name).unwrap(),
            unit: unit.map(Into::into),
            stamps: points.iter().map(|(nanos, _)| Stamp::from_nanos(*nanos)).collect(),
            values: points.iter().map(|(_, value)| *value).collect(),
        }
    }

    #[test]
    fn a_chunk_reads_as_the_platform_wants_it() {
        let chunk = Chunk {
            index: 7,
            channels: vec![
                channel(
                    "T \"sub\"",
                    Some("°C"),
                    &[(1_795_357_081_100_000_000, 20.5), (1_795_357_081_200_000_000, 21.0)],
                ),
                channel("p", None, &[(1_795_357_081_100_000_000, 1e-9), (1_795_357_081_200_000_000, -0.25)]),
                channel("empty", None, &[]),
            ],
        };
        let text = String::from_utf8(multi("abc", &chunk).unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"data_id\":\"abc\",\"chunk_index\":7,\"channels\":{\
             \"T \\\"sub\\\"\":{\"timestamps\":[1795357081.1,1795357081.2],\"values\":[20.5,21.0],\"units\":\"°C\"},\
             \"p\":{\"timestamps\":[1795357081.1,1795357081.2],\"values\":[1e-9,-0.25]}}}"
        );
        let text = String::from_utf8(single("abc", 7, &chunk.channels[0]).unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"data_id\":\"abc\",\"chunk_index\":7,\"channel_name\":\"T \\\"sub\\\"\",\
             \"timestamps\":[1795357081.1,1795357081.2],\"values\":[20.5,21.0],\"units\":\"°C\"}"
        );
    }

    #[test]
    fn a_number_that_json_does_not_have_is_left_out_with_its_stamp() {
        let odd = [(1_000_000_000, f64::NAN), (2_000_000_000, 2.0), (3_000_000_000, f64::NEG_INFINITY)];
        let good = [(1_000_000_000, 1.0), (2_000_000_000, 2.0), (3_000_000_000, 3.0)];
        let chunk = Chunk {
            index: 0,
            channels: vec![
                channel("odd", None, &odd),
                channel("good", None, &good),
                channel("none", None, &[(1_000_000_000, f64::INFINITY)]),
            ],
        };
        let body: Value = serde_json::from_slice(&multi("d", &chunk).unwrap()).unwrap();
        let expected = json!({
            "odd": {"timestamps": [2.0], "values": [2.0]},
            "good": {"timestamps": [1.0, 2.0, 3.0], "values": [1.0, 2.0, 3.0]},
        });
        assert_eq!(body["channels"], expected);
    }

    /// A few axes that channels share or not, with any bit pattern for a value.
    fn chunks() -> impl Strategy<Value = Chunk> {
        let axes = vec(vec(0..4_000_000_000_000_000_000i64, 0..20), 1..4);
        let channels = vec((any::<proptest::sample::Index>(), any::<u64>(), ".{1,12}", any::<Option<String>>()), 0..8);
        (axes, channels, any::<u64>()).prop_map(|(axes, channels, index)| {
            let channels = channels.into_iter().enumerate().filter_map(|(place, (axis, seed, name, unit))| {
                let mut random = fastrand::Rng::with_seed(seed);
                let stamps = axis.get(&axes);
                Some(ChunkChannel {
                    name: ChannelName::parse(&format!("{place} {name}")).ok()?,
                    unit: unit.map(Into::into),
                    stamps: stamps.iter().map(|nanos| Stamp::from_nanos(*nanos)).collect(),
                    values: stamps.iter().map(|_| f64::from_bits(random.u64(..))).collect(),
                })
            });
            Chunk { index, channels: channels.collect() }
        })
    }

    /// The arrays under a key, in the order of the text. Read by hand: the JSON library's own parser rounds the last bit.
    fn arrays(body: &[u8], key: &str) -> Vec<Vec<u64>> {
        let text = std::str::from_utf8(body).unwrap();
        let opening = format!("\"{key}\":[");
        let after = text.split(&opening).skip(1).map(|rest| rest.split(']').next().unwrap());
        after.map(|list| list.split_terminator(',').map(|n| n.parse::<f64>().unwrap().to_bits()).collect()).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_bit(chunk in chunks(), data_id: String) {
            let written = multi(&data_id, &chunk).unwrap();
            let body: Value = serde_json::from_slice(&written).unwrap();
            prop_assert_eq!(body["data_id"].as_str(), Some(data_id.as_str()));
            prop_assert_eq!(body["chunk_index"].as_u64(), Some(chunk.index));
            let sent: Vec<&ChunkChannel> = chunk.channels.iter().filter(|channel| has_points(channel)).collect();
            prop_assert_eq!(body["channels"].as_object().unwrap().len(), sent.len());
            let (mut stamps, mut values) = (Vec::new(), Vec::new());
            for channel in sent {
                prop_assert_eq!(body["channels"][channel.name.as_str()]["units"].as_str(), channel.unit.as_deref());
                let points = || channel.stamps.iter().zip(&channel.values).filter(|(_, value)| value.is_finite());
                stamps.push(points().map(|(stamp, _)| stamp.as_unix_seconds().to_bits()).collect::<Vec<_>>());
                values.push(points().map(|(_, value)| value.to_bits()).collect::<Vec<_>>());
                let alone = single(&data_id, chunk.index, channel).unwrap();
                prop_assert_eq!(arrays(&alone, "timestamps"), stamps[stamps.len() - 1..].to_vec());
                prop_assert_eq!(arrays(&alone, "values"), values[values.len() - 1..].to_vec());
                let alone: Value = serde_json::from_slice(&alone).unwrap();
                prop_assert_eq!(alone["units"].as_str(), channel.unit.as_deref());
                prop_assert_eq!(alone["channel_name"].as_str(), Some(channel.name.as_str()));
            }
            prop_assert_eq!(arrays(&written, "timestamps"), stamps);
            prop_assert_eq!(arrays(&written, "values"), values);
        }
    }
}
