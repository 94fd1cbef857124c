//! Serial ports as Linux shows them in `/sys/class/tty`, `/dev/serial/by-id` and `/proc/*/fd`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::ports::{Port, Usb};

/// Where the file systems of the kernel are mounted; elsewhere in tests.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) sys: PathBuf,
    pub(super) dev: PathBuf,
    pub(super) proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into(), proc: "/proc".into() }
    }
}

impl Roots {
    /// All serial ports with hardware behind them.
    pub(super) fn ports(&self) -> Vec<Port> {
        let by_id = self.lasting_names();
        let mut ports: Vec<Port> = entries(&self.sys.join("class/tty"))
            .filter_map(|entry| self.port(&entry))
            .map(|mut port| {
                port.by_id = by_id.get(&port.path).cloned();
                port
            })
            .collect();
        ports.sort_by(|a, b| a.path.cmp(&b.path));
        let mut holders = self.holders();
        for port in &mut ports {
            port.holders = holders.remove(&port.path).unwrap_or_default();
        }
        ports
    }

    /// Who holds this device file open.
    pub(super) fn holders_of(&self, path: &Path) -> Vec<String> {
        self.holders().remove(path).unwrap_or_default()
    }

    fn port(&self, entry: &Path) -> Option<Port> {
        // Consoles and pseudo-terminals have no device behind them.
        let device = fs::canonicalize(entry.join("device")).ok()?;
        // The PC driver lists four ports whether they exist or not; type 0 is a port that does not.
        if text(&entry.join("type")).as_deref() == Some("0") {
            return None;
        }
        let path = self.dev.join(entry.file_name()?);
        let problem = problem(&path);
        Some(Port {
            by_id: None,
            usb: device.ancestors().find_map(usb),
            driver: fs::read_link(device.join("driver"))
                .ok()
                .and_then(|driver| driver.file_name().map(|name| name.to_string_lossy().into_owned())),
            holders: Vec::new(),
            problem,
            latency_ms: text(&device.join("latency_timer")).and_then(|ms| ms.parse().ok()),
            path,
        })
    }

    fn lasting_names(&self) -> BTreeMap<PathBuf, PathBuf> {
        entries(&self.dev.join("serial/by-id")).filter_map(|link| Some((fs::canonicalize(&link).ok()?, link))).collect()
    }

    fn holders(&self) -> BTreeMap<PathBuf, Vec<String>> {
        let mut held: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for process in entries(&self.proc) {
            let Some(id) = process.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
                continue;
            };
            let mut open: Vec<PathBuf> = entries(&process.join("fd"))
                .filter_map(|fd| fs::read_link(fd).ok())
                .filter(|target| target.starts_with(&self.dev))
                .collect();
            open.sort();
            open.dedup();
            for path in open {
                let name = text(&process.join("comm")).unwrap_or_else(|| "?".to_owned());
                held.entry(path).or_default().push(format!("{name} ({id})"));
            }
        }
        held
    }
}

/// Asks an FTDI adapter to hand bytes on after 1 ms instead of 16. Needs a right that most users lack; then nothing changes.
pub(super) fn shorten_latency(path: &Path) {
    let timer = path.file_name().map(|name| Path::new("/sys/class/tty").join(name).join("device/latency_timer"));
    if let Some(timer) = timer.filter(|timer| timer.exists()) {
        match fs::write(&timer, "1") {
            Ok(()) => tracing::debug!(port = %path.display(), "the adapter hands bytes on after 1 ms"),
            Err(error) => tracing::debug!(port = %path.display(), %error, "the adapter keeps its latency"),
        }
    }
}

/// Why this user can't open a device file, and the cure.
pub(super) fn problem(path: &Path) -> Option<String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(format!("the device file can't be looked at: {error}")),
    };
    if rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok() {
        return None;
    }
    let group = group_name(metadata.gid()).unwrap_or_else(|| "dialout".to_owned());
    Some(if metadata.mode() & 0o060 == 0o060 && group != "root" {
        format!("add this user to the `{group}` group (`sudo usermod -aG {group} $USER`), then log in again")
    } else {
        "its group may not open it either; a udev rule with `GROUP=\"dialout\", MODE=\"0660\"` gives it to one"
            .to_owned()
    })
}

fn group_name(id: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

fn usb(device: &Path) -> Option<Usb> {
    let id = |name| text(&device.join(name)).and_then(|hex| u16::from_str_radix(&hex, 16).ok());
    let words = [text(&device.join("manufacturer")), text(&device.join("product"))];
    let name = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(Usb {
        vendor: id("idVendor")?,
        product: id("idProduct")?,
        serial: text(&device.join("serial")),
        name: (!name.is_empty()).then_some(name),
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A machine with an FTDI adapter, a PC port, a PC port that does not exist, and a console.
    fn machine() -> (tempfile::TempDir, Roots) {
        let scratch = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(scratch.path()).unwrap();
        let roots = Roots { sys: root.join("sys"), dev: root.join("dev"), proc: root.join("proc") };
        let usb = roots.sys.join("devices/pci0/usb1/1-2");
        put(&usb.join("idVendor"), "0403\n");
        put(&usb.join("idProduct"), "6001\n");
        put(&usb.join("serial"), "FT0ABC\n");
        put(&usb.join("manufacturer"), "FTDI\n");
        put(&usb.join("product"), "FT232R USB UART\n");
        put(&usb.join("1-2:1.0/ttyUSB0/latency_timer"), "16\n");
        let classes = roots.sys.join("class/tty");
        for (name, device) in
            [("ttyUSB0", usb.join("1-2:1.0/ttyUSB0")), ("ttyS0", roots.sys.join("devices/pnp0/00:03"))]
        {
            fs::create_dir_all(&device).unwrap();
            fs::create_dir_all(classes.join(name)).unwrap();
            symlink(&device, classes.join(name).join("device")).unwrap();
            put(&roots.dev.join(name), "");
        }
        fs::create_dir_all(roots.sys.join("bus/drivers/ftdi_sio")).unwrap();
        symlink(roots.sys.join("bus/drivers/ftdi_sio"), usb.join("1-2:1.0/ttyUSB0/driver")).unwrap();
        put(&classes.join("ttyS0/type"), "4\n");
        put(&classes.join("ttyS1/type"), "0\n");
        symlink(roots.sys.join("devices/pnp0/00:03"), classes.join("ttyS1/device")).unwrap();
        fs::create_dir_all(classes.join("tty1")).unwrap();
        fs::create_dir_all(roots.dev.join("serial/by-id")).unwrap();
        symlink("../../ttyUSB0", roots.dev.join("serial/by-id/usb-FTDI_FT0ABC-if00-port0")).unwrap();
        put(&roots.proc.join("4711/comm"), "minicom\n");
        fs::create_dir_all(roots.proc.join("4711/fd")).unwrap();
        symlink(roots.dev.join("ttyUSB0"), roots.proc.join("4711/fd/5")).unwrap();
        (scratch, roots)
    }

    #[test]
    fn ports_are_listed_with_what_identifies_them_and_who_holds_them() {
        let (_scratch, roots) = machine();
        let ports = roots.ports();
        let [pc, adapter] = ports.as_slice() else { panic!("{ports:?}") };
        assert_eq!(pc.path, roots.dev.join("ttyS0"));
        assert_eq!((&pc.usb, &pc.holders), (&None, &Vec::new()));
        assert_eq!(adapter.path, roots.dev.join("ttyUSB0"));
        assert_eq!(adapter.by_id, Some(roots.dev.join("serial/by-id/usb-FTDI_FT0ABC-if00-port0")));
        let usb = adapter.usb.as_ref().unwrap();
        assert_eq!(usb.to_string(), "usb:0403:6001:FT0ABC");
        assert_eq!(usb.name.as_deref(), Some("FTDI FT232R USB UART"));
        assert_eq!(adapter.driver.as_deref(), Some("ftdi_sio"));
        assert_eq!(adapter.latency_ms, Some(16));
        assert_eq!(adapter.holders, ["minicom (4711)"]);
    }

    #[test]
    fn a_machine_without_sysfs_has_no_ports() {
        let nowhere = PathBuf::from("/nonexistent");
        let roots = Roots { sys: nowhere.clone(), dev: nowhere.clone(), proc: nowhere };
        assert_eq!(roots.ports(), Vec::new());
    }

    #[test]
    fn this_machine_can_be_listed() {
        for port in Roots::default().ports() {
            assert!(port.path.starts_with("/dev"), "{port:?}");
        }
    }
}
