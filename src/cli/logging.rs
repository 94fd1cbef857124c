//! Logs: to stderr, as text or as JSON.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::report::{Exit, Failure};

/// What is logged, and how.
#[derive(Debug, Args)]
pub(super) struct LogArguments {
    /// What to log: a level (`info`) or a filter (`mbe_bridge::acquire=debug,info`)
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", global = true)]
    log: Option<String>,
    /// How to write log lines
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogArguments {
    /// Starts logging. `usual` is what is logged when nobody asks for anything.
    pub(super) fn start(&self, usual: &str) -> Result<(), Failure> {
        let wanted = self.log.as_deref().filter(|filter| !filter.trim().is_empty()).unwrap_or(usual);
        let filter = EnvFilter::builder()
            .parse(wanted)
            .map_err(|error| Failure::new(Exit::Usage, error).hint("a filter is a level, or `module=level,…`"))?;
        // The journal and files keep text, not colours.
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
        match self.log_format {
            Format::Text => subscriber.with_target(false).init(),
            Format::Json => subscriber.json().init(),
        }
        Ok(())
    }
}
