//! `mbe-bridge init`: a commented lab.toml to start from.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::registers::with_port;
use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::starter::{Starter, StarterInstrument, StarterLink, filled_in};
use super::{print, say};
use crate::link::ports;
use crate::profile::Library;
use crate::profile::Profile;

/// What stands for a port or a profile that nobody has named: it has to be changed, and `check` passes.
const SOME_PORT: &str = "/dev/serial/by-id/CHANGE-ME";
const SOME_PROFILE: &str = "impac-upp";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to write; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "lab.toml")]
    out: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// What `mbe-bridge scan --json` has printed; may be given again for each port
    #[arg(long, value_name = "FILE")]
    from_scan: Vec<PathBuf>,
    /// A serial port; may be given again. Without any, those of this machine are taken
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// A device on the network; may be given again
    #[arg(long, value_name = "ADDR")]
    tcp: Vec<String>,
    /// The profile of the instrument on the first port, then on the next, ports before addresses; any more are on the last
    #[arg(long, value_name = "ID")]
    profile: Vec<String>,
    /// Ask nothing, also on a terminal
    #[arg(long)]
    yes: bool,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let to_stdout = self.out == Path::new("-");
        if !to_stdout && self.out.exists() && !self.force {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("`{}` is there already", self.out.display()))
                .hint("`--out` writes to another file, `--force` over this one"));
        }
        let nothing_said = self.port.is_empty() && self.tcp.is_empty() && self.profile.is_empty();
        let starter = if !self.from_scan.is_empty() {
            self.scanned()?
        } else if nothing_said && !self.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            asked(library)?
        } else {
            self.given(library)?
        };
        let starter = starter.slowed_to_fit(library).map_err(|problems| {
            Failure::new(Exit::Usage, anyhow::anyhow!("{problems}"))
                .hint("what was asked for does not go together; nothing was written")
        })?;
        let text = format!("{HEAD}\n{}", starter.toml(library));
        if to_stdout {
            print(text.trim_end());
            return Ok(Exit::Well);
        }
        write(&self.out, &text, self.force).or_exit(Exit::Disk)?;
        let file = self.out.display();
        print(format_args!("{file}: {} links, {} instruments", starter.links.len(), starter.instruments.len()));
        print(format_args!("next: edit it, then `mbe-bridge check {file}` and `mbe-bridge read {file} --watch`"));
        Ok(Exit::Well)
    }

    /// What scans have found, each on links of its own.
    fn scanned(&self) -> Result<Starter, Failure> {
        let mut all = Starter::default();
        for (number, path) in self.from_scan.iter().enumerate() {
            let shown = path.display();
            let text = std::fs::read_to_string(path).or_exit(Exit::Usage)?;
            let found: Result<Starter, _> = serde_json::from_str::<serde_json::Value>(&text).and_then(|mut json| {
                let starter = json.get_mut("starter").map(serde_json::Value::take);
                serde_json::from_value(starter.unwrap_or_default())
            });
            let found = found.map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    anyhow::Error::new(error).context(format!("`{shown}` is not what a scan prints")),
                )
                .hint("`mbe-bridge scan --port P --yes --json > scan.json`")
            })?;
            for mut link in found.links {
                let old = link.name.clone();
                if number > 0 {
                    link.name = format!("{old}_{}", number + 1);
                }
                for instrument in found.instruments.iter().filter(|instrument| instrument.link == old) {
                    let name = all.free_name(&instrument.name);
                    all.instruments.push(StarterInstrument { name, link: link.name.clone(), ..instrument.clone() });
                }
                all.links.push(link);
            }
        }
        if !all.instruments.iter().any(|instrument| !instrument.aside) {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("the scan has found no instrument")));
        }
        Ok(all)
    }

    /// What the command line says, and the ports of this machine where it names none.
    fn given(&self, library: &Library) -> Result<Starter, Failure> {
        let mut profiles = Vec::new();
        for id in &self.profile {
            profiles.push(known(library, id)?);
        }
        let mut targets: Vec<Target> = self.port.iter().map(|port| Target::serial(port, "")).collect();
        targets.extend(self.tcp.iter().map(|address| Target {
            address: address.clone(),
            serial: false,
            note: String::new(),
        }));
        if targets.is_empty() {
            targets = ports_here();
        }
        let guessed = profiles.is_empty();
        if guessed {
            profiles.push(known(library, SOME_PROFILE)?);
        }
        let mut starter = Starter::default();
        for (number, target) in targets.iter().take(profiles.len()).enumerate() {
            let last = number + 1 == targets.len().min(profiles.len());
            let own = if last { profiles.get(number..) } else { profiles.get(number..=number) };
            add(&mut starter, target, own.unwrap_or_default(), guessed);
        }
        if targets.len() > profiles.len() && !guessed {
            let unused: Vec<&str> = targets.iter().skip(profiles.len()).map(|target| target.address.as_str()).collect();
            say(format_args!("left out, since no --profile is given for it: {}", unused.join(", ")));
        }
        if guessed {
            for target in targets.iter().skip(1) {
                say(format_args!("also there: {}", target.address));
            }
        }
        Ok(starter)
    }
}

/// Where an instrument can be.
#[derive(Debug)]
struct Target {
    address: String,
    serial: bool,
    note: String,
}

impl Target {
    fn serial(port: &str, note: &str) -> Self {
        Self { address: port.to_owned(), serial: true, note: note.to_owned() }
    }
}

/// The USB ports of this machine, or else a port that has to be changed.
fn ports_here() -> Vec<Target> {
    let ports = ports::list();
    let usb = ports.iter().filter(|port| port.usb.is_some());
    let named = usb.map(|port| {
        let product = port.usb.as_ref().and_then(|usb| usb.name.clone()).unwrap_or_default();
        Target::serial(&super::ports::lasting_name(port, &ports), &format!("{} {product}", port.path.display()))
    });
    let mut targets: Vec<Target> = named.collect();
    if targets.is_empty() {
        targets.push(Target::serial(SOME_PORT, "CHANGE: `mbe-bridge ports` lists the ports; none was found"));
    }
    targets
}

fn known<'a>(library: &'a Library, id: &str) -> Result<&'a Profile, Failure> {
    library.get(id).map(|profile| &**profile).ok_or_else(|| {
        let help = crate::document::did_you_mean(id, "profile", library.ids());
        Failure::new(Exit::Usage, anyhow::anyhow!("there is no profile `{id}`")).hint(help)
    })
}

/// Adds a link with these instruments on it.
fn add(starter: &mut Starter, target: &Target, profiles: &[&Profile], guessed: bool) {
    let modbus = profiles.first().is_some_and(|profile| profile.is_modbus());
    let kind = match (target.serial, modbus) {
        (true, _) => "serial",
        (false, true) => "modbus-tcp",
        (false, false) => "tcp",
    };
    let name = format!("link_{}", starter.links.len() + 1);
    let usual_port = profiles.first().and_then(|profile| profile.tcp_port);
    let address = match (target.serial, modbus, usual_port) {
        (false, true, _) => with_port(&target.address),
        (false, false, Some(port)) if !target.address.contains(':') => format!("{}:{port}", target.address),
        _ => target.address.clone(),
    };
    starter.links.push(StarterLink {
        name: name.clone(),
        kind: kind.to_owned(),
        target: address,
        line: Vec::new(),
        note: target.note.clone(),
    });
    for (unit, profile) in (1_u8..).zip(profiles) {
        let (params, invented) = filled_in(profile, &BTreeMap::new());
        let mut notes = Vec::new();
        if guessed {
            notes.push(
                "CHANGE: `mbe-bridge devices` lists the profiles, `mbe-bridge scan` finds what is connected".to_owned(),
            );
        }
        if !invented.is_empty() {
            notes.push(format!("CHANGE: params that only you know: {}", invented.join(", ")));
        }
        starter.instruments.push(StarterInstrument {
            name: starter.free_name(&profile.id),
            link: name.clone(),
            profile: Some(profile.id.to_string()),
            unit: profile.is_modbus().then_some(unit),
            params,
            every_ms: None,
            note: notes.join("\n"),
            aside: false,
        });
    }
}

/// Asks what is on each port.
fn asked(library: &Library) -> Result<Starter, Failure> {
    let mut starter = Starter::default();
    say("For each port: the profile of the instrument on it (`?` lists the profiles, empty leaves the port out).");
    for target in ports_here() {
        while let Some(id) = question(&format!("{} {}", target.address, target.note))? {
            if id == "?" {
                say(library.ids().collect::<Vec<_>>().join("  "));
                continue;
            }
            match known(library, &id) {
                Ok(profile) => {
                    add(&mut starter, &target, &[profile], false);
                    break;
                }
                Err(failure) => say(failure),
            }
        }
    }
    while let Some(address) = question("an instrument on the network (host:port, empty for none)")? {
        if let Some(id) = question("its profile")? {
            match known(library, &id) {
                Ok(profile) => {
                    add(&mut starter, &Target { address, serial: false, note: String::new() }, &[profile], false);
                }
                Err(failure) => say(failure),
            }
        }
    }
    if starter.instruments.is_empty() {
        add(&mut starter, &Target::serial(SOME_PORT, ""), &[known(library, SOME_PROFILE)?], true);
    }
    Ok(starter)
}

/// Asks on the terminal; none for an empty answer or the end of the input.
fn question(text: &str) -> Result<Option<String>, Failure> {
    let mut err = std::io::stderr().lock();
    write!(err, "{}: ", text.trim()).and_then(|()| err.flush()).or_exit(Exit::Usage)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).or_exit(Exit::Usage)?;
    Ok(Some(line.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

/// Writes the file; only over an old one if that is wanted, also if it came between.
fn write(path: &Path, text: &str, over: bool) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true);
    if over {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

const HEAD: &str = r#"# A lab.toml for mbe-bridge, to start from.
# `mbe-bridge check lab.toml` says whether it can work, `mbe-bridge read lab.toml --watch` shows what is read.

# data_dir = "/var/lib/mbe-bridge"          # where runs are kept

[platform]
api_key = { env = "AS_API_KEY" }            # or { file = "/etc/mbe-bridge/api-key" }; never the key itself

[stream]
name = "Growth {start:%Y-%m-%d %H:%M}"
# synth_source_id = 42                      # the platform's number for this growth instrument
# physical_sample = "GaN-001"
# tags = ["growth"]

[align]
period = "1s"                               # ticks of the shared time axis; as fast as the fastest instrument if you like

[dashboard]
listen = "127.0.0.1:8730"

# A link is one byte stream to the field. Line settings that are not here are those of the profiles on it.
"#;
