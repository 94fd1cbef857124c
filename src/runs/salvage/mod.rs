//! What becomes of a damaged run file: whatever can be read in it goes into a new run, and it is set aside.
//!
//! SQLite is not asked to read it, since it gives up on all of a table for one bad page, and takes a log for ended where it is
//! broken. [`log`] says which pages of the write-ahead log can be trusted, [`pages`] reads cells from leaves, [`record`] the
//! values of a row, [`find`] tells rows apart, [`plan`] judges them, and [`build`] writes an ordinary run file.
//!
//! The new run is closed; it is never gone on with. Its chunks keep their numbers, and with them their places on a stream that
//! is still open, so that what is sent again replaces itself. What has been settled stays so, its ticks readable or not. A
//! chunk that waits and can't be read counts as rejected. Ticks that no chunk holds become its last chunk; where a chunk may
//! have been lost that was sent under that number, they become a run of their own. What the counts say was recorded and is
//! nowhere counts as unrecorded.
//!
//! Nothing is changed in the damaged file. New files are written under names that are no run's, then the damaged one is
//! renamed, then the new ones: at each moment either the damaged file is where it was, or everything in it that is readable is
//! durable elsewhere. [`recover`] finishes at start what a process that died has begun.

mod build;
mod find;
mod log;
mod pages;
mod plan;
mod record;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Error, SetAside, schema};
use crate::model::with_causes;
use build::{Built, Target};
use pages::Pages;

/// What the name of a new file ends in until it is a run.
const UNFINISHED: &str = ".salvaging";

/// A run file that can't be used as it is.
#[derive(Debug, Clone)]
pub(super) struct Damaged {
    pub(super) path: PathBuf,
    pub(super) why: String,
    /// Whether its log was there when it was found. SQLite may have put an end to the log since.
    pub(super) logged: bool,
}

/// What was done about it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) set_aside: SetAside,
    /// The files of new runs.
    pub(super) runs: Vec<PathBuf>,
}

/// Whether there is a log beside the file that holds anything.
pub(super) fn has_log(path: &Path) -> bool {
    schema::beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0)
}

/// What can be said against a file without SQLite, which deletes the log beside an empty one and reads a broken log as a
/// short one.
pub(super) fn flaw(path: &Path) -> io::Result<Option<String>> {
    let mut start = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut start)?;
    if start.is_empty() {
        return Ok(Some("it is empty".to_owned()));
    }
    if !start.starts_with(b"SQLite format 3\0") || start.get(16..18) != Some(&[0x10, 0]) {
        return Ok(Some("its first page is not that of a run file".to_owned()));
    }
    let mut pages = Pages::open(path)?;
    if pages.state.broken {
        return Ok(Some("its log is broken".to_owned()));
    }
    let first = pages.page(1).map(|page| page.bytes).unwrap_or_default();
    let word = |at: usize| first.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
    // The size in the header counts where it was written together with the change counter. Source: file format, 1.3.7.
    let told = word(28).filter(|_| word(24) == word(92));
    let Some(wanted) = pages.state.pages.or(told) else { return Ok(None) };
    let missing = pages.missing(wanted);
    Ok((missing > 0).then(|| format!("it is cut short: {missing} of {wanted} pages are missing")))
}

/// Whether the file, or its log, is there and may not be written by this process.
pub(super) fn is_locked_away(path: &Path) -> bool {
    let denied = |path: &Path| {
        let opened = File::options().write(true).open(path);
        opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    denied(path) || denied(&schema::beside(path, "-wal"))
}

/// Salvages a damaged file and sets it aside. None if it was told to stop, which leaves everything as it was. `step` is told
/// how far it has come.
pub(super) fn set_aside(damaged: &Damaged, stop: &AtomicBool, step: &mut dyn FnMut(&'static str)) -> Option<Outcome> {
    let names = Names::new(&damaged.path);
    let built = names.build(damaged, stop);
    step("written");
    let (said, temporary) = match built {
        Ok(Built::Stopped) => {
            names.forget();
            return None;
        }
        Ok(Built::Files(files, tally)) => (format!("salvaged into run {}: {tally}", names.id), files),
        Ok(Built::Nothing(why)) => {
            names.forget();
            (format!("nothing of it can be uploaded: {why}"), Vec::new())
        }
        Err(error) => {
            names.forget();
            let error = with_causes(&error);
            tracing::error!(path = %damaged.path.display(), why = damaged.why, error,
                "a damaged run file could not be salvaged and is left alone; the next start tries again");
            let why = format!("{}; it could not be salvaged, the next start tries again: {error}", damaged.why);
            return Some(Outcome { set_aside: SetAside { path: damaged.path.clone(), why }, runs: Vec::new() });
        }
    };
    if let Err(error) = rename_with_log(&damaged.path, &names.aside, step) {
        tracing::error!(path = %damaged.path.display(), why = damaged.why, %error,
            "a damaged run file could not be renamed and is left alone");
        names.forget();
        let why = format!("{}; it could not be renamed: {error}", damaged.why);
        return Some(Outcome { set_aside: SetAside { path: damaged.path.clone(), why }, runs: Vec::new() });
    }
    let mut runs = Vec::new();
    for file in temporary {
        match finish(&file) {
            Ok(run) => runs.push(run),
            Err(error) => tracing::error!(path = %file.display(), %error,
                "what was salvaged of a run file could not be renamed; the next start does it"),
        }
        step("a new run is there");
    }
    sync_folder(&damaged.path);
    tracing::error!(path = %damaged.path.display(), now = %names.aside.display(), why = damaged.why, said,
        "a run file is damaged and was set aside");
    Some(Outcome { set_aside: SetAside { path: names.aside, why: format!("{}; {said}", damaged.why) }, runs })
}

/// The names that belong together.
#[derive(Debug)]
struct Names {
    stem: String,
    aside: PathBuf,
    id: String,
    new: PathBuf,
    apart_id: String,
    apart: PathBuf,
}

impl Names {
    /// The first that are free.
    fn new(path: &Path) -> Self {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut number = 1;
        loop {
            let id = format!("{stem}-s{number}");
            let apart_id = format!("{id}-open");
            let file = |id: &str| path.with_file_name(format!("{id}.sqlite"));
            let aside = schema::beside(path, &format!(".damaged-{number}"));
            if [&aside, &file(&id), &file(&apart_id)].iter().all(|path| !path.exists()) {
                let new = schema::beside(&file(&id), UNFINISHED);
                let apart = schema::beside(&file(&apart_id), UNFINISHED);
                return Self { stem, aside, id, new, apart_id, apart };
            }
            number += 1;
        }
    }

    fn build(&self, damaged: &Damaged, stop: &AtomicBool) -> Result<Built, Error> {
        self.forget();
        let unreadable = |source| Error::DataDir { path: damaged.path.clone(), source: Arc::new(source) };
        let mut pages = Pages::open(&damaged.path).map_err(unreadable)?;
        let Some(finds) = find::find(&mut pages, stop) else { return Ok(Built::Stopped) };
        let Some(run) = finds.run.get(&()) else { return Ok(Built::Nothing("what run it is can't be read any more")) };
        if run.id != self.stem {
            return Ok(Built::Nothing("it bears the name of another run, whose own file may be whole"));
        }
        let lost = run.tidy == Some(false) && !damaged.logged;
        let uncertain = lost || pages.state.broken || pages.missing(pages.state.pages.unwrap_or(0)) > 0;
        let name = self.aside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target = Target { id: &self.id, path: &self.new, apart: (&self.apart_id, &self.apart), damaged: &name };
        build::build(&mut pages, finds, &target, uncertain, stop)
    }

    fn forget(&self) {
        forget(&self.new);
        forget(&self.apart);
    }
}

/// Takes what a process has left that died while it set a file aside to its end, or back to its beginning.
pub(super) fn recover(folder: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    for name in &names {
        if let Some(main) = name.strip_suffix("-wal").filter(|main| main.ends_with(".sqlite")) {
            keep_with_its_file(&folder.join(main));
        }
    }
    for name in &names {
        let Some(id) = name.strip_suffix(UNFINISHED).and_then(|file| file.strip_suffix(".sqlite")) else { continue };
        let (path, id) = (folder.join(name), id.strip_suffix("-open").unwrap_or(id));
        let Some((stem, number)) = id.rsplit_once("-s") else { continue };
        let damaged = folder.join(format!("{stem}.sqlite"));
        if damaged.exists() {
            forget(&path);
        } else if schema::beside(&damaged, &format!(".damaged-{number}")).exists() {
            let run = finish(&path)?;
            tracing::info!(path = %run.display(), "what was salvaged of a damaged run file is complete");
        } else {
            tracing::warn!(path = %path.display(), "nobody knows what this was salvaged from; it is left alone");
        }
    }
    Ok(())
}

/// A log whose file was renamed a moment before the process died follows it.
fn keep_with_its_file(main: &Path) {
    if main.exists() {
        return;
    }
    let mut number = 1;
    let mut newest = None;
    loop {
        let aside = schema::beside(main, &format!(".damaged-{number}"));
        if !aside.exists() {
            break;
        }
        newest = Some(aside);
        number += 1;
    }
    let Some(log) = newest.map(|aside| schema::beside(&aside, "-wal")).filter(|log| !log.exists()) else { return };
    if let Err(error) = fs::rename(schema::beside(main, "-wal"), &log) {
        tracing::warn!(path = %log.display(), %error, "the log of a damaged run file could not be renamed");
    }
}

fn rename_with_log(path: &Path, aside: &Path, step: &mut dyn FnMut(&'static str)) -> io::Result<()> {
    fs::rename(path, aside)?;
    step("the damaged file is renamed");
    let log = schema::beside(path, "-wal");
    if log.exists() {
        fs::rename(&log, schema::beside(aside, "-wal"))?;
    }
    // The index of the log is made anew from it whenever it is needed.
    let index = schema::beside(path, "-shm");
    if index.exists() {
        fs::remove_file(index)?;
    }
    sync_folder(path);
    step("its log is renamed");
    Ok(())
}

/// Makes a run of a new file.
fn finish(temporary: &Path) -> io::Result<PathBuf> {
    let run = temporary.with_extension("");
    fs::rename(temporary, &run)?;
    Ok(run)
}

/// Removes a new file that is no run yet; everything in it is in the damaged one.
fn forget(path: &Path) {
    for file in [path.to_owned(), schema::beside(path, "-wal"), schema::beside(path, "-shm")] {
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %file.display(), %error, "a half-written run file stays behind");
        }
    }
}

/// Renames survive a power cut once their folder is on the disk; where a folder can't be opened, the system sees to it.
fn sync_folder(file: &Path) {
    let Some(folder) = file.parent() else { return };
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!(path = %folder.display(), %error, "a folder could not be synced");
    }
}
