//! The program as a child process: its log, its dashboard, its end.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{KEY, until};

/// A running child. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    /// The exit code; a panic with everything that was said where a signal ended the child.
    pub(super) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{self:#?}"))
    }
}

impl Process {
    /// Starts the program with these arguments in an empty environment but for `environment`.
    pub(super) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_command(&mut Command::new(env!("CARGO_BIN_EXE_mbe-bridge")), arguments, environment)
    }

    /// The same of another copy of the program, or as another user.
    pub(super) fn start_command(command: &mut Command, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = command
            .args(arguments)
            .env_clear()
            // No test may read or write what belongs to whoever runs it.
            .env("HOME", "/nowhere")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            keep(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            keep(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self { child, readers, stdout, stderr }
    }

    /// Starts `run` on a lab's file with the right key, logging as JSON.
    pub(super) fn run(file: &Path) -> Self {
        Self::run_with(file, &[("AS_API_KEY", KEY)])
    }

    pub(super) fn run_with(file: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start(&["--log-format", "json", "run", file.to_str().unwrap()], environment)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(super) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// The log's lines with this message, of a program that logs as JSON; each as its fields.
    pub(super) fn logged(&self, message: &str) -> Vec<Value> {
        logged(&self.stderr(), message)
    }

    /// Where the dashboard listens, without a slash at the end.
    pub(super) async fn url(&self) -> String {
        until("the dashboard listens", async || {
            let lines = self.logged("dashboard");
            let url = lines.first().and_then(|line| line["url"].as_str());
            url.map(|url| url.trim_end_matches('/').to_owned()).ok_or_else(|| self.stderr())
        })
        .await
    }

    /// Waits until the dashboard's status fulfils the condition; that status.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let url = format!("{}/api/status", self.url().await);
        let client = client();
        until(what, async || {
            let answer = client.get(&url).send().await.map_err(|error| (Value::Null, error.to_string()))?;
            let status: Value = answer.json().await.unwrap();
            if condition(&status) { Ok(status) } else { Err((status, self.stderr())) }
        })
        .await
    }

    /// Waits until so many points are on disk.
    pub(super) async fn until_recorded(&self, points: u64) -> Value {
        self.until("enough is recorded", |status| status["run"]["recorded"].as_u64().unwrap() >= points).await
    }

    /// Asks it to end gently.
    pub(super) fn terminate(&self) {
        kill_process(self.id(), Signal::TERM).unwrap();
    }

    /// Ends it as a power cut would. Returns when it is dead.
    pub(super) fn kill(mut self) -> Instant {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Instant::now()
    }

    /// Whether it has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a power cut would, if it has not ended by itself.
    pub(super) fn fell(mut self) -> Ended {
        // It may have ended by itself.
        drop(self.child.kill());
        let status = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { status, stdout: self.stdout.lock().unwrap().clone(), stderr: self.stderr() }
    }

    /// Waits for its end.
    pub(super) async fn ended(mut self) -> Ended {
        let status = until("the program ends", async || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err((self.stdout.lock().unwrap().clone(), self.stderr())),
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { status, stdout: self.stdout.lock().unwrap().clone(), stderr: self.stderr() }
    }

    /// Ends it gently and expects that all went well.
    pub(super) async fn stop(self) -> Ended {
        self.terminate();
        let ended = self.ended().await;
        assert_eq!(ended.code(), 0, "{ended:#?}");
        ended
    }

    /// Processor time that it has used, as the kernel counts it: in hundredths of a second.
    pub(super) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The second field is the name in brackets; user and system time are the 14th and 15th. Source: proc(5).
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(10 * ticks)
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.pid().cast_signed()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command to its end.
pub(super) async fn command(arguments: &[&str]) -> Ended {
    Process::start(arguments, &[]).ended().await
}

/// An HTTP client that knows of no proxy.
pub(super) fn client() -> reqwest::Client {
    mbe_bridge::atomscale::prepare_tls();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap()
}

/// The lines of a JSON log with this message, each as its fields.
pub(super) fn logged(stderr: &str, message: &str) -> Vec<Value> {
    let fields = |line: &str| serde_json::from_str::<Value>(line).ok().map(|mut line| line["fields"].take());
    stderr.lines().filter_map(fields).filter(|fields| fields["message"] == message).collect()
}

fn keep(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
