//! Beginning a run, going on with one that a dead process left, closing one that nobody goes on with.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::keeper::{Keeper, Unfinished};
use super::recording::Recording;
use super::rows::{Head, SessionRow};
use super::run::Run;
use super::session::{Boot, compact};
use super::{Error, ListedRun, RunStart, schema};
use crate::model::{RunId, RunState, SessionId, Stamp, TimeBase, with_causes};

/// What the run's name ends in, to keep two runs of one second apart.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstvwxyz0123456789";

impl Keeper {
    pub(super) fn begin(&mut self, start: RunStart) -> Result<RunId, Error> {
        if let Some(recording) = &self.recording {
            return Err(Error::AlreadyRecording(recording.run.clone()));
        }
        check(&start)?;
        if let Some(error) = &self.barred {
            return Err(error.clone());
        }
        self.start = Some(start.clone());
        let now = Instant::now();
        if let Some(unfinished) = self.unfinished.clone() {
            let young = now < unfinished.until;
            let fits = self.runs.get(&unfinished.run).is_some_and(|run| fits(&run.head, &start));
            if start.resume && young && fits {
                return self.resume(&unfinished, &start);
            }
            if start.resume {
                tracing::info!(run = %unfinished.run, young, same_channels_and_stream = fits,
                    "the unfinished run is not gone on with");
            }
            self.unfinished = None;
            self.to_close.push(unfinished.run);
            self.close_due(now);
        }
        self.begin_anew(&start)
    }

    pub(super) fn begin_anew(&mut self, start: &RunStart) -> Result<RunId, Error> {
        let created = start.time.now();
        let (id, path) = self.new_name(created);
        let head = Head {
            id: id.clone(),
            state: RunState::Recording,
            created,
            spec: start.spec.clone(),
            axis: start.axis,
            period: start.period,
            channels: start.channels.as_slice().into(),
        };
        let session = session(SessionId(1), &start.time, &start.config_text, created);
        let run = self.create(&path, head, &session)?;
        self.record(run, session.number, start);
        Ok(id)
    }

    /// A name that no run has, and its file.
    pub(super) fn new_name(&self, created: Stamp) -> (RunId, PathBuf) {
        let folder = self.settings.data_dir.join("runs");
        loop {
            let id = RunId::new(&format!("{}-{}", compact(created), four_letters()));
            let path = folder.join(format!("{id}.sqlite"));
            if !path.exists() {
                return (id, path);
            }
        }
    }

    /// Makes the file of a run, and lists it.
    pub(super) fn create(&mut self, path: &Path, head: Head, session: &SessionRow) -> Result<Run, Error> {
        let (id, name) = (head.id.clone(), head.spec.name.clone());
        let run = Run::create(path, head, session).inspect_err(|_| remove_stillborn(path))?;
        tracing::info!(run = %id, "the run begins");
        let listed = ListedRun { run: id, name, path: path.to_owned(), state: RunState::Recording };
        self.listed = self.listed.iter().cloned().chain([listed]).collect();
        Ok(run)
    }

    fn resume(&mut self, unfinished: &Unfinished, start: &RunStart) -> Result<RunId, Error> {
        let Some(run) = self.runs.get_mut(&unfinished.run) else {
            return Err(Error::UnknownRun(unfinished.run.clone()));
        };
        run.refresh()?;
        let now = start.time.now();
        let newest = run.sessions.iter().map(|clock| clock.session.0).max().unwrap_or(0);
        let session = session(SessionId(newest + 1), &start.time, &start.config_text, now);
        run.file.begin()?;
        let outcome = run.seal_left_over().and_then(|()| run.go_on(&session)).and_then(|()| run.file.commit());
        if let Err(error) = outcome {
            run.undo();
            return Err(error);
        }
        tracing::info!(run = %unfinished.run, session = session.number.0, "the run is gone on with");
        self.unfinished = None;
        if let Some(run) = self.runs.remove(&unfinished.run) {
            self.record(run, session.number, start);
        }
        Ok(unfinished.run.clone())
    }

    fn record(&mut self, run: Run, session: SessionId, start: &RunStart) {
        self.recording = Some(Recording::new(&run, session, start.time, &self.settings));
        self.newest = Some(run.head.id.clone());
        self.runs.insert(run.head.id.clone(), run);
        self.changed.notify_one();
    }

    pub(super) fn close_unfinished(&mut self) -> Result<(), Error> {
        let Some(unfinished) = self.unfinished.take() else { return Ok(()) };
        self.close_run(&unfinished.run).inspect_err(|_| self.unfinished = Some(unfinished))
    }

    /// Closes the runs that nobody goes on with; tries again later where the disk does not let it.
    pub(super) fn close_due(&mut self, now: Instant) {
        if self.to_close.is_empty() || now < self.close_at {
            return;
        }
        for id in std::mem::take(&mut self.to_close) {
            if let Err(error) = self.close_run(&id) {
                if error.is_beyond_use() {
                    self.give_up(&id, &error);
                    continue;
                }
                if !self.close_failed {
                    tracing::error!(run = %id, error = %with_causes(&error), "an unfinished run could not be closed yet");
                }
                self.to_close.push(id);
            }
        }
        self.close_failed = !self.to_close.is_empty();
        self.close_at = if self.close_failed { now + self.settings.retry_every } else { now };
    }

    fn close_run(&mut self, id: &RunId) -> Result<(), Error> {
        let Some(run) = self.runs.get_mut(id) else { return Ok(()) };
        run.refresh()?;
        run.file.begin()?;
        if let Err(error) = run.close().and_then(|()| run.file.commit()) {
            run.undo();
            return Err(error);
        }
        tracing::info!(run = %id, "an unfinished run was closed");
        self.retire_if_done(id);
        self.changed.notify_one();
        Ok(())
    }
}

fn check(start: &RunStart) -> Result<(), Error> {
    let names: HashSet<_> = start.channels.iter().map(|channel| &channel.name).collect();
    if start.spec.points_per_chunk == 0 {
        return Err(Error::Start("`points_per_chunk` has to be 1 or more"));
    }
    if names.len() != start.channels.len() {
        return Err(Error::Start("two channels have the same name"));
    }
    if start.channels.is_empty() || start.channels.len() > usize::from(u16::MAX) {
        return Err(Error::Start("it needs 1 to 65535 channels"));
    }
    Ok(())
}

/// Whether new ticks can go into the run's open slices and its stream: same channels, same place on the platform. The
/// name may differ, since it may hold the time of the start.
fn fits(head: &Head, start: &RunStart) -> bool {
    let (old, new) = (&head.spec, &start.spec);
    let same_channels = head.channels.len() == start.channels.len()
        && head.channels.iter().zip(&start.channels).all(|(old, new)| old.name == new.name && old.unit == new.unit);
    same_channels
        && head.axis == start.axis
        && old.points_per_chunk == new.points_per_chunk
        && old.synth_source_id == new.synth_source_id
        && old.physical_sample == new.physical_sample
        && old.project_id == new.project_id
        && old.tags == new.tags
}

pub(super) fn session(number: SessionId, time: &TimeBase, config_text: &str, started: Stamp) -> SessionRow {
    let boot = Boot::now();
    SessionRow {
        number,
        anchor: time.zero().wall,
        uptime_nanos: boot.uptime_at_anchor(time),
        boot_id: boot.id,
        program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        config: config_text.to_owned(),
        started,
        ended: None,
    }
}

fn four_letters() -> String {
    (0..4).filter_map(|_| LETTERS.get(fastrand::usize(..LETTERS.len()))).map(|letter| char::from(*letter)).collect()
}

/// Removes the file of a run that could not be begun. It was made a moment ago, and no run ever was in it.
pub(super) fn remove_stillborn(path: &Path) {
    for file in [path.to_owned(), schema::beside(path, "-wal"), schema::beside(path, "-shm")] {
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %file.display(), %error, "the file of a run that could not be begun stays behind");
        }
    }
}
