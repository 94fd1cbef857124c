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
    /// Instruments that speak unasked: they cost the link nothing.
    pub unasked: Vec<Arc<str>>,
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
        Self { link: link.into(), line: line.cloned(), rows, unasked: Vec::new() }
    }

    /// The same with instruments that speak unasked.
    #[must_use]
    pub fn with_unasked(mut self, instruments: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.unasked.extend(instruments);
        self
    }

    /// The part of the link's time that the plan takes: 1 is all of it.
    pub fn share(&self) -> f64 {
        // An empty sum of floats is -0.
        self.rows.iter().map(BudgetRow::share).fold(0.0, |sum, share| sum + share)
    }

    /// Whether the link can carry the plan.
    pub fn fits(&self) -> bool {
        self.share() <= 1.0
    }

    /// The fastest that each row could be polled, all slowed down or sped up alike, in [`Self::rows`]' order; rounded up to
    /// what people write.
    pub fn fastest(&self) -> Vec<Duration> {
        let share = self.share();
        self.rows.iter().map(|row| round_up(row.every.mul_f64(share.max(1e-9)))).collect()
    }

    /// The lowest usual rate of a serial line at which the plan would fit, with the share that it would take then. The
    /// instruments have to know that rate, too.
    pub fn baud_that_fits(&self) -> Option<(u32, f64)> {
        let line = self.line.as_ref()?;
        USUAL_BAUDS.into_iter().filter(|baud| *baud > line.baud).find_map(|baud| {
            let faster = f64::from(line.baud) / f64::from(baud);
            let time = |row: &BudgetRow| row.transmission.mul_f64(faster) + row.turnaround + row.silence;
            let share = |row: &BudgetRow| time(row).as_secs_f64() / row.every.as_secs_f64().max(1e-9);
            let share = self.rows.iter().map(share).sum::<f64>();
            (share <= 1.0).then_some((baud, share))
        })
    }
}

/// Rates that serial instruments have.
const USUAL_BAUDS: [u32; 8] = [2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200, 230_400];

/// To whole milliseconds, tens or hundreds of them.
fn round_up(period: Duration) -> Duration {
    let step = match period.as_millis() {
        0..=49 => 1,
        50..=499 => 10,
        _ => 100,
    };
    let step = Duration::from_millis(step);
    let steps = period.as_nanos().div_ceil(step.as_nanos());
    step * u32::try_from(steps).unwrap_or(u32::MAX)
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
        match &self.line {
            Some(line) => writeln!(f, "link `{}`: {line}, {} bits a character", self.link, line.bits_per_char())?,
            None => writeln!(f, "link `{}`: socket, bytes take no time worth reckoning", self.link)?,
        }
        let rows: Vec<[String; 7]> = self.rows.iter().map(cells).collect();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let name = width(0).max("together".len());
        let [_, bytes, transmission, turnaround, silence, time, every] = [0, 1, 2, 3, 4, 5, 6].map(width);
        for ([instrument, b, tr, tu, si, ti, ev], row) in rows.iter().zip(&self.rows) {
            writeln!(
                f,
                "  {instrument:<name$}  {b:>bytes$} bytes = {tr:>transmission$} ms + turnaround {tu:>turnaround$} ms + \
                 silence {si:>silence$} ms = {ti:>time$} ms every {ev:>every$} ms: {:>5.1} %",
                row.share() * 100.0,
            )?;
        }
        for instrument in &self.unasked {
            writeln!(f, "  {instrument:<name$}  speaks unasked: nothing is sent, and it costs the link no time")?;
        }
        let share = self.share();
        write!(f, "  {:<name$}  {:.1} % of the link's time", "together", share * 100.0)?;
        if self.fits() {
            if share > 0.0 {
                write!(f, "; it could be polled {:.1} times as often", 1.0 / share)?;
            }
            return Ok(());
        }
        f.write_str("; that does not fit. What would:")?;
        for (row, every) in self.rows.iter().zip(self.fastest()) {
            let rate = 1.0 / every.as_secs_f64().max(1e-9);
            write!(f, "\n  {:<name$}  every = \"{}ms\" ({rate:.1} times a second)", row.instrument, every.as_millis())?;
        }
        if let Some((baud, share)) = self.baud_that_fits() {
            let share = share * 100.0;
            write!(f, "\n  or, on instruments and link, baud = {baud}: {share:.1} % of the link's time")?;
        }
        Ok(())
    }
}

/// Instrument, bytes, times in milliseconds.
fn cells(row: &BudgetRow) -> [String; 7] {
    let ms = |duration: Duration| format!("{:.1}", duration.as_secs_f64() * 1e3);
    [
        row.instrument.to_string(),
        row.bytes.to_string(),
        ms(row.transmission),
        ms(row.turnaround),
        ms(row.silence),
        ms(row.time()),
        row.every.as_millis().to_string(),
    ]
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

    #[test]
    fn a_plan_that_does_not_fit_says_what_would() {
        let line = LineSettings { baud: 9600, ..LineSettings::default() };
        let names: [Arc<str>; 2] = ["controller".into(), "gauge".into()];
        let polls = [poll(50, 8, 9, 5), poll(100, 8, 29, 5)];
        let budget = Budget::of("bus", Some(&line), Protocol::ModbusRtu, names.iter().zip(&polls));
        assert!(!budget.fits());
        let fastest = budget.fastest();
        let slowed = polls.clone().map(|poll| poll.exchanges);
        let slowed: Vec<PollSpec> = slowed
            .into_iter()
            .zip(&fastest)
            .map(|(exchanges, every)| PollSpec { every: *every, channels: vec![0], exchanges })
            .collect();
        let again = Budget::of("bus", Some(&line), Protocol::ModbusRtu, names.iter().zip(&slowed));
        assert!(again.fits() && again.share() > 0.8, "{again}");
        let (baud, share) = budget.baud_that_fits().unwrap();
        let faster = LineSettings { baud, ..line };
        let real = Budget::of("bus", Some(&faster), Protocol::ModbusRtu, names.iter().zip(&polls));
        assert!(real.fits() && real.share() <= share, "{real}");
        let shown = budget.to_string();
        assert!(shown.contains(&format!("every = \"{}ms\"", fastest[0].as_millis())), "{shown}");
        assert!(shown.contains(&format!("baud = {baud}")), "{shown}");
    }
}
