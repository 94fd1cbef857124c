//! A serial port that is none: a pseudo-terminal under a stable name.
//!
//! The simulator keeps a descriptor of the client's side open, so that a client may come and go (the kernel would answer
//! reads with EIO otherwise), and takes off the exclusive mark that a killed client leaves behind and that would keep the
//! next one out. An answer that a client does not read stays for the next one to open the port, as with no real adapter:
//! clients clear their input after opening. What is said unasked is said only while somebody has the port open, as far as
//! the system tells, and reads; what the last one has not read is thrown away when he closes it.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, ioctl_tiocnxcl, tcflush, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;

use super::clients::Clients;
use super::line::Wire;
use super::pace::watched;

/// Unread bytes from which on a client is suspected not to read.
const UNREAD: u64 = 1_024;
/// How long that may last before it is certain.
const NOT_READING: Duration = Duration::from_millis(100);
/// How long a client that has fallen behind is waited for.
const BEHIND: Duration = Duration::from_millis(20);

/// The instrument's side of a pseudo-terminal. Dropping it hangs the line up and removes its stable name.
#[derive(Debug)]
pub(super) struct Pty {
    master: AsyncFd<OwnedFd>,
    /// Our own descriptor of the client's side.
    slave: OwnedFd,
    device: PathBuf,
    name: Option<PathBuf>,
    clients: Clients,
    /// How many bytes lay unread when there were many, and since when there are no fewer.
    unread: Cell<Option<(u64, Instant)>>,
}

impl Pty {
    /// Opens one and puts a symbolic link to it at `name`, in place of a link that may be there; never of a file.
    pub(super) fn open(name: Option<&Path>) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let device = PathBuf::from(OsStr::from_bytes(ptsname(&master, Vec::new())?.as_bytes()));
        let slave = rustix::fs::open(&device, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        // Before the client sets the line its own way: a line that echoes would feed our answers back to us.
        let mut raw = tcgetattr(&slave)?;
        raw.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &raw)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let master = watched(master)?;
        if let Some(name) = name {
            link(&device, name)?;
        }
        let clients = Clients::of(&device);
        Ok(Self { master, slave, device, name: name.map(Path::to_owned), clients, unread: Cell::new(None) })
    }

    /// The path for clients to open.
    pub(super) fn path(&self) -> &Path {
        self.name.as_deref().unwrap_or(&self.device)
    }

    /// Whether a client reads what there is. One that never does costs a kilobyte of the kernel's, not all of it.
    fn is_read(&self) -> bool {
        let unread = ioctl_fionread(&self.slave).unwrap_or(0);
        if unread < UNREAD {
            self.unread.set(None);
            return true;
        }
        match self.unread.get() {
            Some((before, since)) if unread >= before => since.elapsed() < NOT_READING,
            _ => {
                self.unread.set(Some((unread, Instant::now())));
                true
            }
        }
    }

    /// The baud rate that the client has set, as far as the kernel keeps it; parity and data bits it does not.
    pub(super) fn client_baud(&self) -> Option<u32> {
        tcgetattr(&self.slave).ok().map(|line| line.output_speed())
    }
}

/// Puts the link in place in one step, so that nobody finds the name missing.
fn link(device: &Path, name: &Path) -> io::Result<()> {
    match fs::symlink_metadata(name) {
        Ok(there) if !there.file_type().is_symlink() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no symbolic link is there"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut beside = name.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    std::os::unix::fs::symlink(device, &beside)?;
    fs::rename(&beside, name).inspect_err(|_| {
        drop(fs::remove_file(&beside));
    })
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Another simulator may have taken the name over meanwhile.
            if fs::read_link(name).is_ok_and(|target| target == self.device) {
                drop(fs::remove_file(name));
            }
        }
    }
}

impl Wire for Pty {
    async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.readable().await?;
            match ready.try_io(|master| Ok(rustix::io::read(master, &mut *into)?)) {
                Ok(got) => {
                    ioctl_tiocnxcl(&self.slave)?;
                    return got;
                }
                Err(_would_block) => {}
            }
        }
    }

    /// Hands over what the kernel takes. When nobody has read for 20 kB, the rest is lost, as on a line without a reader.
    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.master, bytes) {
                Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Nothing is torn where it can be helped: a client that is behind gets some time to catch up.
    async fn utter(&self, mut bytes: &[u8]) -> io::Result<bool> {
        let give_up = Instant::now() + BEHIND;
        while !bytes.is_empty() {
            match rustix::io::write(&self.master, bytes) {
                Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if Instant::now() >= give_up => return Ok(false),
                Err(Errno::AGAIN) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn is_listened_to(&self) -> bool {
        if self.clients.have_gone() {
            // For whoever comes next it would be old.
            tcflush(&self.slave, QueueSelector::IFlush).unwrap_or_default();
        }
        self.clients.are_there() && self.is_read()
    }

    fn client_baud(&self) -> Option<u32> {
        Pty::client_baud(self)
    }
}
