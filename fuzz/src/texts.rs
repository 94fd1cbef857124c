//! Files that people write.

use std::path::Path;

use mbe_bridge::config;
use mbe_bridge::document::Source;
use mbe_bridge::profile::{DeviceEngine, Origin, Profile};

use super::{LIBRARY, messages};

/// A profile is read or refused, and one that is read can be verified. Behind a NUL stands what its instrument says.
pub fn profile(data: &[u8]) {
    let (text, said) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match Profile::parse(&Source::new("fuzzed.toml", text), Origin::BuiltIn) {
        Ok(profile) => {
            drop(profile.verify().to_string());
            if let DeviceEngine::Messages(device) = &profile.sample().engine {
                messages::heard(&device.framing, &messages::patterns(device), said);
            }
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "a profile is refused without a word"),
    }
}

/// A lab's file is read or refused.
pub fn lab(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::read(Path::new("/fuzzed/lab.toml"), text, &LIBRARY, &|_| None) {
        Ok(loaded) => {
            drop(loaded.warnings.to_string());
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "a file is refused without a word"),
    }
}
