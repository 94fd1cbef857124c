//! The driver for Modbus devices.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_modbus::ExceptionCode;

use crate::model::Reading;
use crate::model::Reason;
use crate::profile::Device;
use crate::profile::Fields;
use crate::profile::ModbusDevice;
use crate::profile::Timing;

use super::super::error::GATEWAY_FAILURES;
use super::super::{Bus, Driver, Error, Exchange, ExchangeSize, LeftOut, PollSpec, Polled};
use super::plan::{Block, plan};
use super::{exception, exception_in_words};

/// Illegal data address and illegal data value: something in the block is not for reading.
const REFUSALS: [u8; 2] = [2, 3];

/// A register that was refused may be there later (a module plugged in, a gauge switched on).
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Reads the channels of one Modbus unit.
#[derive(Debug)]
pub struct ModbusDriver {
    device: Device,
    unit: u8,
    specs: Vec<PollSpec>,
    /// The blocks of each poll as they were planned, before the device refused any.
    whole: Vec<Vec<Arc<Block>>>,
    polls: Vec<Vec<Planned>>,
    /// Whether the device has given a value since the link was opened. One that refuses all that it is asked is not taken
    /// apart in memory: it may only just be starting.
    gives: bool,
}

#[derive(Debug, Clone)]
struct Planned {
    block: Arc<Block>,
    /// Whether it was cut out of a block that the device refused.
    cut_out: bool,
    /// The refusal for which it is left out.
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    code: u8,
    /// When it is asked for again.
    until: Instant,
}

impl ModbusDriver {
    /// A driver for the unit with this address.
    pub fn new(modbus: ModbusDevice, device: Device, unit: u8) -> Self {
        let mut specs = Vec::new();
        let mut whole: Vec<Vec<Arc<Block>>> = Vec::new();
        for (every, blocks) in plan(&device, &modbus) {
            specs.push(PollSpec {
                every,
                channels: blocks.iter().flat_map(Block::channels).collect(),
                exchanges: blocks.iter().map(|block| size(block, &device.timing)).collect(),
            });
            whole.push(blocks.into_iter().map(Arc::new).collect());
        }
        let polls = whole.iter().map(|blocks| fresh(blocks)).collect();
        Self { device, unit, specs, whole, polls, gives: false }
    }

    /// Reads one block, dividing it where the device refuses it. What it takes of the plan comes back as `Planned`.
    ///
    /// What is refused by itself is left out and asked for again after [`ASK_AGAIN_AFTER`], or when the link is opened anew:
    /// a module may have been plugged in, a gauge switched on, the device set up.
    async fn read(&self, bus: &mut Bus, planned: Planned, done: &mut Done) -> Vec<Planned> {
        let mut todo = VecDeque::from([planned]);
        let mut kept = Vec::new();
        while let Some(mut planned) = todo.pop_front() {
            if done.failure.is_some() {
                kept.push(planned);
                continue;
            }
            if let Some(refusal) = planned.refusal.filter(|refusal| Instant::now() < refusal.until) {
                done.exception.get_or_insert(exception(ExceptionCode::new(refusal.code)));
                done.left_out.extend(planned.block.missing(&Reason::EXCEPTION));
                kept.push(planned);
                continue;
            }
            let asked = Instant::now();
            match bus.read(&planned.block.read(self.unit), &self.device.timing).await {
                Ok(answer) => {
                    done.welcomed |= planned.refusal.take().is_some();
                    let readings = planned.block.decode(&self.device, &answer.words, &mut done.raw);
                    done.exchanges.push(Exchange { asked: answer.asked, answered: answer.answered, readings });
                }
                Err(Error::Exception { code, .. }) if REFUSALS.contains(&code) && planned.block.split().is_some() => {
                    let halves = planned.block.split().into_iter().flatten();
                    for half in halves.rev() {
                        todo.push_front(Planned { block: Arc::new(half), cut_out: true, refusal: None });
                    }
                    continue;
                }
                Err(error @ Error::Exception { code, .. }) if !GATEWAY_FAILURES.contains(&code) => {
                    if (planned.cut_out || self.gives) && REFUSALS.contains(&code) {
                        self.report(&planned, &error);
                        planned.refusal = Some(Refusal { code, until: Instant::now() + ASK_AGAIN_AFTER });
                    }
                    // An exception is an answer too, with a time of its own.
                    let readings = planned.block.missing(&error.reason());
                    done.exchanges.push(Exchange { asked, answered: Instant::now(), readings });
                    done.exception.get_or_insert(error);
                    kept.push(planned);
                    continue;
                }
                Err(error) => done.failure = Some(error),
            }
            done.answered |= done.failure.is_none();
            kept.push(planned);
        }
        kept
    }

    /// Goes back to the blocks as they were planned, once nothing of a poll is refused any more. If the device still
    /// refuses one of them as a whole (for what lies between its values), it is divided again, and stays so.
    fn put_together(&mut self, poll: usize) {
        if let (Some(now), Some(whole)) = (self.polls.get_mut(poll), self.whole.get(poll))
            && now.iter().all(|planned| planned.refusal.is_none())
        {
            *now = fresh(whole);
        }
    }

    fn report(&self, planned: &Planned, error: &Error) {
        if planned.refusal.is_none() {
            let registers = planned.block.place(&self.device);
            tracing::warn!(profile = %self.device.profile, unit = self.unit, registers, %error, "the device refuses registers; they are left out");
        }
    }
}

fn fresh(blocks: &[Arc<Block>]) -> Vec<Planned> {
    blocks.iter().map(|block| Planned { block: Arc::clone(block), cut_out: false, refusal: None }).collect()
}

/// What has come of a poll so far.
#[derive(Debug, Default)]
struct Done {
    exchanges: Vec<Exchange>,
    /// The raw values read so far: settings come before what depends on them.
    raw: Fields,
    /// Whether the device gave something that it had refused before.
    welcomed: bool,
    /// Readings of channels that were not asked for.
    left_out: Vec<Reading>,
    /// Whether any block was answered with values.
    answered: bool,
    exception: Option<Error>,
    failure: Option<Error>,
}

#[async_trait::async_trait]
impl Driver for ModbusDriver {
    fn polls(&self) -> &[PollSpec] {
        &self.specs
    }

    async fn connect(&mut self, _bus: &mut Bus) -> Result<(), Error> {
        for planned in self.polls.iter_mut().flatten() {
            planned.refusal = None;
        }
        self.gives = false;
        sleep(self.device.timing.after_connect).await;
        Ok(())
    }

    async fn poll(&mut self, bus: &mut Bus, poll: usize) -> Polled {
        let mut done = Done::default();
        // Blocks are taken out one by one and put back with what was learnt, so that a dropped poll loses none.
        let blocks = self.polls.get(poll).map_or(0, Vec::len);
        let mut at = 0;
        for _ in 0..blocks {
            let Some(planned) = self.polls.get(poll).and_then(|blocks| blocks.get(at)) else { break };
            let planned = planned.clone();
            let learnt = self.read(bus, planned, &mut done).await;
            let next = at + learnt.len();
            if let Some(blocks) = self.polls.get_mut(poll) {
                blocks.splice(at..=at, learnt);
            }
            at = next;
        }
        if let Some(first) = done.exchanges.first_mut() {
            first.readings.append(&mut done.left_out);
        }
        self.gives |= done.answered;
        if done.welcomed {
            self.put_together(poll);
        }
        // A device that answers nothing but exceptions has failed, in words of its own.
        let failure = done.failure.or(if done.answered { None } else { done.exception });
        Polled { exchanges: done.exchanges, failure }
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let left_out = |planned: &Planned| {
            let refusal = planned.refusal?;
            let what = format!("{}: {}", planned.block.place(&self.device), exception_in_words(refusal.code));
            Some(LeftOut { channels: planned.block.costs(&self.device), what })
        };
        self.polls.iter().flatten().filter_map(left_out).collect()
    }
}

/// What an exchange takes as an RTU frame; Modbus/TCP links are not counted in characters.
fn size(block: &Block, timing: &Timing) -> ExchangeSize {
    let read = block.read(0);
    let count = usize::from(read.count);
    let data = if read.table.is_bits() { count.div_ceil(8) } else { count * 2 };
    ExchangeSize { request: 8, reply: 5 + data, turnaround: timing.turnaround, silence: timing.gap }
}
