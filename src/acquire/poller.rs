//! The poller of one link: open, poll what is due, stamp, report; and again after whatever went wrong.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::schedule::{Ending, Schedule, Slot};
use super::{Event, Failure, Instrument, LeftOut, Plan, Poll, Report, Settings};
use crate::driver::Bus;
use crate::driver::Error as DriverError;
use crate::driver::Exchange;
use crate::driver::LeftOut as DriverLeftOut;
use crate::driver::Polled;
use crate::driver::Recovery;
use crate::link::Connector;
use crate::link::Pacer;
use crate::model::{Outcome, Reason, Sample, Stamp, TimeBase, with_causes};

/// Between attempts to open a link. The longest is short enough for a replugged adapter to be sampled again within two
/// seconds, and long enough not to be a load.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// A link that comes and goes must not fill the log: so many outages are logged in so long, and the others are counted.
const OUTAGES_TOLD: usize = 5;
const OUTAGES_TOLD_WITHIN: Duration = Duration::from_secs(60);

/// Owns one link for as long as the thread lives.
pub(super) struct Poller {
    pub(super) settings: Settings,
    pub(super) time: TimeBase,
    pacer: Pacer,
    pub(super) reports: mpsc::Sender<Report>,
    stop: CancellationToken,
    connector: Box<dyn Connector>,
    pub(super) stations: Vec<Station>,
    schedule: Schedule,
    opened_before: bool,
    /// How long the opened line has to be quiet after a failure, for which whoever failed is charged.
    quiet: Duration,
    /// Whose failure it was that the link is opened again for, and when that was.
    reopens_for: Option<(usize, Stamp)>,
    /// Whether anybody has answered since the link was last lost.
    answered_since_lost: bool,
    /// Whether the link was renewed for the slot that is due; see [`Lost::renewal`].
    renewed: bool,
    /// When outages were last logged, and how many have not been since.
    told: VecDeque<Stamp>,
    untold: u64,
    /// Since when the link has been down; for one log line each way.
    down_since: Option<Stamp>,
}

/// An instrument and what its poller remembers of it.
pub(super) struct Station {
    pub(super) instrument: Instrument,
    /// Whether `Driver::connect` has succeeded since the link was opened.
    connected: bool,
    /// Since when it has not answered, and whether that was logged: a single lost reply is not.
    pub(super) silent_since: Option<Stamp>,
    pub(super) told: bool,
    /// Whether it has answered since the link was last out of order.
    answered: bool,
    /// Until when silence is no fault: it may just have been switched on.
    warms_up_until: Stamp,
    /// What it refuses to give, as last reported.
    left_out: Vec<DriverLeftOut>,
}

/// The reader of the reports is gone: there is nothing left to poll for.
pub(super) struct Closed;

impl Poller {
    pub(super) fn new(
        settings: Settings,
        time: TimeBase,
        pacer: Pacer,
        plan: Plan,
        reports: mpsc::Sender<Report>,
        stop: CancellationToken,
    ) -> Self {
        let stations: Vec<Station> = plan.instruments.into_iter().map(Station::new).collect();
        let polls: Vec<(usize, usize, Duration)> = stations
            .iter()
            .enumerate()
            .flat_map(|(index, station)| {
                let channels = &station.instrument.channels;
                let used = |channel: &usize| channels.get(*channel).is_some_and(Option::is_some);
                let polls = station.instrument.driver.polls().iter().enumerate();
                polls
                    .filter(move |(_, poll)| poll.channels.iter().any(used))
                    .map(move |(number, poll)| (index, number, poll.every))
            })
            .collect();
        let schedule = Schedule::new(polls, time.now());
        Self {
            settings,
            time,
            pacer,
            reports,
            stop,
            connector: plan.connector,
            stations,
            schedule,
            opened_before: false,
            quiet: Duration::ZERO,
            reopens_for: None,
            answered_since_lost: false,
            renewed: false,
            told: VecDeque::new(),
            untold: 0,
            down_since: None,
        }
    }

    /// Polls until it is stopped.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            Closed = self.keep_polling() => {}
        }
    }

    async fn keep_polling(&mut self) -> Closed {
        let mut retry = Duration::ZERO;
        let mut renewing = false;
        let mut was_down = true;
        loop {
            let why = match self.connector.open().await {
                Err(error) => {
                    renewing = false;
                    self.reopens_for = None;
                    Some(with_causes(&error))
                }
                Ok(wire) => {
                    if !self.opened_before {
                        self.opened_before = true;
                        tracing::info!(link = %self.settings.name, to = %self.connector.describe(), "link is open");
                    }
                    if !std::mem::take(&mut renewing) && self.report(Event::Opened).await.is_err() {
                        return Closed;
                    }
                    let now = self.time.now();
                    if std::mem::take(&mut was_down) {
                        self.stations.iter_mut().for_each(|station| station.may_warm_up(now));
                    }
                    if let Some((instrument, failed)) = self.reopens_for.take() {
                        let slots = self.schedule.charge(instrument, now, now.since(failed));
                        if slots > 0 && self.report(Event::Missed { instrument, slots }).await.is_err() {
                            return Closed;
                        }
                    }
                    self.quiet = wire.settings().quiet;
                    let mut bus = Bus::over(wire, self.settings.protocol);
                    match self.poll_until_lost(&mut bus).await {
                        Err(closed) => return closed,
                        Ok(Lost { renewal: true, .. }) => {
                            renewing = true;
                            continue;
                        }
                        Ok(lost) => {
                            if lost.after_answers {
                                retry = Duration::ZERO;
                            }
                            lost.why
                        }
                    }
                }
            };
            if let Some(why) = why {
                was_down = true;
                self.note_outage(&why);
                if self.report(Event::Down { why }).await.is_err() {
                    return Closed;
                }
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).clamp(FIRST_RETRY, LONGEST_RETRY);
        }
    }

    /// One line for each outage, unless the link comes and goes.
    fn note_outage(&mut self, why: &str) {
        if self.down_since.is_some() {
            return;
        }
        let now = self.time.now();
        self.down_since = Some(now);
        self.told.retain(|told| now.since(*told) < OUTAGES_TOLD_WITHIN);
        if self.told.len() >= OUTAGES_TOLD {
            self.untold += 1;
            return;
        }
        self.told.push_back(now);
        let not_logged = std::mem::take(&mut self.untold);
        tracing::warn!(link = %self.settings.name, why, not_logged, "link is down");
    }

    /// A port that opens is not yet an instrument that answers: only the answer ends the outage.
    pub(super) fn note_answer(&mut self) {
        if let Some(since) = self.down_since.take()
            && self.told.back() == Some(&since)
        {
            let down_for_s = self.time.now().since(since).as_secs_f64();
            tracing::info!(link = %self.settings.name, down_for_s, "link is back");
        }
    }

    /// Polls what is due until the link has to be opened again.
    async fn poll_until_lost(&mut self, bus: &mut Bus) -> Result<Lost, Closed> {
        let speaker = self.stations.iter().position(|station| station.instrument.driver.listens());
        if let Some(speaker) = speaker {
            return self.listen_until_lost(bus, speaker).await;
        }
        for station in &mut self.stations {
            station.connected = false;
        }
        for (instrument, slots) in self.schedule.resume(self.time.now()) {
            self.report(Event::Missed { instrument, slots }).await?;
        }
        let mut after_answers = false;
        loop {
            let Some(slot) = self.schedule.next(self.time.now()) else {
                return std::future::pending().await;
            };
            self.pacer.until_exactly(self.time.instant(slot.at).into()).await;
            let began = self.time.now();
            let polled = self.poll(bus, slot).await;
            let is_gone = matches!(polled.failure, Some(DriverError::Gone(_))) && polled.exchanges.is_empty();
            if is_gone && !self.renewed {
                self.renewed = true;
                return Ok(Lost { why: None, after_answers, renewal: true });
            }
            self.renewed = is_gone;
            let recovery = polled.failure.as_ref().map(DriverError::recovery);
            let gone = match &polled.failure {
                Some(error @ DriverError::Gone(_)) => Some(with_causes(error)),
                _ => None,
            };
            if !polled.exchanges.is_empty() {
                after_answers = true;
                self.note_answer();
            }
            self.report_poll(slot, began, polled).await?;
            if recovery == Some(Recovery::Reopen) {
                self.reopens_for = gone.is_none().then(|| (slot.instrument, self.time.now()));
                return Ok(Lost { why: gone, after_answers, renewal: false });
            }
        }
    }

    async fn poll(&mut self, bus: &mut Bus, slot: Slot) -> Polled {
        let Some(station) = self.stations.get_mut(slot.instrument) else {
            return Polled { exchanges: Vec::new(), failure: None };
        };
        if !station.connected {
            if let Err(error) = station.instrument.driver.connect(bus).await {
                return Polled { exchanges: Vec::new(), failure: Some(error) };
            }
            station.connected = true;
        }
        station.instrument.driver.poll(bus, slot.poll).await
    }

    async fn report_poll(&mut self, slot: Slot, began: Stamp, polled: Polled) -> Result<(), Closed> {
        let ended = self.time.now();
        let in_order = matches!(polled.failure.as_ref().map(DriverError::recovery), None | Some(Recovery::SkipReading));
        let answered = in_order || !polled.exchanges.is_empty();
        let is_gone = matches!(polled.failure, Some(DriverError::Gone(_)));
        // One that is lost at each question to the same instrument, and answers the others, is lost through that one.
        let of_the_link = is_gone && !answered && !std::mem::take(&mut self.answered_since_lost);
        self.answered_since_lost |= answered;
        let lost = if in_order || is_gone { Duration::ZERO } else { ended.since(began) + self.quiet };
        let Some(station) = self.stations.get_mut(slot.instrument) else { return Ok(()) };
        let silent = polled.failure.as_ref().is_some_and(DriverError::is_silence);
        let expected = !answered && station.is_silent(ended, silent);
        let outlook = self.schedule.done(slot, ended, Ending { answered, lost, expected, of_the_link });
        let paused = polled.failure.as_ref().filter(|_| outlook.pause.is_some() && !expected);
        station.note_health(&self.settings.name, ended, answered, paused);

        let round_trip = polled.exchanges.first().map(|exchange| exchange.answered.duration_since(exchange.asked));
        let mut samples = Vec::new();
        for exchange in &polled.exchanges {
            stamp_exchange(&self.time, &station.instrument, exchange, &mut samples);
        }
        let reason_for = |failure: &DriverError| if expected { Reason::WARMING_UP } else { failure.reason() };
        if let Some(failure) = &polled.failure {
            let outcome = Outcome::Bad(reason_for(failure));
            let at = began.plus(ended.since(began) / 2);
            let fed = station.instrument.driver.polls().get(slot.poll).map_or(&[][..], |poll| &poll.channels);
            for channel in fed.iter().filter_map(|channel| station.instrument.channels.get(*channel).copied().flatten())
            {
                if !samples.iter().any(|sample| sample.channel == channel) {
                    let uncertainty = ended.since(began) / 2;
                    samples.push(Sample { channel, at, uncertainty, outcome: outcome.clone() });
                }
            }
        }
        let failure = polled.failure.as_ref().map(|error| Failure {
            reason: reason_for(error),
            words: if expected {
                let seconds = station.instrument.warm_up.as_secs_f64();
                format!("{}; it may take {seconds} s after it was switched on", with_causes(error))
            } else {
                with_causes(error)
            },
            pause: outlook.pause,
        });
        let left_out = station.newly_left_out();
        self.report(Event::Polled(Poll {
            instrument: slot.instrument,
            samples,
            round_trip,
            late_by: began.since(slot.at),
            missed: outlook.skipped,
            failure,
            left_out,
        }))
        .await
    }

    /// Sends a report with the link's watermark: nothing will be stamped before the next slot, nor before now, and
    /// nothing at all while the link is down.
    async fn report(&mut self, event: Event) -> Result<(), Closed> {
        let now = self.time.now();
        let watermark = match event {
            Event::Down { .. } => Stamp::from_nanos(i64::MAX),
            _ => self.schedule.next(now).map_or(now, |next| next.at.max(now)),
        };
        self.reports.send(Report { link: self.settings.link, watermark, event }).await.map_err(|_| Closed)
    }
}

/// Why polling stopped.
pub(super) struct Lost {
    /// What was said of the link itself; none where only an exchange failed and a fresh connection is wanted.
    pub(super) why: Option<String>,
    /// Whether anything was answered since the link was opened: then it is opened again at once.
    pub(super) after_answers: bool,
    /// The peer had closed the connection between two polls, as device servers and gateways do with idle ones. That is no
    /// fault: the link is opened again at once, once for each slot, and the slot is polled there.
    pub(super) renewal: bool,
}

impl Station {
    fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            connected: false,
            silent_since: None,
            told: false,
            answered: false,
            warms_up_until: Stamp::default(),
            left_out: Vec::new(),
        }
    }

    /// The link is in order again: whoever was switched off with it may be starting.
    fn may_warm_up(&mut self, now: Stamp) {
        self.answered = false;
        self.warms_up_until = now.plus(self.instrument.warm_up);
    }

    /// Whether a failed poll was nothing but a silence that was to be expected: the first one after answers may mean that
    /// it was switched off and on again.
    fn is_silent(&mut self, now: Stamp, silent: bool) -> bool {
        if std::mem::take(&mut self.answered) {
            self.warms_up_until = now.plus(self.instrument.warm_up);
        }
        silent && now < self.warms_up_until
    }

    /// What the instrument refuses to give, if that has changed.
    fn newly_left_out(&mut self) -> Option<Vec<LeftOut>> {
        let left_out = self.instrument.driver.left_out();
        if left_out == self.left_out {
            return None;
        }
        let channels = &self.instrument.channels;
        let used = |of: &DriverLeftOut| {
            let used = of.channels.iter().filter_map(|channel| channels.get(*channel).copied().flatten());
            LeftOut { channels: used.collect(), what: of.what.clone() }
        };
        let reported = left_out.iter().map(used).filter(|of| !of.channels.is_empty()).collect();
        self.left_out = left_out;
        Some(reported)
    }

    /// `paused` is the failure for which the instrument is left alone, if it is.
    fn note_health(&mut self, link: &str, now: Stamp, answered: bool, paused: Option<&DriverError>) {
        let instrument = &self.instrument.name;
        if answered {
            self.answered = true;
            if let Some(since) = self.silent_since.take().filter(|_| self.told) {
                let silent_for_s = now.since(since).as_secs_f64();
                tracing::info!(link, %instrument, silent_for_s, "instrument answers again");
            }
            self.told = false;
            return;
        }
        self.silent_since.get_or_insert(now);
        if let Some(error) = paused.filter(|_| !self.told) {
            self.told = true;
            tracing::warn!(link, %instrument, error = %with_causes(error), "instrument does not answer");
        }
    }
}

/// Gives the readings of one exchange its time: the midpoint of request and reply, with half the round trip as uncertainty.
fn stamp_exchange(time: &TimeBase, instrument: &Instrument, exchange: &Exchange, samples: &mut Vec<Sample>) {
    let half = exchange.answered.duration_since(exchange.asked) / 2;
    let at = time.stamp(Instant::into_std(exchange.asked)).plus(half);
    for reading in &exchange.readings {
        if let Some(channel) = instrument.channels.get(reading.channel).copied().flatten() {
            samples.push(Sample { channel, at, uncertainty: half, outcome: reading.outcome.clone() });
        }
    }
}
