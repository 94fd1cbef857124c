//! Timestamps into stamps: checked, converted once for all channels that share them. Pure.

use std::sync::Arc;

use crate::model::Stamp;

/// Axes of earlier channels that a channel's timestamps are compared with.
const COMPARED: usize = 4;

/// The time axes of one push.
#[derive(Debug, Default)]
pub(super) struct Axes<'a> {
    /// What is added to every timestamp, in nanoseconds.
    shift_nanos: i64,
    known: Vec<(&'a [f64], Arc<[Stamp]>)>,
}

impl<'a> Axes<'a> {
    pub(super) fn new(shift_nanos: i64) -> Self {
        Self { shift_nanos, known: Vec::new() }
    }

    /// The stamps of these timestamps, or the place of the first that is none.
    pub(super) fn stamps(&mut self, timestamps: &'a [f64]) -> Result<Arc<[Stamp]>, usize> {
        let recent = || self.known.iter().rev().take(COMPARED);
        let same = recent()
            .find(|(known, _)| std::ptr::eq(*known, timestamps))
            .or_else(|| recent().find(|(known, _)| *known == timestamps));
        if let Some((_, stamps)) = same {
            return Ok(Arc::clone(stamps));
        }
        if let Some(wrong) = timestamps.iter().position(|timestamp| Stamp::from_unix_seconds(*timestamp).is_none()) {
            return Err(wrong);
        }
        let stamp =
            |timestamp: &f64| Stamp::from_unix_seconds(*timestamp).unwrap_or_default().shifted(self.shift_nanos);
        let stamps: Arc<[Stamp]> = timestamps.iter().map(stamp).collect();
        self.known.push((timestamps, Arc::clone(&stamps)));
        Ok(stamps)
    }
}

/// The points whose value is a number; none if all are, so that nothing is to be left out.
pub(super) fn present(stamps: &Arc<[Stamp]>, values: &[f64]) -> Option<(Arc<[Stamp]>, Vec<f64>)> {
    if values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let points = stamps.iter().zip(values).filter(|(_, value)| value.is_finite());
    let (stamps, values): (Vec<Stamp>, Vec<f64>) = points.map(|(stamp, value)| (*stamp, *value)).unzip();
    Some((stamps.into(), values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_with_the_same_timestamps_share_their_stamps() {
        let (shared, equal, other) = ([1.0, 2.0], [1.0, 2.0], [1.0, 2.5]);
        let mut axes = Axes::new(0);
        let first = axes.stamps(&shared).unwrap();
        assert!(Arc::ptr_eq(&first, &axes.stamps(&shared).unwrap()));
        assert!(Arc::ptr_eq(&first, &axes.stamps(&equal).unwrap()));
        let second = axes.stamps(&other).unwrap();
        assert_eq!(second.last(), Some(&Stamp::from_nanos(2_500_000_000)));
        assert!(Arc::ptr_eq(&first, &axes.stamps(&shared).unwrap()));
    }

    #[test]
    fn a_timestamp_that_is_none_is_told_by_its_place() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e10] {
            assert_eq!(Axes::new(0).stamps(&[1.0, 2.0, odd]), Err(2));
        }
        assert_eq!(Axes::new(-7).stamps(&[1.0]).unwrap().first(), Some(&Stamp::from_nanos(999_999_993)));
    }

    #[test]
    fn missing_values_are_left_out_with_their_stamps() {
        let stamps: Arc<[Stamp]> = [1, 2, 3, 4].map(Stamp::from_nanos).into();
        assert_eq!(present(&stamps, &[1.0, 2.0, 3.0, 4.0]), None);
        let (kept, values) = present(&stamps, &[f64::NAN, 2.0, f64::INFINITY, 4.0]).unwrap();
        assert_eq!((&*kept, &*values), (&[2, 4].map(Stamp::from_nanos)[..], &[2.0, 4.0][..]));
    }
}
