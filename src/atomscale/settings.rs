//! Where the platform is and how long it is waited for.

use std::time::Duration;

use super::ApiKey;

/// The vendor's public endpoint.
pub const DEFAULT_ENDPOINT: &str = "https://api.atomscale.ai";

/// The path that the calls of a stream begin with in today's vendor SDK. The vendor's REST pages still show the older
/// `/metrology/stream`, which can be set instead.
pub const DEFAULT_STREAM_PATH: &str = "/tool-state/stream";

/// What a [`Client`](super::Client) is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http` or `https`, host, and a path if the platform sits behind one; a trailing slash changes nothing.
    pub endpoint: String,
    /// The path that the calls of a stream begin with.
    pub stream_path: String,
    /// The key that every call but the clock's carries.
    pub api_key: ApiKey,
    /// The longest wait for a connection, TLS included. 10 s: a lab's proxy and a slow line fit in it.
    pub connect_timeout: Duration,
    /// The longest wait for a whole exchange, connection included. 30 s, as the vendor's SDK.
    pub timeout: Duration,
    /// The longest wait for one exchange with the clock. 10 s, as the vendor's SDK.
    pub clock_timeout: Duration,
    /// Connections kept open between requests. 16: the most requests that the uploader has in flight.
    pub idle_connections: usize,
}

impl Settings {
    /// The vendor's endpoint and the usual waits, with this key.
    pub fn new(api_key: ApiKey) -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            stream_path: DEFAULT_STREAM_PATH.to_owned(),
            api_key,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            clock_timeout: Duration::from_secs(10),
            idle_connections: 16,
        }
    }
}
