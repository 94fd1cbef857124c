//! Who has a port open. The simulator holds its client's side open itself, so the port does not tell; the system's
//! notices of opening and closing do, on Linux. Elsewhere somebody is always taken to be there.

use std::cell::Cell;
use std::path::Path;

#[cfg(target_os = "linux")]
use rustix::fd::OwnedFd;
#[cfg(target_os = "linux")]
use rustix::fs::inotify;

/// The clients of a port, apart from the simulator itself.
#[derive(Debug)]
pub(super) struct Clients {
    #[cfg(target_os = "linux")]
    notices: Option<OwnedFd>,
    open: Cell<usize>,
    gone: Cell<bool>,
}

impl Clients {
    /// Begins to count those who open the port from now on.
    pub(super) fn of(port: &Path) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            notices: notices(port).ok(),
            open: Cell::new(0),
            gone: Cell::new(false),
        }
    }

    /// Whether somebody has the port open.
    pub(super) fn are_there(&self) -> bool {
        self.take_note() || self.open.get() > 0
    }

    /// Whether the last one has closed it since this was asked last.
    pub(super) fn have_gone(&self) -> bool {
        self.take_note();
        self.gone.replace(false)
    }

    /// Takes note of what has happened. True where nobody would tell.
    #[cfg(target_os = "linux")]
    fn take_note(&self) -> bool {
        use rustix::fs::inotify::ReadFlags;

        let Some(notices) = &self.notices else { return true };
        let mut room = [std::mem::MaybeUninit::uninit(); 1_024];
        let mut reader = inotify::Reader::new(notices, &mut room);
        while let Ok(notice) = reader.next() {
            let happened = notice.events();
            if happened.contains(ReadFlags::OPEN) {
                self.open.set(self.open.get() + 1);
            }
            if happened.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE) {
                self.open.set(self.open.get().saturating_sub(1));
                self.gone.set(self.open.get() == 0);
            }
        }
        false
    }

    #[cfg(not(target_os = "linux"))]
    fn take_note(&self) -> bool {
        true
    }
}

#[cfg(target_os = "linux")]
fn notices(port: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags};

    let notices = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&notices, port, WatchFlags::OPEN | WatchFlags::CLOSE)?;
    Ok(notices)
}
