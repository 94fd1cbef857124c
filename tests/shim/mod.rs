//! Faults of disk and clock for a child process: a library that is loaded before the C library (`faults.c`, which says
//! what each fault does), and the file that switches them while the child runs.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library, compiled once into `target/tmp`. Needs a C compiler, as the build itself does.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/faults.c");
        let library = folder.join("faults.so");
        // Test processes may do so at the same time; each has a name of its own until the library is whole.
        let fresh = folder.join(format!("faults-{}.so", std::process::id()));
        fs::create_dir_all(folder).unwrap();
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&fresh, &source])
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&fresh, &library).unwrap();
        library
    })
}

/// The slots of the control file, by the names that `faults.c` gives them.
const SLOTS: &[(&str, u64)] = &[
    ("enospc", 0),
    ("room_bytes", 1),
    ("erofs", 2),
    ("eio", 3),
    ("slow_sync_ms", 4),
    ("clock_offset_ns", 5),
    ("free_bytes", 6),
    ("eio_sync", 7),
    ("syncs", 16),
    ("writes", 17),
    ("written_bytes", 18),
    ("faults", 19),
];

/// The switches of one child process or several.
#[derive(Debug)]
pub(crate) struct Faults {
    control: File,
    environment: [(&'static str, String); 3],
}

impl Faults {
    /// Makes the control file, with no fault switched on, for the files below a folder. It must not be below that folder
    /// itself.
    pub(crate) fn new(control: &Path, under: &Path) -> Self {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let environment =
            [("LD_PRELOAD", text(library())), ("MBE_FAULTS", text(control)), ("MBE_FAULTS_UNDER", text(under))];
        let control = File::options().create(true).truncate(true).read(true).write(true).open(control).unwrap();
        control.set_len(4096).unwrap();
        let faults = Self { control, environment };
        faults.set("room_bytes", -1);
        faults.set("free_bytes", -1);
        faults
    }

    /// What a child needs in its environment to be under these faults.
    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Writes a slot; acts at once.
    pub(crate) fn set(&self, slot: &str, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), place(slot)).unwrap();
    }

    /// Reads a slot.
    pub(crate) fn get(&self, slot: &str) -> i64 {
        self.read(place(slot))
    }

    fn read(&self, at: u64) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// The system has written to the disk what dead writers left in its memory: nothing of it can be taken any more.
    pub(crate) fn written_back(&self) {
        for slot in (LOGS..LOGS_END).step_by(2) {
            self.control.write_all_at(&0_i64.to_ne_bytes(), 8 * (slot + 1)).unwrap();
        }
    }

    /// Takes away from the logs in a folder what their dead writer had not synced, as a power cut may. True if something
    /// was taken.
    pub(crate) fn cut_power(&self, folder: &Path) -> bool {
        let mut taken = false;
        for slot in (LOGS..LOGS_END).step_by(2) {
            let (inode, from) = (self.read(8 * slot), self.read(8 * (slot + 1)));
            let Ok(from) = u64::try_from(from - 1) else { continue };
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let found = fs::metadata(&path).unwrap();
                if found.ino() == inode.cast_unsigned() && found.len() > from {
                    File::options().write(true).open(&path).unwrap().set_len(from).unwrap();
                    taken = true;
                }
            }
        }
        self.written_back();
        taken
    }
}

/// Where the pairs of logs and their sizes begin and end.
const LOGS: u64 = 64;
const LOGS_END: u64 = 512;

fn place(slot: &str) -> u64 {
    let found = SLOTS.iter().find(|(name, _)| *name == slot);
    8 * found.unwrap_or_else(|| panic!("there is no slot `{slot}`")).1
}
