//! A program that is killed while it pushes, and picks its stream up again.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mbe_bridge::server::Fault;
use mbe_bridge::streamer::NewStream;

use super::{Lab, builder, chunk};

/// Endpoint, data folder, and stream to go on with, for the child.
const VARIABLES: [&str; 3] = ["MBE_BRIDGE_TEST_ENDPOINT", "MBE_BRIDGE_TEST_FOLDER", "MBE_BRIDGE_TEST_STREAM"];

/// The child of the test below: does nothing unless it is told where to push.
#[test]
fn pushes_until_it_is_killed() {
    let [endpoint, folder, stream] = VARIABLES.map(|name| std::env::var(name).ok());
    let (Some(endpoint), Some(folder)) = (endpoint, folder) else { return };
    let streamer = builder(&endpoint, Path::new(&folder)).open_blocking().unwrap();
    let (data_id, next) = match stream {
        Some(data_id) => {
            let so_far = streamer.resume(&data_id).unwrap();
            (data_id, so_far.next_chunk_index)
        }
        None => (streamer.initialize(NewStream::new().name("killed")).unwrap(), 0),
    };
    println!("\nstream {data_id}");
    for index in next.. {
        let (timestamps, values) = chunk(index);
        streamer.push(&data_id, index, "temperature", &timestamps, &values, Some("C")).unwrap();
        println!("durable {index}");
    }
}

struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    data_id: String,
}

impl Program {
    fn start(lab: &Lab, stream: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "streamer::killed::pushes_until_it_is_killed", "--nocapture"]);
        command.env(VARIABLES[0], lab.server.url()).env(VARIABLES[1], lab.folder.path());
        if let Some(stream) = stream {
            command.env(VARIABLES[2], stream);
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

    /// Kills it after so many more chunks are durable, and returns the last index that it knew to be.
    fn kill_after(mut self, chunks: usize) -> u64 {
        let mut last = 0;
        for _ in 0..chunks {
            let line = self.lines.next().expect("it ended by itself").unwrap();
            last = line.strip_prefix("durable ").unwrap().parse().unwrap();
        }
        self.child.kill().unwrap();
        // What it had written before it died.
        for line in self.lines.map_while(Result::ok) {
            last = line.strip_prefix("durable ").and_then(|index| index.parse().ok()).unwrap_or(last);
        }
        self.child.wait().unwrap();
        last
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_program_goes_on_with_nothing_lost_and_nothing_twice() {
    let lab = Lab::start().await;
    let (mut stream, mut last) = (None::<String>, 0);
    for (kill, chunks) in [40, 7, 1, 25].into_iter().enumerate() {
        // Every other life has no platform once it has its stream.
        if kill % 2 == 1 {
            lab.server.set_fault("status:503".parse().unwrap());
        }
        let program = Program::start(&lab, stream.as_deref());
        stream = Some(program.data_id.clone());
        let killed = tokio::task::spawn_blocking(move || program.kill_after(chunks)).await.unwrap();
        assert!(killed > last || last == 0, "it went on from {last} and came to {killed}");
        last = killed;
        lab.server.set_fault(Fault::None);
    }
    let data_id = stream.unwrap();
    let streamer = lab.open().await;
    let so_far = streamer.resume(&data_id).await.unwrap();
    // One chunk may have become durable without the program having been told.
    assert!([last + 1, last + 2].contains(&so_far.next_chunk_index), "{last}: {so_far:?}");
    streamer.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..so_far.next_chunk_index);
}
