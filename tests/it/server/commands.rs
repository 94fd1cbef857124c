//! `mbe-bridge server` as a process: faults by its standard input and by `mbe-bridge server fault`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"));
        command.arg("server").args(arguments).env_remove("AS_API_KEY");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    fn line(&mut self) -> String {
        self.output.next().unwrap().unwrap()
    }

    fn told(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn fault(at: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"));
    // A key in the environment is no reason not to switch a fault.
    command.args(["server", "fault"]).args(words).args(["--at", at]).env("AS_API_KEY", "k").output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_server_is_told_faults_in_three_ways() {
    let mut server = Process::start(&["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--fault", "hang next 3"]);
    let url = server.line();
    let at = url.strip_prefix("http://").unwrap().to_owned();
    let faults = server.line();
    let control = faults.strip_prefix("faults: http://").unwrap().strip_suffix("/_local/fault").unwrap().to_owned();
    assert_eq!(said(&fault(&at, &[])), (Some(0), "hang next 3\n".to_owned()));
    assert_eq!(server.told("fault slow:1ms"), "ok: slow:1ms");
    assert_eq!(said(&fault(&at, &["status:503", "for", "1h"])), (Some(0), "status:503 for 1h\n".to_owned()));
    assert!(server.told("status").starts_with("ok: status:503 for 59m59s"));
    let refused = fault(&at, &["cut"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`cut` is not a fault: expected none, down, "));

    assert_eq!(said(&fault(&at, &["down"])), (Some(0), "down\n".to_owned()));
    let unheard = fault(&at, &["none"]);
    assert_eq!(unheard.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unheard.stderr).contains("`--control`"), "{unheard:?}");
    assert_eq!(said(&fault(&control, &["none"])), (Some(0), "none\n".to_owned()));
    assert_eq!(server.told("fault"), "ok: none");
    assert_eq!(server.told("fault down"), "ok: down");
    assert_eq!(server.told("clear"), "ok: none");
    assert!(server.told("hang").starts_with("error: unknown command `hang`; known are "));
    assert_eq!(server.told("quit"), "ok");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/local-ca/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_server_with_a_certificate_speaks_tls_and_takes_faults_at_its_control() {
    let (certificate, key) = (fixture("certificate"), fixture("key"));
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let mut server = Process::start(&tls);
    let at = server.line().strip_prefix("https://").unwrap().to_owned();
    let faults = server.line();
    let control = faults.strip_prefix("faults: http://").unwrap().strip_suffix("/_local/fault").unwrap().to_owned();
    let unheard = fault(&at, &["hang"]);
    assert_eq!(unheard.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&unheard.stderr).contains("or speaks TLS, takes them at its `--control`"),
        "{unheard:?}"
    );
    assert_eq!(said(&fault(&control, &["hang"])), (Some(0), "hang\n".to_owned()));
    assert_eq!(server.told("fault"), "ok: hang");
}

#[test]
fn a_certificate_needs_its_key_and_a_file_that_holds_it() {
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbe-bridge"));
        let output = command.arg("server").args(arguments).env_remove("AS_API_KEY").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (certificate, key) = (fixture("certificate"), fixture("key"));
    let (code, said) = refused(&["--tls-cert", &certificate]);
    assert!(code == Some(2) && said.contains("--tls-key"), "{said}");
    let (code, said) = refused(&["--tls-cert", &key, "--tls-key", &key, "--listen", "127.0.0.1:0"]);
    assert!(code == Some(2) && said.contains("could not read a certificate from `"), "{said}");
}
