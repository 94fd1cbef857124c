//! `mbe-bridge ports`: which serial ports there are, and why one can't be opened.

use clap::Args;

use super::print;
use super::report::{Exit, Outcome};
use super::table::Table;
use crate::link::ports;
use crate::link::ports::Port;
use crate::link::udev;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Only rules for udev, to paste
    #[arg(long, conflicts_with = "json")]
    udev: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        let ports = ports::list();
        if self.json {
            print(serde_json::Value::Array(ports.iter().map(|port| as_json(port, &ports)).collect()));
        } else if self.udev {
            print_rules(&ports);
        } else if ports.is_empty() {
            print("no serial ports: is the adapter plugged in? (`dmesg | tail` shows what the kernel saw)");
        } else {
            print_ports(&ports);
        }
        Ok(Exit::Well)
    }
}

/// The name of a port that belongs into lab.toml.
pub(super) fn lasting_name(port: &Port, all: &[Port]) -> String {
    let by_path = || port.by_path.clone().filter(|_| udev::depends_on_socket(port, all));
    by_path().or_else(|| port.by_id.clone()).unwrap_or_else(|| port.path.clone()).display().to_string()
}

fn as_json(port: &Port, all: &[Port]) -> serde_json::Value {
    let usb = port.usb.as_ref();
    serde_json::json!({
        "path": port.path,
        "by_id": port.by_id,
        "by_path": port.by_path,
        "name": lasting_name(port, all),
        "usb": usb.map(ToString::to_string),
        "vendor_id": usb.map(|usb| format!("{:04x}", usb.vendor)),
        "product_id": usb.map(|usb| format!("{:04x}", usb.product)),
        "serial": usb.and_then(|usb| usb.serial.clone()),
        "product": usb.and_then(|usb| usb.name.clone()),
        "interface": port.place.as_ref().map(|place| place.interface.clone()),
        "driver": port.driver,
        "group": port.group,
        "latency_ms": port.latency_ms,
        "holders": port.holders,
        "problem": port.problem,
        "udev": udev::rule(port, all, &suggested(port)),
    })
}

fn print_ports(ports: &[Port]) {
    let mut table = Table::new(&["port", "usb", "serial number", "product", "driver", "group", "state"]);
    for port in ports {
        let usb = port.usb.as_ref();
        let state = match (&port.problem, port.holders.as_slice()) {
            (Some(_), _) => "no permission".to_owned(),
            (None, []) => "free".to_owned(),
            (None, holders) => format!("in use by {}", holders.join(", ")),
        };
        table.row([
            port.path.display().to_string(),
            usb.map(|usb| format!("{:04x}:{:04x}", usb.vendor, usb.product)).unwrap_or_default(),
            usb.and_then(|usb| usb.serial.clone()).unwrap_or_default(),
            usb.and_then(|usb| usb.name.clone()).unwrap_or_default(),
            port.driver.clone().unwrap_or_default(),
            port.group.clone().unwrap_or_default(),
            state,
        ]);
    }
    print(table);
    print("\nfor lab.toml:");
    for port in ports {
        print(format_args!("  port = \"{}\"   # {}", lasting_name(port, ports), port.path.display()));
    }
    for port in ports {
        let path = port.path.display();
        if let Some(problem) = &port.problem {
            print(format_args!("\n{path}: {problem}"));
        }
        if udev::depends_on_socket(port, ports) {
            print(format_args!(
                "\n{path}: its adapter has no serial number of its own, so its name is that of its USB socket; leave it \
                 plugged in there"
            ));
        }
    }
    if others_are_hidden() {
        print("\nprograms of other users that hold a port are seen by root only");
    }
    if ports.iter().any(|port| port.place.is_some()) {
        print("\n`mbe-bridge ports --udev` prints rules that give the ports names like /dev/mbe/pyrometer");
    }
}

fn print_rules(ports: &[Port]) {
    let rules: Vec<(&Port, String)> =
        ports.iter().filter_map(|port| Some((port, udev::rule(port, ports, &suggested(port))?))).collect();
    if rules.is_empty() {
        print("# no USB serial ports: nothing needs a rule");
        return;
    }
    let file = udev::RULES_FILE;
    print(format_args!("# {file}: give each `mbe/...` the name of what is on it, then:"));
    print("#   sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tty");
    for (port, rule) in rules {
        let product = port.usb.as_ref().and_then(|usb| usb.name.clone()).unwrap_or_default();
        print(format_args!("\n# {} {product}", port.path.display()).to_string().trim_end());
        if udev::depends_on_socket(port, ports) {
            print("# no serial number of its own: whatever is plugged into this USB socket gets the name");
        }
        print(rule);
    }
}

/// A name that says nothing yet.
fn suggested(port: &Port) -> String {
    let name = port.path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn others_are_hidden() -> bool {
    #[cfg(target_os = "linux")]
    {
        !rustix::process::geteuid().is_root()
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}
