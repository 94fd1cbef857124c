//! Waiting for what has to come, and the key that the platform takes.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Nothing here takes as long unless it is broken, also on a machine with other things to do.
const DEADLINE: Duration = Duration::from_secs(30);

/// The key that the platform takes. A text that occurs nowhere else, so that it can be searched for.
pub(super) const KEY: &str = "sk-e2e-7f3a91c04d";

/// Waits until `look` finds something; `what` is said, with what was seen last, when that never happens.
pub(super) async fn until<T, S: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(begun.elapsed() < DEADLINE, "never {what}; seen last: {seen:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
