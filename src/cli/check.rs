//! `mbe-bridge check`: whether lab.toml can work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::report::{Exit, Failure, Outcome};
use super::{load, print};
use crate::acquire::Budget;
use crate::bridge::budgets;
use crate::config::Config;
use crate::config::process_environment;
use crate::profile::Library;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The lab's configuration
    #[arg(value_name = "LAB.TOML")]
    config: PathBuf,
    /// Also open the links and read each instrument once
    #[arg(long)]
    probe: bool,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let config = load(&self.config, library)?;
        let channels: usize = config.instruments.iter().map(|instrument| instrument.channels.len()).sum();
        print(format_args!(
            "{}: {} links, {} instruments, {channels} channels",
            self.config.display(),
            config.links.len(),
            config.instruments.len(),
        ));
        for budget in budgets(&config) {
            print(format_args!("\n{budget}"));
        }
        let overloaded: Vec<String> = overloaded(&config).map(|budget| format!("link `{}`", budget.link)).collect();
        if !overloaded.is_empty() {
            return Err(overload(&format!("{} can't carry its poll plan", overloaded.join(" and "))));
        }
        if let Err(error) = config.platform.api_key.read(&process_environment) {
            print(format_args!("\nwarning: nothing can be uploaded: {}", crate::model::with_causes(&error)));
        }
        if self.probe {
            print("");
            return super::read::probe(&Arc::new(config), Duration::from_secs(10));
        }
        print("\nwell");
        Ok(Exit::Well)
    }
}

/// Refuses a plan that a link can't carry, with the arithmetic.
pub(super) fn refuse_overload(config: &Config) -> Result<(), Failure> {
    let too_much: Vec<String> = overloaded(config).map(|budget| budget.to_string()).collect();
    if too_much.is_empty() {
        return Ok(());
    }
    Err(overload(&format!("a link can't carry its poll plan\n\n{}", too_much.join("\n"))))
}

fn overloaded(config: &Config) -> impl Iterator<Item = Budget> {
    budgets(config).into_iter().filter(|budget| !budget.fits())
}

fn overload(what: &str) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!("{what}"))
        .hint("poll less often (`every`), raise the baud rate on instrument and link, or use another link")
}
