//! See `mbe_bridge_fuzz::profile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mbe_bridge_fuzz::profile(data));
