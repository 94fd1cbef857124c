//! The folder that holds the runs: its lock, and what is found in it at start.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use tokio::sync::{Notify, watch};

use super::keeper::Keeper;
use super::run::Run;
use super::salvage::{self, Damaged};
use super::tray::Tray;
use super::{Error, Handle, ListedRun, SetAside, Settings, Status, mend, rows, schema};
use crate::model::RunState;
use crate::model::with_causes;

/// The run store: a thread that owns every run file in a folder, and the folder's lock.
///
/// Everything is asked of it through a [`Handle`]. Dropping it leaves the thread to end by itself once the last handle is
/// gone; it then commits what it holds.
#[derive(Debug)]
pub struct Store {
    handle: Handle,
    thread: thread::JoinHandle<()>,
}

impl Store {
    /// Locks the folder, looks at every run file in it and starts the thread. Blocks for as long as that takes.
    ///
    /// Fails only if the folder can't be used, or another process uses it; a run file that can't be read is listed in
    /// [`Status::set_aside`].
    pub fn open(settings: Settings) -> Result<(Self, Handle), Error> {
        let runs = settings.data_dir.join("runs");
        let unusable = |source| Error::DataDir { path: runs.clone(), source: Arc::new(source) };
        fs::create_dir_all(&runs).map_err(unusable)?;
        let lock = lock(&settings.data_dir)?;
        make_durable(&settings.data_dir);
        mend::finish_restoring(&runs).map_err(unusable)?;
        let found = Found::scan(&runs).map_err(unusable)?;
        let changed = Arc::new(Notify::new());
        let (status_sender, status) = watch::channel(Status::default());
        let (commands, requests) = mpsc::channel();
        let (tray, late) = (Arc::<Tray>::default(), !settings.settle_within.is_zero());
        let handle =
            Handle::new(commands, settings.waiting_batches, Arc::clone(&changed), Arc::clone(&tray), late, status);
        let mut keeper = Keeper::new(settings, lock, found, changed, tray, status_sender);
        let thread = thread::Builder::new()
            .name("runs".to_owned())
            .spawn(move || keeper.work(&requests))
            .map_err(|source| Error::Thread(Arc::new(source)))?;
        Ok((Self { handle: handle.clone(), thread }, handle))
    }

    /// Commits what is in memory, closes every file and gives up the lock. Call it after `end_run` or `end_session`, or
    /// instead of them to leave the run as a crash would, minus the loss. An error says what could not be committed.
    pub async fn close(self) -> Result<(), Error> {
        let result = self.handle.stop().await;
        // The answer to `stop` is the last thing that the thread does before it drops its files, so this is short.
        if tokio::task::spawn_blocking(move || self.thread.join().is_err()).await.unwrap_or(true) {
            tracing::error!("the thread that keeps the runs ended in a panic");
        }
        result
    }
}

/// Makes the folders themselves survive a power cut right after the first start. SQLite does so for the files in them;
/// systems where a folder can't be opened as a file do it by themselves.
pub(super) fn make_durable(data_dir: &Path) {
    for folder in data_dir.parent().into_iter().chain([data_dir]) {
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            tracing::debug!(path = %folder.display(), %error, "a folder could not be synced");
        }
    }
}

/// Makes sure that one process writes here, and says which.
pub(super) fn lock(data_dir: &Path) -> Result<File, Error> {
    let path = data_dir.join("lock");
    let unusable = |source| Error::Lock { path: path.clone(), source: Arc::new(source) };
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let pid = match file.read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => pid.trim().to_owned(),
                _ => "of unknown id".to_owned(),
            };
            return Err(Error::InUse { path: data_dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(unusable)?;
    Ok(file)
}

/// Whether a file has the name of one that was set aside as damaged.
pub fn is_set_aside(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.contains(".sqlite.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
}

/// What is in the folder of runs at start.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Runs that are not done.
    pub(super) runs: Vec<Run>,
    pub(super) listed: Vec<ListedRun>,
    pub(super) set_aside: Vec<SetAside>,
    /// Files that are to be salvaged.
    pub(super) damaged: Vec<Damaged>,
}

impl Found {
    fn scan(folder: &Path) -> std::io::Result<Self> {
        salvage::recover(folder)?;
        let mut found = Self::default();
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "sqlite") {
                let logged = salvage::has_log(&path);
                if let Err(error) = found.look_at(&path) {
                    found.leave_out(&path, &error, logged);
                }
            } else if let Some((stem, number)) = name.split_once(".sqlite.damaged-")
                && !name.ends_with("-wal")
            {
                let run = format!("{stem}-s{number}");
                let salvaged = folder.join(format!("{run}.sqlite")).exists();
                let what = if salvaged { format!("; what was readable is in run {run}") } else { String::new() };
                found.set_aside.push(SetAside { path, why: format!("found damaged earlier{what}") });
            }
        }
        Ok(found)
    }

    fn look_at(&mut self, path: &Path) -> Result<(), Error> {
        // What can't even be opened is for SQLite to find words for.
        if let Ok(Some(flaw)) = salvage::flaw(path) {
            return Err(Error::damaged(path, flaw));
        }
        let head = {
            let connection = schema::open_read_only(path)?;
            rows::head(&connection, path)?
        };
        if path.file_stem().is_none_or(|stem| stem != head.id.as_str()) {
            tracing::warn!(path = %path.display(), run = %head.id, "this run file bears the name of another run; it is left alone");
            self.set_aside.push(SetAside { path: path.to_owned(), why: format!("it holds run {}", head.id) });
            return Ok(());
        }
        // SQLite opens such a file, and fails with the first write.
        if head.state != RunState::Done && salvage::is_locked_away(path) {
            return Err(Error::damaged(path, "it can't be written"));
        }
        if head.state != RunState::Done {
            self.runs.push(Run::open(path)?);
        }
        self.listed.push(ListedRun { run: head.id, name: head.spec.name, path: path.to_owned(), state: head.state });
        Ok(())
    }

    /// Has a damaged file salvaged; leaves one alone that only can't be read now, or by this program.
    fn leave_out(&mut self, path: &Path, error: &Error, logged: bool) {
        let mut why = with_causes(error);
        let locked_away = salvage::is_locked_away(path);
        if error.is_damage() || locked_away {
            if locked_away {
                why = "it belongs to someone else, and this user may not write it".to_owned();
            }
            self.damaged.push(Damaged { path: path.to_owned(), why, logged });
        } else {
            tracing::error!(path = %path.display(), error = %why, "a run file can't be used and is left alone");
            self.set_aside.push(SetAside { path: path.to_owned(), why });
        }
    }
}

pub(super) fn rename_damaged(path: &Path) -> std::io::Result<PathBuf> {
    let mut number = 1;
    let target = loop {
        let target = schema::beside(path, &format!(".damaged-{number}"));
        if !target.exists() {
            break target;
        }
        number += 1;
    };
    fs::rename(path, &target)?;
    let log = schema::beside(path, "-wal");
    if log.exists() {
        fs::rename(&log, schema::beside(&target, "-wal"))?;
    }
    // The index of the log is made anew from it whenever it is needed.
    let index = schema::beside(path, "-shm");
    if index.exists() {
        fs::remove_file(index)?;
    }
    Ok(target)
}
