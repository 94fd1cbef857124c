//! What people ask of the bridge over its HTTP, done by the run store.

use crate::live::Actions;
use crate::live::NotDone;
use crate::model::{Resending, RunId, with_causes};
use crate::runs;

/// Joins the two rooms, which do not know each other.
#[derive(Debug)]
pub(super) struct RunActions(pub(super) runs::Handle);

#[async_trait::async_trait]
impl Actions for RunActions {
    async fn resend(&self, run: &RunId, chunk: Option<u64>) -> Result<Resending, NotDone> {
        let resending = self.0.resend(run, chunk).await.map_err(|error| match error {
            runs::Error::UnknownRun(run) => NotDone::Unknown(format!("there is no run {run} here")),
            error => NotDone::Failed(with_causes(&error)),
        })?;
        let Resending { points, later } = resending;
        tracing::info!(%run, chunk, points, later, "what the platform refused is to be sent again");
        Ok(resending)
    }
}
