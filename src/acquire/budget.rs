//! The bus-time budget: whether a link can carry its poll plan, with the arithmetic to show.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::PollSpec;
use crate::driver::Protocol;
use crate::model::LineSettings;

/// What a link spends its time on.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// The link.
    pub link: Arc<str>,
    /// How the line is set; none for sockets, which have no bit rate to reckon with.
    pub line: Option<LineSettings>,
    /// One row for each poll.
    pub rows: Vec<BudgetRow>,
}

/// What one poll costs.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetRow {
    /// The instrument.
    pub instrument: Arc<str>,
    /// How often it is polled.
    pub every: Duration,
    /// Exchanges of one poll.
    pub exchanges: usize,
    /// Bytes out and in.
    pub bytes: usize,
    /// Time of the bytes on the wire.
    pub transmission: Duration,
    /// Time the device takes to answer.
    pub turnaround: Duration,
    /// Silences that the protocol and the profile demand.
    pub silence: Duration,
}

impl Budget {
    /// Reckons what the polls of a link cost.
    pub fn of<'a>(
        link: &str,
        line: Option<&LineSettings>,
        protocol: Protocol,
        polls: impl IntoIterator<Item = (&'a Arc<str>, &'a PollSpec)>,
    ) -> Self {
        let time_of = |chars| line.map_or(Duration::ZERO, |line| line.time_of(chars));
        // Half duplex: the request is followed by a frame silence before the answer, and the answer before the next request.
        let frame_silences = match (protocol, line) {
            (Protocol::ModbusRtu, Some(line)) => 2 * line.modbus_silence(),
            _ => Duration::ZERO,
        };
        let least_idle = line.and_then(|line| line.idle).unwrap_or_default();
        let rows = polls
            .into_iter()
            .map(|(instrument, poll)| BudgetRow {
                instrument: Arc::clone(instrument),
                every: poll.every,
                exchanges: poll.exchanges.len(),
                bytes: poll.exchanges.iter().map(|exchange| exchange.request + exchange.reply).sum(),
                transmission: poll.exchanges.iter().map(|e| time_of(e.request) + time_of(e.reply)).sum(),
                turnaround: poll.exchanges.iter().map(|exchange| exchange.turnaround).sum(),
                silence: poll.exchanges.iter().map(|e| frame_silences + e.silence.max(least_idle)).sum(),
            })
            .collect();
        Self { link: link.into(), line: line.cloned(), rows }
    }

    /// The part of the link's time that the plan takes: 1 is all of it.
    pub fn share(&self) -> f64 {
        self.rows.iter().map(BudgetRow::share).sum()
    }

    /// Whether the link can carry the plan.
    pub fn fits(&self) -> bool {
        self.share() <= 1.0
    }
}

impl BudgetRow {
    /// Time on the link for one poll.
    pub fn time(&self) -> Duration {
        self.transmission + self.turnaround + self.silence
    }

    /// The part of the link's time that it takes.
    pub fn share(&self) -> f64 {
        self.time().as_secs_f64() / self.every.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        match &self.line {
            Some(line) => writeln!(f, "link `{}`: {line}, {} bits a character", self.link, line.bits_per_char())?,
            None => writeln!(f, "link `{}`: socket, bytes take no time worth reckoning", self.link)?,
        }
        for row in &self.rows {
            writeln!(
                f,
                "  {:<16} {} bytes = {:.1} ms + turnaround {:.1} ms + silence {:.1} ms = {:.1} ms every {} ms: {:.1} %",
                row.instrument,
                row.bytes,
                ms(row.transmission),
                ms(row.turnaround),
                ms(row.silence),
                ms(row.time()),
                row.every.as_millis(),
                row.share() * 100.0,
            )?;
        }
        write!(f, "  {:<16} {:.1} % of the link's time", "together", self.share() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::ExchangeSize;
    use crate::model::Parity;

    fn poll(every_ms: u64, request: usize, reply: usize, turnaround_ms: u64) -> PollSpec {
        let turnaround = Duration::from_millis(turnaround_ms);
        PollSpec {
            every: Duration::from_millis(every_ms),
            channels: vec![0],
            exchanges: vec![ExchangeSize { request, reply, turnaround, silence: Duration::ZERO }],
        }
    }

    #[test]
    fn an_upp_pyrometer_at_19200_baud_fits_a_hundred_times_a_second_and_not_two_hundred() {
        let line = LineSettings { baud: 19_200, parity: Parity::Even, ..LineSettings::default() };
        let name: Arc<str> = "pyrometer".into();
        let at = |every| Budget::of("pyro", Some(&line), Protocol::Bytes, [(&name, &poll(every, 5, 6, 3))]);
        let hundred = at(10);
        assert!(hundred.fits());
        assert!((hundred.share() - 0.930).abs() < 0.001, "{}", hundred.share());
        assert!(!at(5).fits());
        assert!(hundred.to_string().contains("11 bytes = 6.3 ms + turnaround 3.0 ms"), "{hundred}");
    }

    #[test]
    fn modbus_rtu_pays_two_silences_an_exchange() {
        let line = LineSettings { baud: 9600, ..LineSettings::default() };
        let name: Arc<str> = "controller".into();
        let budget = Budget::of("bus", Some(&line), Protocol::ModbusRtu, [(&name, &poll(100, 8, 9, 0))]);
        let row = &budget.rows[0];
        assert_eq!(row.silence.as_micros(), 8_020);
        assert_eq!(row.transmission.as_micros(), 17_708);
        let socket = Budget::of("bus", None, Protocol::ModbusTcp, [(&name, &poll(100, 12, 13, 5))]);
        assert!((socket.share() - 0.05).abs() < 1e-9);
    }
}
