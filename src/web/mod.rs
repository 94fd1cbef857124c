//! The bridge's own HTTP.
