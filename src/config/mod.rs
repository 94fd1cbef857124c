//! The lab's TOML file. A [`Config`] exists only if it is valid.
//!
//! [`load`] reads the file, finds every problem in it at once and puts it together with the profiles. The room opens no
//! port and no connection, and reads no secret: [`KeySource`] says where one is. Each stage has settings of its own, which
//! `bridge` fills from here.
//!
//! What holds: names of links, instruments and channels are unique; each instrument's profile goes with its link; no two
//! instruments of a link answer to the same address; a message that changes a device is in a [`Device`] only if the lab
//! allows it by name; no problem shows a secret.

mod amounts;
mod file;
mod name;
mod resolve;
mod secret;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::document::Problems;
use crate::model::Channel;
use crate::model::Transport;
use crate::profile::Device;
use crate::profile::Profile;

pub use crate::model::usual_data_dir;
pub use name::NameTemplate;
pub use resolve::{load, read};
pub use secret::{Environment, KeyError, KeySource, process_environment};

/// A lab's file, and what is odd about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What is probably not meant; no errors among it.
    pub warnings: Problems,
}

/// All that a lab's file says, put together with defaults and profiles.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Its text, with stars in place of anything that looks like a secret: for the run file.
    pub text: Arc<str>,
    /// Where runs are kept.
    pub data_dir: PathBuf,
    /// How long a gentle end may take to upload what is left.
    pub shutdown_grace: Duration,
    /// The platform.
    pub platform: Platform,
    /// What streams are created with.
    pub stream: Stream,
    /// How samples become ticks.
    pub align: Align,
    /// How runs are kept.
    pub storage: Storage,
    /// The dashboard; none where it is off.
    pub dashboard: Option<Dashboard>,
    /// The links, by name.
    pub links: Vec<LinkConfig>,
    /// The instruments, as the file lists them.
    pub instruments: Vec<InstrumentConfig>,
}

/// The platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `http` or `https` and host, without a slash at the end.
    pub endpoint: String,
    /// The path of the calls for streams, where it is not the usual one.
    pub stream_path: Option<String>,
    /// Where the key comes from.
    pub api_key: KeySource,
    /// The longest wait for an answer.
    pub timeout: Duration,
    /// Time between attempts while the key is not accepted, or a stream can't be opened.
    pub hold: Duration,
}

/// What streams are created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Their name.
    pub name: NameTemplate,
    /// The growth instrument.
    pub synth_source_id: Option<i64>,
    /// Name or UUID of the sample.
    pub physical_sample: Option<String>,
    /// The project.
    pub project_id: Option<String>,
    /// Names or UUIDs of tags.
    pub tags: Vec<String>,
    /// Most points of a channel in a chunk.
    pub points_per_chunk: usize,
}

/// How samples become ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Align {
    /// On which instants.
    pub mode: AlignMode,
    /// How long a tick waits for a link that does not move.
    pub lateness: Duration,
}

/// The instants of the time axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignMode {
    /// Whole multiples of the period.
    Grid {
        /// Distance of two ticks.
        period: Duration,
        /// What stands where a channel has no sample.
        fill: Fill,
    },
    /// The samples' own times.
    Native,
}

/// What stands on a tick for a channel that has no sample there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    None,
    /// The last sample.
    Hold {
        /// Unless it is older than this.
        max_age: Duration,
    },
    /// The straight line between two samples.
    Linear {
        /// Unless they are further apart than this.
        max_age: Duration,
    },
}

/// How runs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// The longest that a tick waits to be durable.
    pub commit_every: Duration,
    /// A run that a dead process left is gone on with if it was written less than this ago.
    pub resume_within: Duration,
    /// The longest time a chunk spans.
    pub max_span: Duration,
    /// A run that is done and whole on the platform may be deleted so long after; none for never.
    pub keep_runs: Option<Duration>,
    /// Bytes that are to be free on the disk; the oldest such runs are deleted where less is.
    pub min_free: u64,
}

/// The dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dashboard {
    /// Where it listens. Anything but loopback has a token.
    pub listen: SocketAddr,
    /// Where the token comes from that visitors have to show.
    pub token: Option<KeySource>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Where it goes. Line settings and ports that the lab leaves out are those of the profiles on it.
    pub transport: Transport,
}

/// An instrument.
#[derive(Debug, Clone)]
pub struct InstrumentConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Its link's place in [`Config::links`].
    pub link: usize,
    /// Its Modbus unit; none for a text instrument.
    pub unit: Option<u8>,
    /// Its profile.
    pub profile: Arc<Profile>,
    /// The profile made concrete: only channels that the lab wants and those that they need, with the lab's periods, and
    /// with its calibration as the last step of their decoding.
    pub device: Device,
    /// The channels that the lab wants, in the order of the device's.
    pub channels: Vec<ConfiguredChannel>,
}

/// A channel that the lab wants.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredChannel {
    /// Its place in the channels of [`InstrumentConfig::device`].
    pub device_channel: usize,
    /// Its name and unit.
    pub channel: Channel,
    /// How often it is wanted. Channels of one reply come as often as the most eager of them.
    pub every: Duration,
    /// What is to be noticed.
    pub limits: Limits,
}

/// Values beyond which people want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Lowest usual value.
    pub low: Option<f64>,
    /// Highest usual value.
    pub high: Option<f64>,
}

/// A stream's name that nobody chose.
const USUAL_NAME: &str = "mbe-bridge {start:%Y-%m-%d %H:%M}";

/// Points of a channel in a chunk, as the vendor's own client has it.
const USUAL_POINTS: u32 = 100;

/// More points make a request of several megabytes, which takes longer than the platform waits.
const MOST_POINTS: u32 = 10_000;
