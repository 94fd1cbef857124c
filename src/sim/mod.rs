//! Simulated instruments that speak the real protocols, byte for byte, over pseudo-terminals and TCP.
//!
//! A simulator is one line with one or more instruments on it, like a port of a real lab: [`Sim::start`] gives it a thread
//! and a [`SimHandle`]. What an instrument says is its profile written backwards; what it measures is a [`Scenario`]; when
//! it says it follows from the baud rate. Everything that goes wrong on real lines can be switched on while it runs (a
//! [`Plan`] of [`Fault`]s), and everything that was said is kept with its time ([`Said`]).
//!
//! It knows nothing of the pipeline, and the pipeline nothing of it: they meet at a port or a socket. It never does what a
//! request asks if that would change an instrument. A simulator made from a profile can't find a wrong profile: both sides
//! share the mistake. The profiles' own test vectors are there for that.
//!
//! What holds: an instrument answers only requests that are for it; a line survives any garbage; a request that comes
//! while an answer is late is answered after it, in order; no byte goes out before the line would have carried it; what
//! the record holds was decoded from the bytes that went out.

mod bay;
mod bench;
#[cfg(unix)]
mod clients;
mod ear;
mod error;
mod fault;
mod framing;
mod handle;
mod instrument;
mod line;
mod message;
mod modbus;
mod pace;
mod place;
#[cfg(unix)]
mod pty;
mod recording;
mod replay;
mod said;
mod scenario;
mod start;
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod voice;

pub use error::Error;
pub use fault::{Fault, InvalidFault, Plan, When};
pub use handle::SimHandle;
pub use instrument::SimInstrument;
pub use pace::Pace;
pub use place::Place;
pub use recording::{InvalidRecording, Playing, Recording};
pub use said::Said;
pub use scenario::{Scenario, Signal};

/// A line to simulate.
#[derive(Debug, Clone)]
pub struct SimSettings {
    /// Where clients find it.
    pub place: Place,
    /// How fast bytes go over it. Modbus/TCP is not paced whatever this says.
    pub pace: Pace,
    /// Whether requests at another baud rate than the line's are noise. Only a pseudo-terminal can tell.
    pub strict_baud: bool,
    /// Who is on it.
    pub instruments: Vec<SimInstrument>,
    /// How many values the record keeps; 0 for none.
    pub record: usize,
}

impl SimSettings {
    /// A line without any pace of its own that records the last 100 000 values.
    pub fn new(place: Place, instruments: Vec<SimInstrument>) -> Self {
        Self { place, pace: Pace::Unpaced, strict_baud: false, instruments, record: 100_000 }
    }

    /// The same at the pace of a line.
    #[must_use]
    pub fn paced(self, line: crate::model::LineSettings) -> Self {
        Self { pace: Pace::Line(line), ..self }
    }
}

/// The simulator.
#[derive(Debug)]
pub struct Sim;
