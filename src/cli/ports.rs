//! `mbe-bridge ports`: which serial ports there are, and why one can't be opened.

use clap::Args;

use super::print;
use super::report::{Exit, Outcome};
use super::table::Table;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    #[cfg(unix)]
    pub(super) fn run(self) -> Outcome {
        let ports = crate::link::ports::list();
        if self.json {
            let ports: Vec<_> = ports
                .iter()
                .map(|port| {
                    serde_json::json!({
                        "path": port.path,
                        "by_id": port.by_id,
                        "usb": port.usb.as_ref().map(ToString::to_string),
                        "product": port.usb.as_ref().and_then(|usb| usb.name.clone()),
                        "driver": port.driver,
                        "latency_ms": port.latency_ms,
                        "holders": port.holders,
                        "problem": port.problem,
                    })
                })
                .collect();
            print(serde_json::Value::Array(ports));
            return Ok(Exit::Well);
        }
        if ports.is_empty() {
            print("no serial ports: is the adapter plugged in? (`dmesg | tail` shows what the kernel saw)");
            return Ok(Exit::Well);
        }
        let mut table = Table::new(&["port", "usb", "product", "driver", "state"]);
        for port in &ports {
            let state = match (&port.problem, port.holders.as_slice()) {
                (Some(_), _) => "no permission".to_owned(),
                (None, []) => "free".to_owned(),
                (None, holders) => format!("in use by {}", holders.join(", ")),
            };
            table.row([
                port.path.display().to_string(),
                port.usb.as_ref().map(ToString::to_string).unwrap_or_default(),
                port.usb.as_ref().and_then(|usb| usb.name.clone()).unwrap_or_default(),
                port.driver.clone().unwrap_or_default(),
                state,
            ]);
        }
        print(table);
        for port in &ports {
            if let Some(by_id) = &port.by_id {
                print(format_args!("\nport = \"{}\"   # {}", by_id.display(), port.path.display()));
            }
            if let Some(problem) = &port.problem {
                print(format_args!("\n{}: {problem}", port.path.display()));
            }
        }
        Ok(Exit::Well)
    }

    #[cfg(not(unix))]
    pub(super) fn run(self) -> Outcome {
        for port in tokio_serial::available_ports().unwrap_or_default() {
            print(port.port_name);
        }
        Ok(Exit::Well)
    }
}
