//! Where the runs are: the data folder, and which of its files is meant.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::load;
use crate::cli::report::{Exit, Failure};
use crate::config;
use crate::config::Config;
use crate::profile::Library;
use crate::runs::is_set_aside;
use crate::runs::read::RunFile;

/// Which data folder is meant.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The folder that holds the runs; without it and without --config, the one that a bridge takes by itself
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The lab's configuration, which names the folder
    #[arg(long, value_name = "LAB.TOML", global = true)]
    config: Option<PathBuf>,
}

impl Place {
    /// The lab's configuration, if one was given.
    pub(super) fn config(&self, library: &Library) -> Result<Option<Config>, Failure> {
        self.config.as_deref().map(|path| load(path, library)).transpose()
    }

    /// The lab's configuration, which also says where the platform is.
    pub(super) fn needed_config(&self, library: &Library) -> Result<Config, Failure> {
        self.config(library)?.ok_or_else(|| {
            let error = anyhow::anyhow!("nothing says which platform is meant, and where its key is");
            Failure::new(Exit::Usage, error).hint("add `--config lab.toml`")
        })
    }

    /// The folder that holds `lock` and `runs/`.
    pub(super) fn data_dir(&self, library: &Library) -> Result<PathBuf, Failure> {
        if let Some(given) = &self.data_dir {
            return Ok(given.clone());
        }
        let Some(path) = &self.config else { return Ok(config::usual_data_dir(&config::process_environment)) };
        // What is odd about the rest of the file does not matter here.
        let loaded = config::load(path, library, &config::process_environment);
        let loaded = loaded.map_err(|problems| Failure::new(Exit::Usage, anyhow::anyhow!("{problems}")))?;
        Ok(loaded.config.data_dir)
    }

    /// The file of a run: a path, the name of a run or the beginning of one, or none for the newest.
    pub(super) fn file(&self, run: Option<&str>, library: &Library) -> Result<PathBuf, Failure> {
        if let Some(path) = run.map(Path::new).filter(|path| path.is_file()) {
            // Whatever the folder is, and be there none.
            return Ok(path.to_owned());
        }
        self.file_in(&self.data_dir(library)?, run)
    }

    /// The same in this folder.
    pub(super) fn file_in(&self, data_dir: &Path, run: Option<&str>) -> Result<PathBuf, Failure> {
        if let Some(path) = run.map(Path::new).filter(|path| path.is_file()) {
            return Ok(path.to_owned());
        }
        let files = run_files(data_dir)?;
        let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let usage = |text: String| Failure::new(Exit::Usage, anyhow::anyhow!(text));
        let Some(wanted) = run else {
            let newest = files.into_iter().max_by_key(|path| RunFile::open(path).ok().map(|file| file.info().created));
            return newest.ok_or_else(|| usage(format!("there are no runs in `{}`", data_dir.display())));
        };
        let exact = files.iter().find(|path| stem(path) == wanted);
        let fitting: Vec<&PathBuf> = files.iter().filter(|path| stem(path).starts_with(wanted)).collect();
        match (exact, fitting.as_slice()) {
            (Some(path), _) => Ok(path.clone()),
            (None, [path]) => Ok((*path).clone()),
            (None, []) => Err(usage(format!("there is no run `{wanted}` in `{}`", data_dir.display()))
                .hint("`mbe-bridge runs` lists them; a path of a run file will do as well")),
            (None, several) => {
                let names: Vec<String> = several.iter().map(|path| stem(path)).collect();
                Err(usage(format!("`{wanted}` could be {}", names.join(" or "))))
            }
        }
    }
}

/// The run files of a data folder, by name and so by age.
pub(super) fn run_files(data_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_run = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sqlite");
    Ok(entries(data_dir)?.into_iter().filter(is_run).collect())
}

/// Damaged files that were set aside.
pub(super) fn damaged_files(data_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    Ok(entries(data_dir)?.into_iter().filter(|path| is_set_aside(path)).collect())
}

fn entries(data_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = data_dir.join("runs");
    let read = || fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = read().map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = anyhow::Error::new(error).context(format!("there are no runs in `{}`", data_dir.display()));
        Failure::new(if missing { Exit::Usage } else { Exit::Disk }, error)
            .hint("say where they are with `--config lab.toml` or `--data-dir DIR`")
    })?;
    paths.sort();
    Ok(paths)
}

/// Bytes of a run file with its log.
pub(super) fn size(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path, Path::new(&log)].iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}
