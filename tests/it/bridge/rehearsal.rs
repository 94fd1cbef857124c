//! A small lab for outages: one controller with two channels, one platform, one bridge at a time.

use std::path::Path;

use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::{Server, Settings};
use mbe_bridge::sim::{Place, Said, SimHandle};
use serde_json::Value;

use super::field::{ANY, instrument, line, profile};
use super::lab::Lab;
use super::oracle::{Account, Oracle};
use super::process::Process;
use super::{platform_with, until};

/// The channels of the controller.
pub(super) const CHANNELS: [&str; 2] = ["manipulator_temperature", "heater_output"];

/// A platform, a lab and its controller.
pub(super) struct Rehearsal {
    pub(super) server: Server,
    pub(super) lab: Lab,
    controller: SimHandle,
}

impl Rehearsal {
    /// Requests are given up after a second, and what is held is tried again as often.
    pub(super) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let server = platform_with(settings).await;
        let eurotherm = profile("eurotherm-3200");
        let place = Place::RtuOverTcp { listen: ANY };
        let controller = line(place, &eurotherm, vec![instrument("controller", &eurotherm, &[])]);
        let mut lab = Lab::new(&server.url());
        lab.platform = "timeout = \"1s\"\nhold = \"1s\"".to_owned();
        lab.field = format!(
            "[links.furnace.rtu-over-tcp]\naddress = \"{}\"\n[[instruments]]\nname = \"controller\"\n\
             profile = \"eurotherm-3200\"\nlink = \"furnace\"\nunit = 1\n\
             channels.process_value = {{ name = \"{}\", every = \"100ms\" }}\n\
             channels.working_output = {{ name = \"{}\", every = \"100ms\" }}\n",
            controller.address().unwrap(),
            CHANNELS[0],
            CHANNELS[1],
        );
        Self { server, lab, controller }
    }

    /// Starts the bridge.
    pub(super) fn run(&self) -> Process {
        Process::run(&self.lab.write())
    }

    /// Starts the bridge; a chunk has been uploaded when it returns.
    pub(super) async fn uploading(&self) -> Process {
        let process = self.run();
        process.until("uploading has begun", |status| count(status, "uploaded") > 0).await;
        process
    }

    /// Puts a fault in force.
    pub(super) fn fault(&self, plan: &str) {
        self.server.faults().set(plan.parse().unwrap()).unwrap();
    }

    /// Waits until the fault in force has hit so many requests.
    pub(super) async fn until_struck(&self, times: u64) {
        until("the fault hits", async || {
            let struck = self.server.faults().struck();
            if struck >= times { Ok(()) } else { Err((struck, self.server.faults().plan().to_string())) }
        })
        .await;
    }

    /// What the controller has said so far, by line.
    pub(super) fn said(&self) -> Vec<Vec<Said>> {
        vec![self.controller.said()]
    }

    /// Holds a run that is delivered against what the controller has said: all of it is there, once.
    pub(super) fn check(&self, run: &Path) -> Account {
        self.check_against(self.said(), run)
    }

    /// The same for a run that had ended when this had been said.
    pub(super) fn check_against(&self, said: Vec<Vec<Said>>, run: &Path) -> Account {
        let account = Oracle::new(&self.server, said).check(run);
        account.assert_nothing_was_missed();
        account
    }

    /// The points that a run file holds, by channel.
    pub(super) fn points_in(run: &Path) -> Vec<u64> {
        let counts = RunFile::open(run).unwrap().counts().unwrap();
        counts.iter().map(|counts| counts.recorded + counts.filled).collect()
    }
}

/// A number of the run in a status.
pub(super) fn count(status: &Value, name: &str) -> u64 {
    status["run"][name].as_u64().unwrap()
}

/// Waits until nothing waits but what is being recorded.
pub(super) async fn until_caught_up(process: &Process) -> Value {
    process
        .until("what waited is uploaded", |status| {
            status["platform"]["state"] == "up" && count(status, "queued_chunks") <= 1
        })
        .await
}

/// Waits until the outage shows, and chunks wait; that status.
pub(super) async fn until_down(process: &Process) -> Value {
    process
        .until("the outage shows", |status| {
            status["platform"]["state"] == "down" && count(status, "queued_chunks") >= 2
        })
        .await
}
