//! A running platform: start, look inside, switch faults, stop.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::control;
use super::listen::CuttableListener;
use super::platform::Platform;
use super::routes::routes;
use super::serve::serve;
use super::store::{self, Store};
use super::{Call, Error, Fault, Faults, Plan, Requests, Settings, StoredChannel, StoredStream, Tls};

/// Name of the database in the data folder.
const FILE: &str = "platform.sqlite";

/// Requests in flight have so long to end when the server stops; then their connections are cut.
const GRACE: Duration = Duration::from_secs(2);

/// A running platform. Dropping it stops it at once; [`Server::stop`] lets requests in flight end.
#[derive(Debug)]
pub struct Server {
    platform: Arc<Platform>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    cut_all: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    /// Opens the database, which blocks for a moment, and listens.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let asked = settings.listen;
        let tls = settings.tls.as_ref().map(Tls::acceptor).transpose()?;
        let store = match &settings.data {
            None => Store::open(None)?,
            Some(folder) => {
                fs::create_dir_all(folder).map_err(|source| Error::CreateFolder { folder: folder.clone(), source })?;
                Store::open(Some(&folder.join(FILE)))?
            }
        };

        let failed = |source| Error::Listen { address: asked, source };
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let platform = Arc::new(Platform::new(store, settings).map_err(Error::Read)?);
        let cut_all = CancellationToken::new();
        let control = match platform.settings.control {
            None => None,
            Some(asked) => Some(serve_control(&platform, asked).await?),
        };
        let listener = CuttableListener::new(listener, Arc::clone(&platform), cut_all.clone()).map_err(failed)?;
        let serving = tokio::spawn(serve(listener, routes(&platform), tls, platform.stopping.clone()));
        tracing::info!(%address, "the local platform listens");
        Ok(Self { platform, address, control, cut_all, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/_local/fault` is to be reached also while nothing listens at [`Self::address`].
    pub const fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.platform.settings.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Stops listening, lets the requests in flight end for at most two seconds, cuts the rest and releases the port.
    pub async fn stop(mut self) {
        self.platform.stopping.cancel();
        if tokio::time::timeout(GRACE, &mut self.serving).await.is_err() {
            self.cut_all.cancel();
            if tokio::time::timeout(GRACE, &mut self.serving).await.is_err() {
                tracing::error!("the platform did not stop in time and is abandoned");
            }
        }
    }

    /// Switches a fault on for every request that it can hit, in place of the one before. [`Fault::None`] ends it.
    pub fn set_fault(&self, fault: Fault) {
        self.switch(fault.into());
    }

    /// Switches a fault on for the next `times` requests of one call, in place of the one before.
    pub fn set_fault_on(&self, call: Call, fault: Fault, times: u32) {
        self.switch(Plan { only: vec![call], next: Some(times), ..fault.into() });
    }

    fn switch(&self, plan: Plan) {
        if let Err(error) = self.faults().set(plan) {
            tracing::error!(%error, "the fault was not switched");
        }
    }

    /// Switches faults, as text too, from anywhere.
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.platform))
    }

    /// Sets the reference clock so many nanoseconds ahead of the host's clock (behind it when negative).
    pub fn set_clock_ahead(&self, nanos: i64) {
        self.platform.clock_ahead_nanos.store(nanos, Ordering::Relaxed);
    }

    /// Ends a stream as the platform does one that it has heard nothing of: `stream_error`, no more data.
    pub fn end_stream(&self, data_id: &str) -> Result<(), Error> {
        let ended = self.platform.store.look(|connection| store::fail(connection, data_id)).map_err(Error::Read)?;
        if ended { Ok(()) } else { Err(Error::UnknownStream { data_id: data_id.to_owned() }) }
    }

    /// What is stored of a stream, by channel name. Empty for a stream that holds nothing. Blocks while it reads.
    pub fn stored(&self, data_id: &str) -> Result<Vec<StoredChannel>, Error> {
        let found = self.platform.store.look(|connection| store::stored(connection, data_id)).map_err(Error::Read)?;
        found.ok_or_else(|| Error::UnknownStream { data_id: data_id.to_owned() })
    }

    /// Every stream, oldest first. Blocks while it reads.
    pub fn streams(&self) -> Result<Vec<StoredStream>, Error> {
        let view = self.platform.view();
        let look = |connection: &rusqlite::Connection| {
            view.end_silent(connection)?;
            store::streams(connection)
        };
        self.platform.store.look(look).map_err(Error::Read)
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> u64 {
        self.platform.connections.load(Ordering::Relaxed)
    }

    /// How often each call has arrived.
    pub fn requests(&self) -> Requests {
        self.platform.counter.read()
    }
}

/// Serves `/_local/fault` alone until the platform stops, and returns where.
async fn serve_control(platform: &Arc<Platform>, asked: SocketAddr) -> Result<SocketAddr, Error> {
    let failed = |source| Error::Listen { address: asked, source };
    let listener = TcpListener::bind(asked).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stopping = platform.stopping.clone();
    let server = axum::serve(listener, control::routes(platform)).with_graceful_shutdown(stopping.cancelled_owned());
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "faults can no longer be switched over HTTP");
        }
    });
    Ok(address)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.platform.stopping.cancel();
        self.cut_all.cancel();
        self.serving.abort();
    }
}
