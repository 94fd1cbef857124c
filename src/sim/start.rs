//! Starting a simulator: what is refused, and the thread that it lives on.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use crate::profile::DeviceEngine;

use super::bench::Bench;
use super::handle::Running;
use super::line::{Line, Speech};
use super::place::{Found, Open, live};
use super::{Error, Pace, Place, Sim, SimHandle, SimInstrument, SimSettings, text};

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
        let pace = if speech == Speech::Mbap { Pace::Unpaced } else { settings.pace };
        let bench = Arc::new(Mutex::new(Bench::new(settings.instruments, settings.record)));
        let line = Line { bench: Arc::clone(&bench), speech, pace: pace.clone(), strict_baud: settings.strict_baud };
        let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
        let (tell, told) = sync_channel::<Opened>(1);
        let place = settings.place.clone();
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
        let running = Running { bench, commands, place: settings.place, found, pace, thread: Mutex::new(Some(thread)) };
        Ok(SimHandle { inner: Arc::new(running) })
    }
}

/// What is spoken at the place, if all instruments can.
fn speech_of(settings: &SimSettings) -> Result<Speech, Error> {
    let first = settings.instruments.first().ok_or(Error::NoInstruments)?;
    let is_text = |instrument: &SimInstrument| matches!(instrument.device.engine, DeviceEngine::Messages(_));
    let speech = match settings.place {
        #[cfg(unix)]
        Place::Pty { .. } if is_text(first) => Speech::Text,
        #[cfg(unix)]
        Place::Pty { .. } => Speech::Rtu,
        Place::ModbusTcp { .. } => Speech::Mbap,
        Place::RtuOverTcp { .. } => Speech::Rtu,
        Place::Tcp { .. } => Speech::Text,
    };
    let misfit = settings.instruments.iter().find(|instrument| is_text(instrument) != (speech == Speech::Text));
    misfit.map_or(Ok(speech), |instrument| Err(Error::Speech(instrument.name.to_string())))
}

fn refuse_what_can_t_be(instruments: &[SimInstrument], speech: Speech) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for (place, instrument) in instruments.iter().enumerate() {
        if !names.insert(&instrument.name) {
            return Err(Error::SameName(instrument.name.to_string()));
        }
        if speech != Speech::Text && !(1..=247).contains(&instrument.unit) {
            return Err(Error::Unit(instrument.name.to_string(), instrument.unit));
        }
        if let DeviceEngine::Messages(text) = &instrument.device.engine
            && let Some(pattern) = text::unwritable(text)
        {
            return Err(Error::OnlyReadable { instrument: instrument.name.to_string(), pattern });
        }
        let rival = instruments.iter().take(place).find(|earlier| answers_same(earlier, instrument));
        if let Some(rival) = rival {
            return Err(Error::SameAddress(rival.name.to_string(), instrument.name.to_string()));
        }
    }
    Ok(())
}

fn answers_same(one: &SimInstrument, other: &SimInstrument) -> bool {
    match (&one.device.engine, &other.device.engine) {
        (DeviceEngine::Messages(one), DeviceEngine::Messages(other)) => {
            let known: BTreeSet<&[u8]> = text::messages(one).collect();
            text::messages(other).any(|message| known.contains(message))
        }
        (DeviceEngine::Modbus(_), DeviceEngine::Modbus(_)) => one.unit == other.unit,
        _ => false,
    }
}
