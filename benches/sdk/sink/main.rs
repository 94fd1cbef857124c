//! A server that takes chunks and does as little as it can with them: the far end of benches/sdk/run, which shares the
//! machine with what it measures.
//!
//! It speaks the ingest part of the platform's API over cleartext HTTP/1.1 on one thread, answers each call after a given
//! latency, and counts what arrives. What it can't do, because neither contender needs it: pipelined requests, bodies
//! without a Content-Length, strings with a backslash, TLS, HTTP/2, authentication (any key is taken). `total_points` in
//! its answers is chunks × points_per_chunk; points are counted only with `--verify`, which reads every body in full.

mod board;
mod connection;
mod head;
mod platform;
mod scan;
mod verify;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use board::Board;
use connection::Side;

const USAGE: &str = "the far end of benches/sdk/run:
  sdk-sink [--latency-ms N] [--calls-ms N] [--verify]
    --latency-ms  until the answer to a chunk (0)
    --calls-ms    until the answer to any other call (0)
    --verify      read every body in full and count its points
  It prints the URL of the platform and the URL of its counters, and ends with its standard input.";

/// As many as the kernel allows (net.core.somaxconn): a burst of connections is what one of the contenders makes.
const BACKLOG: u32 = 65_535;

/// How the sink behaves, for as long as it runs.
#[derive(Debug, Clone, Copy, Default)]
struct Behaviour {
    latency: Duration,
    calls: Duration,
    verify: bool,
}

fn main() -> anyhow::Result<()> {
    let behaviour = behaviour(std::env::args().skip(1))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(behaviour))
}

fn behaviour(arguments: impl Iterator<Item = String>) -> anyhow::Result<Behaviour> {
    let mut behaviour = Behaviour::default();
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut milliseconds = || -> anyhow::Result<Duration> {
            let text = arguments.next().unwrap_or_default();
            Ok(Duration::from_millis(text.parse().with_context(|| format!("`{text}` is no number\n{USAGE}"))?))
        };
        match argument.as_str() {
            "--latency-ms" => behaviour.latency = milliseconds()?,
            "--calls-ms" => behaviour.calls = milliseconds()?,
            "--verify" => behaviour.verify = true,
            _ => bail!("{USAGE}"),
        }
    }
    Ok(behaviour)
}

async fn run(behaviour: Behaviour) -> anyhow::Result<()> {
    let platform = listener()?;
    let admin = listener()?;
    writeln!(std::io::stdout(), "http://{} http://{}", platform.local_addr()?, admin.local_addr()?)?;
    let board = Arc::new(Board::default());
    tokio::select! {
        ended = accept(platform, Side::Platform, behaviour, Arc::clone(&board)) => ended,
        ended = accept(admin, Side::Admin, behaviour, board) => ended,
        ended = until_input_ends() => ended,
    }
}

fn listener() -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket.listen(BACKLOG)?)
}

async fn accept(listener: TcpListener, side: Side, behaviour: Behaviour, board: Arc<Board>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("no more connections can be taken")?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection::serve(stream, side, behaviour, Arc::clone(&board)));
    }
}

async fn until_input_ends() -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || ended.send(std::io::copy(&mut std::io::stdin(), &mut std::io::sink())));
    end.await??;
    Ok(())
}
