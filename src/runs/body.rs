//! The body of a chunk or an open batch: ticks as bytes. The format is described in the head of this room.

use std::sync::Arc;

use crate::model::{ChannelIndex, ChunkChannel, Finite, Mark, Point, Stamp, Tick};

const VERSION: u8 = 1;

/// Why bytes are not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBody {
    #[error("its checksum does not match")]
    Checksum,
    #[error("it has the unknown version {0}")]
    Version(u8),
    #[error("it is cut short")]
    Short,
    #[error("it holds what this program never writes")]
    Content,
}

/// Writes ticks as bytes. Channels are below 65 536 (checked when a run is begun).
pub(super) fn encode(ticks: &[Tick]) -> Vec<u8> {
    let mut columns: Vec<(ChannelIndex, Vec<(usize, Point)>)> = Vec::new();
    for (number, tick) in ticks.iter().enumerate() {
        for point in &tick.points {
            match columns.binary_search_by_key(&point.channel, |(channel, _)| *channel) {
                Ok(at) => {
                    if let Some((_, points)) = columns.get_mut(at) {
                        points.push((number, *point));
                    }
                }
                Err(at) => columns.insert(at, (point.channel, vec![(number, *point)])),
            }
        }
    }
    let mut bytes = vec![VERSION];
    bytes.extend(u32::try_from(ticks.len()).unwrap_or(u32::MAX).to_le_bytes());
    for tick in ticks {
        bytes.extend(tick.at.as_nanos().to_le_bytes());
    }
    bytes.extend(u16::try_from(columns.len()).unwrap_or(u16::MAX).to_le_bytes());
    for (channel, points) in &columns {
        let marked = points.iter().any(|(_, point)| point.mark != Mark::Good);
        bytes.extend(u16::try_from(channel.0).unwrap_or(u16::MAX).to_le_bytes());
        bytes.push(u8::from(marked));
        let mut presence = vec![0_u8; ticks.len().div_ceil(8)];
        for (number, _) in points {
            if let Some(byte) = presence.get_mut(number / 8) {
                *byte |= 1 << (number % 8);
            }
        }
        bytes.extend(presence);
        for (_, point) in points {
            bytes.extend(point.value.get().to_le_bytes());
        }
        if marked {
            bytes.extend(points.iter().map(|(_, point)| match point.mark {
                Mark::Good => 0,
                Mark::Uncertain => 1,
                Mark::Filled => 2,
            }));
        }
    }
    sealed(bytes)
}

/// Writes the channels of a chunk as a program gave them, by rising number. Channels on one axis share their ticks; the ticks
/// of several axes follow each other.
pub(super) fn encode_given(channels: &[(usize, &ChunkChannel)]) -> Vec<u8> {
    let mut axes: Vec<(&Arc<[Stamp]>, usize)> = Vec::new();
    let mut ticks = 0;
    let mut axis_of = Vec::with_capacity(channels.len());
    for (_, channel) in channels {
        let known = axes.iter().rposition(|(axis, _)| Arc::ptr_eq(axis, &channel.stamps) || **axis == channel.stamps);
        axis_of.push(known.unwrap_or(axes.len()));
        if known.is_none() {
            axes.push((&channel.stamps, ticks));
            ticks += channel.stamps.len();
        }
    }
    let presence = ticks.div_ceil(8);
    let points: usize = channels.iter().map(|(_, channel)| channel.values.len()).sum();
    let mut bytes = Vec::with_capacity(11 + (ticks + points) * 8 + channels.len() * (3 + presence));
    bytes.push(VERSION);
    bytes.extend(u32::try_from(ticks).unwrap_or(u32::MAX).to_le_bytes());
    for (axis, _) in &axes {
        bytes.extend(axis.iter().flat_map(|stamp| stamp.as_nanos().to_le_bytes()));
    }
    bytes.extend(u16::try_from(channels.len()).unwrap_or(u16::MAX).to_le_bytes());
    for ((number, channel), axis) in channels.iter().zip(axis_of) {
        let first = axes.get(axis).map_or(0, |(_, first)| *first);
        bytes.extend(u16::try_from(*number).unwrap_or(u16::MAX).to_le_bytes());
        bytes.push(0);
        let from = bytes.len();
        bytes.resize(from + presence, 0);
        for tick in first..first + channel.values.len() {
            if let Some(byte) = bytes.get_mut(from + tick / 8) {
                *byte |= 1 << (tick % 8);
            }
        }
        bytes.extend(channel.values.iter().flat_map(|value| value.to_le_bytes()));
    }
    sealed(bytes)
}

/// Adds the checksum that zlib, PNG and Python's `zlib.crc32` use, so that a script can check a body.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// A body as it is stored, a column for each channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Columns {
    /// The times of the ticks.
    pub(super) times: Arc<[Stamp]>,
    /// By rising channel, as far as this program wrote it.
    pub(super) columns: Vec<Column>,
}

/// The points of one channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) channel: ChannelIndex,
    /// Tick *i* has a point if bit *i* mod 8 of byte *i* div 8 is set.
    presence: Vec<u8>,
    /// Finite, one per point.
    pub(super) values: Vec<f64>,
    /// None where all are good, else one per point.
    marks: Vec<Mark>,
}

impl Column {
    fn has(&self, tick: usize) -> bool {
        self.presence.get(tick / 8).is_some_and(|byte| byte & (1 << (tick % 8)) != 0)
    }
}

impl Columns {
    /// Turns the columns into ticks.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = self.times.iter().map(|at| Tick { at: *at, points: Vec::new() }).collect();
        for column in &self.columns {
            let present = ticks.iter_mut().enumerate().filter(|(number, _)| column.has(*number));
            for (((_, tick), value), place) in present.zip(&column.values).zip(0..) {
                // They were found to be finite when they were read.
                let Some(value) = Finite::new(*value) else { continue };
                let mark = column.marks.get(place).copied().unwrap_or(Mark::Good);
                tick.points.push(Point { channel: column.channel, value, mark });
            }
        }
        ticks
    }

    /// For each column its stamps, when those of the ticks are `stamps`. Columns with points on the same ticks share them.
    pub(super) fn stamped(self, stamps: &Arc<[Stamp]>) -> impl Iterator<Item = (ChannelIndex, Arc<[Stamp]>, Vec<f64>)> {
        let mut last: Option<(Vec<u8>, Arc<[Stamp]>)> = None;
        let stamps = Arc::clone(stamps);
        self.columns.into_iter().map(move |column| {
            let own = match &last {
                _ if column.values.len() == stamps.len() => Arc::clone(&stamps),
                Some((presence, own)) if *presence == column.presence => Arc::clone(own),
                _ => stamps.iter().enumerate().filter(|(tick, _)| column.has(*tick)).map(|(_, stamp)| *stamp).collect(),
            };
            last = Some((column.presence, Arc::clone(&own)));
            (column.channel, own, column.values)
        })
    }
}

/// Reads ticks from bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Tick>, BadBody> {
    Ok(columns(bytes)?.ticks())
}

/// Reads columns from bytes.
pub(super) fn columns(bytes: &[u8]) -> Result<Columns, BadBody> {
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(BadBody::Short)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(BadBody::Checksum);
    }
    let mut rest = Rest(content);
    let [version] = rest.array::<1>()?;
    if version != VERSION {
        return Err(BadBody::Version(version));
    }
    let length = usize::try_from(u32::from_le_bytes(rest.array()?)).map_err(|_| BadBody::Content)?;
    let times = rest.take(length.checked_mul(8).ok_or(BadBody::Short)?)?.as_chunks::<8>().0;
    let times = times.iter().map(|bytes| Stamp::from_nanos(i64::from_le_bytes(*bytes))).collect();
    let mut columns = Vec::new();
    for _ in 0..u16::from_le_bytes(rest.array()?) {
        columns.push(column(&mut rest, length)?);
    }
    if rest.0.is_empty() { Ok(Columns { times, columns }) } else { Err(BadBody::Content) }
}

fn column(rest: &mut Rest<'_>, ticks: usize) -> Result<Column, BadBody> {
    let channel = ChannelIndex(usize::from(u16::from_le_bytes(rest.array()?)));
    let [marked] = rest.array::<1>()?;
    let presence = rest.take(ticks.div_ceil(8))?.to_vec();
    // Bits beyond the last tick mean nothing.
    let beyond = presence.last().map_or(0, |last| if ticks.is_multiple_of(8) { 0 } else { last >> (ticks % 8) });
    let points: u32 = presence.iter().map(|byte| byte.count_ones()).sum::<u32>() - beyond.count_ones();
    let points = usize::try_from(points).map_err(|_| BadBody::Content)?;
    let (values, _) = rest.take(points * 8)?.as_chunks::<8>();
    let values: Vec<f64> = values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    if !values.iter().all(|value| value.is_finite()) {
        return Err(BadBody::Content);
    }
    let marks = if marked == 0 { &[] } else { rest.take(points)? };
    let mark = |mark: &u8| match mark {
        0 => Ok(Mark::Good),
        1 => Ok(Mark::Uncertain),
        2 => Ok(Mark::Filled),
        _ => Err(BadBody::Content),
    };
    let marks = marks.iter().map(mark).collect::<Result<_, _>>()?;
    Ok(Column { channel, presence, values, marks })
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BadBody> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadBody::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadBody> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(BadBody::Short)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> impl Strategy<Value = Mark> {
        prop_oneof![4 => Just(Mark::Good), 1 => Just(Mark::Uncertain), 1 => Just(Mark::Filled)]
    }

    fn ticks() -> impl Strategy<Value = Vec<Tick>> {
        let point = proptest::option::weighted(0.7, (proptest::num::f64::NORMAL | proptest::num::f64::ZERO, mark()));
        proptest::collection::vec((any::<i64>(), proptest::collection::vec(point, 5)), 0..40).prop_map(|rows| {
            rows.into_iter()
                .map(|(at, cells)| Tick {
                    at: Stamp::from_nanos(at),
                    points: cells
                        .into_iter()
                        .enumerate()
                        .filter_map(|(channel, cell)| {
                            let (value, mark) = cell?;
                            Some(Point { channel: ChannelIndex(channel), value: Finite::new(value).unwrap(), mark })
                        })
                        .collect(),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn ticks_survive_the_way_through_bytes(ticks in ticks()) {
            prop_assert_eq!(decode(&encode(&ticks)), Ok(ticks));
        }

        #[test]
        fn a_damaged_body_is_noticed(ticks in ticks(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = encode(&ticks);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(&bytes), Err(BadBody::Checksum));
            prop_assert!(decode(&bytes[..at]).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
            let checksum = crc32fast::hash(&bytes);
            bytes.extend(checksum.to_le_bytes());
            // With a right checksum only the content is left to be judged, which must not panic either.
            drop(decode(&bytes));
        }
    }

    #[test]
    fn a_body_is_what_the_head_of_the_room_says() {
        let point =
            |channel, value, mark| Point { channel: ChannelIndex(channel), value: Finite::new(value).unwrap(), mark };
        let ticks = [
            Tick { at: Stamp::from_nanos(1), points: vec![point(0, 1.0, Mark::Good)] },
            Tick { at: Stamp::from_nanos(2), points: vec![point(0, 2.0, Mark::Good), point(3, -0.5, Mark::Filled)] },
        ];
        let mut wanted = vec![1, 2, 0, 0, 0];
        wanted.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        wanted.extend([2, 0]);
        wanted.extend([0, 0, 0, 0b11]);
        wanted.extend([0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0x40]);
        wanted.extend([3, 0, 1, 0b10]);
        wanted.extend([0, 0, 0, 0, 0, 0, 0xE0, 0xBF, 2]);
        let bytes = encode(&ticks);
        assert_eq!(&bytes[..bytes.len() - 4], &wanted[..]);
    }
}
