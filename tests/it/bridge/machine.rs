//! How busy the machine is that the tests run on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Finds out, beside the program, how long this machine's disk and scheduler keep a small write waiting.
pub(super) struct Machine {
    stop: Arc<AtomicBool>,
    watching: JoinHandle<Duration>,
}

impl Machine {
    pub(super) fn watch(folder: &Path) -> Self {
        let path = folder.join("beside");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watching = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            let mut file = File::create(path).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let pause = Duration::from_millis(50);
                let begun = Instant::now();
                thread::sleep(pause);
                file.write_all(&[0; 4096]).unwrap();
                file.sync_all().unwrap();
                longest = longest.max(begun.elapsed() - pause);
            }
            longest
        });
        Self { stop, watching }
    }

    /// The longest wait since the beginning.
    pub(super) fn longest_wait(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}
