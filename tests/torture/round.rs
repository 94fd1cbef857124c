//! A round: carries out its plan on the real program, and gathers the witnesses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mbe_bridge::model::{RunState, TimeBase};
use mbe_bridge::server::{self, Fault, Server, Settings, StreamState};
use mbe_bridge::sim::{self, SimHandle};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;

use super::KEY;
use super::chamber::Kind;
use super::machine::Machine;
use super::plan::{Action, Axis, Clock, Disk, Plan};
use super::process::Process;
use super::shim::Faults;
use super::witness::{Deeds, Life, RunOnDisk, Span, StreamThere, Witnesses};

/// Turns of the scheduler on the way from an instrument to the disk.
const BUSY: Duration = Duration::from_millis(300);

/// A program that was asked to end does so within its grace and this.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Once all faults are off, everything is delivered within this time.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// Distance of ticks.
const PERIOD: Duration = Duration::from_millis(100);

/// How often to look whether the program lives.
const WATCH_EVERY: Duration = Duration::from_millis(10);

/// What a round has come to, before it is judged.
pub(crate) struct Played {
    pub(crate) witnesses: Witnesses,
    /// What the program did that it should not have done, as seen from outside.
    pub(crate) complaints: Vec<String>,
}

struct World<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    server: Server,
    lines: Vec<SimHandle>,
    faults: Faults,
    program: Option<Running>,
    lives: Vec<Life>,
    looks: Vec<BTreeSet<super::witness::OnDisk>>,
    ailments: Vec<(usize, Span)>,
    /// Lines without transaction numbers whose instrument answers so late.
    late: BTreeMap<usize, Duration>,
    ailing: Vec<Option<Instant>>,
    disk: Vec<Span>,
    disk_since: Option<Instant>,
    clockless: Vec<Span>,
    clockless_since: Option<Instant>,
    clock_nanos: i64,
    clocks: Vec<i64>,
    /// Those that took something.
    power_cuts: u64,
    complaints: Vec<String>,
}

struct Running {
    process: Process,
    begun: Instant,
    clock_nanos: i64,
    told: Option<Instant>,
}

/// Carries a plan out in a folder of its own.
pub(crate) async fn play(plan: &Plan, folder: &Path) -> Played {
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::write(folder.join("plan.txt"), plan.to_string()).unwrap();
    let time = TimeBase::start();
    let server =
        Server::start(Settings { api_key: Some(SecretString::from(KEY)), ..Settings::default() }).await.unwrap();
    server.set_clock_ahead(plan.lab.ahead_nanos);
    let lines: Vec<SimHandle> = plan.lab.instruments.iter().map(|kind| kind.start(folder)).collect();
    fs::write(folder.join("lab.toml"), lab_toml(plan, &server, &lines)).unwrap();
    let machine = Machine::watch(folder);
    let mut world = World {
        plan,
        folder,
        faults: Faults::new(&folder.join("faults"), &folder.join("data")),
        server,
        ailing: vec![None; lines.len()],
        lines,
        program: None,
        lives: Vec::new(),
        looks: Vec::new(),
        ailments: Vec::new(),
        late: BTreeMap::new(),
        disk: Vec::new(),
        disk_since: None,
        clockless: Vec::new(),
        clockless_since: None,
        clock_nanos: 0,
        clocks: vec![0],
        power_cuts: 0,
        complaints: Vec::new(),
    };
    world.carry_out().await;
    world.deliver().await;
    let longest_wait = machine.longest_wait();
    world.witnesses(time, longest_wait)
}

fn lab_toml(plan: &Plan, server: &Server, lines: &[SimHandle]) -> String {
    let lab = &plan.lab;
    let axis = match lab.axis {
        Axis::Grid => "",
        Axis::Held => "fill = \"hold\"\nmax_age = \"1s\"\n",
        Axis::Linear => "fill = \"linear\"\nmax_age = \"1s\"\n",
        Axis::Native => "mode = \"native\"\n",
    };
    let ms = |duration: Duration| format!("\"{}ms\"", duration.as_millis());
    let period = if lab.axis == Axis::Native { String::new() } else { format!("period = {}\n", ms(PERIOD)) };
    let instruments: String = lab.instruments.iter().zip(lines).map(|(kind, line)| kind.toml(line)).collect();
    format!(
        "data_dir = \"data\"\nshutdown_grace = {}\n[platform]\nendpoint = \"{}\"\n[stream]\npoints_per_chunk = {}\n\
         [align]\n{axis}{period}lateness = {}\n[storage]\ncommit_every = {}\nmax_span = {}\nresume_within = {}\n\
         keep_runs = \"forever\"\nmin_free = \"0 B\"\n\
         [dashboard]\nlisten = \"127.0.0.1:0\"\n{instruments}",
        ms(lab.shutdown_grace),
        server.url(),
        lab.points_per_chunk,
        ms(lab.lateness),
        ms(lab.commit_every),
        ms(lab.max_span),
        ms(lab.resume_within),
    )
}

impl World<'_> {
    /// The schedule.
    async fn carry_out(&mut self) {
        self.start();
        let begun = Instant::now();
        let plan = self.plan;
        for (at, action) in &plan.actions {
            self.wait_until(begun + *at).await;
            self.act(action).await;
        }
        self.wait_until(begun + plan.length).await;
    }

    /// Lets time pass, and notices if the program ends by itself.
    async fn wait_until(&mut self, until: Instant) {
        while Instant::now() < until {
            self.notice_an_end();
            let rest = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(rest.min(WATCH_EVERY)).await;
        }
    }

    async fn act(&mut self, action: &Action) {
        let now = Instant::now();
        match action {
            Action::Kill => self.kill(false),
            Action::PowerCut => self.kill(true),
            Action::Start => self.start_again().await,
            Action::Terminate => self.terminate(),
            Action::Platform(plan) => self.set_platform_fault(plan.clone()),
            Action::EndStreams => {
                for stream in self.server.streams().unwrap() {
                    if stream.state == StreamState::Active {
                        self.server.end_stream(&stream.data_id).unwrap();
                    }
                }
            }
            Action::Unplug(line) => {
                self.ailing[*line].get_or_insert(now);
                self.lines[*line].hang_up().unwrap();
            }
            Action::Replug(line) | Action::Heal(line) => self.heal(*line),
            Action::Ail(line, ailment) => {
                self.ailing[*line].get_or_insert(now);
                let kind = self.plan.lab.instruments[*line];
                let name = kind.name();
                if let (sim::Fault::Late(by), false) = (&ailment.fault, kind == Kind::Gauge) {
                    self.late.insert(*line, *by);
                }
                self.lines[*line].fault(name, ailment.clone()).unwrap();
            }
            Action::Clock(clock) => self.step_clock(*clock),
            Action::Disk(disk) => self.break_disk(*disk),
            Action::DiskHeals => self.heal_disk(),
        }
    }

    fn start(&mut self) {
        let file = self.folder.join("lab.toml");
        let mut environment = self.faults.environment();
        environment.push(("AS_API_KEY", KEY));
        let begun = Instant::now();
        let process = Process::run_with(&file, &environment);
        self.program = Some(Running { process, begun, clock_nanos: self.clock_nanos, told: None });
    }

    async fn start_again(&mut self) {
        self.notice_an_end();
        match &self.program {
            Some(running) if running.told.is_none() => return,
            Some(_) => self.wait_for_end().await,
            None => {}
        }
        self.let_late_answers_out().await;
        self.start();
    }

    /// On a line without transaction numbers nobody can tell an answer to a program that was killed from an answer to the
    /// next one: an instrument that is late has answered before that begins.
    async fn let_late_answers_out(&mut self) {
        let late = std::mem::take(&mut self.late);
        late.keys().for_each(|line| self.heal(*line));
        tokio::time::sleep(late.into_values().max().unwrap_or_default()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = &self.program {
            let id = Pid::from_raw(running.process.pid().cast_signed()).unwrap();
            // It may have ended by itself; nobody has waited for it yet, so that its number is nobody else's.
            kill_process(id, signal).unwrap();
        }
    }

    fn terminate(&mut self) {
        self.notice_an_end();
        self.signal(Signal::TERM);
        if let Some(running) = &mut self.program {
            running.told.get_or_insert_with(Instant::now);
        }
    }

    fn kill(&mut self, power_cut: bool) {
        self.notice_an_end();
        let killed = Instant::now();
        self.signal(Signal::KILL);
        self.end(Some(killed), power_cut);
    }

    /// Takes note of the end of the program, and of what it has left on disk.
    fn end(&mut self, killed: Option<Instant>, power_cut: bool) {
        let Some(running) = self.program.take() else { return };
        let ended = running.process.fell();
        let now = Instant::now();
        let code = ended.status.code();
        fs::write(self.folder.join(format!("bridge-{}.log", self.lives.len() + 1)), &ended.stderr).unwrap();
        self.lives.push(Life {
            begun: running.begun,
            ended: now,
            clock_nanos: running.clock_nanos,
            told: running.told,
            // Killed too late: it had ended by itself.
            killed: killed.filter(|_| code.is_none()),
            code,
            log: ended.stderr,
        });
        let runs = self.folder.join("data/runs");
        if power_cut && runs.exists() {
            self.power_cuts += u64::from(self.faults.cut_power(&runs));
        }
        // What is seen on disk now is to stay.
        self.faults.written_back();
        self.look();
    }

    /// What is on disk now. A copy is read, so that nothing that the next start finds is changed by looking.
    fn look(&mut self) {
        let copy = self.folder.join("look");
        fs::create_dir_all(&copy).unwrap();
        let Ok(entries) = fs::read_dir(self.folder.join("data/runs")) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with("-shm") {
                fs::copy(&path, copy.join(&name)).unwrap();
            }
        }
        match RunOnDisk::all(&copy) {
            Ok(runs) => self.looks.push(runs.iter().flat_map(RunOnDisk::points).collect()),
            // Of a run file that was killed while it was made there may be nothing to read yet.
            Err(error) => {
                fs::write(self.folder.join(format!("look-{}.txt", self.lives.len())), error.to_string()).unwrap()
            }
        }
        fs::remove_dir_all(&copy).unwrap();
    }

    /// A program that ends although nobody asked it to must have said that the disk is to blame.
    fn notice_an_end(&mut self) {
        let Some(running) = &mut self.program else { return };
        if running.process.is_running() {
            return;
        }
        let told = running.told.is_some();
        self.end(None, false);
        let Some(life) = self.lives.last() else { return };
        let disk = self.disk_since.is_some() || self.disk.iter().any(|span| span.overlaps(life.begun, life.ended));
        if !told && !disk {
            self.complaints.push(format!("the program ended by itself with {:?}: {}", life.code, tail(&life.log)));
        }
    }

    /// Waits for the end of a program that was asked to end.
    async fn wait_for_end(&mut self) {
        let deadline = Instant::now() + self.plan.lab.shutdown_grace + ENDS_WITHIN;
        while self.program.is_some() {
            self.notice_an_end();
            if Instant::now() > deadline {
                self.complaints.push("the program did not end after SIGTERM".to_owned());
                self.kill(false);
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    fn set_platform_fault(&mut self, plan: server::Plan) {
        let now = Instant::now();
        let elsewhere = matches!(
            plan.fault,
            Fault::None
                | Fault::Refuse { .. }
                | Fault::Forget
                | Fault::Ended(_)
                | Fault::RefuseChannel(_)
                | Fault::TooLarge(_)
        );
        if let Some(from) = self.clockless_since.take() {
            self.clockless.push(Span { from, to: now });
        }
        self.clockless_since = (!elsewhere && plan.only.is_empty()).then_some(now);
        self.server.faults().set(plan).unwrap();
    }

    fn heal(&mut self, line: usize) {
        self.lines[line].clear_faults(self.plan.lab.instruments[line].name()).unwrap();
        self.lines[line].come_back().unwrap();
        if let Some(from) = self.ailing[line].take() {
            self.ailments.push((line, Span { from, to: Instant::now() }));
        }
    }

    fn step_clock(&mut self, clock: Clock) {
        let nanos = match clock {
            Clock::Ahead(nanos) => nanos,
            Clock::Epoch => 600_000_000_000 - TimeBase::start().zero().wall.as_nanos(),
        };
        // A session reads the clock once, at its very beginning: which of two it read must be known.
        let fixed = |running: &Running| running.process.stderr().contains("runs are kept here");
        if !self.program.as_ref().is_none_or(fixed) {
            return;
        }
        self.clock_nanos = nanos;
        self.clocks.push(nanos);
        self.faults.set("clock_offset_ns", nanos);
    }

    fn break_disk(&mut self, disk: Disk) {
        self.heal_disk();
        self.disk_since = Some(Instant::now());
        match disk {
            Disk::Full => self.faults.set("enospc", 1),
            Disk::Nearly(bytes) => self.faults.set("room_bytes", bytes),
            Disk::ReadOnly => self.faults.set("erofs", 1),
            Disk::Broken => self.faults.set("eio", 1),
            Disk::Unsynced => self.faults.set("eio_sync", 1),
            Disk::Slow(by) => self.faults.set("slow_sync_ms", i64::try_from(by.as_millis()).unwrap()),
        }
    }

    fn heal_disk(&mut self) {
        for slot in ["enospc", "erofs", "eio", "eio_sync", "slow_sync_ms"] {
            self.faults.set(slot, 0);
        }
        self.faults.set("room_bytes", -1);
        if let Some(from) = self.disk_since.take() {
            self.disk.push(Span { from, to: Instant::now() });
        }
    }

    /// All faults off; then ends gently, and starts again until everything is on the platform.
    async fn deliver(&mut self) {
        self.set_platform_fault(server::Plan::default());
        self.heal_disk();
        (0..self.lines.len()).for_each(|line| self.heal(line));
        self.start_again().await;
        self.wait_until(Instant::now() + Duration::from_millis(800)).await;
        let deadline = Instant::now() + DELIVERED_WITHIN;
        loop {
            self.terminate();
            self.wait_for_end().await;
            if self.program.is_none() && self.lives.last().is_some_and(|life| life.told.is_none()) {
                // It had ended by itself before it could be asked, which is fine while the disk heals.
                self.start();
                self.wait_until(Instant::now() + Duration::from_secs(1)).await;
                continue;
            }
            let left = self.undelivered();
            if left.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                self.complaints
                    .push(format!("not delivered within {DELIVERED_WITHIN:?} of the end of all faults: {left:?}"));
                return;
            }
            self.start();
            let patience = Instant::now() + Duration::from_secs(10);
            while Instant::now() < patience && self.undelivered().iter().any(|run| left.contains(run)) {
                self.wait_until(Instant::now() + Duration::from_millis(100)).await;
            }
        }
    }

    /// Runs that still need the platform.
    fn undelivered(&self) -> Vec<String> {
        let runs = match RunOnDisk::all(&self.folder.join("data/runs")) {
            Ok(runs) => runs,
            Err(error) => return vec![error.to_string()],
        };
        let left = runs.into_iter().filter(|run| run.info.state != RunState::Done);
        left.map(|run| run.info.run.to_string()).collect()
    }

    fn witnesses(self, time: TimeBase, longest_wait: Duration) -> Played {
        let Self { plan, folder, server, lines, lives, looks, ailments, disk, clockless, clocks, power_cuts, .. } =
            self;
        let mut complaints = self.complaints;
        for life in &lives {
            for words in ["panicked at", "ended in a panic"] {
                if let Some(line) = life.log.lines().find(|line| line.contains(words)) {
                    complaints.push(format!("the program panicked: {line}"));
                }
            }
        }
        let (runs, platform) = (RunOnDisk::all(&folder.join("data/runs")), StreamThere::all(&server));
        let runs = runs.unwrap_or_else(|error| {
            complaints.push(format!("a run file can't be read: {error}"));
            Vec::new()
        });
        let half_tick = if plan.lab.axis == Axis::Native { Duration::ZERO } else { PERIOD / 2 };
        let durable_after = plan.lab.commit_every + plan.lab.lateness + BUSY + 2 * longest_wait;
        let streams_were_gone = plan.actions.iter().any(|(_, action)| match action {
            Action::Platform(plan) => {
                matches!(plan.fault, Fault::Forget | Fault::Refuse { status: 404 | 409 | 410, .. })
            }
            _ => false,
        });
        let deeds = Deeds {
            streams_were_gone,
            time,
            ahead_nanos: plan.lab.ahead_nanos,
            half_tick,
            lives,
            ailments,
            disk,
            clockless,
            clocks,
            power_cuts,
            durable_after,
        };
        let said = lines.iter().map(SimHandle::said).collect();
        Played { witnesses: Witnesses { said, runs, platform, looks, deeds }, complaints }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}
