//! What every request handler shares: store, clock, key, faults and counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::http::StatusCode;
use rusqlite::Transaction;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::call::Counter;
use super::refusal::Refusal;
use super::store::{self, Store, View};
use super::switch::Switch;
use crate::model::TimeBase;

#[derive(Debug)]
pub(super) struct Platform {
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) switch: Switch,
    pub(super) counter: Counter,
    /// How many connections have been accepted.
    pub(super) connections: AtomicU64,
    /// Requests that are made to wait or to hang wait no longer than this.
    pub(super) stopping: CancellationToken,
    clock: TimeBase,
    /// The number of the newest stream.
    pub(super) newest_stream: AtomicI64,
    /// How far the platform's clock is ahead of the host's.
    pub(super) clock_ahead_nanos: AtomicI64,
}

impl Platform {
    pub(super) fn new(store: Store, settings: Settings) -> rusqlite::Result<Self> {
        let newest = store.look(store::newest)?;
        Ok(Self {
            newest_stream: AtomicI64::new(newest),
            store,
            settings,
            switch: Switch::default(),
            counter: Counter::default(),
            connections: AtomicU64::new(0),
            stopping: CancellationToken::new(),
            clock: TimeBase::start(),
            clock_ahead_nanos: AtomicI64::new(0),
        })
    }

    /// The reference clock, in Unix milliseconds.
    pub(super) fn reference_unix_ms(&self) -> f64 {
        self.clock.now().shifted(self.clock_ahead_nanos.load(Ordering::Relaxed)).as_unix_seconds() * 1e3
    }

    /// From where a request that comes now looks at the streams.
    pub(super) fn view(&self) -> View {
        View {
            now_ms: self.clock.now().as_nanos() / 1_000_000,
            silence: self.settings.silence,
            forgotten: self.switch.forgotten(),
            ended: self.switch.ended(),
        }
    }

    pub(super) fn accepts(&self, key: &[u8]) -> bool {
        match &self.settings.api_key {
            Some(expected) => expected.expose_secret().as_bytes() == key,
            None => !key.is_empty(),
        }
    }

    /// Does all of `work` in the store, or nothing. It runs to its end even if the client goes away meanwhile.
    pub(super) async fn transact<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Transaction<'_>, View) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let platform = Arc::clone(self);
        let view = self.view();
        let done = tokio::task::spawn_blocking(move || {
            platform.store.look(|connection| view.end_silent(connection))?;
            platform.store.transact(|transaction| work(transaction, view))
        });
        done.await.unwrap_or_else(|error| {
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the platform failed: {error}")))
        })
    }
}
