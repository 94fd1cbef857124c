//! The catalogue of entries, and what can be asked of it.

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::projects::Named;
use super::read;
use super::streams::View;
use crate::server::refusal::Refusal;

/// The type of every entry: this platform takes nothing but tool-state streams.
const ENTRY_KIND: &str = "tool_state";

/// Which entries of the catalogue are asked for; an empty list asks for all.
#[derive(Debug, Default)]
pub(in crate::server) struct EntryFilter {
    pub(in crate::server) data_ids: Vec<String>,
    pub(in crate::server) sample_ids: Vec<String>,
    pub(in crate::server) project_ids: Vec<String>,
    pub(in crate::server) statuses: Vec<String>,
    pub(in crate::server) kinds: Vec<String>,
    /// Each has to be in some field, in any case.
    pub(in crate::server) keywords: Vec<String>,
    pub(in crate::server) uploaded: Span,
    pub(in crate::server) updated: Span,
    /// Only recordings that have a growth length: no entry here has one.
    pub(in crate::server) of_growth_length: bool,
}

/// From when to when, both included.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::server) struct Span {
    pub(in crate::server) earliest: Option<Timestamp>,
    pub(in crate::server) latest: Option<Timestamp>,
}

/// A stream in the catalogue. What the local platform is never told is there and null: readers ask for it by name.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Entry {
    data_id: String,
    char_source_type: &'static str,
    raw_name: Option<String>,
    pipeline_status: &'static str,
    raw_file_type: (),
    synth_source_id: Option<i64>,
    source_name: Option<String>,
    sample_name: (),
    physical_sample_id: Option<String>,
    physical_sample_name: Option<String>,
    tags: Vec<String>,
    projects: Vec<Named>,
    growth_length: (),
    /// When the stream was created.
    upload_datetime: String,
    /// When it last heard something.
    last_updated: String,
    collected_datetime: (),
    detail_note_content: (),
    detail_note_last_updated: (),
    file_metadata: (),
    name: (),
    workspaces: Vec<String>,
    sha3_256: (),
    has_instrument_logs: bool,
}

impl Entry {
    /// The entries that pass the filter, oldest first.
    pub(in crate::server) fn list(from: &Connection, view: View, filter: &EntryFilter) -> Result<Vec<Self>, Refusal> {
        if filter.of_growth_length {
            return Ok(Vec::new());
        }
        let mut streams = from.prepare_cached(
            "SELECT s.data_id, s.name, s.state, s.synth_source_id, i.label, s.sample, p.name, s.project,
                 s.created_ms, s.heard_ms, s.number
             FROM streams s LEFT JOIN samples p ON p.id = s.sample LEFT JOIN instruments i ON i.id = s.synth_source_id
             WHERE s.number > ?1 ORDER BY s.number",
        )?;
        let mut rows = streams.query([view.forgotten])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (created_ms, heard_ms) = (row.get(8)?, row.get(9)?);
            if !filter.uploaded.holds(created_ms) || !filter.updated.holds(heard_ms) {
                continue;
            }
            let state: read::StreamState = row.get(2)?;
            let project: Option<String> = row.get(7)?;
            let entry = Self {
                data_id: row.get(0)?,
                char_source_type: ENTRY_KIND,
                raw_name: row.get(1)?,
                pipeline_status: state.as_str(),
                raw_file_type: (),
                synth_source_id: row.get(3)?,
                source_name: row.get(4)?,
                sample_name: (),
                physical_sample_id: row.get(5)?,
                physical_sample_name: row.get(6)?,
                tags: read::tags(from, row.get(10)?)?,
                projects: project.into_iter().map(Named::project).collect(),
                growth_length: (),
                upload_datetime: date(created_ms),
                last_updated: date(heard_ms),
                collected_datetime: (),
                detail_note_content: (),
                detail_note_last_updated: (),
                file_metadata: (),
                name: (),
                workspaces: Vec::new(),
                sha3_256: (),
                has_instrument_logs: false,
            };
            if filter.passes(&entry) {
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// Every field that holds words.
    fn words(&self) -> impl Iterator<Item = &str> {
        let always = [self.data_id.as_str(), self.char_source_type, self.pipeline_status];
        let perhaps = [&self.raw_name, &self.source_name, &self.physical_sample_id, &self.physical_sample_name];
        always
            .into_iter()
            .chain(perhaps.into_iter().filter_map(Option::as_deref))
            .chain(self.tags.iter().map(String::as_str))
            .chain(self.projects.iter().map(Named::id))
    }
}

impl EntryFilter {
    fn passes(&self, entry: &Entry) -> bool {
        let among = |wanted: &[String], has: Option<&str>| {
            wanted.is_empty() || has.is_some_and(|has| wanted.iter().any(|one| one == has))
        };
        among(&self.data_ids, Some(&entry.data_id))
            && among(&self.sample_ids, entry.physical_sample_id.as_deref())
            && among(&self.project_ids, entry.projects.first().map(Named::id))
            && among(&self.statuses, Some(entry.pipeline_status))
            && among(&self.kinds, Some(entry.char_source_type))
            && self.keywords.iter().all(|keyword| {
                let keyword = keyword.to_lowercase();
                entry.words().any(|words| words.to_lowercase().contains(&keyword))
            })
    }
}

impl Span {
    fn holds(&self, unix_ms: i64) -> bool {
        if self.earliest.is_none() && self.latest.is_none() {
            return true;
        }
        // A time that no calendar has is in no span.
        Timestamp::from_millisecond(unix_ms).is_ok_and(|at| {
            self.earliest.is_none_or(|earliest| earliest <= at) && self.latest.is_none_or(|latest| at <= latest)
        })
    }
}

/// A time as the platform writes it; empty for one that no calendar has.
pub(super) fn date(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map(|at| at.to_string()).unwrap_or_default()
}
