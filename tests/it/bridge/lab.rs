//! A lab: its folder, its file, what its runs have left on disk.

use std::fs;
use std::path::{Path, PathBuf};

use mbe_bridge::runs::read::RunFile;
use tempfile::TempDir;

/// A lab's folder and what its file says. The tables are TOML without their headings.
pub(super) struct Lab {
    folder: TempDir,
    pub(super) endpoint: String,
    /// Keys before the first table.
    pub(super) top: String,
    pub(super) platform: String,
    pub(super) stream: String,
    pub(super) align: String,
    pub(super) storage: String,
    /// Links and instruments, with headings.
    pub(super) field: String,
}

impl Lab {
    /// A lab whose chunks are small and whose ticks are soon on disk, so that much happens in a short time.
    pub(super) fn new(endpoint: &str) -> Self {
        Self {
            folder: tempfile::Builder::new().prefix("mbe-bridge-it-").tempdir().unwrap(),
            endpoint: endpoint.to_owned(),
            top: String::new(),
            platform: String::new(),
            stream: "points_per_chunk = 5".to_owned(),
            align: "lateness = \"300ms\"".to_owned(),
            storage: "commit_every = \"100ms\"".to_owned(),
            field: String::new(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the file.
    pub(super) fn write(&self) -> PathBuf {
        let Self { endpoint, top, platform, stream, align, storage, field, .. } = self;
        let text = format!(
            "data_dir = \"data\"\n{top}\n[platform]\nendpoint = \"{endpoint}\"\n{platform}\n[stream]\n{stream}\n\
             [align]\n{align}\n[storage]\n{storage}\n[dashboard]\nlisten = \"127.0.0.1:0\"\n{field}"
        );
        let path = self.folder().join("lab.toml");
        fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The run files, oldest first.
    pub(super) fn runs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data().join("runs")).unwrap().map(|entry| entry.unwrap().path());
        let mut runs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "sqlite")).collect();
        // Two runs of one second are told apart by letters that mean nothing.
        runs.sort_by_key(|path| RunFile::open(path).unwrap().info().created);
        runs
    }

    /// The only run file.
    pub(super) fn run(&self) -> PathBuf {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.into_iter().next().unwrap()
    }
}
