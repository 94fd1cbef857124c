//! What nobody waits for: it is left here by programs and by the uploader, and taken in by the thread when it is awake anyway,
//! which is four times a second while something comes. Waking a thread costs more than what it has to do for a chunk.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::command::Request;
use crate::model::{ChannelName, RunId};

/// How long something lies here at most, on a sound disk.
pub(super) const LIES: Duration = Duration::from_millis(250);

/// So much is worth waking the thread: confirmations, chunks, bytes of chunks.
const MANY: usize = 256;
pub(super) const ENOUGH_CHUNKS: usize = 32;
const ENOUGH_BYTES: usize = 1 << 20;

/// A run, its chunk, and the points that the platform says to hold of channels.
pub(super) type Confirmed = (RunId, u64, Vec<(ChannelName, u64)>);

#[derive(Debug, Default)]
pub(super) struct Tray {
    lying: Mutex<Lying>,
    /// Who wants the status to follow each confirmation.
    watchers: AtomicUsize,
    /// The thread will not look by itself.
    asleep: AtomicBool,
}

/// What lies there, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Lying {
    pub(super) settled: Vec<Confirmed>,
    pub(super) given: Vec<Request>,
    bytes: usize,
    /// Nobody will look any more.
    closed: bool,
}

impl Lying {
    pub(super) fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.given.is_empty()
    }
}

impl Tray {
    fn lying(&self) -> MutexGuard<'_, Lying> {
        self.lying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a confirmation. Says whether the thread is to be woken.
    pub(super) fn leave_settled(&self, confirmed: Confirmed) -> bool {
        let mut lying = self.lying();
        lying.settled.push(confirmed);
        let many = lying.settled.len() >= MANY || self.watchers.load(Ordering::SeqCst) > 0;
        drop(lying);
        many || self.asleep.swap(false, Ordering::SeqCst)
    }

    /// Leaves a chunk of so many bytes. Says whether the thread is to be woken.
    pub(super) fn leave_given(&self, given: Request, bytes: usize) -> bool {
        let mut lying = self.lying();
        if lying.closed {
            // Whoever waits for the answer learns it by that.
            return false;
        }
        lying.given.push(given);
        lying.bytes += bytes;
        // Once for each lot: the thread may be at it.
        let enough = lying.given.len().is_multiple_of(ENOUGH_CHUNKS) || lying.bytes >= ENOUGH_BYTES;
        if enough {
            lying.bytes = 0;
        }
        drop(lying);
        enough || self.asleep.swap(false, Ordering::SeqCst)
    }

    pub(super) fn take(&self) -> Lying {
        let mut lying = self.lying();
        let closed = lying.closed;
        std::mem::replace(&mut *lying, Lying { closed, ..Lying::default() })
    }

    /// Nothing is taken in any more.
    pub(super) fn close(&self) {
        *self.lying() = Lying { closed: true, ..Lying::default() };
    }

    /// The thread goes to sleep until it is woken. Returns false if something came just now.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.lying().is_empty()
    }

    /// The thread will look again by itself.
    pub(super) fn is_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// While it is held, the status follows each confirmation at once.
#[derive(Debug)]
pub struct Attention(Arc<Tray>);

impl Attention {
    pub(super) fn to(tray: &Arc<Tray>) -> Self {
        tray.watchers.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(tray))
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}
