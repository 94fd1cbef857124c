//! The reference clock: how far the session's time base is from the platform's.
//!
//! NTP's four stamps over HTTP: `t0` sent and `t3` returned are read from the session's [`TimeBase`](crate::model::TimeBase),
//! which no one can step, and not from the host's clock; `t1` received and `t2` transmitted come from the platform. The
//! offset is `((t1 - t0) + (t2 - t3)) / 2`, wrong by at most half the delay `(t3 - t0) - (t2 - t1)` (RFC 5905, 8). The connection
//! is warmed by a discarded request before it measures: setting one up would be counted as delay.
//!
//! This room measures and publishes. Whether an offset is larger than its own uncertainty, and so is applied at all, is
//! [`ClockReading::applied_nanos`](crate::model::ClockReading::applied_nanos)'s to say; when it is applied, the run store's.

mod filter;
mod task;

pub use filter::{Exchange, Filter};
pub use task::{Settings, run, skipped};
