//! How many requests are in flight: one more after each round of quick answers, half as many at the first sign of trouble.
//!
//! Additive increase, multiplicative decrease, as TCP shares a line (Chiu and Jain, 1989), over requests instead of bytes.

use std::time::Duration;

/// The window. Requests are told apart by their number, which counts up in the order of their start.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    largest: usize,
    quick: Duration,
    /// Quick answers since the window last changed.
    streak: usize,
    /// The number of the next request when the window last shrank: what had been started before tells of the same trouble.
    shrunk_at: u64,
}

impl Window {
    pub(super) fn new(size: usize, largest: usize, quick: Duration) -> Self {
        let largest = largest.max(1);
        Self { size: size.clamp(1, largest), largest, quick, streak: 0, shrunk_at: 0 }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// A chunk was confirmed after this long. As many quick ones in a row as the window is wide let it grow by one.
    pub(super) fn confirmed(&mut self, took: Duration) {
        if took > self.quick {
            self.streak = 0;
            return;
        }
        self.streak += 1;
        if self.streak >= self.size && self.size < self.largest {
            self.size += 1;
            self.streak = 0;
        }
    }

    /// A request failed or was refused; `next` is the number that the next request will have.
    pub(super) fn troubled(&mut self, number: u64, next: u64) {
        self.streak = 0;
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
    fn it_grows_by_one_a_round_and_halves_once_for_one_trouble() {
        let mut window = Window::new(4, 16, QUICK);
        for _ in 0..4 {
            window.confirmed(QUICK);
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
