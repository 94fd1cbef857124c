//! Points of a channel as the file has them against points as the platform has them. Pure.

/// Stamps come back in whole milliseconds, cut or rounded.
const NEAR_MS: i64 = 1;

/// A point that is or may be on the platform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    pub(super) chunk: u64,
    pub(super) at_ms: i64,
    pub(super) value: f64,
    /// The platform has confirmed it. Otherwise it may be there: sent, and the answer not heard.
    pub(super) confirmed: bool,
}

/// What is not as it should be.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// Points that are there as they should be.
    pub(super) found: u64,
    /// Confirmed points that are not there: chunk and time.
    pub(super) missing: Vec<(u64, i64)>,
    /// Points with another value: chunk, time, value of the file, value of the platform.
    pub(super) other: Vec<(u64, i64, f64, Option<f64>)>,
    /// Points that are there once more.
    pub(super) twice: Vec<i64>,
    /// Points that the file does not have: time and value.
    pub(super) foreign: Vec<(i64, Option<f64>)>,
}

/// Both in any order.
pub(super) fn compare(mut expected: Vec<Expected>, mut stored: Vec<(i64, Option<f64>)>) -> Difference {
    expected.sort_by_key(|point| point.at_ms);
    stored.sort_by_key(|(at, _)| *at);
    let (mut found, mut place, mut at) = (Difference::default(), 0, 0);
    let mut last: Option<(i64, Option<f64>)> = None;
    loop {
        match (expected.get(place), stored.get(at)) {
            (None, None) => return found,
            (Some(point), None) => {
                found.miss(point);
                place += 1;
            }
            (None, Some(stored)) => {
                found.surplus(*stored, last);
                at += 1;
            }
            (Some(point), Some(held)) => {
                let next = expected.get(place + 1);
                let after = stored.get(at + 1);
                match judge(point, *held, next, after.copied()) {
                    Judgement::Same => {
                        found.found += 1;
                        last = Some(*held);
                        (place, at) = (place + 1, at + 1);
                    }
                    Judgement::Other => {
                        found.other.push((point.chunk, point.at_ms, point.value, held.1));
                        last = None;
                        (place, at) = (place + 1, at + 1);
                    }
                    Judgement::Missing => {
                        found.miss(point);
                        place += 1;
                    }
                    Judgement::Surplus => {
                        found.surplus(*held, last);
                        at += 1;
                    }
                }
            }
        }
    }
}

enum Judgement {
    Same,
    Other,
    Missing,
    Surplus,
}

/// What two points are to each other. Points can be less than a millisecond apart, so that those after them have a say.
fn judge(
    point: &Expected,
    held: (i64, Option<f64>),
    next: Option<&Expected>,
    after: Option<(i64, Option<f64>)>,
) -> Judgement {
    let near = |point: &Expected, held: (i64, Option<f64>)| (held.0 - point.at_ms).abs() <= NEAR_MS;
    let fits = |point: &Expected, held: (i64, Option<f64>)| near(point, held) && same(point.value, held.1);
    if fits(point, held) {
        Judgement::Same
    } else if next.is_some_and(|next| fits(next, held)) {
        Judgement::Missing
    } else if after.is_some_and(|after| fits(point, after)) {
        Judgement::Surplus
    } else if point.at_ms == held.0 {
        Judgement::Other
    } else if point.at_ms < held.0 {
        Judgement::Missing
    } else {
        Judgement::Surplus
    }
}

impl Difference {
    fn miss(&mut self, point: &Expected) {
        if point.confirmed {
            self.missing.push((point.chunk, point.at_ms));
        }
    }

    fn surplus(&mut self, held: (i64, Option<f64>), last: Option<(i64, Option<f64>)>) {
        let again = last.is_some_and(|last| (last.0 - held.0).abs() <= NEAR_MS && last.1 == held.1);
        if again {
            self.twice.push(held.0);
        } else {
            self.foreign.push(held);
        }
    }
}

/// JSON carries a number to the bit; a platform that keeps it otherwise may lose the last of 16 digits.
pub(super) fn same(value: f64, stored: Option<f64>) -> bool {
    stored.is_some_and(|stored| stored == value || (stored - value).abs() <= value.abs() * 1e-15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(chunk: u64, at_ms: i64, value: f64) -> Expected {
        Expected { chunk, at_ms, value, confirmed: true }
    }

    #[test]
    fn each_difference_has_its_name() {
        let expected = vec![
            point(0, 1_000, 1.0),
            point(0, 1_100, 2.0),
            point(1, 1_200, 3.0),
            point(1, 1_300, 4.0),
            Expected { confirmed: false, ..point(2, 1_400, 5.0) },
        ];
        let stored = vec![(1_300, Some(4.5)), (1_000, Some(1.0)), (1_101, Some(2.0)), (1_101, Some(2.0)), (900, None)];
        let found = compare(expected, stored);
        let wanted = Difference {
            found: 2,
            missing: vec![(1, 1_200)],
            other: vec![(1, 1_300, 4.0, Some(4.5))],
            twice: vec![1_101],
            foreign: vec![(900, None)],
        };
        assert_eq!(found, wanted);
    }

    proptest! {
        /// Points a millisecond apart, some lost, some once more: each is told for what it is.
        #[test]
        fn what_is_done_to_a_series_is_what_is_found(
            fates in proptest::collection::vec(0..12_u8, 1..80),
            step in prop_oneof![Just(1_i64), Just(2), Just(100)],
        ) {
            let expected: Vec<Expected> = (0..).zip(&fates).map(|(n, _)| point(0, n * step, n as f64)).collect();
            let mut stored = Vec::new();
            let (mut missing, mut twice) = (Vec::new(), Vec::new());
            for (point, fate) in expected.iter().zip(&fates) {
                let held = (point.at_ms, Some(point.value));
                match fate {
                    0 => missing.push((0, point.at_ms)),
                    1 => {
                        twice.push(point.at_ms);
                        stored.extend([held, held]);
                    }
                    _ => stored.push(held),
                }
            }
            let found = compare(expected, stored.clone());
            prop_assert_eq!(usize::try_from(found.found).unwrap(), stored.len() - twice.len());
            prop_assert_eq!(found.missing, missing);
            prop_assert_eq!(found.twice, twice);
            prop_assert!(found.other.is_empty() && found.foreign.is_empty());
        }
    }
}
