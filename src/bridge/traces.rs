//! Traces of links: joined to the wires here, and written to where the command line wants them.
//!
//! Each file is written by a thread of its own, so that no disk and no terminal stands in the way of a poll.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::link::Seen;
use crate::link::Trace;
use crate::live::NoWatch;
use crate::live::Taps;
use crate::live::Watch;
use crate::model::TimeBase;

/// How long the last lines may take to be written when everything ends.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Which link is to be traced from the start, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceWish {
    /// The link's name in the lab's TOML.
    pub link: String,
    /// The file that the trace is added to; standard output without one.
    pub to: Option<PathBuf>,
}

/// A link can't be traced as wished.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The lab has no such link.
    #[error("there is no link `{link}` to trace; the links are: {known}")]
    NoSuchLink {
        /// What was asked for.
        link: String,
        /// What there is.
        known: String,
    },
    /// The file can't be written.
    #[error("the trace of `{link}` can't be written to {path}")]
    File {
        /// The link.
        link: String,
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is watched by too many.
    #[error("`{link}` can't be traced")]
    Watch {
        /// The link.
        link: String,
        /// Why.
        #[source]
        source: NoWatch,
    },
    /// The system gives no thread.
    #[error("the trace of `{link}` gets no thread")]
    Thread {
        /// The link.
        link: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The taps of all links and the threads that write traces.
#[derive(Debug)]
pub(super) struct Traces {
    taps: Arc<Taps>,
    /// Each hears its thread hang up.
    writers: Vec<mpsc::Receiver<()>>,
}

impl Traces {
    /// Taps for all links of the lab, and a writer for each wish.
    pub(super) fn start(config: &Config, time: TimeBase, wishes: &[TraceWish]) -> Result<Self, TraceError> {
        let links = config.links.iter().map(|link| (Arc::clone(&link.name), link.transport.to_string()));
        let taps = Arc::new(Taps::new(time, links));
        let writers = wishes.iter().map(|wish| start_writer(&taps, wish)).collect::<Result<_, _>>()?;
        Ok(Self { taps, writers })
    }

    pub(super) fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }

    /// Ends all traces once no link is polled any more. Blocks for a moment.
    pub(super) fn stop(self) {
        self.taps.close();
        for writer in self.writers {
            if writer.recv_timeout(LAST_LINES) == Err(mpsc::RecvTimeoutError::Timeout) {
                tracing::warn!("the end of a trace could not be written in time");
            }
        }
    }
}

/// What a link's wire tells its tap.
pub(super) fn trace(taps: &Taps, link: usize) -> Option<Trace> {
    let tap = Arc::clone(taps.get(link)?);
    Some(Arc::new(move |seen: Seen<'_>| match seen {
        Seen::Out(bytes) => tap.out(bytes),
        Seen::In(bytes) => tap.came(bytes),
        Seen::Event(what) => tap.event(what),
    }))
}

fn start_writer(taps: &Taps, wish: &TraceWish) -> Result<mpsc::Receiver<()>, TraceError> {
    let link = || wish.link.clone();
    let tap = taps.named(&wish.link).ok_or_else(|| TraceError::NoSuchLink { link: link(), known: taps.names() })?;
    let to: Box<dyn Write + Send> = match &wish.to {
        None => Box::new(io::stdout()),
        Some(path) => {
            let failed = |source| TraceError::File { link: link(), path: path.display().to_string(), source };
            Box::new(OpenOptions::new().create(true).append(true).open(path).map_err(failed)?)
        }
    };
    let watch = tap.watch().map_err(|source| TraceError::Watch { link: link(), source })?;
    let (alive, ended) = mpsc::channel();
    let name = link();
    thread::Builder::new()
        .name(format!("trace {name}"))
        .spawn(move || {
            if let Err(error) = write(watch, to) {
                tracing::warn!(link = name, %error, "the trace can't be written any further");
            }
            drop(alive);
        })
        .map_err(|source| TraceError::Thread { link: link(), source })?;
    Ok(ended)
}

fn write(mut watch: Watch, mut to: impl Write) -> io::Result<()> {
    while let Some(lines) = watch.blocking_lines() {
        to.write_all(lines.as_bytes())?;
        to.flush()?;
    }
    Ok(())
}
