//! `mbe-bridge server`: the local platform.

mod commands;
mod fault;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::SecretString;
use tokio::sync::Notify;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::{print, runtime};
use crate::server::Error;
use crate::server::Plan;
use crate::server::Server;
use crate::server::Settings;
use crate::server::Tls;

const FAULTS: &str = "\
Faults, to rehearse an outage:
  down                  nothing listens; comes back on the same port
  hang                  requests are never answered
  slow:500ms            requests wait
  status:503            stream calls are refused; status:429:2s with Retry-After
  cut-request           the connection is closed when a request has come in; nothing is stored
  cut-reply             what comes is stored; the connection is closed instead of an answer
  reset-request         the connection is reset while a request comes in; nothing is stored
  reset-reply           what comes is stored; the connection is reset in the middle of the answer
  truncate-reply        what comes is stored; the answer ends before its Content-Length
  garbage               success with a page of HTML, as of a portal that wants people to log in; garbage:404, garbage:json
  unauthorized          no key is known (401)
  forbidden             no key is good for this (403)
  forget                streams that exist are unknown (404)
  ended:410             streams that exist have ended, for good; later ones work
  refuse-channel:NAME   chunks with this channel are refused (422)
  too-large:20000       stream calls with more bytes are refused (413)
  random:30             30 of 100 requests are hit, each by another one that passes; random:30:7 with a seed
  none                  the end of it
Behind a fault:
  only CALL             initialize, chunk (single, multi), finalize, read-back, time, instruments, samples, entries,
                        projects or tags
  next 3                three requests
  for 30s               so long
  stored                with hang, status and garbage: what comes is stored all the same

While it runs it is told faults
  on its standard input, one command a line, each answered by one line:
    fault FAULT, fault, clear, status, help, quit
  by `mbe-bridge server fault hang for 30s [--at 127.0.0.1:8740]`
  by `curl -X PUT -d 'hang for 30s' http://127.0.0.1:8740/_local/fault` (GET says what is in force)
The last two reach it through `down` only at --control, which is in the clear also with TLS.";

#[derive(Debug, Args)]
#[command(after_long_help = FAULTS, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8740")]
    listen: SocketAddr,
    /// Take faults at this address, too, where they are taken also while the server is `down`
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
    /// Speak TLS with this certificate (PEM, with those that vouch for it): HTTP/2 or HTTP/1.1, as the client prefers
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM, without passphrase)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Keep what is streamed in this folder; without it, it is gone with the process
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Misbehave, to rehearse an outage: `status:503`, `hang for 30s`, `cut-reply next 3`, … (see the end of --help)
    #[arg(long)]
    fault: Option<Plan>,
    /// The key that clients have to send; without it any key will do
    #[arg(long, env = "AS_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Switch a fault of a server that runs, or ask for the one in force
    Fault(fault::Arguments),
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Some(Command::Fault(arguments)) => arguments.run(),
            None => self.serve(),
        }
    }

    fn serve(self) -> Outcome {
        runtime()?.block_on(async {
            let settings = Settings {
                listen: self.listen,
                control: self.control,
                tls: self.tls_cert.zip(self.tls_key).map(|(certificate, key)| Tls { certificate, key }),
                data: self.data,
                api_key: self.key.map(SecretString::from),
                ..Settings::default()
            };
            let server = Server::start(settings).await.map_err(|error| {
                let exit = match error {
                    Error::Listen { .. } => Exit::Unreachable,
                    Error::Tls(_) => Exit::Usage,
                    _ => Exit::Disk,
                };
                Failure::new(exit, error)
            })?;
            if let Some(plan) = self.fault {
                server.faults().set(plan).or_exit(Exit::Disk)?;
            }
            print(server.url());
            if let Some(control) = server.control() {
                print(format_args!("faults: http://{control}/_local/fault"));
            }
            let quit = Arc::new(Notify::new());
            commands::listen(server.faults(), Arc::clone(&quit)).or_exit(Exit::Degraded)?;
            tokio::select! {
                stopped = super::signals::interrupted() => stopped.or_exit(Exit::Degraded)?,
                () = quit.notified() => {}
            }
            server.stop().await;
            Ok(Exit::Well)
        })
    }
}
