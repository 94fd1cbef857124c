//! Putting back what vanished under a running bridge: run files, their logs, the folder's lock.
//!
//! While a file is away, its run pauses: nothing is committed into a file that nobody could find again. What happens then
//! depends on what became of it.
//! - Moved, or its disk was taken away: it is waited for.
//! - Back as another file (a copy, a disk that was mounted anew) that says the same: it is opened anew. One that says
//!   something else is not touched.
//! - Deleted: the open connection still has everything, and a copy is written from it (`VACUUM INTO`) to where it was. If
//!   that can't be done since the file is damaged, too, a new run goes on with what is in memory.
//! - Its log was deleted: what is in it goes into the file, which is then opened anew.
//!
//! A copy is complete and durable as `….sqlite.restored` before anything else is touched, and takes its name by a rename;
//! a start that finds it finishes that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::file::RunFile;
use super::keeper::Keeper;
use super::place::Astray;
use super::recording::Recording;
use super::run::Run;
use super::salvage::Damaged;
use super::store;
use super::system::FileId;
use super::{Error, SetAside, schema};
use crate::model::{RunId, with_causes};

impl Keeper {
    /// Looks whether the lock and every run file are where they were, and puts back what is not.
    pub(super) fn look_after_places(&mut self, now: Instant) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + self.settings.retry_every;
        // A person has moved it away.
        let seen_to = |aside: &SetAside| store::is_set_aside(&aside.path) && !aside.path.exists();
        if self.set_aside.iter().any(seen_to) {
            self.set_aside = self.set_aside.iter().filter(|aside| !seen_to(aside)).cloned().collect();
        }
        let astray = |run: &Run| run.file.place.look(&run.file.path).is_err();
        let lost: Vec<RunId> = self.runs.values().filter(|run| astray(run)).map(|run| run.head.id.clone()).collect();
        self.keep_lock(!lost.is_empty());
        if self.barred.is_some() {
            return;
        }
        for id in lost {
            if let Err(error) = self.mend(&id) {
                tracing::debug!(run = %id, error = %with_causes(&error), "a run file is still away");
            }
        }
    }

    /// The lock is on a file; another process finds the folder locked only if that is still the file of that name.
    fn keep_lock(&mut self, files_are_away: bool) {
        let path = self.settings.data_dir.join("lock");
        let ours = self.lock.metadata().ok().map(|metadata| FileId::of(&metadata));
        match FileId::at(&path) {
            Ok(found) if ours == Some(found) => {
                self.barred = None;
                return;
            }
            Ok(_) => {}
            Err(_) if self.settings.data_dir.exists() && !files_are_away => {}
            // With the files: it comes back with them, or is made anew when they are.
            Err(_) => return,
        }
        match store::lock(&self.settings.data_dir) {
            Ok(lock) => {
                tracing::warn!(path = %path.display(), "the lock file was not the one that was made at start; it is taken again");
                self.lock = lock;
                if self.barred.take().is_some() {
                    // Whatever the other process did, the files say it.
                    self.runs.values_mut().for_each(Run::distrust);
                }
            }
            Err(error) => {
                if self.barred.is_none() {
                    tracing::error!(error = %with_causes(&error),
                        "another process has taken the data folder; nothing is recorded here until it gives it back");
                }
                self.barred = Some(error);
            }
        }
    }

    fn mend(&mut self, id: &RunId) -> Result<(), Error> {
        let Some(run) = self.runs.get_mut(id) else { return Ok(()) };
        let Err(astray) = run.file.place.look(&run.file.path) else { return Ok(()) };
        let outcome = run.mend(astray);
        match &outcome {
            Ok(done) => {
                tracing::warn!(run = %id, path = %run.file.path.display(), what = %astray, done, "a run file was put right");
                if *done == RESTORED {
                    // The lock was deleted with it, as a rule.
                    self.keep_lock(false);
                }
                self.changed.notify_one();
            }
            Err(error) if error.is_damage() && self.recording.as_ref().is_some_and(|r| r.run == *id) => {
                self.go_on_in_a_new_run(error)?;
            }
            Err(_) => {}
        }
        outcome.map(|_| ())
    }

    /// The file of the run that is being recorded can't be used any more: what is in memory becomes the beginning of a new
    /// run. The old file is set aside, where there is one.
    pub(super) fn go_on_in_a_new_run(&mut self, why: &Error) -> Result<(), Error> {
        let (Some(start), Some(recording)) = (self.start.clone(), self.recording.take()) else { return Ok(()) };
        let old = recording.run.clone();
        if let Err(error) = self.begin_anew(&start) {
            self.recording = Some(recording);
            return Err(error);
        }
        let Some(lost) = self.runs.remove(&old) else { return Ok(()) };
        let deleted = lost.file.place.is_deleted(&lost.file.path);
        self.carry_clock_over(&lost, &recording);
        if let Some(new) = &mut self.recording {
            // What was committed into a file that is there can still be salvaged from it; of a deleted file, memory has
            // the last ticks only.
            new.take_over(recording, deleted);
            tracing::error!(run = %old, new = %new.run, error = %with_causes(why),
                "the run file can't be used any more; a new run goes on with what is in memory");
        }
        let path = lost.file.path.clone();
        if lost.file.place.look(&path).is_ok() || !deleted {
            lost.let_go();
            drop(lost);
            self.rescue(Damaged { path, why: with_causes(why), logged: true });
        } else {
            let aside = SetAside { path, why: with_causes(why) };
            self.set_aside = self.set_aside.iter().cloned().chain([aside]).collect();
        }
        self.listed = self.listed.iter().filter(|listed| listed.run != old).cloned().collect();
        Ok(())
    }

    /// The session is the same, and so is what is known of its clock: the next measurement may be minutes away.
    fn carry_clock_over(&mut self, lost: &Run, from: &Recording) {
        let known = lost.sessions.iter().find(|clock| clock.session == from.session).and_then(|clock| clock.reading);
        let (Some(reading), Some(new)) = (known, &self.recording) else { return };
        let Some(run) = self.runs.get_mut(&new.run) else { return };
        let stored =
            run.file.begin().and_then(|()| run.record_clock(new.session, reading)).and_then(|()| run.file.commit());
        if stored.is_err() {
            run.undo();
        }
    }
}

const RESTORED: &str = "restored from memory and the open file";

impl Run {
    fn mend(&mut self, astray: Astray) -> Result<&'static str, Error> {
        self.file.rollback();
        let path = self.file.path.clone();
        let gone = || Error::Astray { path: path.clone(), what: astray };
        match astray {
            Astray::LogMissing => {
                let checkpoint = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
                let busy = self.file.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint);
                if busy.map_err(Error::write(&path))? != 0 {
                    return Err(gone());
                }
                self.reopen()?;
                Ok("its log was written into it")
            }
            Astray::Replaced => {
                // With our log beside it, SQLite would take the one for the other's and write it into that.
                if !self.file.place.has_log_at(&path) && self.peek()?.says_the_same(self) {
                    self.let_go();
                    *self = self.found_there()?;
                    return Ok("opened anew");
                }
                if !self.file.place.is_deleted(&path) {
                    return Err(gone());
                }
                let aside = store::rename_damaged(&path).map_err(|_| gone())?;
                tracing::error!(path = %path.display(), now = %aside.display(), "a file that took a run file's name was set aside");
                self.restore()?;
                Ok(RESTORED)
            }
            Astray::Missing if self.file.place.is_deleted(&path) => {
                self.restore()?;
                Ok(RESTORED)
            }
            Astray::Missing => Err(gone()),
        }
    }

    /// Whether another copy of this run has exactly what this one has committed.
    fn says_the_same(&self, other: &Self) -> bool {
        let newest = |run: &Self| run.sessions.iter().map(|clock| clock.session.0).max();
        self.head.id == other.head.id
            && self.head.state == other.head.state
            && self.next_seq == other.next_seq
            && self.waiting.len() == other.waiting.len()
            && newest(self) == newest(other)
            && self.counts == other.counts
    }

    /// Writes all that the open connection has into a new file where the old one was.
    fn restore(&mut self) -> Result<(), Error> {
        let path = self.file.path.clone();
        let unusable = |source| Error::DataDir { path: path.clone(), source: std::sync::Arc::new(source) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unusable)?;
        }
        let (partial, restored) = (schema::beside(&path, ".partial"), schema::beside(&path, ".restored"));
        if partial.exists() {
            // Left by an attempt that failed a moment ago; the connection has what was in it.
            fs::remove_file(&partial).map_err(unusable)?;
        }
        let target = partial.to_string_lossy().into_owned();
        self.file.connection.execute("VACUUM INTO ?1", [target]).map_err(Error::write(&path))?;
        // It has no log, and is not to be taken for a file that has lost one.
        let copy = Connection::open(&partial).map_err(Error::open(&path))?;
        copy.execute("UPDATE run SET tidy = 1", []).map_err(Error::write(&path))?;
        drop(copy);
        File::options().write(true).open(&partial).and_then(|file| file.sync_all()).map_err(unusable)?;
        fs::rename(&partial, &restored).map_err(unusable)?;
        self.let_go();
        finish(&restored, &path).map_err(unusable)?;
        self.reopen()
    }

    /// Opens the file at its path. On failure that is another file than the one before, and is looked at as such.
    fn reopen(&mut self) -> Result<(), Error> {
        self.distrust();
        let path = self.file.path.clone();
        // SQLite must not have the old file open beside the new one: both would use the same names beside them.
        let nothing = Connection::open_in_memory().map_err(Error::open(&path))?;
        drop(std::mem::replace(&mut self.file.connection, nothing));
        *self = self.found_there()?;
        Ok(())
    }

    /// What the file at its path says, without touching it.
    fn peek(&self) -> Result<Self, Error> {
        let path = &self.file.path;
        let log = schema::beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
        let connection = if log { schema::open_read_only(path)? } else { schema::open_immutable(path)? };
        Self::load(RunFile::with(path, connection)?)
    }

    /// The file that is at its path now, whichever that is.
    fn found_there(&self) -> Result<Self, Error> {
        let found = Self::load(self.file.open_again()?)?;
        schema::mark_open(&found.file.connection, &found.file.path);
        Ok(found)
    }

    /// Whatever is at the path when the connection is closed is not its own: it must not be cleared away with it.
    pub(super) fn let_go(&self) {
        if let Err(error) = self.file.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::debug!(%error, "SQLite does not take a setting");
        }
    }
}

/// Gives a complete copy its name. A log of the file that was there before is of no use to it, and would harm it.
fn finish(restored: &Path, path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(schema::beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(restored, path)?;
    store::make_durable(path);
    Ok(())
}

/// Finishes what a process did not live to finish: complete copies take the names of the files that they are of.
pub(super) fn finish_restoring(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let restored: PathBuf = entry?.path();
        if restored.extension().is_some_and(|extension| extension == "restored") {
            let path = restored.with_extension("");
            if !path.exists() {
                finish(&restored, &path)?;
                tracing::warn!(path = %path.display(), "the copy of a run file that was deleted took its place");
            }
        }
    }
    Ok(())
}
