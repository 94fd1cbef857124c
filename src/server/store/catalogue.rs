//! What streams are linked to: growth instruments, physical samples, tags.

use axum::http::StatusCode;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::entries::date;
use super::projects::Named;
use super::streams::View;
use super::{name_key, new_id};
use crate::server::refusal::Refusal;

/// What a growth instrument can be.
const INSTRUMENT_KINDS: [&str; 6] = ["mbe", "cvd", "pvd", "sputter", "ald", "pld"];

/// A growth instrument to be created.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with label, name, type and serial_id")]
pub(in crate::server) struct NewInstrument {
    label: String,
    name: String,
    r#type: String,
    #[serde(default)]
    serial_id: Option<String>,
}

/// A growth instrument in the list.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Instrument {
    synth_source_id: i64,
    source_name: String,
    synth_source_type: String,
    source_manufacturer: Option<String>,
    source_model: Option<String>,
}

/// A physical sample in the list. What the local platform is never told is there and null: readers ask for it by name.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Sample {
    id: String,
    name: String,
    created_datetime: String,
    /// When it was created, or when one of its streams last heard something.
    last_updated: String,
    num_data_items: i64,
    projects: Vec<Named>,
    owner_name: (),
    target_material: (),
    physical_sample_metadata: (),
    growth_instrument: (),
    detail_notes: (),
}

/// A tag in the list.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Tag {
    id: String,
    name: String,
}

impl Instrument {
    pub(in crate::server) fn list(from: &Connection) -> Result<Vec<Self>, Refusal> {
        let mut instruments = from.prepare_cached("SELECT id, label, name, kind FROM instruments ORDER BY id")?;
        let rows = instruments.query_map([], |row| {
            let name: String = row.get(2)?;
            // The name is manufacturer and model in one; the list has them apart.
            let (manufacturer, model) = name.split_once(' ').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
            Ok(Self {
                synth_source_id: row.get(0)?,
                source_name: row.get(1)?,
                synth_source_type: row.get(3)?,
                source_manufacturer: Some(manufacturer.to_owned()).filter(|text| !text.is_empty()),
                source_model: model.map(str::to_owned),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Creates an instrument and returns its `synth_source_id`.
    pub(in crate::server) fn create(with: &Transaction<'_>, new: &NewInstrument) -> Result<i64, Refusal> {
        let kind = new.r#type.as_str();
        if !INSTRUMENT_KINDS.contains(&kind) {
            let known = INSTRUMENT_KINDS.join(", ");
            return Err(Refusal::invalid(format!("type is `{kind}`, expected one of {known}")));
        }
        let label = new.label.trim();
        if label.is_empty() {
            return Err(Refusal::invalid("label is blank, expected a name to show"));
        }
        with.execute(
            "INSERT INTO instruments (label, name, kind, serial_id) VALUES (?1, ?2, ?3, ?4)",
            params![label, new.name.trim(), kind, new.serial_id],
        )?;
        Ok(with.last_insert_rowid())
    }

    pub(in crate::server) fn delete(with: &Transaction<'_>, id: i64) -> Result<(), Refusal> {
        expect_instrument(with, id)
            .map_err(|_| Refusal::unknown(format!("no growth instrument has the synth_source_id {id}")))?;
        with.execute("DELETE FROM instruments WHERE id = ?1", [id])?;
        Ok(())
    }
}

/// Refuses an instrument that does not exist, and says which ones do.
pub(super) fn expect_instrument(with: &Connection, id: i64) -> Result<(), Refusal> {
    let mut known = with.prepare_cached("SELECT id FROM instruments ORDER BY id")?;
    let known: Vec<i64> = known.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if known.contains(&id) {
        return Ok(());
    }
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    Err(Refusal::invalid(format!(
        "synth_source_id {id} is no growth instrument of this platform (known: {known}); \
         POST /instruments/synthesis creates one"
    )))
}

impl Sample {
    /// All samples, oldest first: of them the one with this id, or those that this project tracks.
    pub(in crate::server) fn list(
        from: &Connection,
        id: Option<&str>,
        project: Option<&str>,
    ) -> Result<Vec<Self>, Refusal> {
        let mut samples = from.prepare_cached(
            "SELECT p.id, p.name, p.created_ms, max(p.created_ms, coalesce(max(s.heard_ms), 0)), count(s.number)
             FROM samples p LEFT JOIN streams s ON s.sample = p.id
             WHERE (?1 IS NULL OR p.id = ?1)
                 AND (?2 IS NULL OR p.id IN (SELECT sample FROM tracking WHERE project = ?2))
             GROUP BY p.id ORDER BY p.created_ms, p.name",
        )?;
        let mut projects = from.prepare_cached("SELECT project FROM tracking WHERE sample = ?1 ORDER BY project")?;
        let mut rows = samples.query([id, project])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let projects = projects.query_map([&id], |row| Ok(Named::project(row.get(0)?)))?;
            found.push(Self {
                projects: projects.collect::<Result<_, _>>()?,
                id,
                name: row.get(1)?,
                created_datetime: date(row.get(2)?),
                last_updated: date(row.get(3)?),
                num_data_items: row.get(4)?,
                owner_name: (),
                target_material: (),
                physical_sample_metadata: (),
                growth_instrument: (),
                detail_notes: (),
            });
        }
        Ok(found)
    }

    /// Creates a sample and returns its id.
    pub(in crate::server) fn create(with: &Transaction<'_>, name: &str, now_ms: i64) -> Result<String, Refusal> {
        let (name, key) = (name.trim(), name_key(name));
        if key.is_empty() {
            return Err(Refusal::invalid("name is blank, expected the name of a physical sample"));
        }
        let taken: Option<String> =
            with.query_row("SELECT id FROM samples WHERE key = ?1", [&key], |row| row.get(0)).optional()?;
        if let Some(id) = taken {
            return Err(Refusal::sample_name_taken(name, &id));
        }
        let id = new_id();
        with.execute(
            "INSERT INTO samples (id, name, key, created_ms) VALUES (?1, ?2, ?3, ?4)",
            params![id, name, key, now_ms],
        )?;
        Ok(id)
    }

    /// Refuses a sample that does not exist.
    pub(in crate::server) fn expect(with: &Connection, id: &str) -> Result<(), Refusal> {
        with.query_row("SELECT 1 FROM samples WHERE id = ?1", [id], |_| Ok(()))
            .optional()?
            .ok_or_else(|| Refusal::unknown(format!("no physical sample has the id `{id}`")))
    }

    /// Links streams to a sample.
    pub(in crate::server) fn link(
        with: &Transaction<'_>,
        view: View,
        id: &str,
        data_ids: &[String],
    ) -> Result<(), Refusal> {
        Self::expect(with, id)?;
        for data_id in data_ids {
            let stream = view.number(with, data_id)?;
            with.execute("UPDATE streams SET sample = ?2 WHERE number = ?1", params![stream, id])?;
        }
        Ok(())
    }

    /// Adds a sample to those that a project tracks.
    pub(in crate::server) fn track(
        with: &Transaction<'_>,
        id: &str,
        project: &str,
        set_active: bool,
    ) -> Result<(), Refusal> {
        Self::expect(with, id)?;
        if set_active {
            with.execute("UPDATE tracking SET active = 0 WHERE project = ?1", [project])?;
        }
        with.execute(
            "INSERT INTO tracking (project, sample, active) VALUES (?1, ?2, ?3)
             ON CONFLICT (project, sample) DO UPDATE SET active = max(active, excluded.active)",
            params![project, id, set_active],
        )?;
        Ok(())
    }
}

impl Tag {
    pub(in crate::server) fn list(from: &Connection) -> Result<Vec<Self>, Refusal> {
        let mut tags = from.prepare_cached("SELECT id, name FROM tags ORDER BY name")?;
        let rows = tags.query_map([], |row| Ok(Self { id: row.get(0)?, name: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Creates a tag and returns its id.
    pub(in crate::server) fn create(with: &Transaction<'_>, name: &str) -> Result<String, Refusal> {
        let (name, key) = (name.trim(), name_key(name));
        if key.is_empty() {
            return Err(Refusal::invalid("name is blank, expected the name of a tag"));
        }
        let id = new_id();
        let created = with.execute(
            "INSERT INTO tags (id, name, key) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
            params![id, name, key],
        )?;
        if created == 0 {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("a tag named `{name}` exists")));
        }
        Ok(id)
    }

    /// Attaches every one of these tags to every one of these streams.
    pub(in crate::server) fn attach(
        with: &Transaction<'_>,
        view: View,
        tag_ids: &[String],
        data_ids: &[String],
    ) -> Result<(), Refusal> {
        for id in tag_ids {
            with.query_row("SELECT 1 FROM tags WHERE id = ?1", [id], |_| Ok(()))
                .optional()?
                .ok_or_else(|| Refusal::unknown(format!("no tag has the id `{id}`")))?;
            for data_id in data_ids {
                let stream = view.number(with, data_id)?;
                with.execute("INSERT OR IGNORE INTO stream_tags (stream, tag) VALUES (?1, ?2)", params![stream, id])?;
            }
        }
        Ok(())
    }
}
