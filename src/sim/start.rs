//! Starting a simulator: what is refused, and the thread that it lives on.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::model::TraceLine;
use crate::profile::DeviceEngine;

use super::bench::Bench;
use super::handle::Running;
use super::line::{Line, Speech};
use super::place::{Found, Open, live};
use super::replay::Tape;
use super::{Error, Pace, Place, Sim, SimHandle, SimInstrument, SimSettings, message};

/// How opening went, as the simulator's thread tells it.
type Opened = Result<Arc<Mutex<Found>>, Error>;

impl Sim {
    /// Opens the place and serves it on a thread of its own until the handle stops it. Returns when clients can come.
    ///
    /// It has its own thread and runtime so that a busy pipeline can't bend the line's timing. The thread sleeps while
    /// nothing is on the line. May be called from anywhere, also from within a runtime.
    pub fn start(settings: SimSettings) -> Result<SimHandle, Error> {
        let speech = speech_of(&settings)?;
        refuse_what_can_t_be(&settings.instruments, speech)?;
        let bench = Bench::new(settings.instruments, settings.record);
        Self::serve(bench, speech, settings.pace, settings.strict_baud, settings.place)
    }

    /// Plays the trace of a link at this place, at the times of then: see [`SimHandle::played`]. A trace of Modbus/TCP
    /// needs a place for that, one of RTU frames or other messages any other.
    pub fn replay(trace: &[TraceLine], place: Place) -> Result<SimHandle, Error> {
        let mbap = matches!(place, Place::ModbusTcp { .. });
        let tape = Tape::of(trace, mbap);
        if tape.is_empty() {
            return Err(Error::NothingToPlay);
        }
        let speech = if mbap { Speech::Mbap } else { Speech::Messages };
        Self::serve(Bench::playing(tape), speech, Pace::Unpaced, false, place)
    }

    fn serve(bench: Bench, speech: Speech, pace: Pace, strict_baud: bool, at: Place) -> Result<SimHandle, Error> {
        let pace = if speech == Speech::Mbap { Pace::Unpaced } else { pace };
        let bench = Arc::new(Mutex::new(bench));
        let (changed, changes) = watch::channel(());
        let line = Line { bench: Arc::clone(&bench), speech, pace: pace.clone(), strict_baud, changed: changes };
        let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
        let (tell, told) = sync_channel::<Opened>(1);
        let place = at.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::StartThread)?;
        let thread = std::thread::Builder::new()
            .name("sim".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let opened = Open::at(&place).await.and_then(|open| {
                        let found = open.found().map_err(Error::StartThread)?;
                        Ok((open, found))
                    });
                    match opened {
                        Ok((open, found)) => {
                            let place = place.fixed(&found);
                            let found = Arc::new(Mutex::new(found));
                            drop(tell.send(Ok(Arc::clone(&found))));
                            live(place, &found, open, line, inbox).await;
                        }
                        Err(error) => drop(tell.send(Err(error))),
                    }
                });
            })
            .map_err(Error::StartThread)?;
        let found = told.recv().map_err(|_| Error::Stopped)??;
        let thread = Mutex::new(Some(thread));
        let running = Running { bench, commands, place: at, found, pace, changed, thread };
        Ok(SimHandle { inner: Arc::new(running) })
    }
}

/// What is spoken at the place, if all instruments can.
fn speech_of(settings: &SimSettings) -> Result<Speech, Error> {
    let first = settings.instruments.first().ok_or(Error::NoInstruments)?;
    let is_text = |instrument: &SimInstrument| matches!(instrument.device.engine, DeviceEngine::Messages(_));
    let speech = match settings.place {
        #[cfg(unix)]
        Place::Pty { .. } if is_text(first) => Speech::Messages,
        #[cfg(unix)]
        Place::Pty { .. } => Speech::Rtu,
        Place::ModbusTcp { .. } => Speech::Mbap,
        Place::RtuOverTcp { .. } => Speech::Rtu,
        Place::Tcp { .. } => Speech::Messages,
    };
    let misfit = settings.instruments.iter().find(|instrument| is_text(instrument) != (speech == Speech::Messages));
    misfit.map_or(Ok(speech), |instrument| Err(Error::Speech(instrument.name.to_string())))
}

fn refuse_what_can_t_be(instruments: &[SimInstrument], speech: Speech) -> Result<(), Error> {
    let mut talkers = instruments.iter().filter(|instrument| talks(instrument));
    if let (Some(one), Some(other)) = (talkers.next(), talkers.next()) {
        return Err(Error::TwoTalkers(one.name.to_string(), other.name.to_string()));
    }
    let mut names = BTreeSet::new();
    for (place, instrument) in instruments.iter().enumerate() {
        if !names.insert(&instrument.name) {
            return Err(Error::SameName(instrument.name.to_string()));
        }
        if speech != Speech::Messages && !(1..=247).contains(&instrument.unit) {
            return Err(Error::Unit(instrument.name.to_string(), instrument.unit));
        }
        if let DeviceEngine::Messages(text) = &instrument.device.engine
            && let Some(pattern) = message::unwritable(text)
        {
            return Err(Error::OnlyReadable { instrument: instrument.name.to_string(), pattern });
        }
        if let Some(rate) = instrument.rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(Error::Rate(instrument.name.to_string(), rate));
        }
        let rival = instruments.iter().take(place).find(|earlier| answers_same(earlier, instrument));
        if let Some(rival) = rival {
            return Err(Error::SameAddress(rival.name.to_string(), instrument.name.to_string()));
        }
    }
    Ok(())
}

fn talks(instrument: &SimInstrument) -> bool {
    matches!(&instrument.device.engine, DeviceEngine::Messages(engine) if engine.listens())
}

fn answers_same(one: &SimInstrument, other: &SimInstrument) -> bool {
    match (&one.device.engine, &other.device.engine) {
        (DeviceEngine::Messages(one), DeviceEngine::Messages(other)) => {
            let known: BTreeSet<&[u8]> = message::messages(one).collect();
            message::messages(other).any(|message| known.contains(message))
        }
        (DeviceEngine::Modbus(_), DeviceEngine::Modbus(_)) => one.unit == other.unit,
        _ => false,
    }
}
