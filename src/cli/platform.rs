//! Which platform a command without a bridge talks to, and with which key.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::load;
use super::report::{Exit, Failure};
use crate::atomscale::DEFAULT_ENDPOINT;
use crate::config::Config;
use crate::config::KeySource;
use crate::config::process_environment;
use crate::profile::Library;

/// Where the platform is.
#[derive(Debug, Args)]
pub(super) struct PlatformArguments {
    /// The platform's address; without it that of --config, of AS_API_ENDPOINT, or the vendor's
    #[arg(long, value_name = "URL")]
    pub(super) endpoint: Option<String>,
    /// The lab's configuration, which says where the platform is and where its key comes from; without it AS_API_KEY
    #[arg(long, value_name = "LAB.TOML")]
    pub(super) config: Option<PathBuf>,
}

/// A platform and the way to it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) endpoint: String,
    pub(super) stream_path: Option<String>,
    key: KeySource,
    /// The lab's configuration, if one was given.
    pub(super) config: Option<Config>,
}

impl PlatformArguments {
    pub(super) fn place(&self, library: &Library) -> Result<Place, Failure> {
        let config = self.config.as_deref().map(|path| load(path, library)).transpose()?;
        let of_lab = config.as_ref().map(|config| config.platform.endpoint.clone());
        let of_process = || process_environment("AS_API_ENDPOINT").filter(|text| !text.trim().is_empty());
        let endpoint = self.endpoint.clone().or(of_lab).or_else(of_process);
        Ok(Place {
            endpoint: endpoint.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()).trim().trim_end_matches('/').to_owned(),
            stream_path: config.as_ref().and_then(|config| config.platform.stream_path.clone()),
            key: config
                .as_ref()
                .map_or_else(|| KeySource::Env("AS_API_KEY".to_owned()), |config| config.platform.api_key.clone()),
            config,
        })
    }
}

impl Place {
    /// The key of the platform.
    pub(super) fn key(&self) -> Result<SecretString, Failure> {
        self.key.read(&process_environment).map_err(|error| {
            Failure::new(Exit::Usage, error)
                .hint("put the platform's key into the environment: `export AS_API_KEY=...`, or name its place with `--config`")
        })
    }
}
