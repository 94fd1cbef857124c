//! What ties a session to the machine that it runs on: boot id and uptime, where the system tells them.

use std::fs;
use std::path::Path;

use crate::model::{Stamp, TimeBase};

/// Which boot this is, and how long ago it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Boot {
    /// The id that Linux makes up anew at each boot.
    pub(super) id: Option<String>,
    /// Time since then, sleep included, in nanoseconds. Linux tells hundredths of a second.
    pub(super) uptime_nanos: Option<i64>,
}

impl Boot {
    /// Asks the system. Where there is no `/proc`, nothing is known.
    pub(super) fn now() -> Self {
        Self::read(Path::new("/proc"))
    }

    fn read(proc: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(proc.join(name)).ok();
        Self {
            id: text("sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
            uptime_nanos: text("uptime").as_deref().and_then(uptime),
        }
    }

    /// The uptime when the session's clock was anchored.
    pub(super) fn uptime_at_anchor(&self, time: &TimeBase) -> Option<i64> {
        let since: i64 = time.now().nanos_since(time.zero().wall);
        Some(self.uptime_nanos? - since)
    }
}

/// Nanoseconds from `12345.67 54321.00` (proc(5): uptime and idle time in seconds).
fn uptime(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: i64 = format!("{fraction:0<2}").get(..2)?.parse().ok()?;
    Some(seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)? + hundredths * 10_000_000)
}

/// The start of a run as the beginning of its name: `20261122T141801Z`.
pub(super) fn compact(at: Stamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos()))
        .map_or_else(|_| at.as_nanos().to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_is_read_to_the_hundredth() {
        assert_eq!(uptime("12345.67 54321.00\n"), Some(12_345_670_000_000));
        assert_eq!(uptime("0.5 0"), Some(500_000_000));
        assert_eq!(uptime(""), None);
        assert_eq!(uptime("soon"), None);
    }

    #[test]
    fn a_machine_without_proc_tells_nothing() {
        assert_eq!(Boot::read(Path::new("/nowhere/at/all")), Boot::default());
    }

    #[test]
    fn a_start_is_written_as_runs_are_named() {
        assert_eq!(compact(Stamp::from_nanos(1_795_357_081_999_999_999)), "20261122T141801Z");
        assert_eq!(compact(Stamp::from_nanos(0)), "19700101T000000Z");
    }
}
