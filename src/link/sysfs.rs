//! Serial ports as Linux shows them in `/sys/class/tty`, `/dev/serial/by-id` and `/proc/*/fd`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::ports::{Place, Port, Usb};

/// Where the file systems of the kernel are mounted; elsewhere in tests.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) sys: PathBuf,
    pub(super) dev: PathBuf,
    pub(super) proc: PathBuf,
    pub(super) etc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into(), proc: "/proc".into(), etc: "/etc".into() }
    }
}

impl Roots {
    /// All serial ports with hardware behind them.
    pub(super) fn ports(&self) -> Vec<Port> {
        let by_id = self.lasting_names("serial/by-id");
        let by_path = self.lasting_names("serial/by-path");
        let mut ports: Vec<Port> = entries(&self.sys.join("class/tty"))
            .filter_map(|entry| self.port(&entry))
            .map(|mut port| {
                port.by_id = by_id.get(&port.path).cloned();
                port.by_path = by_path.get(&port.path).cloned();
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
        let problem = self.problem(&path);
        let group = fs::metadata(&path).ok().and_then(|metadata| self.group_name(metadata.gid()));
        Some(Port {
            by_id: None,
            by_path: None,
            usb: device.ancestors().find_map(usb),
            place: place(&device),
            group,
            driver: fs::read_link(device.join("driver"))
                .ok()
                .and_then(|driver| driver.file_name().map(|name| name.to_string_lossy().into_owned())),
            holders: Vec::new(),
            problem,
            latency_ms: text(&device.join("latency_timer")).and_then(|ms| ms.parse().ok()),
            path,
        })
    }

    fn lasting_names(&self, folder: &str) -> BTreeMap<PathBuf, PathBuf> {
        entries(&self.dev.join(folder)).filter_map(|link| Some((fs::canonicalize(&link).ok()?, link))).collect()
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
    Roots::default().problem(path)
}

impl Roots {
    fn problem(&self, path: &Path) -> Option<String> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return Some(format!("the device file can't be looked at: {error}")),
        };
        if rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok() {
            return None;
        }
        Some(self.cure(metadata.mode(), metadata.gid(), rustix::process::getuid().as_raw()))
    }

    /// What lets a user open a device file of this mode and group.
    fn cure(&self, mode: u32, group: u32, user: u32) -> String {
        let name = self.user_name(user);
        let opened_by_group = mode & 0o060 == 0o060;
        match self.group_name(group) {
            Some(group) if opened_by_group && group != "root" => {
                let member = name.as_ref().is_some_and(|name| self.members(&group).contains(name));
                if member {
                    format!(
                        "this user is in the group `{group}` already, but this session began before that: log in again"
                    )
                } else {
                    let user = name.as_deref().unwrap_or("$USER");
                    format!(
                        "add this user to the `{group}` group (`sudo usermod -aG {group} {user}`), then log in again"
                    )
                }
            }
            _ => {
                let group = self.usual_group();
                format!(
                    "its group may not open it either; a udev rule with `GROUP=\"{group}\", MODE=\"0660\"` gives it to one \
                     (`mbe-bridge ports --udev`)"
                )
            }
        }
    }

    /// The group that serial ports have on this system: `dialout` with Debian and Fedora, `uucp` with Arch.
    pub(super) fn usual_group(&self) -> &'static str {
        let exists = |group: &&&str| self.group_line(|fields| fields.first() == Some(*group)).is_some();
        ["dialout", "uucp"].iter().find(exists).copied().unwrap_or("dialout")
    }

    fn group_name(&self, id: u32) -> Option<String> {
        self.group_line(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(id))?.into_iter().next()
    }

    fn members(&self, group: &str) -> Vec<String> {
        let line = self.group_line(|fields| fields.first() == Some(&group));
        let members = line.and_then(|fields| fields.into_iter().nth(3)).unwrap_or_default();
        members.split(',').map(str::to_owned).collect()
    }

    /// The fields of the first line of `/etc/group` that fits.
    fn group_line(&self, fits: impl Fn(&[&str]) -> bool) -> Option<Vec<String>> {
        self.account("group", fits)
    }

    fn user_name(&self, id: u32) -> Option<String> {
        let fits = |fields: &[&str]| fields.get(2).and_then(|field| field.parse().ok()) == Some(id);
        self.account("passwd", fits)?.into_iter().next()
    }

    fn account(&self, file: &str, fits: impl Fn(&[&str]) -> bool) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.etc.join(file)).ok()?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            fits(&fields).then(|| fields.into_iter().map(str::to_owned).collect())
        })
    }
}

/// The interface that a port belongs to, which has a number of its own beside those of its adapter.
fn place(device: &Path) -> Option<Place> {
    let interface = device.ancestors().find(|folder| folder.join("bInterfaceNumber").exists())?;
    Some(Place {
        interface: interface.file_name()?.to_string_lossy().into_owned(),
        number: text(&interface.join("bInterfaceNumber")).and_then(|hex| u8::from_str_radix(&hex, 16).ok()),
        port: text(&device.join("port_number")).and_then(|number| number.parse().ok()),
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
        let roots =
            Roots { sys: root.join("sys"), dev: root.join("dev"), proc: root.join("proc"), etc: root.join("etc") };
        let usb = roots.sys.join("devices/pci0/usb1/1-2");
        put(&usb.join("idVendor"), "0403\n");
        put(&usb.join("idProduct"), "6001\n");
        put(&usb.join("serial"), "FT0ABC\n");
        put(&usb.join("manufacturer"), "FTDI\n");
        put(&usb.join("product"), "FT232R USB UART\n");
        put(&usb.join("1-2:1.0/ttyUSB0/latency_timer"), "16\n");
        put(&usb.join("1-2:1.0/ttyUSB0/port_number"), "0\n");
        put(&usb.join("1-2:1.0/bInterfaceNumber"), "00\n");
        put(&roots.etc.join("group"), "root:x:0:\nuucp:x:14:\ndialout:x:20:ann,grower\nwheel:x:998:ann\n");
        put(
            &roots.etc.join("passwd"),
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n",
        );
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
        fs::create_dir_all(roots.dev.join("serial/by-path")).unwrap();
        symlink("../../ttyUSB0", roots.dev.join("serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0")).unwrap();
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
        assert_eq!(adapter.by_path, Some(roots.dev.join("serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0")));
        let place = Place { interface: "1-2:1.0".to_owned(), number: Some(0), port: Some(0) };
        assert_eq!((&pc.place, &adapter.place), (&None, &Some(place)));
    }

    #[test]
    fn the_cure_names_the_group_of_the_device_file_and_the_user() {
        let (_scratch, roots) = machine();
        assert!(roots.cure(0o20_660, 20, 1001).contains("`sudo usermod -aG dialout bob`"));
        assert!(roots.cure(0o20_660, 14, 1001).contains("`sudo usermod -aG uucp bob`"));
        assert!(roots.cure(0o20_660, 20, 77).contains("`sudo usermod -aG dialout $USER`"));
        assert!(roots.cure(0o20_660, 20, 1000).contains("in the group `dialout` already"));
        for (mode, group) in [(0o20_600, 20), (0o20_660, 0), (0o20_660, 4242)] {
            let cure = roots.cure(mode, group, 1001);
            assert!(cure.contains("GROUP=\"dialout\", MODE=\"0660\""), "{cure}");
        }
        put(&roots.etc.join("group"), "root:x:0:\nuucp:x:14:\n");
        assert_eq!(roots.usual_group(), "uucp");
    }

    #[test]
    fn a_machine_without_sysfs_has_no_ports() {
        let nowhere = PathBuf::from("/nonexistent");
        let roots = Roots { sys: nowhere.clone(), dev: nowhere.clone(), proc: nowhere.clone(), etc: nowhere };
        assert_eq!(roots.ports(), Vec::new());
    }

    #[test]
    fn this_machine_can_be_listed() {
        for port in Roots::default().ports() {
            assert!(port.path.starts_with("/dev"), "{port:?}");
        }
    }
}
