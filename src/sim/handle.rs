//! The handle of a running simulator: what to switch, and what to look at.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::model::{LineSettings, Outcome, Reason, Transport};
use crate::profile::{Fields, Raw};

use super::bench::Bench;
use super::instrument::{Shown, encode};
use super::place::{Command, Found};
use super::{Error, Pace, Place, Plan, Said, Scenario};

/// A running simulator. Clones speak for the same one; it ends with [`SimHandle::stop`], or when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct SimHandle {
    pub(super) inner: Arc<Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) bench: Arc<Mutex<Bench>>,
    pub(super) commands: UnboundedSender<Command>,
    pub(super) place: Place,
    pub(super) found: Arc<Mutex<Found>>,
    pub(super) pace: Pace,
    /// Tells the line that what is said unasked has changed.
    pub(super) changed: watch::Sender<()>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

impl SimHandle {
    /// The path of the serial port: its stable name, or, if it was given none, what the kernel called it the last time it
    /// was there.
    pub fn port(&self) -> Option<PathBuf> {
        match self.found() {
            #[cfg(unix)]
            Found::Port(path) => Some(path),
            Found::Address(_) => None,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.found() {
            #[cfg(unix)]
            Found::Port(_) => None,
            Found::Address(address) => Some(address),
        }
    }

    fn found(&self) -> Found {
        self.inner.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way to it, as a link is configured. An unpaced line has the default line settings; any others will do.
    pub fn transport(&self) -> Transport {
        let address = self.address().map(|address| address.to_string()).unwrap_or_default();
        match &self.inner.place {
            #[cfg(unix)]
            Place::Pty { .. } => Transport::Serial {
                port: self.port().map(|port| port.display().to_string()).unwrap_or_default(),
                line: match &self.inner.pace {
                    Pace::Line(line) => line.clone(),
                    Pace::Unpaced => LineSettings::default(),
                },
            },
            Place::ModbusTcp { .. } => Transport::ModbusTcp { address },
            Place::RtuOverTcp { .. } => Transport::RtuOverTcp { address },
            Place::Tcp { .. } => Transport::Tcp { address },
        }
    }

    /// Switches a fault on, beside those of this instrument that are on. Hang-ups and echoes are the whole line's,
    /// whichever instrument they are given to.
    pub fn fault(&self, instrument: &str, plan: Plan) -> Result<(), Error> {
        self.bench().bay(instrument)?.faults.add(plan);
        self.inner.changed.send_replace(());
        Ok(())
    }

    /// Switches all faults of an instrument off. What is on its way already goes out as it is.
    pub fn clear_faults(&self, instrument: &str) -> Result<(), Error> {
        self.bench().bay(instrument)?.faults.clear();
        self.inner.changed.send_replace(());
        Ok(())
    }

    /// Lets a channel show this value, in its unit, until it is released. NaN and infinity go out as they are, where the
    /// instrument can express them.
    pub fn set_value(&self, instrument: &str, channel: &str, value: f64) -> Result<(), Error> {
        if !value.is_finite() {
            return self.set_raw(instrument, channel, Raw::Float(value));
        }
        self.set(instrument, channel, Shown::Set(Outcome::good(value)))
    }

    /// Lets a channel show a state instead of a value, until it is released: the sentinel, word or status code of the
    /// profile for this reason. `absent` leaves the channel out of messages that have a form without it.
    pub fn set_state(&self, instrument: &str, channel: &str, reason: &Reason) -> Result<(), Error> {
        self.set(instrument, channel, Shown::Set(Outcome::Bad(reason.clone())))
    }

    /// Lets a channel carry this raw value, before any scale, until it is released: a text where a number belongs, a code
    /// that the profile does not know.
    pub fn set_raw(&self, instrument: &str, channel: &str, raw: Raw) -> Result<(), Error> {
        self.set(instrument, channel, Shown::Raw(raw))
    }

    fn set(&self, instrument: &str, channel: &str, shown: Shown) -> Result<(), Error> {
        let mut bench = self.bench();
        let bay = bench.bay(instrument)?;
        let (index, channel) = bay.channel(channel)?;
        if let Shown::Set(outcome) = &shown
            && !shown.is_absent()
        {
            encode(channel, outcome, &mut Fields::new())?;
        }
        bay.set(index, shown);
        Ok(())
    }

    /// Lets a channel follow the scenario again.
    pub fn release(&self, instrument: &str, channel: &str) -> Result<(), Error> {
        let mut bench = self.bench();
        let bay = bench.bay(instrument)?;
        let (index, _) = bay.channel(channel)?;
        bay.release(index);
        Ok(())
    }

    /// Lets an instrument follow another scenario, whose time is that of the old one.
    pub fn follow(&self, instrument: &str, scenario: Scenario) -> Result<(), Error> {
        self.bench().bay(instrument)?.follow(scenario);
        Ok(())
    }

    /// Has these bytes said at once, after whatever is being said.
    pub fn say(&self, bytes: Vec<u8>) {
        self.bench().prompt(bytes);
        self.inner.changed.send_replace(());
    }

    /// The instruments' names.
    pub fn instruments(&self) -> Vec<Arc<str>> {
        self.bench().bays().map(|bay| Arc::clone(&bay.instrument.name)).collect()
    }

    /// The ids of an instrument's channels.
    pub fn channels(&self, instrument: &str) -> Result<Vec<Arc<str>>, Error> {
        let mut bench = self.bench();
        let channels = &bench.bay(instrument)?.instrument.device.channels;
        Ok(channels.iter().map(|channel| Arc::clone(&channel.id)).collect())
    }

    /// The faults of an instrument that are switched on, as they are written; empty for none.
    pub fn faults(&self, instrument: &str) -> Result<String, Error> {
        Ok(self.bench().bay(instrument)?.faults.shown())
    }

    /// Messages that an instrument has said unasked.
    pub fn spoken(&self, instrument: &str) -> Result<u64, Error> {
        Ok(self.bench().bay(instrument)?.spoken)
    }

    /// Where a trace is played: requests that were in it, and requests that were not.
    pub fn played(&self) -> Option<(u64, u64)> {
        self.bench().tape().map(|tape| (tape.known, tape.unknown))
    }

    /// Requests that an instrument understood as its own, answered or not.
    pub fn polls_seen(&self, instrument: &str) -> Result<u64, Error> {
        Ok(self.bench().bay(instrument)?.polls)
    }

    /// Modbus requests that would have changed an instrument. It has refused them all.
    pub fn writes_seen(&self, instrument: &str) -> Result<u64, Error> {
        Ok(self.bench().bay(instrument)?.writes)
    }

    /// Everything that was said, oldest first, as far as `record` of the settings reaches.
    pub fn said(&self) -> Vec<Said> {
        self.bench().record.all()
    }

    /// How many values the record had no room to keep.
    pub fn forgotten(&self) -> u64 {
        self.bench().record.forgotten()
    }

    /// Takes the port away as an unplugged adapter goes: clients are hung up, the stable name is gone. Returns when it is.
    pub fn hang_up(&self) -> Result<(), Error> {
        self.command(Command::HangUp)
    }

    /// Brings the port back under its stable name or at its address. Returns when it is there.
    pub fn come_back(&self) -> Result<(), Error> {
        self.command(Command::ComeBack)
    }

    /// Ends the simulator: hangs up, removes the stable name, and waits for the thread. A second call does nothing.
    pub fn stop(&self) {
        // It may have ended already.
        drop(self.inner.commands.send(Command::Stop));
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }

    fn command(&self, command: impl FnOnce(SyncSender<Result<(), Error>>) -> Command) -> Result<(), Error> {
        let (done, answer) = sync_channel(1);
        self.inner.commands.send(command(done)).map_err(|_| Error::Stopped)?;
        answer.recv().map_err(|_| Error::Stopped)?
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.inner.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Stop));
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}
