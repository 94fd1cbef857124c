//! `mbe-bridge push`: streams a log that is there already.
//!
//! The file is read twice. First everything in it is checked, and what was found is shown; nothing is sent before. Then its
//! rows go chunk by chunk to the run store of a streamer and from there to the platform. Chunk `n` always holds the same
//! rows, and the stream's own run file knows which chunks it holds: the command can be ended in any way and given again.

mod plan;
mod progress;
mod record;
mod send;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::platform::{Place, PlatformArguments};
use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::{print, runtime, say};
use crate::config;
use crate::logfile;
use crate::logfile::Survey;
use crate::profile::Library;
use progress::Bar;
use record::{Earlier, Record, State};

/// A chunk of more points makes a request of several megabytes, which takes longer than the platform waits.
const MOST_POINTS: u64 = 10_000;

const FORMATS: &str = "\
Times:
  unix-s, unix-ms, unix-us, unix-ns    counted from 1970; found by themselves
  relative-s (-h -min -ms -us -ns)     counted from --start; found by themselves
  labview                              seconds from 1904 in UTC
  iso                                  2026-11-22T14:03:05.123+01:00, 2026-11-22 14:03:05; found by themselves
  day-first                            22.11.2026 14:03:05, 22/11/2026 14:03, 22-Nov-2026 14:03:05
  month-first                          11/22/2026 2:03:05 PM
  '%d.%m.%y %H:%M:%S%.f'               anything else, as strptime has it
  Whether 03/04/2026 is in March or April is decided by a row whose day is past the 12th, or by --time-format.
  A time that names no zone needs --zone. An hour that a clock showed twice needs --fold.

Examples:
  mbe-bridge push pyrometer.csv --zone Europe/Berlin --dry-run
  mbe-bridge push log.tsv --time Date --time Clock --value 'T (degC)' --unit p=mbar --zone UTC --sample GaN-001
  mbe-bridge push elapsed.csv --start 2026-11-22T14:03:05+01:00 --name 'Pyrometer log' --synth-source-id 42
  mbe-bridge push growth.parquet --yes --json";

#[derive(Debug, Args)]
#[command(after_long_help = FORMATS)]
pub(super) struct Arguments {
    /// The log: CSV, TSV or the like, or Parquet
    file: PathBuf,
    /// The stream's name on the platform; the file's name if not given
    #[arg(long)]
    name: Option<String>,
    /// Name or UUID of the sample
    #[arg(long)]
    sample: Option<String>,
    /// The growth instrument; `mbe-bridge growth-instruments` lists them
    #[arg(long, value_name = "ID")]
    synth_source_id: Option<i64>,
    /// The project
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// A tag of the stream; more than once for more
    #[arg(long)]
    tag: Vec<String>,
    /// Most points of a column in a request
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MOST_POINTS))]
    points_per_chunk: u64,
    #[command(flatten)]
    platform: PlatformArguments,
    /// Where points wait for the platform, and what was pushed is written down; without it, the folder that a bridge takes
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Show what the file is taken for, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Send without asking
    #[arg(long, short)]
    yes: bool,
    /// Send the file once more, as another stream, although it is on the platform already
    #[arg(long)]
    again: bool,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

/// How the file is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "How the file is read (what is not said is found out)")]
struct Reading {
    /// The column of the time, by name or number; twice for a column of dates and one of times of day
    #[arg(long, value_name = "COLUMN")]
    time: Vec<String>,
    /// A column of values, by name or number; without it all that hold numbers
    #[arg(long, value_name = "COLUMN")]
    value: Vec<String>,
    /// The unit of a column: `p=mbar`; `p=` for none
    #[arg(long, value_name = "COLUMN=UNIT", value_parser = pair)]
    unit: Vec<(String, String)>,
    /// The name that a column gets on the platform: `T1=substrate_temperature`
    #[arg(long, value_name = "COLUMN=NAME", value_parser = pair)]
    rename: Vec<(String, String)>,
    /// How times are written: see the end of --help
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<logfile::TimeFormat>,
    /// The zone of times that name none: `UTC`, `+01:00`, `Europe/Berlin`, or `system` for that of this computer
    #[arg(long)]
    zone: Option<logfile::Zone>,
    /// Which one is meant of two times that a clock shows alike when it is put back: earlier, later, or order (of the rows)
    #[arg(long, value_name = "WHICH")]
    fold: Option<logfile::Fold>,
    /// When times begin that are counted from a start: `2026-11-22T14:03:05+01:00`
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// What stands for no value, beside nothing and NaN; more than once for more
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    missing: Vec<String>,
    /// Leave cells and rows out that can't be read, and count them
    #[arg(long)]
    skip_bad: bool,
    /// What stands between the cells: `;`, `tab` or the like
    #[arg(long, value_name = "SIGN", value_parser = sign)]
    delimiter: Option<u8>,
    /// What stands before the fraction of a number: `.` or `,`
    #[arg(long, value_name = "SIGN")]
    decimal: Option<logfile::Decimal>,
    /// How characters are written: `utf-8`, `windows-1252` or `latin-1`
    #[arg(long)]
    encoding: Option<logfile::Encoding>,
    /// What a line begins with that is no part of the table
    #[arg(long, value_name = "SIGN", default_value = "#", value_parser = sign)]
    comment: u8,
    /// Lines above the table that are left out
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_lines: u64,
    /// The names of all columns, for a file without a line of names: `time,T,p`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// The line under the names holds units
    #[arg(long)]
    units_row: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (column, of) = text.rsplit_once('=').ok_or_else(|| "write it as in `COLUMN=...`".to_owned())?;
    Ok((column.to_owned(), of.to_owned()))
}

fn sign(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        (_, [one]) if one.is_ascii() && !one.is_ascii_alphanumeric() && !matches!(one, b'"' | b'\n' | b'\r') => {
            Ok(*one)
        }
        _ => Err("write one sign that is neither a letter nor a digit, or `tab`".to_owned()),
    }
}

impl Reading {
    fn options(&self) -> logfile::Options {
        logfile::Options {
            delimiter: self.delimiter,
            decimal: self.decimal,
            encoding: self.encoding,
            comment: Some(self.comment),
            skip_lines: self.skip_lines,
            columns: self.columns.clone(),
            units_row: self.units_row,
            time: self.time.clone(),
            values: self.value.clone(),
            units: self.unit.clone(),
            renames: self.rename.clone(),
            time_format: self.time_format.clone(),
            zone: self.zone.clone(),
            fold: self.fold,
            start: self.start.clone(),
            missing: self.missing.clone(),
            skip_bad: self.skip_bad,
        }
    }
}

/// A file that is to be sent, and where to.
struct Task<'a> {
    arguments: &'a Arguments,
    survey: &'a Survey,
    place: &'a Place,
    name: String,
    data_dir: PathBuf,
    /// Points of a column in a chunk.
    points: usize,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let place = self.platform.place(library)?;
        let survey = self.survey()?;
        let of_lab = place.config.as_ref().map(|config| config.data_dir.clone());
        let data_dir = self.data_dir.clone().or(of_lab);
        let task = Task {
            name: self.name.clone().unwrap_or_else(|| file_name(&self.file)),
            data_dir: data_dir.unwrap_or_else(|| config::usual_data_dir(&config::process_environment)),
            points: usize::try_from(self.points_per_chunk).unwrap_or(100),
            arguments: &self,
            survey: &survey,
            place: &place,
        };
        let plan = plan::Plan::of(&task);
        if !self.json {
            plan.show();
        }
        if self.dry_run {
            if self.json {
                print(json!({ "plan": plan, "result": null }));
            } else {
                say("nothing was sent: this is a dry run");
            }
            return Ok(Exit::Well);
        }
        // Before anything is asked: a key that is not there is no reason to think about the plan.
        let key = place.key()?;
        let mut held = Record::take(&task)?;
        let result = match &held.earlier {
            Earlier::Same(record) if record.state == State::Finished && !self.again => {
                if !self.json {
                    say(format_args!(
                        "this file is on the platform already, as stream {} since {}; `--again` sends it once more",
                        record.data_id, record.finished
                    ));
                }
                send::Sent::already(record)
            }
            _ => {
                held.tell(&self.file, self.again);
                if held.is_new(self.again) {
                    self.confirm(&survey, &place.endpoint)?;
                }
                runtime()?.block_on(send::send(&task, &mut held, key))?
            }
        };
        if self.json {
            print(json!({ "plan": plan, "result": result }));
        } else {
            result.show();
        }
        Ok(result.exit())
    }

    fn survey(&self) -> Result<Survey, Failure> {
        let bar = Bar::reading(&self.file);
        let survey = logfile::survey(&self.file, &self.reading.options(), &mut |bytes| {
            bar.read(bytes);
            true
        });
        bar.clear();
        survey.map_err(failed)
    }

    /// Asks whoever sits in front of it. Where nobody does, only what is beyond doubt is sent.
    fn confirm(&self, survey: &Survey, endpoint: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            say(format_args!("send it to {endpoint}? [y/N]"));
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer).or_exit(Exit::Degraded)?;
            return match answer.trim().to_lowercase().as_str() {
                "y" | "yes" | "j" | "ja" => Ok(()),
                _ => Err(Failure::new(Exit::Usage, anyhow::anyhow!("nothing was sent, as you said"))),
            };
        }
        if survey.doubts.is_empty() {
            return Ok(());
        }
        let doubts: String = survey.doubts.iter().map(|doubt| format!("\n  {doubt}")).collect();
        let error = anyhow::anyhow!("somebody should look at `{}` before it is sent\n{doubts}", self.file.display());
        Err(Failure::new(Exit::Usage, error).hint("`--yes` sends it as it is"))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Why a file can't be read, as the command ends with it.
fn failed(error: logfile::Error) -> Failure {
    let hint = match &error {
        logfile::Error::Refused(refusal) => Some(refusal.hints.join("\n      ")),
        logfile::Error::Changed(_) => Some("give the command again: what changed is a new stream".to_owned()),
        _ => None,
    };
    let exit = match &error {
        logfile::Error::Read { error, .. } if error.kind() != std::io::ErrorKind::NotFound => Exit::Disk,
        logfile::Error::Changed(_) | logfile::Error::Stopped => Exit::Degraded,
        _ => Exit::Usage,
    };
    let failure = Failure::new(exit, error);
    match hint.filter(|hint| !hint.is_empty()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
