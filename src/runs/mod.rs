//! Runs on disk: one SQLite file each.
