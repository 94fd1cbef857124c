//! Listening: the link of an instrument that speaks unasked, which it has to itself.
//!
//! The poller opens such a link and backs off from it as from any other. In between there are no slots: what was said is
//! reported in batches, and where nothing is said, a report without samples moves the watermark on.

use std::time::Duration;

use tokio::time::Instant;

use super::poller::{Closed, Lost, Poller, Station};
use super::{Event, Failure, Report, Talk};
use crate::driver::Bus;
use crate::driver::Error as DriverError;
use crate::driver::Listened;
use crate::model::{Reason, Sample, Stamp, TimeBase, with_causes};

/// How often the watermark moves while nothing is said.
const HEARTBEAT: Duration = Duration::from_millis(50);

impl Poller {
    /// Listens to the instrument at this place until the link has to be opened again.
    pub(super) async fn listen_until_lost(&mut self, bus: &mut Bus, instrument: usize) -> Result<Lost, Closed> {
        let mut after_answers = false;
        let mut connected = false;
        loop {
            let Some(station) = self.stations.get_mut(instrument) else {
                return std::future::pending().await;
            };
            let driver = &mut station.instrument.driver;
            let listened = if connected {
                driver.listen(bus, Instant::now() + HEARTBEAT).await
            } else {
                connected = true;
                match driver.connect(bus).await {
                    Ok(()) => Listened::nothing(),
                    Err(error) => Listened { failure: Some(error), ..Listened::nothing() },
                }
            };
            // A message that starts the stream and is not answered is sent again on a fresh link.
            let goes_on = |failure: &DriverError| matches!(failure, DriverError::Misheard(_) | DriverError::Stale(_));
            let reopen = listened.failure.as_ref().is_some_and(|failure| !goes_on(failure));
            let gone = match &listened.failure {
                Some(error @ DriverError::Gone(_)) => Some(with_causes(error)),
                _ => None,
            };
            station.note_hearing(&self.settings.name, self.time.now(), &listened);
            let talk = talk(&self.time, station, instrument, &listened);
            if listened.messages > 0 {
                after_answers = true;
                self.note_answer();
            }
            let watermark = self.time.stamp(listened.watermark.into_std());
            let report = Report { link: self.settings.link, watermark, event: Event::Heard(talk) };
            self.reports.send(report).await.map_err(|_| Closed)?;
            if reopen {
                return Ok(Lost { why: gone, after_answers, renewal: false });
            }
        }
    }
}

impl Station {
    fn note_hearing(&mut self, link: &str, now: Stamp, listened: &Listened) {
        let instrument = &self.instrument.name;
        match &listened.failure {
            None if listened.messages > 0 => {
                if let Some(since) = self.silent_since.take().filter(|_| self.told) {
                    let silent_for_s = now.since(since).as_secs_f64();
                    tracing::info!(link, %instrument, silent_for_s, "instrument is heard again");
                }
                self.told = false;
            }
            Some(error) if error.reason() == Reason::STALE => {
                self.silent_since.get_or_insert(now);
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(link, %instrument, error = %with_causes(error), "instrument is not heard");
                }
            }
            _ => {}
        }
    }
}

/// What was heard, stamped, as far as the lab uses it.
fn talk(time: &TimeBase, station: &Station, instrument: usize, listened: &Listened) -> Talk {
    let channels = &station.instrument.channels;
    let mut samples = Vec::with_capacity(listened.said.len());
    for said in &listened.said {
        let at = time.stamp(said.at.into_std());
        for reading in &said.readings {
            if let Some(channel) = channels.get(reading.channel).copied().flatten() {
                let outcome = reading.outcome.clone();
                samples.push(Sample { channel, at, uncertainty: said.uncertainty, outcome });
            }
        }
    }
    let failure = listened.failure.as_ref().map(|error| Failure {
        reason: error.reason(),
        words: with_causes(error),
        pause: None,
    });
    Talk { instrument, samples, messages: listened.messages, broken: listened.broken, failure }
}

#[cfg(unix)]
#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
