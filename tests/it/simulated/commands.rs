//! `mbe-bridge sim` as a child process, told what to do on its standard input.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::DEADLINE;

struct Simulator {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"))
            .arg("sim")
            .args(arguments)
            .args(["--tcp", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Connects to it, after the two lines that say where it is.
    fn connect(&mut self) -> TcpStream {
        assert!(self.line().starts_with("[links.sim."));
        let line = self.line();
        let address = line.strip_prefix("address = \"").unwrap().strip_suffix('"').unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
        self.line()
    }

    /// Waits for its end; the exit code.
    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn exchange(stream: &mut TcpStream, request: &[u8], expected: &[u8]) {
    stream.write_all(request).unwrap();
    takes(stream, expected);
}

fn takes(stream: &mut TcpStream, expected: &[u8]) {
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(String::from_utf8_lossy(&reply), String::from_utf8_lossy(expected));
}

#[test]
fn a_simulator_does_as_it_is_told() {
    let mut sim = Simulator::start(&["impac-upp", "--constant", "256.3", "--unpaced"]);
    let mut stream = sim.connect();
    exchange(&mut stream, b"00ms\r", b"02563\r");
    assert_eq!(sim.tell("set temperature 650"), "ok: impac-upp.temperature shows 650");
    exchange(&mut stream, b"00ms\r", b"06500\r");
    assert_eq!(sim.tell("state temperature over_range"), "ok: impac-upp.temperature is over_range");
    exchange(&mut stream, b"00ms\r", b"88880\r");
    assert_eq!(sim.tell("raw temperature 12345"), "ok: impac-upp.temperature carries 12345");
    exchange(&mut stream, b"00ms\r", b"12345\r");
    assert_eq!(sim.tell("release temperature"), "ok: impac-upp.temperature follows its course");
    assert_eq!(sim.tell("fault checksum*1"), "ok: checksum*1");
    stream.write_all(b"00ms\r").unwrap();
    let mut spoilt = [0; 6];
    stream.read_exact(&mut spoilt).unwrap();
    assert_eq!(&spoilt, b"0256\xB3\r");
    assert_eq!(sim.tell("fault impac-upp silence"), "ok: silence");
    stream.write_all(b"00ms\r").unwrap();
    let silent = "ok: impac-upp: 6 requests, 0 of them writes, 0 said unasked, faults silence";
    let deadline = Instant::now() + DEADLINE;
    while sim.tell("status") != silent {
        assert!(Instant::now() < deadline, "{}", sim.tell("status"));
    }
    assert_eq!(sim.tell("clear"), "ok");
    assert_eq!(sim.tell("say hello<CR>"), "ok");
    takes(&mut stream, b"hello\r");

    assert!(sim.tell("fault lat:3s").starts_with("error: unknown fault `lat`"));
    assert!(
        sim.tell("set temprature 1").starts_with("error: there is no channel `temprature`; there are temperature, ")
    );
    assert_eq!(sim.tell("set temperature hot"), "error: `hot` is no number");
    assert!(sim.tell("dance").starts_with("error: unknown command `dance`; known are fault"));
    assert!(sim.tell("help").starts_with("ok: fault [INSTRUMENT] FAULT | "));

    assert_eq!(sim.tell("unplug"), "ok");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(rest.is_empty());
    assert_eq!(sim.tell("replug"), "ok");
    assert_eq!(sim.tell("quit"), "ok");
    assert_eq!(sim.ended(), Some(0));
}

#[test]
fn several_instruments_share_a_line_and_the_end_of_the_input_ends_nothing() {
    let values = "impac-upp-2.temperature=700";
    let mut sim =
        Simulator::start(&["impac-upp:addr=00", "impac-upp:addr=01", "--constant", "600", "--values", values]);
    let mut stream = sim.connect();
    assert_eq!(
        sim.tell("set temperature 1"),
        "error: `impac-upp` and `impac-upp-2` both have a channel `temperature`; write `impac-upp.temperature`"
    );
    sim.stdin = None;
    exchange(&mut stream, b"01ms\r", b"07000\r");
    exchange(&mut stream, b"00ms\r", b"06000\r");
}

#[test]
fn tables_and_traces_are_played() {
    let scratch = tempfile::tempdir().unwrap();
    let table = scratch.path().join("growth.csv");
    std::fs::write(&table, "t,temperature\n0,500\n1000000,500\n").unwrap();
    let mut sim = Simulator::start(&["impac-upp", "--replay", table.to_str().unwrap()]);
    exchange(&mut sim.connect(), b"00ms\r", b"05000\r");

    let trace = scratch.path().join("pyro.trace");
    let lines = "# mbe-bridge trace 1; link pyro; /dev/ttyUSB0 (19200 8E1);\n\
                 2026-11-22T17:30:01.000000Z > 30 30 6D 73 0D  |00ms<CR>|\n\
                 2026-11-22T17:30:01.006000Z < 30 32 35 36 33 0D  |02563<CR>|\n\
                 2026-11-22T17:30:02.000000Z > 30 30 6D 73 0D  |00ms<CR>|\n\
                 2026-11-22T17:30:02.006000Z < 30 32 35 36 34 0D  |02564<CR>|\n";
    std::fs::write(&trace, lines).unwrap();
    let mut sim = Simulator::start(&["--replay-trace", trace.to_str().unwrap()]);
    let mut stream = sim.connect();
    for expected in [b"02563\r", b"02564\r", b"02563\r"] {
        exchange(&mut stream, b"00ms\r", expected);
    }
    assert_eq!(sim.tell("status"), "ok: 3 requests of the trace, 0 others");

    std::fs::write(&trace, "2026-11-22T17:30:01Z ? 00\n").unwrap();
    let wrong = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"))
        .args(["sim", "--tcp", "127.0.0.1:0", "--replay-trace"])
        .arg(&trace)
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("pyro.trace, line 1") && said.contains("expected `>`, `<` or `!`"), "{said}");
}
