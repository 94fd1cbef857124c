//! `mbe-bridge runs prune`: deletes the finished runs that are old, or in the way, as the bridge itself does from time to time.

use clap::Args;
use serde_json::json;

use super::account::{bytes, shown};
use super::place::Place;
use crate::cli::print;
use crate::cli::report::{Exit, Failure, Outcome};
use crate::cli::table::Table;
use crate::profile::Library;
use crate::runs;
use crate::runs::Prunable;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only say what would be deleted, also beside a running bridge
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    pub(super) fn run(self, place: &Place, library: &Library, json: bool) -> Outcome {
        let config = place.config(library)?;
        let mut settings = runs::Settings::new(place.data_dir(library)?);
        if let Some(config) = &config {
            settings.keep_runs = config.storage.keep_runs;
            settings.min_free = config.storage.min_free;
        }
        super::place::run_files(&settings.data_dir)?;
        let found = runs::prune(&settings, self.dry_run).map_err(|error| {
            let in_use = matches!(error, runs::Error::InUse { .. });
            let failure = Failure::new(Exit::Disk, error);
            let hint =
                "a running bridge prunes by itself, each hour and when space is short; --dry-run says what would go";
            if in_use { failure.hint(hint) } else { failure }
        })?;
        let goes: Vec<&Prunable> = found.iter().filter(|run| run.why.is_some()).collect();
        let freed: u64 = goes.iter().map(|run| run.bytes).sum();
        if json {
            let row = |run: &Prunable| {
                json!({
                    "run": run.run.as_str(), "name": run.name, "path": run.path, "bytes": run.bytes,
                    "finished": run.finished.as_unix_seconds(), "why": run.why.map(|why| why.to_string()),
                })
            };
            let runs: Vec<_> = found.iter().map(row).collect();
            print(json!({ "dry_run": self.dry_run, "runs": runs, "freed": freed }));
            return Ok(Exit::Well);
        }
        if !goes.is_empty() {
            let mut table = Table::new(&["run", "name", "finished", ">size", "why"]);
            for run in &goes {
                let why = run.why.map(|why| why.to_string()).unwrap_or_default();
                table.row([run.run.to_string(), run.name.clone(), shown(run.finished), bytes(run.bytes), why]);
            }
            print(table);
        }
        let stay = found.len() - goes.len();
        let done = if self.dry_run { "would be deleted, which frees" } else { "deleted, which freed" };
        print(format_args!("{} runs {done} {}; {stay} more could go and stay", goes.len(), bytes(freed)));
        print("runs that are not done, or hold a point that the platform does not have, are never deleted");
        Ok(Exit::Well)
    }
}
