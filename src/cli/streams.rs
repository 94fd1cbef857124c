//! `mbe-bridge streams`: the streams that programs on this computer have made, and what waits of them.
//!
//! Only reads, and works while programs write. Runs of the bridge are listed by `mbe-bridge runs`; those that are not whole
//! on the platform are counted here as well.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::report::{Exit, Failure, Outcome};
use super::table::Table;
use super::{load, print};
use crate::config;
use crate::model::{RunState, StreamState, with_causes};
use crate::profile::Library;
use crate::runs;
use crate::runs::read::RunFile;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder that programs keep their streams in; without it and without --config, the one that they take by themselves
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The lab's configuration, which names the folder
    #[arg(long, value_name = "LAB.TOML")]
    config: Option<PathBuf>,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct List {
    data_dir: PathBuf,
    streams: Vec<Stream>,
    /// Files that can't be read, and why not.
    unreadable: Vec<Unreadable>,
}

/// A run file of a program or of the bridge, as the stream that it is on the platform.
#[derive(Debug, Serialize)]
struct Stream {
    /// The id that it was created with; none before the platform was reached.
    data_id: Option<String>,
    /// Streams that went on with it, where the platform had ended it.
    continued_as: Vec<String>,
    name: String,
    /// `bridge`, or the platform and key that the program has.
    of: String,
    /// `open`: a program has it; `left`: none has, and it can be gone on with; `closing`: it is being delivered, or waits
    /// for that; `finalized`.
    state: &'static str,
    /// The process that has the folder.
    in_use_by: Option<u32>,
    channels: usize,
    points: u64,
    uploaded: u64,
    queued: u64,
    rejected: u64,
    path: PathBuf,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    path: PathBuf,
    why: String,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let data_dir = match (&self.data_dir, &self.config) {
            (Some(given), _) => given.clone(),
            (None, Some(path)) => load(path, library)?.data_dir,
            (None, None) => config::usual_data_dir(&config::process_environment),
        };
        let list = List::of(&data_dir).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("`{}` can't be read", data_dir.display()));
            Failure::new(Exit::Disk, error)
        })?;
        if self.json {
            print(serde_json::json!(list));
        } else {
            list.show();
        }
        Ok(Exit::Well)
    }
}

impl List {
    fn of(data_dir: &Path) -> io::Result<Self> {
        let mut list = Self { data_dir: data_dir.to_owned(), streams: Vec::new(), unreadable: Vec::new() };
        for account in folders(&data_dir.join("streamers"))? {
            for slot in folders(&account)? {
                list.add(&slot, &name(&account))?;
            }
        }
        list.add(data_dir, "bridge")?;
        Ok(list)
    }

    /// The runs of one store.
    fn add(&mut self, store: &Path, of: &str) -> io::Result<()> {
        let held = held_by(store)?;
        let mut files = entries(&store.join("runs"))?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "sqlite"));
        for path in files {
            match RunFile::open(&path).and_then(|file| Stream::of(&path, &file, of, held)) {
                Ok(stream) => self.streams.push(stream),
                // A run that was deleted while this was looking is none.
                Err(_) if !path.exists() => {}
                Err(error) => self.unreadable.push(Unreadable { path, why: with_causes(&error) }),
            }
        }
        Ok(())
    }

    fn show(&self) {
        let headings =
            ["stream", "name", "state", "of", "process", ">channels", ">points", ">uploaded", ">queued", ">rejected"];
        let mut table = Table::new(&headings);
        for stream in &self.streams {
            table.row([
                stream.data_id.clone().unwrap_or_else(|| "none yet".to_owned()),
                stream.name.clone(),
                stream.state.to_owned(),
                stream.of.clone(),
                stream.in_use_by.map(|pid| pid.to_string()).unwrap_or_default(),
                stream.channels.to_string(),
                stream.points.to_string(),
                stream.uploaded.to_string(),
                stream.queued.to_string(),
                stream.rejected.to_string(),
            ]);
        }
        if self.streams.is_empty() {
            print(format_args!("no streams in {}", self.data_dir.display()));
        } else {
            print(table);
        }
        for file in &self.unreadable {
            print(format_args!("{} can't be read: {}", file.path.display(), file.why));
        }
    }
}

impl Stream {
    fn of(path: &Path, file: &RunFile, of: &str, held: Option<u32>) -> Result<Self, runs::Error> {
        let info = file.info();
        let (mut queued, mut uploaded, mut rejected) = (0, 0, 0);
        for points in file.points()? {
            queued += points.open + points.queued;
            uploaded += points.uploaded;
            rejected += points.rejected;
        }
        let streams = file.streams()?;
        let mut ids = streams.iter().map(|stream| stream.record.data_id.clone());
        let is_open = streams.last().is_none_or(|stream| stream.record.state == StreamState::Open);
        let state = match (info.state, held) {
            (RunState::Recording, Some(_)) => "open",
            (RunState::Recording, None) => "left",
            (RunState::Closed, _) if is_open || queued > 0 => "closing",
            (RunState::Closed | RunState::Done, _) => "finalized",
        };
        Ok(Self {
            data_id: ids.next(),
            continued_as: ids.collect(),
            name: info.spec.name,
            of: of.to_owned(),
            state,
            in_use_by: held,
            channels: info.channels.len(),
            points: uploaded + queued + rejected,
            uploaded,
            queued,
            rejected,
            path: path.to_owned(),
        })
    }
}

/// Points of a stream that the platform has, and that it refused, as its run file has them.
pub(super) fn points_of(data_dir: &Path, data_id: &str) -> Option<(u64, u64)> {
    let list = List::of(data_dir).ok()?;
    let stream = list.streams.into_iter().find(|stream| stream.data_id.as_deref() == Some(data_id))?;
    Some((stream.uploaded, stream.rejected))
}

/// The process that has a store, if one has.
fn held_by(store: &Path) -> io::Result<Option<u32>> {
    let path = store.join("lock");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(pid) = text.trim().parse().ok().filter(|pid| is_alive(*pid)) else { return Ok(None) };
    // A process that lives and has given the folder up, or another one with that number.
    match File::open(&path)?.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(pid)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether there is a process of this number.
#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let found = pid.map(rustix::process::test_kill_process);
    // One that belongs to somebody else lives as well.
    matches!(found, Some(Ok(()) | Err(rustix::io::Errno::PERM)))
}

/// Whether there is a process of this number: the lock alone says so here.
#[cfg(not(unix))]
fn is_alive(_: u32) -> bool {
    true
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(of)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// What is in a folder, by name; nothing where there is none.
fn entries(of: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(of) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
