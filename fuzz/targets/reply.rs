//! See `mbe_bridge_fuzz::reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mbe_bridge_fuzz::reply(data));
