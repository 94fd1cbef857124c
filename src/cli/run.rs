//! `mbe-bridge run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::signals::Interrupts;
use super::{load, runtime};
use crate::bridge::Bridge;
use crate::bridge::Error;
use crate::bridge::Summary;
use crate::bridge::TraceWish;
use crate::profile::Library;
use crate::runs;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The lab's configuration
    #[arg(value_name = "LAB.TOML")]
    config: PathBuf,
    /// Write down what goes over a link, byte by byte: to a file, or to the screen without one
    #[arg(long, value_name = "LINK[=FILE]", value_parser = super::trace::wish)]
    trace: Vec<TraceWish>,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let config = Arc::new(load(&self.config, library)?);
        super::check::refuse_overload(&config)?;
        let runtime = runtime()?;
        let summary = runtime.block_on(async {
            let mut interrupts = Interrupts::listen().or_exit(Exit::Degraded)?;
            let mut bridge = Bridge::start_traced(config, &self.trace).await.map_err(failed)?;
            tokio::select! {
                () = interrupts.next() => {}
                died = bridge.failed() => return Err(Failure::new(Exit::Degraded, died)),
            }
            tracing::info!("stopping");
            tokio::select! {
                summary = bridge.stop() => summary.map_err(failed),
                () = once_more(&mut interrupts) => Err(Failure::new(Exit::Degraded, anyhow::anyhow!("stopped at once"))
                    .hint("what was not committed in the last second is lost; the next start sends the rest")),
            }
        });
        // Requests still in flight are abandoned; what they carry is on disk.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(conclude(&summary?))
    }
}

/// Signals that come within this time are one wish: timeout(1) and the like signal a process and its group.
const ONE_WISH: Duration = Duration::from_millis(500);

/// Returns when somebody who sees that it is still stopping asks once more.
async fn once_more(interrupts: &mut Interrupts) {
    tokio::time::sleep(ONE_WISH).await;
    while tokio::time::timeout(Duration::ZERO, interrupts.next()).await.is_ok() {}
    tracing::info!("still stopping; once more to stop at once");
    interrupts.next().await;
}

/// Says how a run ended.
pub(super) fn conclude(summary: &Summary) -> Exit {
    let lost = summary.counts.iter().map(|counts| counts.unrecorded).sum::<u64>();
    if summary.left.is_nothing() {
        let run = summary.run.as_ref().map(|(run, _)| run.to_string());
        tracing::info!(run, "run is complete on the platform");
    } else {
        tracing::warn!(
            queued_chunks = summary.left.queued,
            "not everything is on the platform yet; the next start goes on with it"
        );
    }
    if summary.run.is_none() {
        tracing::error!("nothing was recorded");
        return Exit::Disk;
    }
    if lost > 0 || summary.refused > 0 {
        tracing::error!(unrecorded = lost, refused = summary.refused, "something was lost");
        return Exit::Degraded;
    }
    Exit::Well
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Runs(error @ runs::Error::InUse { .. }) => {
            Failure::new(Exit::Disk, error).hint("stop the other bridge, or give this one a `data_dir` of its own")
        }
        Error::Runs(error) => Failure::new(Exit::Disk, error),
        Error::Thread(error) => Failure::new(Exit::Degraded, error),
        Error::Trace(error) => super::trace::refused(error),
    }
}
