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
    /// The bus-time budget as JSON
    #[arg(long, conflicts_with = "probe")]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let config = load(&self.config, library)?;
        if self.json {
            print(as_json(&config));
            return refuse_overload(&config).map(|()| Exit::Well);
        }
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

fn as_json(config: &Config) -> serde_json::Value {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let links: Vec<serde_json::Value> = budgets(config)
        .iter()
        .map(|budget| {
            let polls: Vec<serde_json::Value> = budget
                .rows
                .iter()
                .zip(budget.fastest())
                .map(|(row, fastest)| {
                    serde_json::json!({
                        "instrument": &*row.instrument,
                        "exchanges": row.exchanges,
                        "bytes": row.bytes,
                        "every_ms": ms(row.every),
                        "transmission_ms": ms(row.transmission),
                        "turnaround_ms": ms(row.turnaround),
                        "silence_ms": ms(row.silence),
                        "time_ms": ms(row.time()),
                        "share": row.share(),
                        "fastest_every_ms": ms(fastest),
                    })
                })
                .collect();
            serde_json::json!({
                "link": &*budget.link,
                "line": budget.line.as_ref().map(ToString::to_string),
                "share": budget.share(),
                "fits": budget.fits(),
                "baud_that_fits": budget.baud_that_fits().filter(|_| !budget.fits()).map(|(baud, _)| baud),
                "polls": polls,
            })
        })
        .collect();
    serde_json::json!({ "file": config.path, "fits": overloaded(config).next().is_none(), "links": links })
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
