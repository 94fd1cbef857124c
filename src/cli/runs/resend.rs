//! `mbe-bridge runs resend`: what the platform refused waits again.
//!
//! The run file has one writer. If a bridge runs on the folder it is asked over its HTTP; else this command is the writer for
//! a moment, and the next bridge that starts there sends.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::place::Place;
use crate::cli::report::{Exit, Failure, OrExit as _, Outcome};
use crate::cli::{print, runtime};
use crate::config::Config;
use crate::config::process_environment;
use crate::model::{Resending, RunId};
use crate::profile::Library;
use crate::runs;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run, by name or the beginning of it
    #[arg(value_name = "RUN")]
    run: String,
    /// Only this chunk
    #[arg(long, value_name = "N")]
    chunk: Option<u64>,
    /// Where the bridge's dashboard listens, if one is running
    #[arg(long, value_name = "ADDR")]
    at: Option<SocketAddr>,
}

/// Longer than any run is left alone.
const MUCH_LATER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Where a bridge listens that was told nothing else.
const USUAL_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8730);

impl Arguments {
    pub(super) fn run(self, place: &Place, library: &Library, json: bool) -> Outcome {
        let config = place.config(library)?;
        let data_dir = place.data_dir(library)?;
        let path = place.file_in(&data_dir, Some(&self.run))?;
        if path.parent() != Some(&data_dir.join("runs")) {
            let error = anyhow::anyhow!("`{}` is not in `{}`", path.display(), data_dir.join("runs").display());
            return Err(Failure::new(Exit::Usage, error).hint(
                "a bridge sends what is in its own folder: copy the file there, and name the folder with --data-dir",
            ));
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let run = RunId::new(&stem);
        let runtime = runtime()?;
        let (Resending { points, later }, by_bridge) = match runtime.block_on(self.ourselves(&data_dir, &run)) {
            Ok(resending) => (resending, false),
            Err(runs::Error::InUse { pid, .. }) => {
                (runtime.block_on(self.ask_bridge(&run, &pid, config.as_ref()))?, true)
            }
            Err(error @ runs::Error::UnknownRun(_)) => return Err(Failure::new(Exit::Usage, error)),
            Err(error) => return Err(Failure::new(Exit::Disk, error)),
        };
        if json {
            print(json!({ "run": stem, "points": points, "later": later, "bridge_runs": by_bridge }));
            return Ok(Exit::Well);
        }
        if later > 0 {
            print(format_args!(
                "{later} points of {run} were refused on an earlier stream; ask again when its newest stream is finalized"
            ));
        }
        if points == 0 && later == 0 {
            print(format_args!("nothing of {run} is refused, or what is refused can't be read any more"));
        } else if points > 0 && by_bridge {
            print(format_args!("{points} points of {run} wait again; the bridge sends them now"));
        } else if points > 0 {
            print(format_args!("{points} points of {run} wait again; the next `mbe-bridge run` sends them"));
        }
        Ok(Exit::Well)
    }

    async fn ourselves(&self, data_dir: &Path, run: &RunId) -> Result<Resending, runs::Error> {
        // The newest run that was left recording stays so, for the next bridge to judge.
        let settings = runs::Settings { resume_within: MUCH_LATER, ..runs::Settings::new(data_dir) };
        let (store, handle) = tokio::task::spawn_blocking(move || runs::Store::open(settings))
            .await
            .unwrap_or(Err(runs::Error::Stopped))?;
        let done = handle.resend(run, self.chunk).await;
        store.close().await?;
        done
    }

    /// Asks the bridge that has the folder.
    async fn ask_bridge(&self, run: &RunId, pid: &str, config: Option<&Config>) -> Result<Resending, Failure> {
        let dashboard = config.and_then(|config| config.dashboard.as_ref());
        let configured = dashboard.map(|dashboard| dashboard.listen).filter(|listen| listen.port() != 0);
        let at = self.at.or(configured).unwrap_or(USUAL_ADDRESS);
        let token = dashboard.and_then(|dashboard| dashboard.token.as_ref());
        let token = token.map(|source| source.read(&process_environment)).transpose().or_exit(Exit::Usage)?;
        crate::atomscale::prepare_tls();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        let mut request = client
            .or_exit(Exit::Unreachable)?
            .post(format!("http://{at}/api/runs/resend"))
            .json(&json!({ "run": run.as_str(), "chunk": self.chunk }));
        if let Some(token) = &token {
            request = request.bearer_auth(token.expose_secret());
        }
        let unreachable = |error: reqwest::Error| {
            let error = anyhow::Error::new(error);
            Failure::new(
                Exit::Unreachable,
                error.context(format!("process {pid} has the folder, but no bridge answers at {at}")),
            )
            .hint("say where its dashboard listens with `--config lab.toml` or `--at`")
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if let Some(points) = body.get("points").and_then(Value::as_u64).filter(|_| status.is_success()) {
            let later = body.get("later").and_then(Value::as_u64).unwrap_or_default();
            return Ok(Resending { points, later });
        }
        let why = body.get("error").and_then(Value::as_str).unwrap_or("no reason given");
        let exit = if status == reqwest::StatusCode::NOT_FOUND { Exit::Usage } else { Exit::Degraded };
        let failure = Failure::new(exit, anyhow::anyhow!("the bridge at {at} answers with status {status}: {why}"));
        Err(if status == reqwest::StatusCode::UNAUTHORIZED {
            failure.hint("its dashboard has a token: `--config lab.toml` says where that is")
        } else {
            failure
        })
    }
}
