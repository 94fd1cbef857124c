//! See `mbe_bridge_fuzz::pattern`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mbe_bridge_fuzz::pattern(data));
