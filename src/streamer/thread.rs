//! The streamer's own thread: one runtime for the uploader, the clock and the calls, so that nothing of the program's own
//! runtime is needed, or held up.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, RwLock};
use std::thread;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::core::Core;
use super::places::Places;
use super::slot::{Slot, Way};
use super::{Builder, Error, Left};
use crate::atomscale;
use crate::atomscale::ApiKey;
use crate::atomscale::Client;
use crate::atomscale::clock;
use crate::model::TimeBase;
use crate::model::usual_data_dir;
use crate::runs;

/// Most points of a chunk: a request of some tens of megabytes.
const MOST_POINTS: usize = 1_000_000;

/// What the thread hands out once the streamer is open.
pub(super) struct Opened {
    pub(super) core: Arc<Core>,
    /// What was left, once the thread has ended in order.
    pub(super) left: oneshot::Receiver<Result<Left, Error>>,
}

/// The thread's first answer.
pub(super) type Opening = oneshot::Receiver<Result<Opened, Error>>;

/// Starts the thread. It answers once the slot is open, and works until `core.stop` is cancelled.
pub(super) fn start(builder: Builder) -> Result<(thread::JoinHandle<()>, Opening), Error> {
    if !(1..=MOST_POINTS).contains(&builder.points_per_chunk) {
        return Err(Error::PointsPerChunk(builder.points_per_chunk));
    }
    let (answer, opened) = oneshot::channel();
    let work = move || {
        let level = builder.verbosity.map(level);
        let work = || live(builder, answer);
        match level {
            Some(level) => tracing::subscriber::with_default(to_standard_error(level), work),
            None => work(),
        }
    };
    let thread = thread::Builder::new().name("streamer".to_owned()).spawn(work);
    Ok((thread.map_err(|error| Error::Thread(Arc::new(error)))?, opened))
}

fn live(builder: Builder, answer: oneshot::Sender<Result<Opened, Error>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().thread_name("streamer-disk").build()
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(answer.send(Err(Error::Thread(Arc::new(error))))),
    };
    runtime.block_on(async {
        let (core, at_work) = match open(builder).await {
            Ok(opened) => opened,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let (tell_left, left) = oneshot::channel();
        let stop = core.stop.clone();
        let delivering = tokio::spawn(Arc::clone(&core).deliver_left_over(at_work));
        // Nobody waits for it any more: what was left before is delivered by the next streamer.
        if answer.send(Ok(Opened { core: Arc::clone(&core), left })).is_err() {
            stop.cancel();
        }
        stop.cancelled().await;
        delivering.abort();
        drop(tell_left.send(core.shut_down().await));
    });
    // What is in flight ends with the runtime.
    runtime.shutdown_background();
}

async fn open(builder: Builder) -> Result<(Arc<Core>, Vec<Arc<Slot>>), Error> {
    let time = TimeBase::start();
    let endpoint = endpoint(&builder);
    let usual = || usual_data_dir(&|name| std::env::var(name).ok());
    let data_dir = builder.data_dir.clone().unwrap_or_else(usual);
    let places = Places::new(&data_dir, &endpoint, builder.api_key.expose_secret());
    let settings = client_settings(&builder, endpoint)?;
    let client = Client::new(&settings).map_err(Arc::new)?;
    let platform: Arc<dyn atomscale::Platform> = Arc::new(client);
    let stop = CancellationToken::new();
    let clock_nudge = Arc::new(Notify::new());
    let (measured, readings) = watch::channel(None);
    let on = builder.clock_sync.unwrap_or_else(|| {
        let skip = std::env::var("ATOMSCALE_SKIP_CLOCK_SYNC").ok();
        !clock::skipped(skip.as_deref())
    });
    let way = Way {
        platform: Arc::clone(&platform),
        readings: on.then_some(readings),
        clock_nudge: Arc::clone(&clock_nudge),
    };
    let (main, at_work) = take_slot(&places, &way).await?;
    let clock_settings = clock::Settings { enabled: on, nudge: clock_nudge, ..clock::Settings::default() };
    tokio::spawn(clock::run(clock_settings, time, platform, measured, stop.clone()));
    let core = Core {
        process: std::process::id(),
        time,
        points_per_chunk: builder.points_per_chunk,
        acknowledge: builder.acknowledge,
        patience: builder.patience,
        config_text: format!("# chunks given by a program\nendpoint = {:?}\n", settings.endpoint),
        slots: RwLock::new(std::iter::once(&main).chain(&at_work).map(Arc::clone).collect()),
        way,
        places,
        main,
        moving: Mutex::default(),
        streams: RwLock::default(),
        stop,
        runtime: tokio::runtime::Handle::current(),
        drift_nanos: AtomicI64::new(time.host_drift_nanos()),
    };
    Ok((Arc::new(core), at_work))
}

/// The first slot that no other streamer has, and that no program has left a stream in which somebody may want to go on with:
/// those are given back once they are delivered.
async fn take_slot(places: &Places, way: &Way) -> Result<(Arc<Slot>, Vec<Arc<Slot>>), Error> {
    let mut at_work = Vec::new();
    let mut in_use = None;
    for folder in places.slots() {
        match Slot::open(&folder, way).await {
            Ok(slot) if slot.holds_what_was_left() => at_work.push(slot),
            Ok(slot) => return Ok((slot, at_work)),
            Err(error @ runs::Error::InUse { .. }) => in_use = Some(error),
            Err(source) => return Err(Error::Disk { what: "data", source }),
        }
    }
    Err(Error::Disk { what: "data", source: in_use.unwrap_or(runs::Error::Stopped) })
}

fn endpoint(builder: &Builder) -> String {
    let set = |text: &String| !text.trim().is_empty();
    let given = builder.endpoint.clone().filter(set);
    let endpoint = given.or_else(|| std::env::var("AS_API_ENDPOINT").ok().filter(set));
    endpoint.map_or_else(|| atomscale::DEFAULT_ENDPOINT.to_owned(), |endpoint| endpoint.trim().to_owned())
}

fn client_settings(builder: &Builder, endpoint: String) -> Result<atomscale::Settings, Error> {
    let set_up = |error| Error::SetUp(Arc::new(atomscale::SetUpError::Key(error)));
    let key: &SecretString = &builder.api_key;
    let usual = atomscale::Settings::new(ApiKey::parse(key.expose_secret()).map_err(set_up)?);
    let timeout = builder.timeout.unwrap_or(usual.timeout);
    Ok(atomscale::Settings {
        endpoint,
        timeout,
        connect_timeout: usual.connect_timeout.min(timeout),
        clock_timeout: usual.clock_timeout.min(timeout),
        stream_path: builder.stream_path.clone().unwrap_or_else(|| usual.stream_path.clone()),
        ..usual
    })
}

fn level(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::WARN,
        2 => LevelFilter::INFO,
        3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

/// Tells what this crate does, and not what the libraries do that it is made of.
fn to_standard_error(level: LevelFilter) -> impl tracing::Subscriber + Send + Sync {
    let only_ours = tracing_subscriber::filter::Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(only_ours).with(lines)
}
