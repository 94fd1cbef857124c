//! The whole program, end to end: the real binary as a child process between simulated instruments (real protocols over
//! ptys and sockets) and the local platform.
//!
//! What a test holds the program to is in [`oracle`]: what is on the platform is what the instruments said at that time,
//! once, and what is missing is accounted for.

mod field;
mod lab;
mod machine;
mod oracle;
#[expect(dead_code, reason = "the torture test uses the rest")]
mod process;
mod rehearsal;
mod waiting;

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
mod miscount;
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

use mbe_bridge::server::{Server, Settings};
use secrecy::SecretString;

use waiting::{KEY, until};

/// A platform on a port of its own that takes [`KEY`] only.
async fn platform() -> Server {
    platform_with(Settings::default()).await
}

async fn platform_with(settings: Settings) -> Server {
    Server::start(Settings { api_key: Some(SecretString::from(KEY)), ..settings }).await.unwrap()
}
