//! How many requests are in flight: one more with each quick answer at first, one more after each round of them once there was
//! trouble, half as many at each sign of trouble.
//!
//! Slow start, then additive increase and multiplicative decrease, as TCP finds and shares a line (Jacobson, 1988; Chiu and
//! Jain, 1989), over requests instead of bytes.

use std::time::Duration;

/// The window. Requests are told apart by their number, which counts up in the order of their start.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    largest: usize,
    quick: Duration,
    /// Quick answers since the window last changed.
    streak: usize,
    /// There was neither trouble nor a slow answer yet.
    untroubled: bool,
    /// The number of the next request when the window last shrank: what had been started before tells of the same trouble.
    shrunk_at: u64,
}

impl Window {
    pub(super) fn new(size: usize, largest: usize, quick: Duration) -> Self {
        let largest = largest.max(1);
        Self { size: size.clamp(1, largest), largest, quick, streak: 0, untroubled: true, shrunk_at: 0 }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// A chunk was confirmed after this long. A quick one lets the window grow by one; after the first trouble, only as many in
    /// a row as it is wide.
    pub(super) fn confirmed(&mut self, took: Duration) {
        if took > self.quick {
            self.streak = 0;
            self.untroubled = false;
            return;
        }
        self.streak += 1;
        if (self.untroubled || self.streak >= self.size) && self.size < self.largest {
            self.size += 1;
            self.streak = 0;
        }
    }

    /// A request failed or was refused; `next` is the number that the next request will have.
    pub(super) fn troubled(&mut self, number: u64, next: u64) {
        self.streak = 0;
        self.untroubled = false;
        if number >= self.shrunk_at {
            self.size = (self.size / 2).max(1);
            self.shrunk_at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUICK: Duration = Duration::from_secs(2);

    #[test]
    fn it_doubles_in_a_round_until_trouble_then_grows_by_one_and_halves_once_for_one_trouble() {
        let mut window = Window::new(4, 16, QUICK);
        window.confirmed(QUICK);
        assert_eq!(window.size(), 5);
        window.troubled(3, 4);
        window.troubled(4, 5);
        assert_eq!(window.size(), 1);
        for number in 1..5 {
            for _ in 0..number {
                assert_eq!(window.size(), number);
                window.confirmed(QUICK);
            }
        }
        assert_eq!(window.size(), 5);
        for _ in 0..200 {
            window.confirmed(QUICK);
        }
        assert_eq!(window.size(), 16);
        // Requests 84 to 99 were in flight when the line broke: one trouble, not sixteen.
        for number in 84..100 {
            window.troubled(number, 100);
        }
        assert_eq!(window.size(), 8);
        window.troubled(100, 101);
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn slow_answers_let_it_be() {
        let mut window = Window::new(4, 16, QUICK);
        window.confirmed(QUICK * 2);
        for _ in 0..3 {
            window.confirmed(Duration::ZERO);
        }
        window.confirmed(QUICK * 2);
        for _ in 0..3 {
            window.confirmed(Duration::ZERO);
        }
        assert_eq!(window.size(), 4);
    }

    proptest! {
        #[test]
        fn it_stays_between_one_and_the_largest(
            start in 0usize..40,
            largest in 0usize..20,
            events in proptest::collection::vec(any::<bool>(), 0..300),
        ) {
            let mut window = Window::new(start, largest, QUICK);
            for (number, good) in (0u64..).zip(events) {
                if good { window.confirmed(Duration::ZERO) } else { window.troubled(number, number + 1) }
                prop_assert!((1..=largest.max(1)).contains(&window.size()));
            }
        }
    }
}
