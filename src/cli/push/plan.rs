//! What is going to be sent, before it is.

use serde::Serialize;

use super::Task;
use crate::cli::print;
use crate::cli::status::age;
use crate::cli::table::Table;
use crate::model::Stamp;

#[derive(Debug, Serialize)]
pub(super) struct Plan {
    file: String,
    bytes: u64,
    sha256: String,
    rows: u64,
    bad_rows: u64,
    /// Unix seconds.
    first: f64,
    last: f64,
    #[serde(skip)]
    from: Stamp,
    #[serde(skip)]
    to: Stamp,
    time: Vec<String>,
    time_format: String,
    zone: Option<String>,
    columns: Vec<Column>,
    points: u64,
    points_per_chunk: usize,
    chunks: u64,
    stream: String,
    endpoint: String,
    notes: Vec<String>,
    doubts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Column {
    column: String,
    channel: String,
    unit: Option<String>,
    points: u64,
    missing: u64,
    bad: u64,
}

impl Plan {
    pub(super) fn of(task: &Task<'_>) -> Self {
        let survey = task.survey;
        let columns = survey.columns.iter().map(|column| Column {
            column: column.heading.clone(),
            channel: column.name.clone(),
            unit: column.unit.clone(),
            points: column.points,
            missing: column.missing,
            bad: column.bad,
        });
        Self {
            file: task.arguments.file.display().to_string(),
            bytes: survey.bytes,
            sha256: survey.digest.clone(),
            rows: survey.rows,
            bad_rows: survey.bad_rows,
            from: Stamp::from_nanos(survey.first),
            to: Stamp::from_nanos(survey.last),
            first: Stamp::from_nanos(survey.first).as_unix_seconds(),
            last: Stamp::from_nanos(survey.last).as_unix_seconds(),
            time: survey.time_columns.clone(),
            time_format: survey.time_format.to_string(),
            zone: survey.zone.as_ref().map(ToString::to_string),
            columns: columns.collect(),
            points: survey.columns.iter().map(|column| column.points).sum(),
            points_per_chunk: task.points,
            chunks: survey.rows.div_ceil(u64::try_from(task.points).unwrap_or(u64::MAX)),
            stream: task.name.clone(),
            endpoint: task.place.endpoint.clone(),
            notes: survey.notes.clone(),
            doubts: survey.doubts.clone(),
        }
    }

    pub(super) fn show(&self) {
        let bad = if self.bad_rows > 0 { format!(" and {} that can't be read", self.bad_rows) } else { String::new() };
        print(format_args!("{}: {} rows{bad}", self.file, self.rows));
        let length = age(self.last - self.first);
        print(format_args!("  from   {} to {} ({length})", instant(self.from), instant(self.to)));
        let zone = self.zone.as_ref().map(|zone| format!(", in zone {zone}")).unwrap_or_default();
        let names: Vec<String> = self.time.iter().map(|name| format!("`{name}`")).collect();
        print(format_args!("  time   {} read as {}{zone}", names.join(" and "), self.time_format));
        for note in &self.notes {
            print(format_args!("  note   {note}"));
        }
        for doubt in &self.doubts {
            print(format_args!("  LOOK   {doubt}"));
        }
        let mut table = Table::new(&["column", "channel", "unit", ">points", ">missing", ">left out"]);
        for column in &self.columns {
            table.row([
                column.column.clone(),
                column.channel.clone(),
                column.unit.clone().unwrap_or_default(),
                column.points.to_string(),
                column.missing.to_string(),
                column.bad.to_string(),
            ]);
        }
        print(format_args!("\n{table}\n"));
        let chunks = if self.chunks == 1 { "1 chunk".to_owned() } else { format!("{} chunks", self.chunks) };
        print(format_args!(
            "{} points in {} of up to {} rows, as `{}` to {}",
            self.points, chunks, self.points_per_chunk, self.stream, self.endpoint
        ));
    }
}

/// To the millisecond, in UTC.
fn instant(at: Stamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos()))
        .map_or_else(|_| format!("{at:?}"), |at| format!("{at:.3}"))
}
