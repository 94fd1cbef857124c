//! `mbe-bridge trace`: what goes over a link of a running bridge, byte by byte; and the wish for a trace on a command line.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::StatusCode;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::{runtime, say};
use crate::bridge::TraceError;
use crate::bridge::TraceWish;
use crate::model::{TraceLine, Traced};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The link, by its name in lab.toml
    #[arg(value_name = "LINK")]
    link: String,
    /// End by itself after this time, as in `60s`; otherwise with Ctrl-C or with the bridge
    #[arg(long = "for", value_name = "TIME", value_parser = super::demo::duration)]
    length: Option<Duration>,
    /// Write to this file instead of to the screen
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the bridge's dashboard listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8730")]
    at: SocketAddr,
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        runtime()?.block_on(async {
            let mut answer = ask(self.at, &self.link).await?;
            let mut to: Box<dyn Write> = match &self.out {
                None => Box::new(std::io::stdout()),
                Some(path) => Box::new(File::create(path).map_err(|error| {
                    let error = anyhow::Error::new(error).context(format!("could not create {}", path.display()));
                    Failure::new(Exit::Disk, error)
                })?),
            };
            let stop = super::signals::interrupted();
            let end = async {
                match self.length {
                    Some(length) => tokio::time::sleep(length).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(stop, end);
            let mut seen = Tally::default();
            let outcome = loop {
                let part = tokio::select! {
                    stopped = &mut stop => {
                        stopped.or_exit(Exit::Degraded)?;
                        break Ok(Exit::Well);
                    }
                    () = &mut end => break Ok(Exit::Well),
                    part = answer.chunk() => part,
                };
                match part {
                    Ok(Some(bytes)) => {
                        seen.note(&bytes);
                        if let Err(error) = to.write_all(&bytes).and_then(|()| to.flush()) {
                            // `| head` has seen enough.
                            let gone = error.kind() == std::io::ErrorKind::BrokenPipe && self.out.is_none();
                            break if gone { Ok(Exit::Well) } else { Err(Failure::new(Exit::Disk, error)) };
                        }
                    }
                    Ok(None) => break Ok(Exit::Well),
                    Err(error) => {
                        let error = anyhow::Error::new(error).context("the bridge broke the trace off");
                        break Err(Failure::new(Exit::Unreachable, error));
                    }
                }
            };
            if let Some(path) = &self.out {
                say(format_args!("{} lines in {}", seen.lines, path.display()));
            }
            match outcome {
                Ok(_) if seen.lossy => Ok(Exit::Degraded),
                outcome => outcome,
            }
        })
    }
}

async fn ask(at: SocketAddr, link: &str) -> Result<reqwest::Response, Failure> {
    crate::atomscale::prepare_tls();
    let client =
        reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_LIMIT).build().or_exit(Exit::Unreachable)?;
    let answer = client.get(format!("http://{at}/api/trace")).query(&[("link", link)]).send().await;
    let answer = answer.map_err(|error| {
        Failure::new(Exit::Unreachable, anyhow::Error::new(error).context(format!("no bridge answers at {at}")))
            .hint("start one with `mbe-bridge run lab.toml`, or say where it is with `--at`; `read --trace` needs none")
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let words = answer.text().await.unwrap_or_default();
    let exit = if status == StatusCode::NOT_FOUND { Exit::Usage } else { Exit::Unreachable };
    let words =
        if words.trim().is_empty() { format!("the bridge at {at} answers {status}") } else { words.trim().to_owned() };
    Err(Failure::new(exit, anyhow::anyhow!("{words}")))
}

/// What has gone by.
#[derive(Debug, Default)]
struct Tally {
    lines: u64,
    /// Whether the bridge has said that lines are lost.
    lossy: bool,
    /// The line that is not complete yet.
    rest: Vec<u8>,
}

impl Tally {
    fn note(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.lines += 1;
            let event = TraceLine::parse(&String::from_utf8_lossy(&line)).ok().flatten();
            self.lossy |=
                event.is_some_and(|line| matches!(&line.what, Traced::Event(said) if said.contains("lost here")));
        }
    }
}

/// `LINK` or `LINK=FILE`.
pub(super) fn wish(text: &str) -> Result<TraceWish, String> {
    let (link, to) = match text.split_once('=') {
        Some((_, "")) => return Err("write a file behind the `=`, or leave it away".to_owned()),
        Some((link, file)) => (link, Some(PathBuf::from(file))),
        None => (text, None),
    };
    if link.is_empty() {
        return Err("write the name of a link, as in `pyro` or `pyro=pyro.trace`".to_owned());
    }
    Ok(TraceWish { link: link.to_owned(), to })
}

/// What a wish that can't be granted means for the exit.
pub(super) fn refused(error: TraceError) -> Failure {
    let exit = match &error {
        TraceError::NoSuchLink { .. } => Exit::Usage,
        TraceError::File { .. } => Exit::Disk,
        TraceError::Watch { .. } | TraceError::Thread { .. } => Exit::Degraded,
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_a_link_and_perhaps_a_file() {
        assert_eq!(wish("pyro"), Ok(TraceWish { link: "pyro".to_owned(), to: None }));
        assert_eq!(wish("pyro=a=b"), Ok(TraceWish { link: "pyro".to_owned(), to: Some("a=b".into()) }));
        assert!(wish("pyro=").is_err() && wish("=x").is_err() && wish("").is_err());
    }

    #[test]
    fn lines_are_counted_however_they_come_and_losses_are_noticed() {
        let mut tally = Tally::default();
        let text = b"# head\n2026-11-22T17:30:01Z ! 6 lines are lost here: too slow\n2026-11-22T17:30:01Z > 30  |0|\n";
        for part in text.chunks(7) {
            tally.note(part);
        }
        assert_eq!((tally.lines, tally.lossy), (3, true));
    }
}
