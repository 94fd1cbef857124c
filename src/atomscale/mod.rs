//! The Atomscale platform's API.
