//! How far it is: a bar for people who watch, a line at each turn of events for logs.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::cli::say;
use crate::streamer::PlatformStatus;
use crate::streamer::StreamStatus;

const DRAWN_EVERY: Duration = Duration::from_millis(200);

/// A bar, or none where nobody watches.
pub(super) struct Bar {
    bar: ProgressBar,
    /// The platform was away when it was last looked at.
    away: bool,
}

impl Bar {
    fn new(length: u64, template: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let style = style.with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                // A bar that can't be drawn is no reason to stop.
                write!(to, "{:.0}/s", state.per_sec()).unwrap_or_default();
            });
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(DRAWN_EVERY);
        Self { bar, away: false }
    }

    /// For the first reading of a file.
    pub(super) fn reading(path: &Path) -> Self {
        let length = std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0);
        Self::new(length, "reading {bytes} of {total_bytes} [{bar:30}] {binary_bytes_per_sec}, {eta} left")
    }

    /// For points on their way.
    pub(super) fn sending(points: u64, before: u64) -> Self {
        let bar = Self::new(points, "{human_pos} of {human_len} points [{bar:30}] {rate}, {eta} left {wide_msg}");
        bar.bar.set_position(before);
        bar.bar.reset_eta();
        bar
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Shows how a stream is.
    pub(super) fn look(&mut self, status: &StreamStatus) {
        self.bar.set_position(status.uploaded_points + status.rejected_points);
        let (away, words) = match &status.platform {
            PlatformStatus::Down(why) => (true, format!("| {} chunks wait: {why}", status.queued_chunks)),
            PlatformStatus::KeyRefused(why) => (true, format!("| {} chunks wait: {why}", status.queued_chunks)),
            PlatformStatus::Unknown | PlatformStatus::Up => (false, format!("| {} chunks wait", status.queued_chunks)),
        };
        if away != self.away && self.bar.is_hidden() {
            match (away, status.platform.why()) {
                (true, why) => say(format_args!(
                    "the platform does not take anything now ({}); {} chunks wait on disk and are sent when it does",
                    why.unwrap_or("no reason is known"),
                    status.queued_chunks
                )),
                (false, _) => say("the platform takes chunks again"),
            }
        }
        self.away = away;
        self.bar.set_message(words);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }
}
