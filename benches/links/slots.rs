//! When polls begin, against the slots of their grid. Each contender reads two registers over Modbus/TCP at each slot.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mbe_bridge::acquire::Event;
use mbe_bridge::driver::Protocol;
use mbe_bridge::model::TimeBase;
use tokio_modbus::client::Reader;

use super::ours::{self, Polling};
use super::{check, loops};

/// What is measured.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) period: Duration,
    pub(super) polls: u64,
    /// Where the slots of the contenders that choose theirs lie between those of the bridge, in periods: they run side by
    /// side and should not wait for each other.
    pub(super) phase: f64,
}

/// Lateness of each poll in microseconds, as JSON.
pub(super) fn measure(who: &str, address: &str, plan: &Plan) -> anyhow::Result<String> {
    let (late, missed) = match who {
        "ours" => poller(address, plan)?,
        "thread" => (thread(address, plan)?, 0),
        "interval" => (interval(address, plan)?, 0),
        _ => bail!("`{who}` is not ours, thread or interval"),
    };
    let late: Vec<String> = late.iter().map(|nanos| format!("{:.1}", *nanos as f64 / 1e3)).collect();
    Ok(format!("{{\"late_us\": [{}], \"missed\": {missed}}}", late.join(", ")))
}

/// From the samples: when the first byte of each request went out, against whole multiples of the period in UTC.
fn poller(address: &str, plan: &Plan) -> anyhow::Result<(Vec<i64>, u64)> {
    let address = address.to_owned();
    let connector = move || ours::over_tcp(&address);
    let mut polling = Polling::start(connector, Protocol::ModbusTcp, plan.period, TimeBase::start())?;
    let period = i64::try_from(plan.period.as_nanos())?;
    let mut late = Vec::new();
    let mut missed = 0;
    while u64::try_from(late.len())? < plan.polls {
        let report = polling.reports.blocking_recv().context("the poller ended")?;
        let Event::Polled(poll) = report.event else { continue };
        let sample = poll.samples.first().with_context(|| format!("{:?}", poll.failure))?;
        if let Some(failure) = poll.failure {
            bail!("a poll failed: {}", failure.words);
        }
        late.push(sample.at.minus(sample.uncertainty).as_nanos().rem_euclid(period));
        missed += poll.missed;
    }
    polling.end();
    Ok((late, missed))
}

/// A plain thread that sleeps until each slot.
fn thread(address: &str, plan: &Plan) -> anyhow::Result<Vec<i64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let first = first_slot(plan);
    let mut late = Vec::new();
    for number in 0..u32::try_from(plan.polls)? {
        let slot = first + plan.period * number;
        std::thread::sleep(slot.saturating_duration_since(Instant::now()));
        late.push(i64::try_from(slot.elapsed().as_nanos())?);
        stream.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 2])?;
        let mut answer = [0; 13];
        stream.read_exact(&mut answer)?;
        let [.., a, b, c, d] = answer;
        check(&[u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])?;
    }
    Ok(late)
}

/// Tokio's own interval and the stock client.
fn interval(address: &str, plan: &Plan) -> anyhow::Result<Vec<i64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut context = loops::over_tcp(address).await?;
        let mut slots = tokio::time::interval_at(first_slot(plan).into(), plan.period);
        let mut late = Vec::new();
        for _ in 0..plan.polls {
            let slot = slots.tick().await;
            late.push(i64::try_from(slot.elapsed().as_nanos())?);
            check(&context.read_holding_registers(0, 2).await??)?;
        }
        Ok(late)
    })
}

/// The next slot but one of the grid in UTC, moved by the phase.
fn first_slot(plan: &Plan) -> Instant {
    let time = TimeBase::start();
    let now = time.now();
    let period = i64::try_from(plan.period.as_nanos()).unwrap_or(i64::MAX).max(1);
    let into_slot = Duration::from_nanos(u64::try_from(now.as_nanos().rem_euclid(period)).unwrap_or(0));
    time.instant(now.minus(into_slot)) + plan.period * 2 + plan.period.mul_f64(plan.phase)
}
