//! The local Atomscale-compatible platform.
