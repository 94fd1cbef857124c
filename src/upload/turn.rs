//! Which run the next request belongs to.
//!
//! Oldest first, so that a backlog ends. But a lab that was offline for a day must not wait for the day to be uploaded
//! before its chamber can be watched again: while older runs have something to send, every other request goes to the run
//! that is being recorded. That run makes few chunks, so the backlog loses next to nothing.

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    live_next: bool,
}

impl Turn {
    /// Of the runs that have something to send (by their place, oldest first), the one that may. `live` is the place of the
    /// run that is being recorded.
    pub(super) fn next(&mut self, sendable: &[usize], live: Option<usize>) -> Option<usize> {
        let oldest = *sendable.first()?;
        let live = live.filter(|live| sendable.contains(live));
        self.live_next = !self.live_next;
        if self.live_next { Some(oldest) } else { live.or(Some(oldest)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_and_the_live_run_take_turns() {
        let mut turn = Turn::default();
        let order: Vec<usize> = (0..4).map(|_| turn.next(&[0, 1, 2], Some(2)).unwrap()).collect();
        assert_eq!(order, [0, 2, 0, 2]);
    }

    #[test]
    fn without_a_live_run_that_has_something_the_oldest_goes() {
        let mut turn = Turn::default();
        for live in [None, Some(3), Some(1)] {
            assert_eq!(turn.next(&[1, 2], live), Some(1));
        }
        assert_eq!(turn.next(&[], Some(1)), None);
    }
}
