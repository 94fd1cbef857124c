//! A connector that tells a trace how opening went.

use std::fmt;

use crate::model::with_causes;

use super::{Connector, Error, Seen, Trace, Wire};

/// Tells each opening, and each way of failing once until it changes.
pub(super) struct TracedConnector {
    connector: Box<dyn Connector>,
    trace: Trace,
    told: Option<String>,
}

impl TracedConnector {
    pub(super) fn new(connector: Box<dyn Connector>, trace: Trace) -> Self {
        Self { connector, trace, told: None }
    }
}

#[async_trait::async_trait]
impl Connector for TracedConnector {
    async fn open(&mut self) -> Result<Wire, Error> {
        match self.connector.open().await {
            Ok(wire) => {
                self.told = None;
                (self.trace)(Seen::Event("opened"));
                Ok(wire)
            }
            Err(error) => {
                let why = format!("link is down: {}", with_causes(&error));
                if self.told.as_ref() != Some(&why) {
                    (self.trace)(Seen::Event(&why));
                    self.told = Some(why);
                }
                Err(error)
            }
        }
    }

    fn describe(&self) -> String {
        self.connector.describe()
    }
}

impl fmt::Debug for TracedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedConnector").field("to", &self.connector.describe()).finish_non_exhaustive()
    }
}
