//! `mbe-bridge registers`: one Modbus read, in every way that it could be meant.
//!
//! The same is read one address lower and one higher, since half of the manuals count registers from one.

mod meanings;
mod show;

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::screen::Screen;
use super::target::{Line, Place, open};
use super::{print, runtime};
use crate::driver;
use crate::driver::Bus;
use crate::driver::Protocol;
use crate::driver::modbus::Read;
use crate::link::connector;
use crate::model::LineSettings;
use crate::model::Transport;
use crate::profile::Table;
use crate::profile::Timing;
use meanings::{Answered, Window};

/// Usual for Modbus devices; also the port that Modbus/TCP is registered for.
const USUAL_PORT: u16 = 502;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    line: Line,
    /// RTU frames through the socket, as serial device servers carry them, instead of Modbus/TCP
    #[arg(long, requires = "tcp")]
    rtu: bool,
    /// The device's unit
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// The table
    #[arg(long, default_value = "holding")]
    table: TableWord,
    /// The protocol address, from 0; 0x... is hexadecimal
    #[arg(long, value_parser = address)]
    address: u16,
    /// How many registers or bits
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: u16,
    /// How long to wait for an answer
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout: u64,
    /// Again and again until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TableWord {
    /// Coils (function 1; 0xxxx in many manuals)
    Coil,
    /// Discrete inputs (function 2; 1xxxx)
    Discrete,
    /// Input registers (function 4; 3xxxx)
    Input,
    /// Holding registers (function 3; 4xxxx)
    Holding,
}

fn address(text: &str) -> Result<u16, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    parsed
        .ok_or_else(|| "an address is from 0 to 65535; a manual's 40101 is `--table holding --address 100`".to_owned())
}

/// What came of reading at one address.
#[derive(Debug)]
pub(super) struct Attempt {
    address: u16,
    outcome: Result<Duration, driver::Error>,
}

/// What came of one round.
#[derive(Debug)]
pub(super) struct Round {
    read: Read,
    attempts: Vec<Attempt>,
    window: Window,
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        let table = match self.table {
            TableWord::Coil => Table::Coil,
            TableWord::Discrete => Table::Discrete,
            TableWord::Input => Table::Input,
            TableWord::Holding => Table::Holding,
        };
        let read = Read { unit: self.unit, table, address: self.address, count: self.count };
        let most = if table.is_bits() { 2000 } else { 125 };
        if self.count > most {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("{} at once are too many", self.count))
                .hint(format!("the protocol takes {most} of this table")));
        }
        let (transport, protocol) = self.transport();
        let timing = Timing { reply: Duration::from_millis(self.timeout), ..Timing::default() };
        let mut asker = Asker { transport, protocol, timing, bus: None };
        runtime()?.block_on(async {
            if !self.watch {
                let round = asker.round(&read).await?;
                print(if self.json { show::json(&round).to_string() } else { show::text(&round) });
                return Ok(exit(&round));
            }
            self.watch(&mut asker, &read).await
        })
    }

    async fn watch(&self, asker: &mut Asker, read: &Read) -> Outcome {
        let mut screen = Screen::open();
        let stop = super::signals::interrupted();
        tokio::pin!(stop);
        let mut last = Exit::Unreachable;
        loop {
            tokio::select! {
                stopped = &mut stop => {
                    stopped.or_exit(Exit::Degraded)?;
                    return Ok(last);
                }
                round = asker.round(read) => {
                    let round = round?;
                    last = exit(&round);
                    if self.json {
                        print(show::json(&round));
                    } else {
                        screen.draw(&show::text(&round));
                    }
                }
            }
            tokio::select! {
                stopped = &mut stop => {
                    stopped.or_exit(Exit::Degraded)?;
                    return Ok(last);
                }
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }

    fn transport(&self) -> (Transport, Protocol) {
        match (&self.place.port, &self.place.tcp) {
            (Some(port), _) => {
                let line = self.line.over(&LineSettings::default());
                (Transport::Serial { port: port.clone(), line }, Protocol::ModbusRtu)
            }
            (None, address) => {
                let address = with_port(address.as_deref().unwrap_or_default());
                if self.rtu {
                    (Transport::RtuOverTcp { address }, Protocol::ModbusRtu)
                } else {
                    (Transport::ModbusTcp { address }, Protocol::ModbusTcp)
                }
            }
        }
    }
}

/// An address with the registered port where it has none.
pub(super) fn with_port(address: &str) -> String {
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let is_bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    match (has_port, is_bare_v6) {
        (_, true) => format!("[{address}]:{USUAL_PORT}"),
        (true, false) => address.to_owned(),
        (false, false) => format!("{address}:{USUAL_PORT}"),
    }
}

/// 0 where the address as given answered, 1 where only a refusal came or only a neighbour answered, 3 for silence.
fn exit(round: &Round) -> Exit {
    match round.attempts.first().map(|attempt| &attempt.outcome) {
        Some(Ok(_)) => Exit::Well,
        _ if round
            .attempts
            .iter()
            .any(|attempt| matches!(attempt.outcome, Ok(_) | Err(driver::Error::Exception { .. }))) =>
        {
            Exit::Degraded
        }
        _ => Exit::Unreachable,
    }
}

/// Asks, and opens the link again where that has to be.
struct Asker {
    transport: Transport,
    protocol: Protocol,
    timing: Timing,
    bus: Option<Bus>,
}

impl Asker {
    /// Reads as given, one lower and one higher.
    async fn round(&mut self, read: &Read) -> Result<Round, Failure> {
        let lower = read.address.checked_sub(1);
        let higher = read.address.checked_add(1);
        let mut round = Round { read: *read, attempts: Vec::new(), window: Window::default() };
        for address in [Some(read.address), lower, higher].into_iter().flatten() {
            if u32::from(address) + u32::from(read.count) > 0x1_0000 {
                continue;
            }
            let outcome = match self.ask(&Read { address, ..*read }).await? {
                Ok(answer) => {
                    round.window.answers.push(Answered { address, words: answer.words });
                    Ok(answer.answered.duration_since(answer.asked))
                }
                Err(error) => Err(error),
            };
            // A unit that is silent at its own address is not asked for its neighbours: each would cost another time-out.
            let silent = matches!(&outcome, Err(error) if error.reason() == crate::model::Reason::NO_REPLY);
            round.attempts.push(Attempt { address, outcome });
            if silent {
                break;
            }
        }
        if round.attempts.is_empty() {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("the addresses end at 65535")));
        }
        Ok(round)
    }

    async fn ask(&mut self, read: &Read) -> Result<Result<driver::modbus::Answer, driver::Error>, Failure> {
        if self.bus.is_none() {
            let wire = open(&mut *connector(&self.transport, None)).await?;
            self.bus = Some(Bus::over(wire, self.protocol));
        }
        let Some(bus) = &mut self.bus else { return Ok(Err(driver::Error::Protocol)) };
        let answer = bus.read(read, &self.timing).await;
        if matches!(&answer, Err(error) if error.recovery() == driver::Recovery::Reopen) {
            self.bus = None;
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_registered_port_where_it_has_none() {
        assert_eq!(with_port("192.168.1.20"), "192.168.1.20:502");
        assert_eq!(with_port("gauge:1502"), "gauge:1502");
        assert_eq!(with_port("::1"), "[::1]:502");
        assert_eq!(with_port("[::1]:1502"), "[::1]:1502");
    }

    #[test]
    fn addresses_are_decimal_or_hexadecimal() {
        assert_eq!(address("100"), Ok(100));
        assert_eq!(address("0x64"), Ok(100));
        assert!(address("400101").unwrap_err().contains("--address 100"));
    }
}
