//! `mbe-bridge runs verify`: a run file held against itself, and against what the platform has.

mod compare;
mod file;
mod platform;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::list::exit_of;
use super::place::{Place, damaged_files, run_files};
use crate::cli::report::{Exit, Failure, Outcome};
use crate::cli::{print, runtime};
use crate::model::with_causes;
use crate::profile::Library;
use crate::runs::is_set_aside;
use crate::runs::read::RunFile;
use platform::Reader;

/// Problems of a run that are told one by one; beyond it they are counted.
const MOST_TOLD: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run, by name, the beginning of it, or the path of its file; the newest if left out
    #[arg(value_name = "RUN", conflicts_with = "all")]
    run: Option<String>,
    /// All runs of the data folder
    #[arg(long)]
    all: bool,
    /// Also read every stream back from the platform that --config names, and compare point by point
    #[arg(long)]
    platform: bool,
    /// Leave out what takes longest: whether the indices of the file match its tables
    #[arg(long)]
    quick: bool,
}

/// What was found wrong with a run, and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Problem {
    chunk: Option<u64>,
    channel: Option<String>,
    what: String,
    #[serde(rename = "do")]
    cure: &'static str,
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
struct Findings {
    chunks: u64,
    /// In chunks and in commits that no chunk holds yet.
    points: u64,
    problems: Vec<Problem>,
    /// Problems beyond those that are told.
    more_problems: usize,
    /// What is odd, and as it should be.
    remarks: Vec<String>,
}

impl Findings {
    fn add(&mut self, chunk: Option<u64>, channel: Option<&str>, what: impl Into<String>, cure: &'static str) {
        if self.problems.len() < MOST_TOLD {
            let (channel, what) = (channel.map(str::to_owned), what.into());
            self.problems.push(Problem { chunk, channel, what, cure });
        } else {
            self.more_problems += 1;
        }
    }

    fn wrong(&self) -> usize {
        self.problems.len() + self.more_problems
    }
}

/// One run.
#[derive(Debug, Serialize)]
struct Report {
    run: Option<String>,
    path: PathBuf,
    well: bool,
    #[serde(rename = "file")]
    findings: Findings,
    platform: Option<platform::Findings>,
    /// Why the platform could not be asked.
    platform_error: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Arguments {
    pub(super) fn run(self, place: &Place, library: &Library, json: bool) -> Outcome {
        let paths = if self.all {
            let data_dir = place.data_dir(library)?;
            let mut paths = run_files(&data_dir)?;
            paths.extend(damaged_files(&data_dir)?);
            paths
        } else {
            vec![place.file(self.run.as_deref(), library)?]
        };
        let config = if self.platform { Some(place.needed_config(library)?) } else { None };
        let reader = config.as_ref().map(Reader::new).transpose()?;
        let runtime = runtime()?;
        let mut reports = Vec::new();
        for path in paths {
            let report = runtime.block_on(Report::of(&path, self.quick, reader.as_ref()));
            if !json {
                report.show();
            }
            reports.push(report);
        }
        if json {
            print(serde_json::json!({ "runs": reports }));
        }
        // What is wrong matters more than what could not be found out.
        let worst = [Exit::Degraded, Exit::Disk, Exit::Usage, Exit::Refused, Exit::Unreachable];
        Ok(worst.into_iter().find(|exit| reports.iter().any(|report| report.exit == *exit)).unwrap_or(Exit::Well))
    }
}

impl Report {
    async fn of(path: &Path, quick: bool, reader: Option<&Reader>) -> Self {
        let mut report = Self {
            run: None,
            path: path.to_owned(),
            well: false,
            findings: Findings::default(),
            platform: None,
            platform_error: None,
            exit: Exit::Well,
        };
        let checked = RunFile::open(path).and_then(|file| {
            report.run = Some(file.info().run.to_string());
            file::check(&file, quick, &mut report.findings)
        });
        if let Err(error) = checked {
            report.exit = exit_of(&error);
            let cure = if is_set_aside(path) { SET_ASIDE } else { UNREADABLE };
            report.findings.add(None, None, with_causes(&error), cure);
        } else if let Some(reader) = reader {
            match reader.check(path).await {
                Ok(found) => report.platform = Some(found),
                Err(failure) => {
                    report.exit = failure.exit;
                    report.platform_error = Some(format!("{:#}", failure.error));
                }
            }
        }
        let wrong = report.findings.wrong() + report.platform.as_ref().map_or(0, platform::Findings::wrong);
        report.well = wrong == 0 && report.exit == Exit::Well;
        if wrong > 0 && report.exit != Exit::Disk && report.exit != Exit::Usage {
            report.exit = Exit::Degraded;
        }
        report
    }

    fn show(&self) {
        let name = self.run.clone().unwrap_or_else(|| self.path.display().to_string());
        let findings = &self.findings;
        let wrong = findings.wrong();
        if wrong == 0 {
            print(format_args!("{name}: the file is well: {} chunks, {} points", findings.chunks, findings.points));
        } else {
            print(format_args!("{name}: {wrong} things are wrong with the file ({})", self.path.display()));
        }
        tell(&findings.problems, findings.more_problems, &findings.remarks);
        if let Some(error) = &self.platform_error {
            print(format_args!("  the platform could not be asked: {error}"));
        }
        let Some(platform) = &self.platform else { return };
        let (wrong, found, streams) = (platform.wrong(), platform.found, platform.streams);
        if wrong == 0 {
            print(format_args!("{name}: the platform agrees: {found} points on {streams} streams, each once"));
        } else {
            print(format_args!(
                "{name}: {wrong} things are wrong on the platform; {found} points are there as they should be"
            ));
        }
        tell(&platform.findings.problems, platform.findings.more_problems, &platform.findings.remarks);
    }
}

fn tell(problems: &[Problem], more: usize, remarks: &[String]) {
    for problem in problems {
        let chunk = problem.chunk.map(|chunk| format!("chunk {chunk}: ")).unwrap_or_default();
        let channel = problem.channel.as_ref().map(|channel| format!("{channel}: ")).unwrap_or_default();
        print(format_args!("  {chunk}{channel}{}", problem.what));
    }
    if more > 0 {
        print(format_args!("  ... and {more} more"));
    }
    let mut cures: Vec<&str> = Vec::new();
    for problem in problems.iter().filter(|problem| !problem.cure.is_empty()) {
        if !cures.contains(&problem.cure) {
            cures.push(problem.cure);
        }
    }
    cures.iter().for_each(|cure| print(format_args!("  what to do: {cure}")));
    remarks.iter().for_each(|remark| print(format_args!("  note: {remark}")));
}

const SET_ASIDE: &str = "it was set aside as damaged, and what was readable of it is a run of its own (see `mbe-bridge runs`); \
     move it elsewhere when you have seen to it";

const UNREADABLE: &str = "keep the file; a bridge that is started on its data folder sets it aside, and what is readable in it \
     can be salvaged; if there is a copy, verify that";

/// For a [`Failure`] that only says why the platform was not asked.
fn failed(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(exit, error)
}
