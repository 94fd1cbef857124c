//! Confirmations that nobody waits for: they are left here by the uploader, and taken in by the thread when it is awake anyway.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{ChannelName, RunId};

/// So many are worth waking the thread.
const MANY: usize = 256;

/// A run, its chunk, and the points that the platform says to hold of channels.
pub(super) type Confirmed = (RunId, u64, Vec<(ChannelName, u64)>);

#[derive(Debug, Default)]
pub(super) struct Settled {
    waiting: Mutex<Vec<Confirmed>>,
    watchers: AtomicUsize,
}

impl Settled {
    /// Leaves one. Says whether the thread is to be woken.
    pub(super) fn leave(&self, confirmed: Confirmed) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(confirmed);
        self.watchers.load(Ordering::SeqCst) > 0 || waiting.len() >= MANY
    }

    pub(super) fn take(&self) -> Vec<Confirmed> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// While it is held, the status follows each confirmation at once.
#[derive(Debug)]
pub struct Attention(Arc<Settled>);

impl Attention {
    pub(super) fn to(settled: &Arc<Settled>) -> Self {
        settled.watchers.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(settled))
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}
