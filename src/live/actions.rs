//! What people ask of a running bridge, beside looking at it.

use std::fmt;

use crate::model::{Resending, RunId};

/// Does what is asked. Whoever shows the board is given one, and knows nothing of how it is done.
#[async_trait::async_trait]
pub trait Actions: fmt::Debug + Send + Sync {
    /// Lets what the platform refused of a chunk, or of all chunks of a run, wait again.
    async fn resend(&self, run: &RunId, chunk: Option<u64>) -> Result<Resending, NotDone>;
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is no such run.
    #[error("{0}")]
    Unknown(String),
    /// It can't be done at the moment, or at all.
    #[error("{0}")]
    Failed(String),
}
