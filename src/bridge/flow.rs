//! The flow: reports of the links become ticks and are handed to the recorder, and the board sees all of them.
//!
//! It waits for nothing but the next report, so acquisition never waits for it: the recorder takes a batch at once or
//! gives it back, and what it gives back is tried again with the next one, or counted when there is too much of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::links;
use crate::acquire::{Event, LeftOut, Report};
use crate::config::Config;
use crate::live;
use crate::live::{Board, HeardNote, PollNote};
use crate::model::{Counts, Mark, Stamp, TimeBase};
use crate::mux::Aligner;
use crate::runs::Batch;

/// How often ticks are closed when no report comes: for links that have fallen silent.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Ticks held for a recorder that is too far behind; beyond, they are counted `unrecorded`. Ten minutes at 10 Hz.
const HELD_TICKS: usize = 6_000;

/// Where finished batches go; gives a batch back that it can't take now.
pub(super) trait Recorder: Send {
    fn append(&self, batch: Batch) -> Result<(), Batch>;
}

/// What one flow is made of.
pub(super) struct Flow<R> {
    time: TimeBase,
    aligner: Aligner,
    board: Arc<Board>,
    /// The bridge's number of each instrument, by link and place on the link.
    instruments: Vec<Vec<usize>>,
    recorder: R,
    held: Batch,
    /// Whether the recorder gave back the last batch; for one log line each way.
    behind: bool,
}

impl<R: Recorder> Flow<R> {
    pub(super) fn new(config: &Config, time: TimeBase, board: Arc<Board>, recorder: R) -> Self {
        let instruments = links::by_link(config);
        let mut aligner =
            Aligner::new(super::align_settings(config), links::channels(config).len(), config.links.len());
        for (link, on_it) in instruments.iter().enumerate() {
            // A link without instruments has no thread, and so will never stamp anything.
            if on_it.is_empty() {
                aligner.advance(link, Stamp::from_nanos(i64::MAX));
            }
        }
        Self { time, aligner, board, instruments, recorder, held: Batch::default(), behind: false }
    }

    /// Carries reports until every link thread has ended, then closes the last ticks.
    pub(super) async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        loop {
            match tokio::time::timeout(HEARTBEAT, reports.recv()).await {
                Ok(Some(report)) => {
                    self.take(&report);
                    while let Ok(report) = reports.try_recv() {
                        self.take(&report);
                    }
                }
                Ok(None) => break,
                Err(_) => {}
            }
            let aligned = self.aligner.drain(self.time.now());
            if !aligned.is_empty() {
                self.record(Batch { ticks: aligned.ticks, counts: aligned.counts });
            } else if !self.held.ticks.is_empty() {
                self.record(Batch::default());
            }
        }
        let last = self.aligner.finish();
        let mut left = std::mem::take(&mut self.held);
        merge(&mut left, Batch { ticks: last.ticks, counts: last.counts });
        // The process is about to end, so now, and only now, it is right to wait for the disk.
        for _ in 0..LAST_ATTEMPTS {
            match self.recorder.append(left) {
                Ok(()) => return,
                Err(back) => left = back,
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
        tracing::error!(ticks = left.ticks.len(), "the last ticks could not be handed to the recorder");
    }

    fn take(&mut self, report: &Report) {
        let number = |instrument: usize| {
            self.instruments.get(report.link).and_then(|link| link.get(instrument)).copied().unwrap_or(usize::MAX)
        };
        match &report.event {
            Event::Opened => self.board.link_opened(report.link),
            Event::Down { why } => self.board.link_down(report.link, why),
            Event::Missed { instrument, slots } => self.board.missed(number(*instrument), *slots),
            Event::Polled(poll) => {
                self.board.polled(
                    number(poll.instrument),
                    &PollNote {
                        samples: &poll.samples,
                        round_trip: poll.round_trip,
                        late_by: poll.late_by,
                        missed: poll.missed,
                        failure: poll.failure.as_ref().map(|failure| (&failure.reason, failure.words.as_str())),
                    },
                );
                if let Some(left_out) = &poll.left_out {
                    let live = |of: &LeftOut| live::LeftOut { channels: of.channels.clone(), what: of.what.clone() };
                    self.board.left_out(number(poll.instrument), left_out.iter().map(live).collect());
                }
                for sample in &poll.samples {
                    self.aligner.push(sample);
                }
            }
            Event::Heard(talk) => {
                self.board.heard(
                    number(talk.instrument),
                    &HeardNote {
                        samples: &talk.samples,
                        messages: talk.messages,
                        broken: talk.broken,
                        failure: talk.failure.as_ref().map(|failure| (&failure.reason, failure.words.as_str())),
                    },
                );
                for sample in &talk.samples {
                    self.aligner.push(sample);
                }
            }
        }
        self.aligner.advance(report.link, report.watermark);
    }

    fn record(&mut self, batch: Batch) {
        merge(&mut self.held, batch);
        let refused = self.recorder.append(std::mem::take(&mut self.held));
        let behind = refused.is_err();
        if behind != self.behind {
            self.behind = behind;
            if behind {
                tracing::warn!("the recorder takes nothing at the moment; ticks are held in memory");
            } else {
                tracing::info!("the recorder takes ticks again");
            }
        }
        if let Err(back) = refused {
            self.held = back;
            self.give_up_oldest();
        }
    }

    /// Counts what no longer fits as unrecorded. The counts themselves are always carried on.
    fn give_up_oldest(&mut self) {
        let Some(surplus) = self.held.ticks.len().checked_sub(HELD_TICKS).filter(|surplus| *surplus > 0) else {
            return;
        };
        for point in self.held.ticks.drain(..surplus).flat_map(|tick| tick.points) {
            if point.mark != Mark::Filled {
                if self.held.counts.len() <= point.channel.0 {
                    self.held.counts.resize(point.channel.0 + 1, Counts::default());
                }
                if let Some(counts) = self.held.counts.get_mut(point.channel.0) {
                    counts.unrecorded += 1;
                }
            }
        }
    }
}

/// Attempts to hand over the last ticks, one a heartbeat.
const LAST_ATTEMPTS: usize = 50;

fn merge(into: &mut Batch, from: Batch) {
    into.ticks.extend(from.ticks);
    if into.counts.len() < from.counts.len() {
        into.counts.resize(from.counts.len(), Counts::default());
    }
    for (sum, part) in into.counts.iter_mut().zip(&from.counts) {
        sum.add(part);
    }
}
