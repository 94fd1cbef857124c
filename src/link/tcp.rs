//! Sockets: raw serial device servers, RTU over TCP, Modbus/TCP.

use std::fmt;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{Connector, Error, Pacer, Trace, Wire, WireSettings};

/// A device on the same network answers in milliseconds; one behind a router in less than this.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connects to a device or device server.
pub struct TcpConnector {
    address: String,
    description: String,
    trace: Option<Trace>,
}

impl TcpConnector {
    /// A connector to `host:port`. Names are resolved at each opening.
    pub fn new(address: &str, description: String, trace: Option<Trace>) -> Self {
        Self { address: address.to_owned(), description, trace }
    }
}

#[async_trait::async_trait]
impl Connector for TcpConnector {
    async fn open(&mut self) -> Result<Wire, Error> {
        let failed = |source| Error::Connect { address: self.address.clone(), source };
        let stream = match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&self.address)).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_late) => {
                return Err(Error::ConnectTimeout { address: self.address.clone(), seconds: CONNECT_LIMIT.as_secs() });
            }
        };
        // Requests are a dozen bytes and wait for their answer: Nagle's algorithm could only delay them.
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Wire::new(stream, WireSettings::socket(), Pacer::coarse(), self.trace.clone()))
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

impl fmt::Debug for TcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpConnector").field("address", &self.address).finish_non_exhaustive()
    }
}
