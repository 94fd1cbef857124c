//! `mbe-bridge server fault`: tells a server that runs to misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::cli::report::{Exit, Failure, OrExit as _, Outcome};
use crate::cli::{print, runtime};
use crate::server::Plan;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The fault and whom it hits, as in `hang`, `status:503 for 30s`, `cut-reply only chunk next 3`; `none` ends it. Without
    /// it, the fault in force is shown. All of them: `mbe-bridge server --help`
    #[arg(value_name = "FAULT")]
    words: Vec<String>,
    /// Where the server listens, or its --control
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8740")]
    at: SocketAddr,
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        let plan = match self.words.as_slice() {
            [] => None,
            words => Some(words.join(" ").parse::<Plan>().or_exit(Exit::Usage)?),
        };
        let answer = runtime()?.block_on(ask(self.at, plan))?;
        print(answer.trim_end());
        Ok(Exit::Well)
    }
}

async fn ask(at: SocketAddr, plan: Option<Plan>) -> Result<String, Failure> {
    crate::atomscale::prepare_tls();
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().or_exit(Exit::Unreachable)?;
    let url = format!("http://{at}/_local/fault");
    let request = match plan {
        Some(plan) => client.put(url).body(plan.to_string()),
        None => client.get(url),
    };
    let nobody = |error: reqwest::Error| {
        Failure::new(Exit::Unreachable, anyhow::Error::new(error).context(format!("no server takes faults at {at}")))
            .hint("say where with `--at`; a server that is `down`, or speaks TLS, takes them at its `--control` and on its standard input")
    };
    let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(nobody)?;
    answer.text().await.map_err(nobody)
}
