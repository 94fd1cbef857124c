//! `mbe-bridge server`: the local platform.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::{print, runtime};
use crate::server::Error;
use crate::server::Fault;
use crate::server::Server;
use crate::server::Settings;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8740")]
    listen: SocketAddr,
    /// Keep what is streamed in this folder; without it, it is gone with the process
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Misbehave, to rehearse an outage: `status:503`, `hang`, `slow:500ms`, `cut-reply`, `too-large:20000`, …
    #[arg(long)]
    fault: Option<Fault>,
    /// The key that clients have to send; without it any key will do
    #[arg(long, env = "AS_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        runtime()?.block_on(async {
            let settings = Settings {
                listen: self.listen,
                data: self.data,
                api_key: self.key.map(SecretString::from),
                ..Settings::default()
            };
            let server = Server::start(settings).await.map_err(|error| {
                let exit = if matches!(error, Error::Listen { .. }) { Exit::Unreachable } else { Exit::Disk };
                Failure::new(exit, error)
            })?;
            if let Some(fault) = self.fault {
                server.set_fault(fault);
            }
            print(server.url());
            super::signals::interrupted().await.or_exit(Exit::Degraded)?;
            server.stop().await;
            Ok(Exit::Well)
        })
    }
}
