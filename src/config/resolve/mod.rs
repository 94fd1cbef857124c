//! Resolving: from the file's text to a [`Config`], or to everything that is wrong with it.

mod channels;
mod instruments;
mod links;
mod plain;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::document;
use crate::document::Document;
use crate::document::Problems;
use crate::document::Source;
use crate::profile::Library;

use super::file::LabFile;
use super::secret::Environment;
use super::{Config, Loaded};

/// What resolving needs of everywhere.
struct Resolver<'a> {
    document: &'a Document<LabFile>,
    folder: PathBuf,
    problems: Problems,
    environment: Environment<'a>,
}

/// Reads a lab's file. Relative paths in it count from the folder that it is in.
pub fn load(path: &Path, library: &Library, environment: Environment<'_>) -> Result<Loaded, Problems> {
    match fs::read_to_string(path) {
        Ok(text) => read(path, &text, library, environment),
        Err(error) => {
            let mut problems = Problems::new();
            let source = Source::new(&path.display().to_string(), "");
            let help = "`mbe-bridge init` writes a starter file";
            problems.error(&source, 0..0, format!("could not read `{}`: {error}", path.display()), help);
            Err(problems)
        }
    }
}

/// The same for a text that has been read already; `path` is what it is called.
pub fn read(path: &Path, text: &str, library: &Library, environment: Environment<'_>) -> Result<Loaded, Problems> {
    let mut problems = Problems::new();
    let source = Source::new(&path.display().to_string(), text);
    let document = document::read_masked::<LabFile>(&source, &mut problems);
    if problems.has_errors() && document.nothing_was_read() {
        return Err(problems);
    }
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut resolver = Resolver { document: &document, folder, problems, environment };
    let file = &document.value;
    let data_dir = resolver.data_dir();
    let shutdown_grace = file.shutdown_grace.map_or(plain::USUAL_GRACE, |grace| grace.0);
    let platform = resolver.platform();
    let stream = resolver.stream();
    resolver.run();
    let align = resolver.align();
    let storage = resolver.storage();
    let dashboard = resolver.dashboard();
    let profiles = resolver.profiles(library);
    let links = resolver.links(&profiles);
    let instruments = resolver.instruments(&profiles, &links);
    resolver.check_lateness(&align, &instruments);

    let problems = resolver.problems;
    match (platform, stream) {
        (Some(platform), Some(stream)) if !problems.has_errors() => Ok(Loaded {
            config: Config {
                path: path.to_owned(),
                text: document.source.text.clone(),
                data_dir,
                shutdown_grace,
                platform,
                stream,
                align,
                storage,
                dashboard,
                links,
                instruments,
            },
            warnings: problems,
        }),
        // Beside errors, warnings are noise: an unused link may be the one that a misspelt name meant.
        _ => Err(problems.errors()),
    }
}

impl Resolver<'_> {
    fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.error(&self.document.source, span, message, help);
    }

    fn warning(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.warning(&self.document.source, span, message, help);
    }

    /// Notes that a key is missing from a table, unless it was there and wrong.
    fn missing(&mut self, table: Range<usize>, path: &str, message: impl Into<String>, help: &str) {
        if !self.document.was_cut(path) {
            self.error(table, message, help);
        }
    }

    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }
}
