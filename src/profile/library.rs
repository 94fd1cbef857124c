//! The library: the profiles of the program itself, and those that directories lay over them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::document::Problems;
use crate::document::Source;

use super::{Origin, Profile};

/// The directories that are looked into without being asked for, in this order; they need not exist.
pub const STANDARD_DIRECTORIES: [&str; 2] = ["/usr/share/mbe-bridge/devices", "/etc/mbe-bridge/devices"];

/// The files of `devices/` by their paths there, as the build found them.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// All profiles, by id. Those of the program itself are read when they are asked for: a lab uses a few of them, and reading
/// all takes four times as long as everything else that a start does.
#[derive(Debug, Clone, Default)]
pub struct Library {
    profiles: BTreeMap<Arc<str>, Entry>,
}

/// A profile, or where to read it.
#[derive(Debug, Clone)]
enum Entry {
    Embedded(&'static (&'static str, &'static str), OnceLock<Option<Arc<Profile>>>),
    Read(Arc<Profile>),
}

impl Entry {
    fn profile(&self) -> Option<&Arc<Profile>> {
        match self {
            // The tests see to it that each can be read.
            Self::Embedded(file, read) => read.get_or_init(|| read_embedded(file).ok().map(Arc::new)).as_ref(),
            Self::Read(profile) => Some(profile),
        }
    }
}

fn read_embedded((path, text): &(&'static str, &'static str)) -> Result<Profile, Problems> {
    Profile::parse(&Source::new(&format!("devices/{path}"), text), Origin::BuiltIn)
}

impl Library {
    /// The profiles of the program itself, each by its path under `devices/`.
    pub fn embedded_files() -> &'static [(&'static str, &'static str)] {
        EMBEDDED
    }

    /// The profiles of the program itself, all of them read. The tests see to it that there are no problems.
    pub fn embedded() -> (Self, Problems) {
        let mut library = Self::default();
        let mut problems = Problems::new();
        for file in EMBEDDED {
            match read_embedded(file) {
                Ok(profile) => library.insert(profile),
                Err(found) => problems.extend(found),
            }
        }
        (library, problems)
    }

    /// The same, none of them read yet. A file has the name of its profile.
    fn unread() -> Self {
        let entry = |file: &'static (&'static str, &'static str)| {
            let id = Path::new(file.0).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            (Arc::from(id), Entry::Embedded(file, OnceLock::new()))
        };
        Self { profiles: EMBEDDED.iter().map(entry).collect() }
    }

    /// The profiles of the program, of the standard directories and of `directories`, which have to exist; later ones
    /// replace earlier ones of the same id. A file that is wrong is left out, and leaves out what it would have replaced:
    /// whoever put it there did not want the old one.
    pub fn load(directories: &[PathBuf]) -> (Self, Problems) {
        let (mut library, mut problems) = (Self::unread(), Problems::new());
        for directory in STANDARD_DIRECTORIES {
            let directory = Path::new(directory);
            if directory.is_dir() {
                library.lay_over(directory, &mut problems);
            }
        }
        for directory in directories {
            library.lay_over(directory, &mut problems);
        }
        (library, problems)
    }

    /// The profile of this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(id).and_then(Entry::profile)
    }

    /// All profiles, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values().filter_map(Entry::profile)
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> + Clone {
        self.profiles.keys().map(|id| &**id)
    }

    /// Adds a profile, and says so where it replaces another.
    pub fn insert(&mut self, profile: Profile) {
        if let Some(replaced) = self.get(&profile.id) {
            tracing::info!(profile = %profile.id, by = %profile.origin, was = %replaced.origin, "a profile is replaced");
        }
        self.profiles.insert(Arc::clone(&profile.id), Entry::Read(Arc::new(profile)));
    }

    fn lay_over(&mut self, directory: &Path, problems: &mut Problems) {
        let files = match toml_files(directory) {
            Ok(files) => files,
            Err(error) => return unreadable(directory, &error, problems),
        };
        for path in files {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    unreadable(&path, &error, problems);
                    continue;
                }
            };
            match Profile::parse(&Source::new(&path.display().to_string(), &text), Origin::Disk(path.clone())) {
                Ok(profile) => self.insert(profile),
                Err(found) => {
                    if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
                        self.profiles.remove(stem);
                    }
                    problems.extend(found);
                }
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error, problems: &mut Problems) {
    let source = Source::new(&path.display().to_string(), "");
    problems.error(&source, 0..0, format!("could not read profiles from `{}`: {error}", path.display()), "");
}

fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(toml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_when_it_is_asked_for_is_what_is_read_at_once() {
        let (read, problems) = Library::embedded();
        assert!(!problems.has_errors(), "{problems:?}");
        let unread = Library::unread();
        assert!(unread.ids().eq(read.ids()), "a file has the name of its profile");
        for id in read.ids() {
            assert_eq!(unread.get(id).unwrap().id.as_ref(), id);
        }
        assert_eq!(unread.iter().count(), EMBEDDED.len());
    }
}
