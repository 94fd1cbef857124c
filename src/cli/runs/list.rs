//! `mbe-bridge runs`: all runs in a table, files that were set aside, totals.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::account::{Account, bytes, shown_seconds};
use super::place::{damaged_files, run_files, size};
use crate::cli::print;
use crate::cli::report::{Exit, Outcome};
use crate::cli::status::age;
use crate::cli::table::Table;
use crate::model::with_causes;
use crate::runs;
use crate::runs::read::RunFile;

#[derive(Debug, Serialize)]
struct List {
    data_dir: PathBuf,
    runs: Vec<Account>,
    set_aside: Vec<SetAside>,
    totals: Totals,
}

/// A file that is of no use as it is.
#[derive(Debug, Serialize)]
struct SetAside {
    path: PathBuf,
    bytes: u64,
    modified: Option<f64>,
    why: String,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    runs: usize,
    recorded: u64,
    filled: u64,
    uploaded: u64,
    queued: u64,
    rejected: u64,
    bytes: u64,
}

pub(super) fn run(data_dir: &Path, json: bool) -> Outcome {
    let list = List::of(data_dir)?;
    if json {
        print(serde_json::json!(list));
    } else {
        list.show();
    }
    Ok(Exit::Well)
}

impl List {
    fn of(data_dir: &Path) -> Result<Self, crate::cli::report::Failure> {
        let (mut runs, mut set_aside) = (Vec::new(), Vec::new());
        for path in run_files(data_dir)? {
            match RunFile::open(&path).and_then(|file| Account::of(&path, &file)) {
                Ok(account) => runs.push(account),
                Err(error) => set_aside.push(SetAside::new(path, with_causes(&error))),
            }
        }
        for path in damaged_files(data_dir)? {
            let mut why = match RunFile::open(&path) {
                Ok(file) => format!("set aside as damaged; it holds run {}", file.info().run),
                Err(error) => format!("set aside as damaged: {}", with_causes(&error)),
            };
            if let Some(run) = salvaged_from(&path).filter(|run| runs.iter().any(|known| known.run == *run)) {
                why.push_str(&format!("; what was readable is in run {run}"));
            }
            set_aside.push(SetAside::new(path, why));
        }
        runs.sort_by(|a, b| a.began.total_cmp(&b.began));
        let mut totals = Totals { runs: runs.len(), ..Totals::default() };
        for run in &runs {
            totals.recorded += run.recorded;
            totals.filled += run.filled;
            totals.uploaded += run.uploaded;
            totals.queued += run.queued;
            totals.rejected += run.rejected;
            totals.bytes += run.bytes;
        }
        Ok(Self { data_dir: data_dir.to_owned(), runs, set_aside, totals })
    }

    fn show(&self) {
        let headings = [
            "run",
            "name",
            "state",
            "began",
            ">length",
            ">channels",
            ">points",
            ">uploaded",
            ">queued",
            ">rejected",
            ">size",
            ">streams",
        ];
        let mut table = Table::new(&headings);
        for run in &self.runs {
            table.row([
                run.run.clone(),
                run.name.clone(),
                run.state.to_owned(),
                shown_seconds(run.began),
                age(run.length),
                run.channels.to_string(),
                (run.recorded + run.filled).to_string(),
                run.uploaded.to_string(),
                run.queued.to_string(),
                run.rejected.to_string(),
                bytes(run.bytes),
                run.streams.to_string(),
            ]);
        }
        if self.runs.is_empty() {
            print(format_args!("no runs in {}", self.data_dir.display()));
        } else {
            print(table);
        }
        if !self.set_aside.is_empty() {
            print("\nfiles that can't be used as they are; `mbe-bridge runs verify PATH` says more:");
        }
        for file in &self.set_aside {
            let modified = file.modified.map(|at| format!(", last written {}", shown_seconds(at))).unwrap_or_default();
            print(format_args!("  {} ({}{modified})\n    {}", file.path.display(), bytes(file.bytes), file.why));
        }
        let totals = &self.totals;
        print(format_args!(
            "\n{} runs, {}: {} points = {} uploaded + {} queued + {} rejected",
            totals.runs,
            bytes(totals.bytes),
            totals.recorded + totals.filled,
            totals.uploaded,
            totals.queued,
            totals.rejected,
        ));
        let refused = self.runs.iter().filter(|run| run.rejected > 0).map(|run| run.run.as_str());
        let refused: Vec<&str> = refused.collect();
        if let Some(first) = refused.first() {
            print(format_args!(
                "the platform has refused points of {}: `mbe-bridge runs show {first}` has its words, \
                 `mbe-bridge runs resend {first}` sends them again",
                refused.join(", "),
            ));
        }
    }
}

impl SetAside {
    fn new(path: PathBuf, why: String) -> Self {
        let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs_f64());
        Self { bytes: size(&path), modified, path, why }
    }
}

/// The run that is made of what is readable of a damaged file: `x.sqlite.damaged-2` becomes `x-s2`.
fn salvaged_from(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    name.split_once(".sqlite.damaged-").map(|(stem, number)| format!("{stem}-s{number}"))
}

/// What exit code an unreadable run file makes.
pub(super) fn exit_of(error: &runs::Error) -> Exit {
    match error {
        runs::Error::NotARun { .. } | runs::Error::Newer { .. } => Exit::Usage,
        _ if error.is_damage() => Exit::Degraded,
        _ => Exit::Disk,
    }
}
