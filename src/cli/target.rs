//! Where a commissioning command goes: a port with its line settings, or an address.

use clap::{Args, ValueEnum};

use crate::link;
use crate::link::Wire;
use crate::model::{DataBits, LineSettings, Parity, StopBits};

use super::report::{Exit, Failure};

/// A port or an address.
#[derive(Debug, Clone, Args)]
#[group(id = "target", required = true, multiple = false)]
pub(super) struct Place {
    /// A serial port: a path, or usb:VID:PID[:SERIAL]
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<String>,
    /// host:port
    #[arg(long, value_name = "ADDR")]
    pub(super) tcp: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ParityWord {
    None,
    Even,
    Odd,
}

/// How a serial line is set; what is not said is the usual.
#[derive(Debug, Clone, Args)]
pub(super) struct Line {
    /// Bits per second
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(50..=12_000_000), conflicts_with = "tcp")]
    pub(super) baud: Option<u32>,
    /// Parity
    #[arg(long, conflicts_with = "tcp")]
    pub(super) parity: Option<ParityWord>,
    /// Data bits: 7 or 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(7..=8), conflicts_with = "tcp")]
    pub(super) data_bits: Option<u8>,
    /// Stop bits: 1 or 2
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2), conflicts_with = "tcp")]
    pub(super) stop_bits: Option<u8>,
    /// The adapter echoes what is sent (two-wire RS-485)
    #[arg(long, conflicts_with = "tcp")]
    pub(super) echo: bool,
}

impl Line {
    /// These settings where something was said, and those of `usual` elsewhere.
    pub(super) fn over(&self, usual: &LineSettings) -> LineSettings {
        LineSettings {
            baud: self.baud.unwrap_or(usual.baud),
            data_bits: match self.data_bits {
                Some(7) => DataBits::Seven,
                Some(_) => DataBits::Eight,
                None => usual.data_bits,
            },
            parity: match self.parity {
                Some(ParityWord::None) => Parity::None,
                Some(ParityWord::Even) => Parity::Even,
                Some(ParityWord::Odd) => Parity::Odd,
                None => usual.parity,
            },
            stop_bits: match self.stop_bits {
                Some(2) => StopBits::Two,
                Some(_) => StopBits::One,
                None => usual.stop_bits,
            },
            echo: self.echo || usual.echo,
            ..usual.clone()
        }
    }
}

/// What the keys of a `[links.NAME.serial]` table have to say for these settings, one `key = value` each.
pub(super) fn line_keys(line: &LineSettings) -> Vec<String> {
    let parity = match line.parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    };
    let data = if line.data_bits == DataBits::Seven { 7 } else { 8 };
    let stop = if line.stop_bits == StopBits::One { 1 } else { 2 };
    let mut keys = vec![
        format!("baud = {}", line.baud),
        format!("parity = \"{parity}\""),
        format!("data_bits = {data}"),
        format!("stop_bits = {stop}"),
    ];
    if line.echo {
        keys.push("echo = true".to_owned());
    }
    keys
}

/// Opens a link for a command that talks to nobody else.
pub(super) async fn open(connector: &mut dyn link::Connector) -> Result<Wire, Failure> {
    connector.open().await.map_err(|error| {
        let hint = match &error {
            link::Error::InUse { .. } => {
                Some("`mbe-bridge ports` shows who holds it; a running bridge is such a program")
            }
            link::Error::Connect { .. } | link::Error::ConnectTimeout { .. } => {
                Some("many devices take one connection only: stop other programs that talk to it")
            }
            _ => None,
        };
        let failure = Failure::new(Exit::Unreachable, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}
