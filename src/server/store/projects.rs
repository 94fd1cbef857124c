//! Projects. Nobody creates one here: a project is there as soon as a stream or a sample names it, and its id is its name.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::entries::date;
use crate::server::refusal::Refusal;

/// A project as entries and samples name it.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Named {
    id: String,
    name: String,
}

/// A project in the list. What the local platform is never told is there and null: readers ask for it by name.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Project {
    id: String,
    name: String,
    physical_sample_count: i64,
    /// When one of its streams last heard something; null for a project without streams.
    last_updated: Option<String>,
    owner_name: (),
    detail_note: (),
}

impl Named {
    pub(super) fn project(id: String) -> Self {
        Self { name: id.clone(), id }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Project {
    /// All projects, by id.
    pub(in crate::server) fn list(from: &Connection) -> Result<Vec<Self>, Refusal> {
        let mut projects = from.prepare_cached(
            "SELECT p.id, (SELECT count(*) FROM tracking WHERE project = p.id),
                 (SELECT max(heard_ms) FROM streams WHERE project = p.id)
             FROM (SELECT project AS id FROM streams WHERE project IS NOT NULL UNION SELECT project FROM tracking) p
             ORDER BY p.id",
        )?;
        let found = projects.query_map(params![], |row| {
            let id: String = row.get(0)?;
            Ok(Self {
                name: id.clone(),
                id,
                physical_sample_count: row.get(1)?,
                last_updated: row.get::<_, Option<i64>>(2)?.map(date),
                owner_name: (),
                detail_note: (),
            })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Refuses a project that nothing names.
    pub(in crate::server) fn expect(from: &Connection, id: &str) -> Result<(), Refusal> {
        let named: bool = from.query_row(
            "SELECT EXISTS (SELECT 1 FROM streams WHERE project = ?1) OR EXISTS (SELECT 1 FROM tracking WHERE project = ?1)",
            [id],
            |row| row.get(0),
        )?;
        if named { Ok(()) } else { Err(Refusal::unknown(format!("no stream or sample names the project `{id}`"))) }
    }
}
