//! `mbe-bridge demo`: everything at once, without hardware or account, and an honest account at the end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::account::{Account, Evidence};
use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::screen::Screen;
use super::{load, print, runtime, say};
use crate::atomscale;
use crate::atomscale::Platform as _;
use crate::bridge::Bridge;
use crate::config::AlignMode;
use crate::config::Config;
use crate::profile::Library;
use crate::runs;
use crate::server;
use crate::sim::Place;
use crate::sim::Scenario;
use crate::sim::Sim;
use crate::sim::SimHandle;
use crate::sim::SimInstrument;
use crate::sim::SimSettings;

/// Length of the growth where nobody says for how long to run.
const ONE_GROWTH: Duration = Duration::from_secs(60);
const FAST_GROWTH: Duration = Duration::from_secs(10);

/// How often the table is drawn: for a person who watches, and for a log.
const REDRAW: Duration = Duration::from_millis(500);
const REDRAW_IN_LOG: Duration = Duration::from_secs(5);

const KEY: &str = "demo-key";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End by itself after this time, as in `30s`; the simulated growth takes as long
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    length: Option<Duration>,
    /// A growth in ten seconds
    #[arg(long)]
    fast: bool,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let length: jiff::SignedDuration = text.parse().map_err(|_| "write a time such as `30s` or `2min`".to_owned())?;
    let length = Duration::try_from(length).map_err(|_| "a time can't be negative".to_owned())?;
    if length < Duration::from_secs(1) { Err("a second is the least".to_owned()) } else { Ok(length) }
}

/// The simulated instruments of the chamber.
struct Chamber {
    pyrometer: SimHandle,
    gauge: SimHandle,
    controller: SimHandle,
}

impl Arguments {
    #[cfg(unix)]
    pub(super) fn run(self, library: &Library) -> Outcome {
        let growth = self.length.unwrap_or(if self.fast { FAST_GROWTH } else { ONE_GROWTH });
        let end_after = self.length.or(self.fast.then_some(FAST_GROWTH));
        let folder = tempfile::Builder::new().prefix("mbe-bridge-demo-").tempdir().or_exit(Exit::Disk)?;
        let runtime = runtime()?;
        let outcome = runtime.block_on(async {
            let platform = server::Server::start(server::Settings {
                data: Some(folder.path().join("platform")),
                api_key: Some(SecretString::from(KEY)),
                ..server::Settings::default()
            })
            .await
            .or_exit(Exit::Disk)?;
            let chamber = Chamber::start(library, folder.path(), growth)?;
            let config = configure(library, folder.path(), &platform.url(), &chamber).await?;
            print(format_args!(
                "simulated pyrometer {}, gauge {}, controller {}; platform {}",
                chamber.pyrometer.transport(),
                chamber.gauge.transport(),
                chamber.controller.transport(),
                platform.url(),
            ));
            let outcome = show(Arc::new(config), &platform, &chamber, end_after).await;
            chamber.stop();
            platform.stop().await;
            outcome
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }

    #[cfg(not(unix))]
    pub(super) fn run(self, _: &Library) -> Outcome {
        Err(Failure::new(Exit::Usage, anyhow::anyhow!("the demo needs pseudo-terminals, which this system lacks")))
    }
}

#[cfg(unix)]
impl Chamber {
    fn start(library: &Library, folder: &Path, growth: Duration) -> Result<Self, Failure> {
        let start = |name: &str, id: &str, place: Place| -> Result<SimHandle, Failure> {
            let profile = library
                .get(id)
                .ok_or_else(|| Failure::new(Exit::Usage, anyhow::anyhow!("the library has no profile `{id}`")))?;
            let scenario = Scenario::growth(growth);
            let instrument: SimInstrument = super::sim::instrument(name, profile, &BTreeMap::new(), scenario)?;
            let settings = SimSettings::new(place, vec![instrument.at_unit(1)]).paced(profile.line.clone());
            Sim::start(SimSettings { record: usize::MAX, ..settings }).or_exit(Exit::Degraded)
        };
        let pty = |name: &str| Place::Pty { path: Some(folder.join(name)) };
        Ok(Self {
            pyrometer: start("pyrometer", "impac-upp", pty("ttyPyrometer"))?,
            gauge: start(
                "gauge",
                "prevac-mg15",
                Place::ModbusTcp { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) },
            )?,
            controller: start("controller", "eurotherm-3200", pty("ttyController"))?,
        })
    }

    fn stop(&self) {
        self.pyrometer.stop();
        self.gauge.stop();
        self.controller.stop();
    }
}

/// Writes the lab.toml of the demo and loads it as any other.
async fn configure(library: &Library, folder: &Path, url: &str, chamber: &Chamber) -> Result<Config, Failure> {
    let key_file = folder.join("api-key");
    write_private(&key_file, KEY).or_exit(Exit::Disk)?;
    let key = atomscale::ApiKey::parse(KEY).or_exit(Exit::Usage)?;
    let settings = atomscale::Settings { endpoint: url.to_owned(), ..atomscale::Settings::new(key) };
    let client = atomscale::Client::new(&settings).or_exit(Exit::Refused)?;
    let new = atomscale::NewGrowthInstrument {
        label: "Demo MBE".to_owned(),
        name: "Demo MBE".to_owned(),
        sort: "mbe".to_owned(),
        serial_id: None,
    };
    let synth_source_id = client.create_growth_instrument(&new).await.or_exit(Exit::Refused)?;
    let port = |sim: &SimHandle| sim.port().map(|port| port.display().to_string()).unwrap_or_default();
    let gauge = chamber.gauge.address().map(|address| address.to_string()).unwrap_or_default();
    let toml = format!(
        r#"data_dir = "{data_dir}"

[platform]
endpoint = "{url}"
api_key = {{ file = "{key_file}" }}

[stream]
name = "Demo growth {{start:%Y-%m-%d %H:%M:%S}}"
synth_source_id = {synth_source_id}
physical_sample = "Demo wafer"
tags = ["demo"]
points_per_chunk = 50

[align]
period = "100ms"

[dashboard]
listen = "127.0.0.1:0"

[links.pyrometer.serial]
port = "{pyrometer}"

[links.gauges.modbus-tcp]
address = "{gauge}"

[links.furnace.serial]
port = "{controller}"

[[instruments]]
name = "pyrometer"
profile = "impac-upp"
link = "pyrometer"
channels.temperature = {{ name = "substrate_temperature" }}

[[instruments]]
name = "gauge"
profile = "prevac-mg15"
link = "gauges"
unit = 1
channels.pressure_1 = {{ name = "chamber_pressure", every = "100ms" }}

[[instruments]]
name = "controller"
profile = "eurotherm-3200"
link = "furnace"
unit = 1
channels.process_value = {{ name = "manipulator_temperature", every = "100ms" }}
channels.working_output = {{ name = "heater_output", every = "100ms" }}
"#,
        data_dir = folder.join("data").display(),
        key_file = key_file.display(),
        pyrometer = port(&chamber.pyrometer),
        controller = port(&chamber.controller),
    );
    let path = folder.join("lab.toml");
    std::fs::write(&path, toml).or_exit(Exit::Disk)?;
    load(&path, library)
}

#[cfg(unix)]
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Runs the bridge, shows it live, and draws up the account.
async fn show(
    config: Arc<Config>,
    platform: &server::Server,
    chamber: &Chamber,
    end_after: Option<Duration>,
) -> Outcome {
    let period = match config.align.mode {
        AlignMode::Grid { period, .. } => period,
        AlignMode::Native => Duration::ZERO,
    };
    let bridge = Bridge::start(config).await.or_exit(Exit::Degraded)?;
    let dashboard = bridge.address().map(|address| format!("dashboard http://{address}/")).unwrap_or_default();
    print(&dashboard);
    if end_after.is_none() {
        say("Ctrl-C ends it");
    }
    let head = format!("{dashboard}{}\n\n", if end_after.is_none() { "; Ctrl-C ends it" } else { "" });
    let mut screen = Screen::open();
    let watched = screen.size().is_some();
    let mut redraw = tokio::time::interval(if watched { REDRAW } else { REDRAW_IN_LOG });
    redraw.tick().await;
    let end = async {
        match end_after {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    };
    let interrupted = super::signals::interrupted();
    tokio::pin!(end, interrupted);
    loop {
        tokio::select! {
            () = &mut end => break,
            stopped = &mut interrupted => {
                stopped.or_exit(Exit::Degraded)?;
                break;
            }
            _ = redraw.tick() => {
                let snapshot = bridge.board().snapshot();
                let complaints: String = snapshot.complaints().iter().map(|complaint| format!("\n{complaint}")).collect();
                let table = super::read::table(&snapshot).fitted(screen.size().map_or(usize::MAX, |(columns, _)| columns));
                screen.draw(&format!("{}{table}{complaints}", if watched { &head } else { "" }));
            }
        }
    }
    drop(screen);
    let time = bridge.time();
    let board = Arc::clone(bridge.board());
    let summary = bridge.stop().await.or_exit(Exit::Degraded)?;
    let stream = platform.streams().or_exit(Exit::Disk)?.into_iter().next_back();
    let Some(stream) = stream else {
        return Err(Failure::new(Exit::Degraded, anyhow::anyhow!("the platform never saw a stream")));
    };
    let stored = platform.stored(&stream.data_id).or_exit(Exit::Disk)?;
    let Some((_, path)) = &summary.run else {
        return Err(Failure::new(Exit::Disk, anyhow::anyhow!("nothing was recorded")));
    };
    let file = runs::read::RunFile::open(path).or_exit(Exit::Disk)?;
    let said: Vec<_> =
        [&chamber.pyrometer, &chamber.gauge, &chamber.controller].into_iter().flat_map(SimHandle::said).collect();
    let seen = board.snapshot().channels;
    let evidence = Evidence { stored: &stored, said: &said, seen: &seen, time, period };
    let account = Account::of(&file, &evidence).or_exit(Exit::Disk)?;
    print(format_args!("\nstream \"{}\": {}", stream.name.as_deref().unwrap_or(""), stream.state.as_str()));
    print(account.table());
    let mut complaints = account.complaints();
    if !summary.left.is_nothing() {
        complaints.push(format!("{} chunks were not uploaded", summary.left.queued));
    }
    if stream.state != server::StreamState::Success {
        complaints.push(format!("the stream was not finalized: {}", stream.state.as_str()));
    }
    if complaints.is_empty() {
        print("every value that was read is accounted for, and stored as the instrument gave it");
        return Ok(Exit::Well);
    }
    for complaint in complaints {
        print(format_args!("not right: {complaint}"));
    }
    Ok(Exit::Degraded)
}
