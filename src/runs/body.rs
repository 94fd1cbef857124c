//! The body of a chunk or an open batch: ticks as bytes. The format is described in the head of this room.

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::model::{ChannelIndex, Finite, Mark, Point, Stamp, Tick};

const VERSION: u8 = 1;

/// The checksum that zlib, PNG and Python's `zlib.crc32` use, so that a script can check a body.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

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
    let checksum = CHECKSUM.checksum(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Reads ticks from bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Tick>, BadBody> {
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(BadBody::Short)?;
    if CHECKSUM.checksum(content) != u32::from_le_bytes(*checksum) {
        return Err(BadBody::Checksum);
    }
    let mut rest = Rest(content);
    let [version] = rest.array::<1>()?;
    if version != VERSION {
        return Err(BadBody::Version(version));
    }
    let length = usize::try_from(u32::from_le_bytes(rest.array()?)).map_err(|_| BadBody::Content)?;
    if length > content.len() / 8 {
        return Err(BadBody::Short);
    }
    let mut ticks = Vec::with_capacity(length);
    for _ in 0..length {
        ticks.push(Tick { at: Stamp::from_nanos(i64::from_le_bytes(rest.array()?)), points: Vec::new() });
    }
    for _ in 0..u16::from_le_bytes(rest.array()?) {
        column(&mut rest, &mut ticks)?;
    }
    if rest.0.is_empty() { Ok(ticks) } else { Err(BadBody::Content) }
}

fn column(rest: &mut Rest<'_>, ticks: &mut [Tick]) -> Result<(), BadBody> {
    let channel = ChannelIndex(usize::from(u16::from_le_bytes(rest.array()?)));
    let [marked] = rest.array::<1>()?;
    let presence = rest.take(ticks.len().div_ceil(8))?;
    let present = |number: usize| presence.get(number / 8).is_some_and(|byte| byte & (1 << (number % 8)) != 0);
    let points = (0..ticks.len()).filter(|number| present(*number)).count();
    let values = rest.take(points * 8)?;
    let marks = if marked == 0 { &[] } else { rest.take(points)? };
    let (values, _) = values.as_chunks::<8>();
    let mut marks = marks.iter();
    let mut values = values.iter();
    for (number, tick) in ticks.iter_mut().enumerate() {
        if !present(number) {
            continue;
        }
        let value = values.next().map(|bytes| f64::from_le_bytes(*bytes)).and_then(Finite::new);
        let mark = match marks.next() {
            None | Some(0) => Mark::Good,
            Some(1) => Mark::Uncertain,
            Some(2) => Mark::Filled,
            Some(_) => return Err(BadBody::Content),
        };
        tick.points.push(Point { channel, value: value.ok_or(BadBody::Content)?, mark });
    }
    Ok(())
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
            let checksum = CHECKSUM.checksum(&bytes);
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
