//! The whole program, end to end: the real binary as a child process between simulated instruments (real protocols over
//! ptys and sockets) and the local platform.
//!
//! What a test holds the program to is in [`oracle`]: what is on the platform is what the instruments said at that time,
//! once, and what is missing is accounted for.

mod field;
mod lab;
mod oracle;
mod process;
mod rehearsal;

mod ailing;
mod alignment;
mod bus;
mod clock;
mod commands;
mod commissioning;
mod damaged;
mod dashboard;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod full;
mod growth;
#[cfg(target_os = "linux")]
mod host_clock;
mod key;
mod killed;
mod late;
mod links;
mod offline;
mod one_at_a_time;
mod outages;
mod outages_at_the_end;
mod outages_ended;
mod outages_on_the_way;
mod outages_passing;
mod outages_refused;
mod runs;
mod trace;
mod unasked;
mod unplugged;
#[cfg(target_os = "linux")]
mod vanishing;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use mbe_bridge::server::{Server, Settings};
use secrecy::SecretString;

/// Nothing here takes as long unless it is broken, also on a machine with other things to do.
const DEADLINE: Duration = Duration::from_secs(30);

/// The key that the platform takes. A text that occurs nowhere else, so that it can be searched for.
const KEY: &str = "sk-e2e-7f3a91c04d";

/// A platform on a port of its own that takes [`KEY`] only.
async fn platform() -> Server {
    platform_with(Settings::default()).await
}

async fn platform_with(settings: Settings) -> Server {
    Server::start(Settings { api_key: Some(SecretString::from(KEY)), ..settings }).await.unwrap()
}

/// Waits until `look` finds something; `what` is said, with what was seen last, when that never happens.
async fn until<T, S: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(begun.elapsed() < DEADLINE, "never {what}; seen last: {seen:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
