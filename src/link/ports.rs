//! The serial ports of this machine, for people and for names like `usb:0403:6001`.
//!
//! Plain data, read anew at each call; best effort: what can't be seen is left out. Looking at a port does not open it,
//! since opening moves RTS and DTR, and some instruments restart on that.

use std::fmt;
use std::path::PathBuf;

use super::Error;

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its device file: `/dev/ttyUSB0`. Changes when adapters are plugged in another order.
    pub path: PathBuf,
    /// Its lasting name, which belongs into the lab's TOML: `/dev/serial/by-id/usb-FTDI_...`.
    pub by_id: Option<PathBuf>,
    /// The name of the socket that it is plugged into: `/dev/serial/by-path/pci-...`. Lasting as long as the adapter stays
    /// where it is.
    pub by_path: Option<PathBuf>,
    /// The USB adapter that it is on.
    pub usb: Option<Usb>,
    /// Where on the bus it is.
    pub place: Option<Place>,
    /// The group of the device file.
    pub group: Option<String>,
    /// The kernel driver: `ftdi_sio`, `cdc_acm`, `serial8250`.
    pub driver: Option<String>,
    /// Programs that hold it open: `minicom (1234)`. Those of other users are seen by root only.
    pub holders: Vec<String>,
    /// Why this user can't open it, and the cure.
    pub problem: Option<String>,
    /// How long the adapter keeps bytes back, in milliseconds (FTDI; 16 unless set otherwise).
    pub latency_ms: Option<u32>,
}

/// A USB adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usb {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Serial number; cheap adapters have none, or all the same.
    pub serial: Option<String>,
    /// What it calls itself, with its maker.
    pub name: Option<String>,
}

/// Where on the USB a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bus, sockets and interface: `1-2.3:1.0`.
    pub interface: String,
    /// Which interface of the adapter it is; adapters with several ports often have one for each.
    pub number: Option<u8>,
    /// Which port of the interface it is.
    pub port: Option<u8>,
}

impl fmt::Display for Usb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usb:{:04x}:{:04x}", self.vendor, self.product)?;
        if let Some(serial) = &self.serial {
            write!(f, ":{serial}")?;
        }
        Ok(())
    }
}

/// The serial ports of this machine, by device file. Pseudo-terminals are not among them.
pub fn list() -> Vec<Port> {
    #[cfg(target_os = "linux")]
    {
        super::sysfs::Roots::default().ports()
    }
    #[cfg(not(target_os = "linux"))]
    {
        listed_by_the_system()
    }
}

#[cfg(not(target_os = "linux"))]
fn listed_by_the_system() -> Vec<Port> {
    let usb = |kind| match kind {
        tokio_serial::SerialPortType::UsbPort(info) => {
            Some(Usb { vendor: info.vid, product: info.pid, serial: info.serial_number, name: info.product })
        }
        _ => None,
    };
    let mut ports: Vec<Port> = tokio_serial::available_ports()
        .inspect_err(|error| tracing::warn!(%error, "the serial ports can't be listed"))
        .unwrap_or_default()
        .into_iter()
        .map(|port| Port {
            path: PathBuf::from(port.port_name),
            by_id: None,
            by_path: None,
            usb: usb(port.port_type),
            place: None,
            group: None,
            driver: None,
            holders: Vec::new(),
            problem: None,
            latency_ms: None,
        })
        .collect();
    ports.sort_by(|a, b| a.path.cmp(&b.path));
    ports
}

/// The device file of a port as configured: a path is taken as it is, `usb:VID:PID[:SERIAL]` is looked up among `ports`.
pub fn resolve(port: &str, ports: impl FnOnce() -> Vec<Port>) -> Result<PathBuf, Error> {
    let Some(name) = port.strip_prefix("usb:") else {
        return Ok(PathBuf::from(port));
    };
    let mut parts = name.splitn(3, ':');
    let is_id = |id: &&str| id.len() == 4 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut hex = || parts.next().filter(is_id).and_then(|id| u16::from_str_radix(id, 16).ok());
    let (Some(vendor), Some(product)) = (hex(), hex()) else {
        return Err(Error::UsbName { port: port.to_owned() });
    };
    let serial = parts.next();
    let fits = |usb: &Usb| {
        usb.vendor == vendor && usb.product == product && (serial.is_none() || usb.serial.as_deref() == serial)
    };
    let found: Vec<PathBuf> =
        ports().into_iter().filter(|port| port.usb.as_ref().is_some_and(fits)).map(|port| port.path).collect();
    match found.as_slice() {
        [] => Err(Error::NotThere { port: port.to_owned() }),
        [path] => Ok(path.clone()),
        several => {
            let found = several.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            Err(Error::Ambiguous { port: port.to_owned(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(path: &str, vendor: u16, serial: &str) -> Port {
        Port {
            path: PathBuf::from(path),
            by_id: None,
            by_path: None,
            usb: Some(Usb { vendor, product: 0x6001, serial: Some(serial.to_owned()), name: None }),
            place: None,
            group: None,
            driver: None,
            holders: Vec::new(),
            problem: None,
            latency_ms: None,
        }
    }

    #[test]
    fn usb_names_are_looked_up_and_paths_are_not() {
        let ports = || vec![adapter("/dev/ttyUSB0", 0x0403, "A1"), adapter("/dev/ttyUSB1", 0x0403, "B2")];
        assert_eq!(resolve("/dev/ttyS0", || panic!("no need to look")).unwrap(), PathBuf::from("/dev/ttyS0"));
        assert_eq!(resolve("usb:0403:6001:B2", ports).unwrap(), PathBuf::from("/dev/ttyUSB1"));
        assert!(matches!(resolve("usb:0403:6001", ports), Err(Error::Ambiguous { .. })));
        assert!(matches!(resolve("usb:067b:2303", ports), Err(Error::NotThere { .. })));
        for odd in ["usb:", "usb:0403", "usb:403:6001", "usb:0403:600g", "usb:+403:6001", "usb:é03:6001"] {
            let refused = resolve(odd, ports);
            assert!(matches!(refused, Err(Error::UsbName { .. })), "{odd}: {refused:?}");
        }
    }
}
