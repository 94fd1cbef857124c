//! How long to wait after a failure: full jitter, so that a hundred labs do not come back in the same second.

use std::time::Duration;

use crate::model::doubled;

/// A random pause between nothing and a bound that doubles with each failure in a row, up to a longest one.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration, seed: Option<u64>) -> Self {
        Self { first, longest, random: seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed) }
    }

    /// The pause after this many failures in a row, counted from 1.
    pub(super) fn pause(&mut self, failures: u32) -> Duration {
        let bound = doubled(self.first, failures, self.longest);
        bound.mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn pauses_fill_the_whole_range_and_a_seed_repeats_them() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(FIRST, LONGEST, Some(seed));
            (0..1_000).map(|_| backoff.pause(10)).collect::<Vec<_>>()
        };
        let drawn = pauses(7);
        assert_eq!(drawn, pauses(7));
        assert_ne!(drawn, pauses(8));
        assert!(drawn.iter().all(|pause| *pause <= LONGEST));
        assert!(drawn.iter().any(|pause| *pause < Duration::from_secs(2)));
        assert!(drawn.iter().any(|pause| *pause > Duration::from_secs(28)));
        let mean = drawn.iter().sum::<Duration>() / 1_000;
        assert!(mean.abs_diff(LONGEST / 2) < Duration::from_secs(1), "{mean:?}");
    }
}
