//! What has to hold of each parser for any input: no panic, no hang, and what is said at each check.
//!
//! `fuzz/run` gives them inputs of libFuzzer's making; `cargo test` gives them those under `fuzz/corpus`.

mod bus;
mod messages;
mod texts;

pub use bus::{registers, reply, rtu, tcp};
pub use messages::{framing, pattern};
pub use texts::{lab, profile};

use std::sync::{Arc, LazyLock};

use mbe_bridge::profile::{Device, Library};

/// What is done with an input.
pub type Check = fn(&[u8]);

/// Each check with its name, which is that of its target and of its folder under `fuzz/corpus`.
pub const CHECKS: [(&str, Check); 8] = [
    ("profile", profile),
    ("lab", lab),
    ("pattern", pattern),
    ("framing", framing),
    ("reply", reply),
    ("rtu", rtu),
    ("tcp", tcp),
    ("registers", registers),
];

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::embedded().0);

/// The shipped devices, each with a number that follows from its id: inputs keep their meaning when profiles are added.
static DEVICES: LazyLock<Vec<(u16, Arc<Device>)>> = LazyLock::new(|| {
    let numbered = |profile: &Arc<mbe_bridge::profile::Profile>| {
        let number = profile.id.bytes().fold(0x811C_u16, |hash, byte| (hash ^ u16::from(byte)).wrapping_mul(0x0193));
        (number, Arc::new(profile.sample().clone()))
    };
    LIBRARY.iter().map(numbered).collect()
});

/// The shipped device of this kind whose number is nearest.
fn device(number: u16, is_wanted: impl Fn(&Device) -> bool) -> Option<Arc<Device>> {
    let wanted = DEVICES.iter().filter(|(_, device)| is_wanted(device));
    wanted.min_by_key(|(own, _)| own ^ number).map(|(_, device)| Arc::clone(device))
}

/// Takes the first bytes of an input.
fn head<const N: usize>(data: &[u8]) -> Option<([u8; N], &[u8])> {
    data.split_first_chunk().map(|(head, rest)| (*head, rest))
}
