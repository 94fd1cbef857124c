//! `mbe-bridge push`, `growth-instruments` and `streams` as people run them, against the local platform.

mod account;
#[cfg(target_os = "linux")]
mod large;
mod resumed;
mod sent;
mod shown;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mbe_bridge::server::{Server, Settings};
use tempfile::TempDir;

/// Longer than anything here takes on a machine with much else to do.
const LONG: Duration = Duration::from_secs(120);

/// The first time of logs that are made here, on which an `f64` is exact.
const START: u32 = 1_795_356_185;

/// The unit of a channel, and its points as stamp and value.
type Stored = (Option<String>, Vec<(f64, f64)>);

/// A local platform, a folder for what is pushed, and one for logs.
struct Lab {
    server: Server,
    folder: TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Lab {
    async fn start() -> Self {
        let server = Server::start(Settings::default()).await.unwrap();
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with nothing in its environment but the platform and a key.
    fn command(&self) -> Command {
        let mut command = program();
        command.env("AS_API_KEY", "key").env("AS_API_ENDPOINT", self.server.url()).current_dir(self.folder.path());
        command
    }

    fn push(&self, log: &Path, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("push").arg(log).arg("--data-dir").arg(self.data_dir()).args(arguments);
        command
    }

    /// Runs a command to its end beside the platform.
    async fn said(&self, mut command: Command) -> Said {
        tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
    }

    async fn pushed(&self, log: &Path, arguments: &[&str]) -> Said {
        self.said(self.push(log, arguments)).await
    }

    /// What is stored of a stream, by channel: units, and points in the order of their chunks.
    fn stored(&self, data_id: &str) -> BTreeMap<String, Stored> {
        let channels = self.server.stored(data_id).unwrap();
        let points = |channel: mbe_bridge::server::StoredChannel| {
            let mut points = channel.points;
            points.sort_by_key(|point| point.chunk_index);
            let units = channel.unit;
            (channel.name, (units, points.iter().map(|point| (point.unix_seconds, point.value)).collect()))
        };
        channels.into_iter().map(points).collect()
    }

    /// The only stream that there is.
    fn only_stream(&self) -> mbe_bridge::server::StoredStream {
        let streams = self.server.streams().unwrap();
        let [stream] = streams.as_slice() else { panic!("{streams:#?}") };
        stream.clone()
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"));
    command.env_clear().env("HOME", "/nowhere").stdin(Stdio::null());
    command
}

/// A log of so many rows, ten a second, with two columns, and its points.
fn rows(count: u32) -> (String, Vec<(f64, f64, f64)>) {
    let mut text = String::from("unix,T [degC],p (mbar)\n");
    let mut points = Vec::new();
    for row in 0..count {
        let at = f64::from(START) + f64::from(row) / 8.0;
        let (temperature, pressure) = (600.0 + f64::from(row % 977) / 16.0, 1e-9 * f64::from(1 + row % 13));
        text.push_str(&format!("{at},{temperature},{pressure:e}\n"));
        points.push((at, temperature, pressure));
    }
    (text, points)
}

/// What is stored is what the log has, once and in order.
fn check(lab: &Lab, data_id: &str, points: &[(f64, f64, f64)]) {
    let stored = lab.stored(data_id);
    for (name, value) in [("T", 1), ("p", 2)] {
        let wanted: Vec<(f64, f64)> =
            points.iter().map(|point| (point.0, if value == 1 { point.1 } else { point.2 })).collect();
        assert_eq!(stored[name].1.len(), wanted.len(), "{name}");
        assert_eq!(stored[name].1, wanted, "{name}");
    }
}

/// A child process that is killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits for its end.
    async fn ended(mut self) -> Said {
        let status = until("the command ends", async || self.0.try_wait().unwrap()).await;
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Said { code: status.code(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Asks again and again until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
