//! Serial ports.

use std::fmt;
use std::io;
use std::path::Path;

use tokio_serial::{ClearBuffer, ErrorKind, SerialPort, SerialPortBuilderExt, SerialStream};

use crate::model::{DataBits, LineSettings, Parity, StopBits};

use super::{Connector, Error, Pacer, Trace, Wire, WireSettings, ports};

/// Opens a serial port. A name like `usb:0403:6001` is looked up at each opening, since an adapter that was replugged
/// often comes back under another device file.
pub struct SerialConnector {
    port: String,
    line: LineSettings,
    trace: Option<Trace>,
}

impl SerialConnector {
    /// A connector to a port: a path, or `usb:VID:PID[:SERIAL]`.
    pub fn new(port: &str, line: LineSettings, trace: Option<Trace>) -> Self {
        Self { port: port.to_owned(), line, trace }
    }

    fn open_port(&self, path: &Path) -> Result<SerialStream, Error> {
        let shown = path.display().to_string();
        if !path.exists() {
            return Err(Error::NotThere { port: self.port.clone() });
        }
        #[cfg(target_os = "linux")]
        if let Some(cure) = super::sysfs::problem(path) {
            return Err(Error::NotAllowed { port: shown, cure });
        }
        let mut builder = tokio_serial::new(shown.as_str(), self.line.baud)
            .data_bits(match self.line.data_bits {
                DataBits::Seven => tokio_serial::DataBits::Seven,
                DataBits::Eight => tokio_serial::DataBits::Eight,
            })
            .parity(match self.line.parity {
                Parity::None => tokio_serial::Parity::None,
                Parity::Even => tokio_serial::Parity::Even,
                Parity::Odd => tokio_serial::Parity::Odd,
            })
            .stop_bits(match self.line.stop_bits {
                StopBits::One => tokio_serial::StopBits::One,
                StopBits::Two => tokio_serial::StopBits::Two,
            })
            .flow_control(tokio_serial::FlowControl::None);
        #[cfg(unix)]
        {
            // The exclusive mark of a pseudo-terminal outlives a killed process and would lock its successor out.
            builder = builder.exclusive(!is_pseudo_terminal(path));
        }
        let stream = builder.open_native_async().map_err(|error| self.not_opened(&shown, error))?;
        Ok(stream)
    }

    fn not_opened(&self, path: &str, error: tokio_serial::Error) -> Error {
        match error.kind() {
            ErrorKind::NoDevice => {
                #[cfg(target_os = "linux")]
                let holder = holder(Path::new(path));
                #[cfg(not(target_os = "linux"))]
                let holder = None;
                Error::InUse { port: path.to_owned(), holder }
            }
            ErrorKind::InvalidInput => {
                Error::SetLine { port: path.to_owned(), wanted: self.line.to_string(), source: error.into() }
            }
            ErrorKind::Io(io::ErrorKind::NotFound) => Error::NotThere { port: self.port.clone() },
            ErrorKind::Unknown | ErrorKind::Io(_) => Error::OpenPort { port: path.to_owned(), source: error.into() },
        }
    }

    /// RTS and DTR, where they are configured. A pseudo-terminal or a socket of a terminal server has neither.
    fn set_control_lines(&self, path: &Path, stream: &mut SerialStream) -> Result<(), Error> {
        let failed =
            |error: tokio_serial::Error| Error::OpenPort { port: path.display().to_string(), source: error.into() };
        if is_pseudo_terminal(path) {
            return Ok(());
        }
        if let Some(level) = self.line.rts {
            stream.write_request_to_send(level).map_err(failed)?;
        }
        if let Some(level) = self.line.dtr {
            stream.write_data_terminal_ready(level).map_err(failed)?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Connector for SerialConnector {
    async fn open(&mut self) -> Result<Wire, Error> {
        let path = ports::resolve(&self.port, ports::list)?;
        // By-id names are links; what has to be exclusive, and what tells a pseudo-terminal, is the file behind them.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let mut stream = self.open_port(&path)?;
        self.set_control_lines(&path, &mut stream)?;
        if let Some(rs485) = &self.line.rs485 {
            #[cfg(target_os = "linux")]
            let set = super::ioctl::set_rs485(&stream, rs485);
            #[cfg(not(target_os = "linux"))]
            let set: io::Result<()> = Err(io::Error::new(io::ErrorKind::Unsupported, format!("{rs485:?}")));
            set.map_err(|source| Error::Rs485 { port: path.display().to_string(), source })?;
        }
        #[cfg(target_os = "linux")]
        hand_on_soon(&path, &stream);
        // What came in before belongs to nobody's question, or to that of an earlier process.
        stream
            .clear(ClearBuffer::Input)
            .map_err(|error| Error::OpenPort { port: path.display().to_string(), source: error.into() })?;
        Ok(Wire::new(stream, WireSettings::serial(&self.line), Pacer::new(), self.trace.clone()))
    }

    fn describe(&self) -> String {
        format!("{} ({})", self.port, self.line)
    }
}

impl fmt::Debug for SerialConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialConnector").field("port", &self.port).field("line", &self.line).finish_non_exhaustive()
    }
}

/// Asks the port's driver to hand bytes on as soon as they come, where it collects them first. A driver that knows no such
/// thing has nothing to change.
#[cfg(target_os = "linux")]
fn hand_on_soon(path: &Path, stream: &SerialStream) {
    match super::ioctl::set_low_latency(stream) {
        Ok(()) => tracing::debug!(port = %path.display(), "low latency is set"),
        Err(error) => tracing::debug!(port = %path.display(), %error, "the port's driver knows no low latency"),
    }
    super::sysfs::shorten_latency(path);
}

fn is_pseudo_terminal(path: &Path) -> bool {
    path.starts_with("/dev/pts")
}

#[cfg(target_os = "linux")]
fn holder(path: &Path) -> Option<String> {
    let holders = super::sysfs::Roots::default().holders_of(path);
    (!holders.is_empty()).then(|| holders.join(", "))
}
