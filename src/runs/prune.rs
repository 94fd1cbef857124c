//! Making space: finished runs go, oldest first, by age and when space is short.
//!
//! Only a run goes that is [`RunState::Done`] and whose every point the platform has confirmed. One with a rejected point
//! stays, as the file is the only place where that point is; so does one that is damaged or was set aside, and a file that
//! can't be read now. On Unix a run may go while somebody reads it: what is open stays readable.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::keeper::Keeper;
use super::rows;
use super::space::Space;
use super::{Error, ListedRun, Settings, schema, store};
use crate::model::{ClockSource, RunId, RunState, Stamp, TimeBase};

/// How often runs are looked at for their age.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// How long to wait before space is made again where it was not enough.
pub(super) const AGAIN: Duration = Duration::from_secs(60);

/// A finished run that may be deleted, as the platform has all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prunable {
    /// The run.
    pub run: RunId,
    /// The name of its streams.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it takes on disk, with what SQLite keeps beside it.
    pub bytes: u64,
    /// When it was done.
    pub finished: Stamp,
    /// Why it goes; none for one that stays.
    pub why: Option<PruneReason>,
}

/// Why a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneReason {
    /// It was done longer ago than `keep_runs`.
    Age,
    /// Less than `min_free` was free, and it was the oldest.
    Space,
}

impl std::fmt::Display for PruneReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Age => "older than `keep_runs`",
            Self::Space => "less than `min_free` is free",
        })
    }
}

/// Finished runs of a folder that no bridge uses at the moment, and what would become of each; with `dry_run` false, it does.
/// By the host's clock.
///
/// Fails with [`Error::InUse`] while a bridge runs there, unless it is only asked what would be done.
pub fn prune(settings: &Settings, dry_run: bool) -> Result<Vec<Prunable>, Error> {
    let _lock = if dry_run { None } else { Some(store::lock(&settings.data_dir)?) };
    let space = Space::new(settings, Instant::now());
    let listed = list(&settings.data_dir.join("runs"))?;
    let plan = plan(&listed, None, settings.keep_runs, Some(TimeBase::start().now()), space.missing());
    if !dry_run {
        for prunable in plan.iter().filter(|prunable| prunable.why.is_some()) {
            delete(prunable).map_err(|source| unusable(&prunable.path, source))?;
        }
    }
    Ok(plan)
}

fn unusable(path: &Path, source: io::Error) -> Error {
    Error::DataDir { path: path.to_owned(), source: std::sync::Arc::new(source) }
}

fn list(folder: &Path) -> Result<Vec<ListedRun>, Error> {
    let mut listed = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| unusable(folder, source))? {
        let path = entry.map_err(|source| unusable(folder, source))?.path();
        let is_run = path.extension().is_some_and(|extension| extension == "sqlite");
        let Some(stem) = path.file_stem().filter(|_| is_run) else { continue };
        let run = RunId::new(&stem.to_string_lossy());
        listed.push(ListedRun { run, name: String::new(), path, state: RunState::Done });
    }
    Ok(listed)
}

/// All finished runs that the platform has whole, oldest first, with why each goes; but one. Without a time that can be
/// trusted none goes for its age.
fn plan(
    listed: &[ListedRun],
    spared: Option<&RunId>,
    keep: Option<Duration>,
    now: Option<Stamp>,
    mut missing: u64,
) -> Vec<Prunable> {
    let done = listed.iter().filter(|listed| listed.state == RunState::Done && spared != Some(&listed.run));
    let mut found: Vec<Prunable> = done.filter_map(look_at).collect();
    found.sort_by(|a, b| (a.finished, &a.run).cmp(&(b.finished, &b.run)));
    for prunable in &mut found {
        if let (Some(keep), Some(now)) = (keep, now)
            && now.since(prunable.finished) > keep
        {
            prunable.why = Some(PruneReason::Age);
        } else if missing > 0 {
            prunable.why = Some(PruneReason::Space);
        }
        if prunable.why.is_some() {
            missing = missing.saturating_sub(prunable.bytes);
        }
    }
    found
}

/// The run in a file, if the platform has all of it.
fn look_at(listed: &ListedRun) -> Option<Prunable> {
    let path = &listed.path;
    // On a full disk there is no room for what SQLite makes beside a file to read it, and there is no need of it.
    let log = fs::metadata(schema::beside(path, "-wal"));
    let connection = match log {
        Ok(log) if log.len() > 0 => schema::open_read_only(path),
        _ => schema::open_immutable(path),
    };
    let connection = connection.ok()?;
    let head = rows::head(&connection, path).ok()?;
    let left = "SELECT (SELECT count(*) FROM rejected) + (SELECT count(*) FROM open_batches) \
                + (SELECT count(*) FROM chunks WHERE state <> 'confirmed')";
    let left: i64 = connection.query_row(left, [], |row| row.get(0)).ok()?;
    if head.state != RunState::Done || head.id != listed.run || left != 0 {
        return None;
    }
    let last: Option<i64> = connection.query_row("SELECT max(last_utc) FROM chunks", [], |row| row.get(0)).ok()?;
    drop(connection);
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let bytes = size(path) + beside(path).iter().map(|path| size(path)).sum::<u64>();
    // A host that did not know the time when the run ended knows it from the platform's stamps.
    let written = fs::metadata(path).and_then(|found| found.modified()).ok();
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| Stamp::default().plus(at));
    let finished = written.max(last.map(Stamp::from_nanos))?;
    Some(Prunable { run: head.id, name: head.spec.name, path: path.clone(), bytes, finished, why: None })
}

fn beside(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| schema::beside(path, suffix))
}

/// The file itself first: a log alone says nothing, a file without its log might be taken for one that lost it.
fn delete(prunable: &Prunable) -> io::Result<()> {
    fs::remove_file(&prunable.path)?;
    for path in beside(&prunable.path) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let why = prunable.why.map(|why| why.to_string());
    tracing::info!(run = %prunable.run, path = %prunable.path.display(), bytes = prunable.bytes, why,
        "a finished run that is on the platform was deleted");
    Ok(())
}

impl Keeper {
    /// What would become of finished runs now; with `dry_run` false, it does.
    pub(super) fn prune(&mut self, dry_run: bool) -> Vec<Prunable> {
        self.space.measure();
        let missing = self.space.missing();
        // Whoever recorded a run may look at it, at least for as long as the process is there.
        let spared = self.newest.as_ref();
        let plan = plan(&self.listed, spared, self.settings.keep_runs, self.trusted_now(), missing);
        if !dry_run {
            for prunable in plan.iter().filter(|prunable| prunable.why.is_some()) {
                match delete(prunable) {
                    Ok(()) => {
                        self.pruned.runs += 1;
                        self.pruned.bytes += prunable.bytes;
                        self.listed = self.listed.iter().filter(|of| of.run != prunable.run).cloned().collect();
                    }
                    Err(error) => {
                        tracing::warn!(path = %prunable.path.display(), %error, "a finished run could not be deleted");
                    }
                }
            }
            self.space.measure();
        }
        plan
    }

    /// Makes space when it is time to.
    pub(super) fn prune_when_due(&mut self, now: Instant) {
        if now < self.prune_at {
            return;
        }
        self.prune(false);
        // Where that was not enough, a run may be done in the meantime.
        self.prune_at = now + if self.space.missing() > 0 { AGAIN } else { PRUNE_EVERY };
    }

    /// The time by which runs are old: the platform's, as the session that records has measured it. A host whose clock is
    /// years ahead must not think that every run is old. Where the lab does not use the platform's clock, the host's.
    pub(super) fn trusted_now(&self) -> Option<Stamp> {
        if self.settings.trust_host_clock {
            return Some(TimeBase::start().now());
        }
        if let (Some(clock), Some(giver)) = (self.clock, self.givers.values().next()) {
            let measured = clock.source == ClockSource::Platform;
            return measured.then(|| giver.time.now().shifted(clock.applied_nanos()));
        }
        let recording = self.recording.as_ref()?;
        let sessions = &self.runs.get(&recording.run)?.sessions;
        let reading = sessions.iter().find(|clock| clock.session == recording.session)?.reading?;
        let measured = reading.source == ClockSource::Platform;
        measured.then(|| recording.time.now().shifted(reading.applied_nanos()))
    }
}
