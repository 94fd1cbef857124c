//! Measurements of the session's clock against reference UTC.

use super::Stamp;

/// What a clock reading was measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSource {
    /// The platform's `GET /gateway/time`.
    Platform,
    /// The host's own wall clock, where the platform can't be reached.
    Host,
}

/// One measurement: reference UTC = session time + offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// When, in the session's time base.
    pub at: Stamp,
    /// What to add to a stamp of the session, in nanoseconds.
    pub offset_nanos: i64,
    /// The most that the offset can be wrong by, in nanoseconds.
    pub uncertainty_nanos: i64,
    /// What it was measured against.
    pub source: ClockSource,
}

impl ClockReading {
    /// The offset to apply: a measured one that is smaller than its own uncertainty says nothing and counts as zero.
    pub fn applied_nanos(&self) -> i64 {
        if self.offset_nanos.abs() > self.uncertainty_nanos { self.offset_nanos } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_within_its_uncertainty_is_not_applied() {
        let reading = |offset_nanos, uncertainty_nanos| ClockReading {
            at: Stamp::default(),
            offset_nanos,
            uncertainty_nanos,
            source: ClockSource::Platform,
        };
        assert_eq!(reading(3_851_000_000, 3_851_000_000).applied_nanos(), 0);
        assert_eq!(reading(-3_851_000_000, 20_000_000).applied_nanos(), -3_851_000_000);
    }
}
