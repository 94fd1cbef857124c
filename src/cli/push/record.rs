//! What was pushed: a small file for each log and way to read it, so that the command given again goes on.
//!
//! `<data_dir>/pushes/<id>.json`, where `<id>` sums up where the log is, what is in it, how it is read and which stream it
//! becomes. The file says which stream that is; how far it has come is known to the stream's own run file alone. A lock
//! beside it keeps a second command from the same log.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Task;
use crate::cli::report::{Exit, Failure};
use crate::cli::say;
use crate::model::TimeBase;

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Not all of it is with the run store.
    Pushing,
    /// All of it is with the run store, which delivers it.
    Whole,
    /// It is on the platform, and the stream is finalized.
    Finished,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The log.
    pub(super) path: PathBuf,
    bytes: u64,
    modified: Option<f64>,
    sha256: String,
    /// How it was read.
    manner: String,
    endpoint: String,
    pub(super) data_id: String,
    pub(super) state: State,
    began: String,
    pub(super) finished: String,
    pub(super) points: u64,
    pub(super) uploaded: u64,
}

/// What was pushed of this log before.
#[derive(Debug)]
pub(super) enum Earlier {
    Nothing,
    /// The same content, read in the same way.
    Same(Record),
    /// The log has been pushed with another content, or read in another way.
    Other(Record),
    /// The same content is there as another file.
    Elsewhere(Record),
}

/// The record of a log, which no other command can have at the same time.
#[derive(Debug)]
pub(super) struct Held {
    file: PathBuf,
    record: Record,
    pub(super) earlier: Earlier,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl Record {
    /// Takes the record of a log.
    pub(super) fn take(task: &Task<'_>) -> Result<Held, Failure> {
        let folder = task.data_dir.join("pushes");
        let (survey, arguments) = (task.survey, task.arguments);
        let disk = |what: &'static str| {
            let folder = folder.clone();
            move |error: io::Error| {
                let error = anyhow::Error::new(error).context(format!("{what} in `{}`", folder.display()));
                Failure::new(Exit::Disk, error).hint("say where points may wait with `--data-dir DIR`")
            }
        };
        let path = fs::canonicalize(&arguments.file).map_err(disk("the log can't be found for a record"))?;
        let manner = format!(
            "{}; {} points; {:?} {:?} {:?} {:?} {:?}",
            survey.manner(),
            task.points,
            task.name,
            arguments.sample,
            arguments.synth_source_id,
            arguments.project,
            arguments.tag
        );
        let record = Self {
            bytes: survey.bytes,
            modified: modified(&path),
            sha256: survey.digest.clone(),
            manner,
            endpoint: task.place.endpoint.clone(),
            data_id: String::new(),
            state: State::Pushing,
            began: now(),
            finished: String::new(),
            points: survey.columns.iter().map(|column| column.points).sum(),
            uploaded: 0,
            path,
        };
        fs::create_dir_all(&folder).map_err(disk("no folder can be made for records"))?;
        let id = record.id();
        let lock = folder.join(format!("{id}.lock"));
        let lock = File::create(&lock).map_err(disk("no record can be kept"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let text = format!("another command is pushing `{}` already", arguments.file.display());
                return Err(Failure::new(Exit::Degraded, anyhow::anyhow!(text)).hint("wait for it, or end it"));
            }
            Err(fs::TryLockError::Error(error)) => return Err(disk("no record can be locked")(error)),
        }
        let earlier = record.earlier(&folder).map_err(disk("records can't be read"))?;
        Ok(Held { file: folder.join(format!("{id}.json")), record, earlier, _lock: lock })
    }

    /// What tells one push from another, in 32 hexadecimal digits.
    fn id(&self) -> String {
        let of = format!("{}\n{}\n{}\n{}", self.path.display(), self.sha256, self.manner, self.endpoint);
        let digest = ring::digest::digest(&ring::digest::SHA256, of.as_bytes());
        digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id() == other.id()
    }

    /// What the folder knows of this log.
    fn earlier(&self, folder: &Path) -> io::Result<Earlier> {
        let mut records = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            // One that can't be read says nothing; it is written whole or not at all.
            records.extend(serde_json::from_slice::<Self>(&fs::read(&path)?).ok());
        }
        records.sort_by(|a, b| a.began.cmp(&b.began));
        if let Some(same) = records.iter().rfind(|record| record.is_same(self)) {
            return Ok(Earlier::Same(same.clone()));
        }
        if let Some(other) = records.iter().rfind(|record| record.path == self.path && record.endpoint == self.endpoint)
        {
            return Ok(Earlier::Other(other.clone()));
        }
        let elsewhere = |record: &&Self| record.sha256 == self.sha256 && record.endpoint == self.endpoint;
        Ok(records.iter().rfind(elsewhere).map_or(Earlier::Nothing, |record| Earlier::Elsewhere(record.clone())))
    }
}

impl Held {
    /// Whether a stream is to be created.
    pub(super) fn is_new(&self, again: bool) -> bool {
        self.open(again).is_none()
    }

    /// The stream to go on with.
    pub(super) fn open(&self, again: bool) -> Option<&Record> {
        match &self.earlier {
            Earlier::Same(record) if !again && !record.data_id.is_empty() => Some(record),
            _ => None,
        }
    }

    /// Says what was pushed of the log before.
    pub(super) fn tell(&self, file: &Path, again: bool) {
        let file = file.display();
        match &self.earlier {
            Earlier::Nothing => {}
            Earlier::Same(record) if again => {
                say(format_args!("`{file}` was pushed as stream {} before; it becomes another stream", record.data_id));
            }
            Earlier::Same(record) => say(format_args!("`{file}` goes on as stream {}", record.data_id)),
            Earlier::Other(record) => {
                let what =
                    if record.sha256 == self.record.sha256 { "was read in another way" } else { "had another content" };
                say(format_args!(
                    "`{file}` {what} when it was pushed as stream {} on {}; now it becomes a new stream",
                    record.data_id, record.began
                ));
            }
            Earlier::Elsewhere(record) => say(format_args!(
                "the same content was pushed from `{}` as stream {} on {}; now it becomes another stream",
                record.path.display(),
                record.data_id,
                record.began
            )),
        }
    }

    /// Writes down which stream the log becomes.
    pub(super) fn begin(&mut self, data_id: &str) -> Result<(), Failure> {
        data_id.clone_into(&mut self.record.data_id);
        self.record.state = State::Pushing;
        self.save()
    }

    /// The log goes on with this stream.
    pub(super) fn go_on(&mut self, record: &Record) {
        self.record = Record { path: self.record.path.clone(), modified: self.record.modified, ..record.clone() };
    }

    pub(super) fn set(&mut self, state: State, uploaded: u64) -> Result<(), Failure> {
        self.record.state = state;
        self.record.uploaded = uploaded;
        if state == State::Finished {
            self.record.finished = now();
        }
        self.save()
    }

    /// Writes the record, whole or not at all.
    fn save(&self) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            let temporary = self.file.with_extension("new");
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&self.record)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.file)?;
            // The name is durable once its folder is; folders can't be synced everywhere.
            match self.file.parent().map(File::open) {
                Some(Ok(folder)) if cfg!(unix) => folder.sync_all(),
                _ => Ok(()),
            }
        };
        write().map_err(|error| {
            let what = format!("what was pushed can't be written down in `{}`", self.file.display());
            Failure::new(Exit::Disk, anyhow::Error::new(error).context(what))
        })
    }
}

fn modified(path: &Path) -> Option<f64> {
    let at = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    at.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

fn now() -> String {
    let at = TimeBase::start().now();
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
