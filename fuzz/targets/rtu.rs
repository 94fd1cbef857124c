//! See `mbe_bridge_fuzz::rtu`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mbe_bridge_fuzz::rtu(data));
