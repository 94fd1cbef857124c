//! The thread of one link: a runtime of its own, and a fresh poller if the old one panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::poller::Poller;
use super::{Event, Plan, Report, Settings};
use crate::link::Pacer;
use crate::model::TimeBase;

/// A poller that panics at once would otherwise spin.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);

/// A link thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start the thread of link `{link}`")]
pub struct StartError {
    link: String,
    #[source]
    source: std::io::Error,
}

/// A running link thread.
#[derive(Debug)]
pub struct LinkThread {
    name: std::sync::Arc<str>,
    thread: JoinHandle<()>,
}

impl LinkThread {
    /// Starts polling. `plan` is called on the new thread, and again after a panic.
    pub fn start(
        settings: Settings,
        time: TimeBase,
        plan: impl Fn() -> Plan + Send + 'static,
        reports: mpsc::Sender<Report>,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let name = settings.name.clone();
        let failed = |source| StartError { link: name.to_string(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name(format!("link {name}"))
            .spawn(move || {
                while !stop.is_cancelled() {
                    let once = AssertUnwindSafe(|| {
                        runtime.block_on(async {
                            let pacer = Pacer::new();
                            Poller::new(settings.clone(), time, pacer, plan(), reports.clone(), stop.clone())
                                .run()
                                .await;
                        });
                    });
                    if catch_unwind(once).is_ok() {
                        break;
                    }
                    tracing::error!(link = %settings.name, "poller panicked; it is started again");
                    let event = Event::Down { why: "the poller failed and is started again".to_owned() };
                    let gone = runtime.block_on(async {
                        let report = Report { link: settings.link, watermark: time.now(), event };
                        let gone = reports.send(report).await.is_err();
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = tokio::time::sleep(PAUSE_AFTER_PANIC) => {}
                        }
                        gone
                    });
                    if gone {
                        break;
                    }
                }
                // A name that is still being looked up would be waited for without bound.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { name, thread })
    }

    /// Waits for the thread to end; it does so soon after its token is cancelled. Blocks.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!(link = %self.name, "link thread ended badly");
        }
    }
}
