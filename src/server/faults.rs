//! The handle by which faults are switched while the platform runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::platform::Platform;
use super::{Error, Fault, Plan, Requests, store};

/// Switches the faults of a running platform. Cheap to clone; does nothing once the platform is gone.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Platform>);

impl Faults {
    pub(super) fn new(platform: Arc<Platform>) -> Self {
        Self(platform)
    }

    /// Puts a plan in force in place of the one before. Blocks for a moment where streams are to be ended; fails only where
    /// that can't be stored.
    pub fn set(&self, plan: Plan) -> Result<(), Error> {
        let look = |connection: &rusqlite::Connection| {
            if matches!(plan.fault, Fault::Ended(_)) {
                store::fail_all(connection)?;
            }
            store::newest(connection)
        };
        let newest = self.0.store.look(look).map_err(Error::Read)?;
        tracing::info!(fault = %plan, "fault switched");
        self.0.switch.set(plan, newest);
        Ok(())
    }

    /// The plan in force, with what is left of its requests and its time.
    pub fn plan(&self) -> Plan {
        self.0.switch.plan()
    }

    /// How many requests the plan in force, or the last one, has hit.
    pub fn struck(&self) -> u64 {
        self.0.switch.struck()
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// How often each call has arrived.
    pub fn requests(&self) -> Requests {
        self.0.counter.read()
    }
}
