//! What a scan sends, in what order, and what it leaves out. Pure: nothing is opened here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::modbus::Read;
use crate::model::{LineSettings, Parity};
use crate::profile::DeviceEngine;
use crate::profile::Library;
use crate::profile::MessageDevice;
use crate::profile::Probe;
use crate::profile::Profile;
use crate::profile::Source;
use crate::profile::Table;

/// What can be on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A serial port.
    Serial,
    /// A serial device server: the bytes of a line through a socket.
    DeviceServer,
    /// Modbus/TCP.
    ModbusTcp,
}

/// What is wanted of a scan.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    pub(super) way: Way,
    /// Only these profiles; all if empty.
    pub(super) profiles: Vec<String>,
    /// Only Modbus.
    pub(super) modbus_only: bool,
    pub(super) quick: bool,
    pub(super) units: Vec<u8>,
    /// The rate that the user knows.
    pub(super) baud_is_known: bool,
}

/// A scan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Profiles of instruments that talk unasked.
    pub(super) talkers: Vec<Arc<Profile>>,
    /// How the line is set while they are listened to.
    pub(super) talkers_lines: Vec<LineSettings>,
    /// Line settings in the order in which they are tried.
    pub(super) stages: Vec<Stage>,
    /// Profiles that a Modbus unit that answers is asked for.
    pub(super) unit_profiles: Vec<Arc<Profile>>,
    pub(super) units: Vec<u8>,
    pub(super) tables: Vec<Table>,
    pub(super) left_out: Vec<LeftOut>,
}

/// What is tried at one line setting.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// None on a socket.
    pub(super) line: Option<LineSettings>,
    /// Questions in messages of the instruments' own.
    pub(super) questions: Vec<Question>,
    /// Reads by which a Modbus unit shows that it is there.
    pub(super) knocks: Vec<Read>,
    /// How many profiles have this line setting.
    pub(super) weight: usize,
}

/// A try of a profile.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) profile: Arc<Profile>,
    /// Its place in [`Profile::identify`].
    pub(super) probe: usize,
}

/// A message that is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Whose try it belongs to.
    pub(super) profile: String,
    pub(super) message: String,
    /// Which instrument could take it for an order.
    pub(super) danger: String,
}

impl Question {
    pub(super) fn probe(&self) -> Option<&Probe> {
        self.profile.identify().get(self.probe)
    }

    pub(super) fn device(&self) -> Option<&MessageDevice> {
        match &self.probe()?.device.engine {
            DeviceEngine::Messages(device) => Some(device),
            DeviceEngine::Modbus(_) => None,
        }
    }

    /// The messages that it sends.
    pub(super) fn sends(&self) -> Vec<Vec<u8>> {
        let steps = self.device().into_iter().flat_map(|device| &device.polls).flat_map(|poll| &poll.steps);
        steps.filter_map(|step| step.send.clone()).collect()
    }
}

impl Stage {
    /// Each different message once, as people read it.
    pub(super) fn distinct(&self) -> BTreeSet<String> {
        let shown = |question: &Question| {
            let device = question.device().cloned();
            question.sends().into_iter().filter_map(move |send| Some(device.as_ref()?.shown(&send)))
        };
        self.questions.iter().flat_map(shown).collect()
    }

    /// How long it takes if nobody answers. A message that several profiles have is sent once then.
    pub(super) fn at_worst(&self, patience: Patience) -> Duration {
        let time_of = |bytes: usize| self.line.as_ref().map(|line| line.time_of(bytes)).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut time = Duration::ZERO;
        for question in &self.questions {
            let sends = question.sends();
            let reply = question.probe().map(|probe| probe.device.timing.reply).unwrap_or_default();
            if seen.insert(sends.first().cloned()) {
                time += time_of(sends.first().map_or(0, Vec::len)) + reply.min(patience.reply) + patience.settle;
            }
        }
        let knock = time_of(16) + patience.knock + patience.settle;
        time + knock * u32::try_from(self.knocks.len()).unwrap_or(u32::MAX)
    }
}

/// How long answers are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For an answer to a message, at most; less where the profile says so.
    pub(super) reply: Duration,
    /// For a Modbus unit.
    pub(super) knock: Duration,
    /// For the line to be quiet after silence.
    pub(super) settle: Duration,
}

/// Rates of serial instruments, the usual ones first.
const RATES: [u32; 7] = [9_600, 19_200, 38_400, 57_600, 115_200, 4_800, 2_400];

/// The line settings that Modbus units have, the usual ones first. 19200 8E1 is that of MODBUS over Serial Line V1.02, 3.3;
/// 9600 8N1 is what most vendors ship.
fn usual_modbus_lines(quick: bool) -> Vec<LineSettings> {
    let line = |baud, parity| LineSettings { baud, parity, ..LineSettings::default() };
    let mut lines = vec![line(9_600, Parity::None), line(19_200, Parity::Even)];
    if !quick {
        lines.extend([line(19_200, Parity::None), line(9_600, Parity::Even)]);
        lines.extend([line(38_400, Parity::None), line(115_200, Parity::None)]);
    }
    lines
}

impl Plan {
    /// Makes a plan. `set` lays what the user knows of the line over what is usual.
    pub(super) fn new(library: &Library, wishes: &Wishes, set: impl Fn(&LineSettings) -> LineSettings) -> Self {
        let wanted = |profile: &&Arc<Profile>| {
            wishes.profiles.is_empty() || wishes.profiles.iter().any(|id| **id == *profile.id)
        };
        let candidates: Vec<&Arc<Profile>> = library.iter().filter(wanted).collect();
        let named = !wishes.profiles.is_empty();
        let mut plan = Self { units: wishes.units.clone(), ..Self::default() };
        plan.tables = if wishes.quick { vec![Table::Holding] } else { vec![Table::Holding, Table::Input] };
        let messages = wishes.way != Way::ModbusTcp && !wishes.modbus_only;
        for profile in candidates.iter().filter(|profile| !profile.is_modbus() && messages) {
            if talks(profile) {
                plan.talkers.push(Arc::clone(profile));
                plan.talkers_lines.push(set(&profile.line));
                continue;
            }
            let own = set(&profile.line);
            // Who names a profile wants it found at any rate; otherwise all profiles at all rates would take hours.
            let rates: &[u32] = if named && !wishes.quick && !wishes.baud_is_known { &RATES } else { &[] };
            let others = rates.iter().map(|baud| LineSettings { baud: *baud, ..own.clone() });
            for line in std::iter::once(own.clone()).chain(others.filter(|line| *line != own)) {
                let line = (wishes.way == Way::Serial).then_some(line);
                let questions =
                    (0..profile.identify().len()).map(|probe| Question { profile: Arc::clone(profile), probe });
                let questions: Vec<Question> = questions.filter(|question| plan.keeps(question, library)).collect();
                plan.change_stage(line, |stage| {
                    stage.weight += 1;
                    stage.questions.extend(questions);
                });
            }
        }
        plan.modbus(&candidates, wishes, library, &set);
        plan.stages.retain(|stage| !stage.questions.is_empty() || !stage.knocks.is_empty());
        // A stable sort: among equals the usual ones stay first.
        plan.stages.sort_by_key(|stage| std::cmp::Reverse(stage.weight));
        plan.left_out.dedup();
        plan
    }

    fn modbus(
        &mut self,
        candidates: &[&Arc<Profile>],
        wishes: &Wishes,
        library: &Library,
        set: &impl Fn(&LineSettings) -> LineSettings,
    ) {
        let profiles: Vec<Arc<Profile>> =
            candidates.iter().filter(|profile| profile.is_modbus()).map(|profile| Arc::clone(profile)).collect();
        if profiles.is_empty() && !wishes.modbus_only && wishes.way != Way::ModbusTcp {
            return;
        }
        let mut lines: Vec<LineSettings> = Vec::new();
        let stated = profiles.iter().filter(|profile| profile.states_line()).map(|profile| profile.line.clone());
        let usual = usual_modbus_lines(wishes.quick);
        let all: Vec<LineSettings> = if wishes.profiles.is_empty() {
            usual.into_iter().chain(stated.filter(|_| !wishes.quick)).collect()
        } else {
            stated.chain(usual).collect()
        };
        for line in all.iter().map(set) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        self.unit_profiles = profiles;
        let lines: Vec<Option<LineSettings>> =
            if wishes.way == Way::Serial { lines.into_iter().map(Some).collect() } else { vec![None] };
        let mut knocks = Vec::new();
        for unit in &wishes.units {
            for table in &self.tables {
                let read = Read { unit: *unit, table: *table, address: 0, count: 1 };
                // On Modbus/TCP nobody else listens.
                match danger(&read.rtu_frame(), library).filter(|_| wishes.way != Way::ModbusTcp) {
                    Some(danger) => {
                        self.left_out.push(LeftOut { profile: "modbus".to_owned(), message: frame(&read), danger });
                    }
                    None => knocks.push(read),
                }
            }
        }
        for line in lines {
            self.change_stage(line, |stage| {
                stage.weight += 1;
                stage.knocks.clone_from(&knocks);
            });
        }
    }

    /// Changes the stage of a line setting, which is made if there is none.
    fn change_stage(&mut self, line: Option<LineSettings>, change: impl FnOnce(&mut Stage)) {
        if let Some(stage) = self.stages.iter_mut().find(|stage| stage.line == line) {
            change(stage);
            return;
        }
        let mut stage = Stage { line, questions: Vec::new(), knocks: Vec::new(), weight: 0 };
        change(&mut stage);
        self.stages.push(stage);
    }

    /// Whether a try is harmless to every instrument that the library knows; if not, it is noted.
    fn keeps(&mut self, question: &Question, library: &Library) -> bool {
        let Some(device) = question.device() else { return false };
        for send in question.sends() {
            if let Some(danger) = danger(&send, library) {
                let left_out =
                    LeftOut { profile: question.profile.id.to_string(), message: device.shown(&send), danger };
                if !self.left_out.contains(&left_out) {
                    self.left_out.push(left_out);
                }
                return false;
            }
        }
        true
    }
}

/// The first profile whose instruments would take this message for one that changes them.
pub(super) fn danger(message: &[u8], library: &Library) -> Option<String> {
    library.iter().find(|profile| profile.would_change(message)).map(|profile| profile.id.to_string())
}

/// The reads by which a unit is compared with a profile: one for each register that the try looks at.
pub(super) fn reads(probe: &Probe, unit: u8) -> Vec<Option<Read>> {
    let read = |source: &Source| match source {
        Source::Register(register) => {
            Some(Read { unit, table: register.table, address: register.address, count: register.registers })
        }
        Source::Field { .. } => None,
    };
    probe.device.channels.iter().map(|channel| read(&channel.source)).collect()
}

/// A Modbus request, for people.
pub(super) fn frame(read: &Read) -> String {
    let bytes: Vec<String> = read.rtu_frame().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(" ")
}

/// Whether instruments of this profile talk unasked.
fn talks(profile: &Profile) -> bool {
    match &profile.sample().engine {
        DeviceEngine::Messages(device) => device.listens(),
        DeviceEngine::Modbus(_) => false,
    }
}
