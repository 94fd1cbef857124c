//! A program that pushes until it is killed: this test executable, started anew as its own child.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mbe_bridge::model::TimeBase;
use mbe_bridge::model::with_causes;
use mbe_bridge::streamer::NewStream;
use mbe_bridge::streamer::blocking::TimeseriesStreamer;

use super::{Lab, builder, chunk};

/// Endpoint, data folder, stream to go on with, and whether timestamps are the host's clock, for the child.
const VARIABLES: [&str; 4] =
    ["MBE_BRIDGE_TEST_ENDPOINT", "MBE_BRIDGE_TEST_FOLDER", "MBE_BRIDGE_TEST_STREAM", "MBE_BRIDGE_TEST_CLOCK"];

/// The child: does nothing unless it is told where to push.
#[test]
fn pushes_until_it_is_killed() {
    let [endpoint, folder, stream, clock] = VARIABLES.map(|name| std::env::var(name).ok());
    let (Some(endpoint), Some(folder)) = (endpoint, folder) else { return };
    let streamer = builder(&endpoint, Path::new(&folder)).clock_sync(clock.is_some()).open_blocking().unwrap();
    let (data_id, next) = match stream {
        Some(data_id) => {
            let so_far = streamer.resume(&data_id).unwrap();
            (data_id, so_far.next_chunk_index)
        }
        None => (streamer.initialize(NewStream::new().name("killed")).unwrap(), 0),
    };
    println!("\nstream {data_id}");
    let time = TimeBase::start();
    for index in next.. {
        let (timestamps, values) = match &clock {
            // By the host's clock as it is now, and by what it was at the start.
            Some(_) => (vec![TimeBase::start().now().as_unix_seconds()], vec![time.now().as_unix_seconds()]),
            None => chunk(index),
        };
        if let (Some(_), [timestamp], [value]) = (&clock, timestamps.as_slice(), values.as_slice()) {
            println!("ahead {}", timestamp - value);
        }
        push(&streamer, &data_id, index, &timestamps, &values);
        println!("durable {index}");
    }
}

/// Pushes until the disk takes it.
fn push(streamer: &TimeseriesStreamer, data_id: &str, index: u64, timestamps: &[f64], values: &[f64]) {
    while let Err(error) = streamer.push(data_id, index, "temperature", timestamps, values, Some("C")) {
        println!("refused {index} {}", with_causes(&error));
    }
}

/// The child as its parent sees it.
pub(super) struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    pub(super) data_id: String,
}

impl Program {
    pub(super) fn start(lab: &Lab, stream: Option<&str>, clock: bool, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "streamer::program::pushes_until_it_is_killed", "--nocapture"]);
        command.env(VARIABLES[0], lab.server.url()).env(VARIABLES[1], lab.folder.path());
        command.envs(environment.iter().copied());
        if let Some(stream) = stream {
            command.env(VARIABLES[2], stream);
        }
        if clock {
            command.env(VARIABLES[3], "on");
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let data_id = loop {
            let line = lines.next().expect("it ended before it had a stream").unwrap();
            if let Some(data_id) = line.strip_prefix("stream ") {
                break data_id.to_owned();
            }
        };
        Self { child, lines, data_id }
    }

    /// The next line that begins with this word, without it.
    pub(super) fn next(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().expect("it ended by itself").unwrap();
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Waits until so many more chunks are durable, and returns the index of the last.
    pub(super) fn durable(&mut self, chunks: usize) -> u64 {
        (0..chunks).map(|_| self.next("durable").parse().unwrap()).last().unwrap_or_default()
    }

    /// Kills it, and returns the last index that it knew to be durable: what it had written before it died counts.
    pub(super) fn kill(mut self, last: u64) -> u64 {
        self.child.kill().unwrap();
        let rest = self.lines.map_while(Result::ok);
        let last = rest.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last().unwrap_or(last);
        self.child.wait().unwrap();
        last
    }
}
