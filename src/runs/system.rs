//! What the run store asks of the operating system beyond the standard library: how much space is free, and which file
//! a path leads to. Where a system does not say, the store goes on without: it then finds out by writing.

use std::fs::Metadata;
use std::io;
use std::path::Path;

/// A file whatever its name: two paths lead to the same file if this is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file at a path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&path.metadata()?))
    }

    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Systems that do not let a file vanish while it is open need not tell files apart.
    #[cfg(not(unix))]
    pub(super) fn of(_metadata: &Metadata) -> Self {
        Self { device: 0, inode: 0 }
    }

    /// Whether a file that this process holds open has no name any more, so that it is gone for good once it is closed.
    /// None where the system does not say.
    ///
    /// The file itself is not opened for that: closing it again would give up every lock that the process has on it.
    #[cfg(target_os = "linux")]
    pub(super) fn is_nameless(self) -> Option<bool> {
        use std::os::unix::fs::MetadataExt as _;
        let open = std::fs::read_dir("/proc/self/fd").ok()?.flatten();
        let mut found = open.filter_map(|entry| std::fs::metadata(entry.path()).ok());
        found.find(|metadata| Self::of(metadata) == self).map(|metadata| metadata.nlink() == 0)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn is_nameless(self) -> Option<bool> {
        None
    }
}

/// Bytes that this process may still write on the disk that holds a folder.
#[cfg(unix)]
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    wide(found.blocks_available()).checked_mul(wide(found.fragment_size()))
}

/// The C library's counts have 32 bits on some machines.
#[cfg(unix)]
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}
