//! Rules for udev that give ports names and groups that last.
//!
//! Sources: udev(7) for the keys; `60-serial.rules` of systemd, which sets `ID_USB_INTERFACE_NUM` and `.ID_PORT` before
//! rules with a higher number are read.

use super::ports::{Place, Port, Usb};

/// Where rules belong. Behind `60-serial.rules`, which finds out what the rules look at.
pub const RULES_FILE: &str = "/etc/udev/rules.d/70-mbe-bridge.rules";

/// The rule that makes `/dev/mbe/<name>` of a port; none for ports that are not on the USB, whose names last anyway.
///
/// An adapter is known by its serial number; one without, or with the number of another of `all`, by the socket that it is
/// plugged into.
pub fn rule(port: &Port, all: &[Port], name: &str) -> Option<String> {
    let place = port.place.as_ref()?;
    let group = port.group.as_deref().filter(|group| *group != "root").unwrap_or_else(|| usual_group());
    let mut rule = String::from("SUBSYSTEM==\"tty\"");
    let mut key = |key: &str, value: &str| rule.push_str(&format!(", {key}==\"{value}\""));
    match port.usb.as_ref() {
        Some(usb @ Usb { serial: Some(serial), .. }) if is_writable(serial) && !has_twin(port, usb, all) => {
            key("ATTRS{idVendor}", &format!("{:04x}", usb.vendor));
            key("ATTRS{idProduct}", &format!("{:04x}", usb.product));
            key("ATTRS{serial}", serial);
            if let Some(number) = place.number.filter(|_| siblings(port, all).any(|other| other.number != place.number))
            {
                key("ENV{ID_USB_INTERFACE_NUM}", &format!("{number:02x}"));
            }
        }
        _ => key("KERNELS", &place.interface),
    }
    if let Some(number) = place.port.filter(|_| siblings(port, all).any(|other| other.interface == place.interface)) {
        key("ENV{.ID_PORT}", &number.to_string());
    }
    rule.push_str(&format!(", SYMLINK+=\"mbe/{name}\", GROUP=\"{group}\", MODE=\"0660\""));
    Some(rule)
}

/// Whether a port's name depends on the socket that its adapter is in: there is no serial number, or another has the same.
pub fn depends_on_socket(port: &Port, all: &[Port]) -> bool {
    match (&port.usb, &port.place) {
        (Some(usb), Some(_)) => usb.serial.as_deref().is_none_or(|s| !is_writable(s)) || has_twin(port, usb, all),
        _ => false,
    }
}

/// Quotes and the wildcards of udev can't be matched as they are.
fn is_writable(serial: &str) -> bool {
    !serial.is_empty() && serial.bytes().all(|byte| (0x20..0x7F).contains(&byte) && !b"\"*?[]|\\".contains(&byte))
}

/// Whether another adapter says that it is this one.
fn has_twin(port: &Port, usb: &Usb, all: &[Port]) -> bool {
    let same = |other: &&Usb| (other.vendor, other.product, &other.serial) == (usb.vendor, usb.product, &usb.serial);
    let elsewhere = |other: &&Port| adapter(other) != adapter(port);
    all.iter().filter(elsewhere).filter_map(|other| other.usb.as_ref()).any(|other| same(&other))
}

/// The other ports of the same adapter.
fn siblings<'a>(port: &'a Port, all: &'a [Port]) -> impl Iterator<Item = &'a Place> {
    let same =
        move |other: &&Port| other.path != port.path && adapter(other).is_some() && adapter(other) == adapter(port);
    all.iter().filter(same).filter_map(|other| other.place.as_ref())
}

/// The adapter's sockets, without the interface.
fn adapter(port: &Port) -> Option<&str> {
    port.place.as_ref().map(|place| place.interface.split(':').next().unwrap_or_default())
}

fn usual_group() -> &'static str {
    #[cfg(target_os = "linux")]
    {
        super::sysfs::Roots::default().usual_group()
    }
    #[cfg(not(target_os = "linux"))]
    {
        "dialout"
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn port(path: &str, serial: Option<&str>, interface: &str, number: u8, port: u8) -> Port {
        let usb = Usb { vendor: 0x0403, product: 0x6001, serial: serial.map(str::to_owned), name: None };
        Port {
            path: PathBuf::from(path),
            by_id: None,
            by_path: None,
            usb: Some(usb),
            place: Some(Place { interface: interface.to_owned(), number: Some(number), port: Some(port) }),
            group: Some("uucp".to_owned()),
            driver: None,
            holders: Vec::new(),
            problem: None,
            latency_ms: None,
        }
    }

    fn rules(ports: &[Port]) -> Vec<String> {
        ports.iter().map(|port| rule(port, ports, "gauge").unwrap()).collect()
    }

    #[test]
    fn an_adapter_is_known_by_its_serial_number() {
        let only = [port("/dev/ttyUSB0", Some("A1"), "1-2:1.0", 0, 0)];
        assert_eq!(
            rules(&only),
            ["SUBSYSTEM==\"tty\", ATTRS{idVendor}==\"0403\", ATTRS{idProduct}==\"6001\", ATTRS{serial}==\"A1\", \
              SYMLINK+=\"mbe/gauge\", GROUP=\"uucp\", MODE=\"0660\""]
        );
        assert!(!depends_on_socket(&only[0], &only));
    }

    #[test]
    fn adapters_that_can_not_be_told_apart_are_known_by_their_sockets() {
        for serials in [[None, Some("A1")], [Some("0001"), Some("0001")], [Some("a\"b"), Some("A1")]] {
            let ports = [
                port("/dev/ttyUSB0", serials[0], "1-2:1.0", 0, 0),
                port("/dev/ttyUSB1", serials[1], "1-3.4:1.0", 0, 0),
            ];
            assert!(rules(&ports)[0].starts_with("SUBSYSTEM==\"tty\", KERNELS==\"1-2:1.0\", SYMLINK"), "{serials:?}");
            assert!(depends_on_socket(&ports[0], &ports));
        }
    }

    #[test]
    fn the_ports_of_one_adapter_are_told_apart() {
        let quad = [port("/dev/ttyUSB0", Some("Q"), "1-2:1.0", 0, 0), port("/dev/ttyUSB1", Some("Q"), "1-2:1.1", 1, 0)];
        let made = rules(&quad);
        assert!(made[0].contains("ATTRS{serial}==\"Q\", ENV{ID_USB_INTERFACE_NUM}==\"00\", SYMLINK"), "{made:?}");
        assert!(made[1].contains("ENV{ID_USB_INTERFACE_NUM}==\"01\""), "{made:?}");
        let moxa = [port("/dev/ttyUSB0", Some("M"), "1-2:1.0", 0, 0), port("/dev/ttyUSB1", Some("M"), "1-2:1.0", 0, 1)];
        let made = rules(&moxa);
        assert!(made[1].contains("ATTRS{serial}==\"M\", ENV{.ID_PORT}==\"1\", SYMLINK"), "{made:?}");
    }

    #[test]
    fn a_port_of_the_machine_itself_needs_none() {
        let built_in = Port { usb: None, place: None, ..port("/dev/ttyS0", None, "", 0, 0) };
        assert_eq!(rule(&built_in, std::slice::from_ref(&built_in), "x"), None);
    }
}
