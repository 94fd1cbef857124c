//! What happens in a round and when, drawn from its seed before it begins.

use std::fmt::{self, Display};
use std::time::Duration;

use fastrand::Rng;
use mbe_bridge::server::{self, Fault};
use mbe_bridge::sim;

use super::chamber::Kind;

/// A round.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) lab: LabSettings,
    /// By rising time from the first start of the program.
    pub(crate) actions: Vec<(Duration, Action)>,
    /// When the end begins: all faults off.
    pub(crate) length: Duration,
}

/// What the lab's file says.
#[derive(Debug, Clone)]
pub(crate) struct LabSettings {
    pub(crate) instruments: Vec<Kind>,
    pub(crate) axis: Axis,
    pub(crate) points_per_chunk: u32,
    pub(crate) commit_every: Duration,
    pub(crate) max_span: Duration,
    pub(crate) lateness: Duration,
    pub(crate) resume_within: Duration,
    pub(crate) shutdown_grace: Duration,
    /// How far the platform's clock is ahead of the machine's.
    pub(crate) ahead_nanos: i64,
}

/// How ticks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Grid,
    Held,
    Linear,
    Native,
}

/// Something that is done to the program or to what is around it.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// `kill -9`.
    Kill,
    /// The same, and what was not synced of the logs is gone.
    PowerCut,
    /// Starts the program if it is dead; waits for its end if it has been asked to.
    Start,
    /// SIGTERM.
    Terminate,
    /// The platform's fault in place of the one before.
    Platform(server::Plan),
    /// The platform ends all streams that are open.
    EndStreams,
    Unplug(usize),
    Replug(usize),
    /// What an instrument does to its answers, beside what it does already.
    Ail(usize, sim::Plan),
    Heal(usize),
    /// The machine's wall clock is stepped.
    Clock(Clock),
    Disk(Disk),
    DiskHeals,
}

/// What the machine's wall clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// So many nanoseconds more than it is.
    Ahead(i64),
    /// Some minutes after midnight of the first of January 1970, at the moment of the step.
    Epoch,
}

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Full,
    /// So many bytes are left.
    Nearly(i64),
    ReadOnly,
    Broken,
    /// What is written can't be synced.
    Unsynced,
    Slow(Duration),
}

impl Action {
    /// The sort of fault that it is the beginning of, in one word.
    pub(crate) fn sort(&self) -> Option<String> {
        Some(match self {
            Self::Kill => "kill".to_owned(),
            Self::PowerCut => "power cut".to_owned(),
            Self::Terminate => "terminate".to_owned(),
            Self::Start | Self::Replug(_) | Self::Heal(_) | Self::DiskHeals => return None,
            Self::Platform(server::Plan { fault: Fault::None, .. }) => return None,
            Self::Platform(server::Plan { fault: Fault::Refuse { status, .. }, .. }) => format!("platform {status}"),
            Self::Platform(plan) => {
                let text = plan.fault.to_string();
                format!("platform {}", text.split(':').next().unwrap_or_default())
            }
            Self::EndStreams => "streams ended".to_owned(),
            Self::Unplug(_) => "unplugged".to_owned(),
            Self::Ail(_, plan) => {
                let text = plan.fault.to_string();
                format!("answers {}", text.split(':').next().unwrap_or_default())
            }
            Self::Clock(_) => "clock stepped".to_owned(),
            Self::Disk(Disk::Full) => "disk full".to_owned(),
            Self::Disk(Disk::Nearly(_)) => "disk nearly full".to_owned(),
            Self::Disk(Disk::ReadOnly) => "disk read-only".to_owned(),
            Self::Disk(Disk::Broken) => "disk broken".to_owned(),
            Self::Disk(Disk::Unsynced) => "disk unsynced".to_owned(),
            Self::Disk(Disk::Slow(_)) => "disk slow".to_owned(),
        })
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(plan) => write!(f, "platform: {plan}"),
            Self::Ail(line, plan) => write!(f, "line {line}: {} {:?}", plan.fault, plan.when),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\n{:#?}", self.seed, self.lab)?;
        for (at, action) in &self.actions {
            writeln!(f, "{:>7} ms  {action}", at.as_millis())?;
        }
        writeln!(f, "{:>7} ms  all faults off", self.length.as_millis())
    }
}

impl Plan {
    /// A round in which nothing goes wrong.
    pub(crate) fn calm() -> Self {
        Self {
            seed: 0,
            lab: LabSettings {
                instruments: vec![Kind::Pyrometer, Kind::Gauge, Kind::Controller],
                axis: Axis::Grid,
                points_per_chunk: 5,
                commit_every: millis(100),
                max_span: Duration::from_secs(2),
                lateness: millis(300),
                resume_within: Duration::from_secs(600),
                shutdown_grace: Duration::from_secs(5),
                ahead_nanos: 7_000_000_000,
            },
            actions: Vec::new(),
            length: Duration::from_secs(3),
        }
    }

    /// The round of a seed. The same seed gives the same round, whatever came before.
    pub(crate) fn drawn(seed: u64, seconds: Option<f64>) -> Self {
        let mut dice = Dice(Rng::with_seed(seed));
        let lab = dice.lab();
        let drawn = dice.between(4_000, 8_000);
        let length = seconds.map_or(drawn, Duration::from_secs_f64);
        let events = dice.0.u32(3..=10);
        let mut actions = Vec::new();
        for _ in 0..events {
            let at = length.mul_f64(dice.0.f64());
            dice.event(at, &lab.instruments, &mut actions);
        }
        actions.retain(|(at, _)| *at < length);
        actions.sort_by_key(|(at, _)| *at);
        Self { seed, lab, actions, length }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct Dice(Rng);

impl Dice {
    fn between(&mut self, least: u64, most: u64) -> Duration {
        millis(self.0.u64(least..=most))
    }

    fn chance(&mut self, in_a_hundred: u32) -> bool {
        self.0.u32(0..100) < in_a_hundred
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(0..choices.len())].clone()
    }

    fn lab(&mut self) -> LabSettings {
        let mut instruments = vec![Kind::Pyrometer, Kind::Gauge, Kind::Controller, Kind::LoadLock];
        self.0.shuffle(&mut instruments);
        instruments.truncate(self.0.usize(2..=4));
        let ahead = self.0.i64(2_000_000_000..=100_000_000_000);
        LabSettings {
            instruments,
            axis: self.one_of(&[Axis::Grid, Axis::Grid, Axis::Grid, Axis::Held, Axis::Linear, Axis::Native]),
            points_per_chunk: self.0.u32(5..=40),
            commit_every: self.between(100, 200),
            max_span: self.between(1_000, 3_000),
            lateness: self.between(300, 600),
            resume_within: if self.chance(35) { self.between(0, 1_000) } else { Duration::from_secs(600) },
            shutdown_grace: self.between(300, 2_500),
            ahead_nanos: self.one_of(&[0, 0, ahead, -ahead]),
        }
    }

    /// Adds an event with its end, or with all its parts.
    fn event(&mut self, at: Duration, lines: &[Kind], actions: &mut Vec<(Duration, Action)>) {
        match self.0.u32(0..100) {
            0..25 => self.kills(at, actions),
            25..35 => {
                actions.push((at, Action::Terminate));
                let later = if self.chance(60) {
                    // In the middle of the drain, or of what comes before it.
                    let kill = at + self.between(0, 400);
                    actions.push((kill, Action::Kill));
                    kill
                } else {
                    at
                };
                actions.push((later + self.between(0, 1_000), Action::Start));
            }
            35..58 => {
                let fault = self.platform_fault();
                actions.push((at, Action::Platform(fault)));
                actions.push((at + self.between(100, 3_000), Action::Platform(server::Plan::default())));
            }
            58..65 => actions.push((at, Action::EndStreams)),
            65..73 => {
                let line = self.0.usize(0..lines.len());
                actions.push((at, Action::Unplug(line)));
                actions.push((at + self.between(50, 2_000), Action::Replug(line)));
            }
            73..82 => {
                let line = self.0.usize(0..lines.len());
                let ailment = self.ailment(lines[line]);
                actions.push((at, Action::Ail(line, ailment)));
                actions.push((at + self.between(200, 2_500), Action::Heal(line)));
            }
            82..88 => actions.push((at, Action::Clock(self.clock()))),
            _ => {
                actions.push((at, Action::Disk(self.disk())));
                actions.push((at + self.between(100, 2_500), Action::DiskHeals));
            }
        }
    }

    fn kills(&mut self, at: Duration, actions: &mut Vec<(Duration, Action)>) {
        let times = if self.chance(25) { self.0.u32(2..=4) } else { 1 };
        let mut at = at;
        for _ in 0..times {
            if self.chance(40) {
                // Mostly there is nothing that a disk of today has not synced.
                if self.chance(70) {
                    let (before, slow) = (self.between(50, 600), self.between(200, 1_500));
                    actions.push((at.saturating_sub(before), Action::Disk(Disk::Slow(slow))));
                    actions.push((at + millis(1), Action::DiskHeals));
                }
                actions.push((at, Action::PowerCut));
            } else {
                actions.push((at, Action::Kill));
            }
            let pause = if self.chance(30) { Duration::ZERO } else { self.between(0, 1_000) };
            at += pause;
            actions.push((at, Action::Start));
            // The next one hits a program that has only just begun.
            at += self.between(5, 500);
        }
    }

    fn platform_fault(&mut self) -> server::Plan {
        let (slow, bytes, seed) = (self.0.u64(50..1_500), self.0.usize(150..1_500), self.0.u32(..));
        let transient = self.one_of(&[500, 502, 503, 504, 408]);
        let refused = self.one_of(&[400, 404, 409, 410, 422]);
        let percent = self.0.u8(10..80);
        let text = self.one_of(&[
            format!("status:{transient}"),
            format!("status:{transient} stored"),
            "status:429:1s".to_owned(),
            format!("status:{refused}"),
            format!("status:{refused} next 3"),
            format!("status:{refused} only multi"),
            "status:400 stored next 2".to_owned(),
            "down".to_owned(),
            "hang".to_owned(),
            "hang stored next 2".to_owned(),
            format!("slow:{slow}ms"),
            "cut-request".to_owned(),
            "cut-reply".to_owned(),
            "cut-reply only initialize next 1".to_owned(),
            "cut-reply only finalize".to_owned(),
            "reset-request".to_owned(),
            "reset-reply".to_owned(),
            "truncate-reply".to_owned(),
            "garbage".to_owned(),
            "garbage:json stored".to_owned(),
            "unauthorized".to_owned(),
            "forbidden".to_owned(),
            "forget".to_owned(),
            format!("ended:{refused}"),
            "refuse-channel:substrate_temperature".to_owned(),
            "refuse-channel:chamber_pressure".to_owned(),
            format!("too-large:{bytes}"),
            format!("random:{percent}:{seed}"),
            format!("random:{percent}:{seed}"),
        ]);
        text.parse().unwrap()
    }

    fn ailment(&mut self, kind: Kind) -> sim::Plan {
        let fault = match self.0.u32(0..6) {
            0 | 1 => sim::Fault::Silence,
            2 => sim::Fault::Late(self.between(50, 700)),
            3 => sim::Fault::Slow(self.between(50, 300)),
            4 => sim::Fault::Truncate(self.0.usize(1..4)),
            // A second copy of an answer on Modbus RTU says of no register that it is not the answer to the next question.
            _ if matches!(kind, Kind::Controller | Kind::LoadLock) => sim::Fault::Checksum,
            _ => sim::Fault::Twice,
        };
        match self.0.u32(0..3) {
            0 => fault.always(),
            1 => fault.next(self.0.u32(1..5)),
            _ => fault.every(self.0.u32(2..6)),
        }
    }

    /// One hour either way, some seconds, the beginning of the epoch, or right again.
    fn clock(&mut self) -> Clock {
        const SECOND: i64 = 1_000_000_000;
        let few = Clock::Ahead(self.0.i64(-30 * SECOND..30 * SECOND));
        self.one_of(&[Clock::Ahead(3_600 * SECOND), Clock::Ahead(-3_600 * SECOND), few, Clock::Epoch, Clock::Ahead(0)])
    }

    fn disk(&mut self) -> Disk {
        match self.0.u32(0..8) {
            0 | 1 => Disk::Full,
            2 => Disk::Nearly(self.0.i64(0..200_000)),
            3 => Disk::ReadOnly,
            4 => Disk::Broken,
            5 => Disk::Unsynced,
            _ => Disk::Slow(self.between(50, 1_500)),
        }
    }
}
