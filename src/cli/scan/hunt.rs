//! Carrying out a plan: who answers, and as what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::report::Failure;
use super::plan::{LeftOut, Patience, Plan, Question, Stage, Way, danger, frame, reads};
use super::port::{Port, Reply};
use crate::driver;
use crate::driver::modbus::Read;
use crate::model::Kind;
use crate::model::LineSettings;
use crate::model::Outcome;
use crate::profile::DeviceChannel;
use crate::profile::DeviceEngine;
use crate::profile::Fields;
use crate::profile::Heard;
use crate::profile::HeardMessage;
use crate::profile::Hearing;
use crate::profile::Library;
use crate::profile::Probe;
use crate::profile::Profile;
use crate::profile::Says;
use crate::profile::Source;
use crate::profile::UNKNOWN_STATUS;
use crate::profile::printable;

/// An instrument that has shown signs of life is given this long.
const LONGEST_REPLY: Duration = Duration::from_secs(2);

/// Something that answers or talks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Its profile; none for a Modbus unit that no profile knows.
    pub(super) profile: Option<String>,
    pub(super) says: Says,
    pub(super) unit: Option<u8>,
    pub(super) params: BTreeMap<String, String>,
    pub(super) line: Option<LineSettings>,
    /// What it said.
    pub(super) said: String,
}

impl Found {
    /// Whether this shows how the line is set: a profile that is likely, or any Modbus unit, whose answer has a checksum.
    fn settles(&self) -> bool {
        self.unit.is_some() || self.says >= Says::Likely
    }
}

/// What has come of a scan so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) found: Vec<Found>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) notes: Vec<String>,
    pub(super) sent: u64,
    pub(super) echo: bool,
    /// Whether every unit that was asked answers: a device that does not look at the unit.
    pub(super) any_unit: bool,
}

impl Findings {
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether somebody was recognised at this line setting for certain enough to look no further.
    fn settled_at(&self, line: Option<&LineSettings>) -> bool {
        self.found.iter().any(|found| found.line.as_ref() == line && found.settles())
    }
}

/// How a scan goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    pub(super) way: Way,
    pub(super) patience: Patience,
    pub(super) listen: Duration,
    /// Whether other line settings are tried after a find.
    pub(super) all: bool,
    /// Whether a person watches.
    pub(super) watched: bool,
}

/// A scan that is under way. What it has found outlives it.
pub(super) struct Hunt<'a> {
    pub(super) plan: &'a Plan,
    pub(super) profiles: &'a Library,
    pub(super) ways: Ways,
    pub(super) port: Port,
    pub(super) findings: &'a mut Findings,
}

impl Hunt<'_> {
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let result = self.stages().await;
        self.progress("");
        result
    }

    async fn stages(&mut self) -> Result<(), Failure> {
        let mut stages: Vec<Stage> = self.plan.stages.clone();
        if self.ways.way != Way::ModbusTcp && !self.ways.listen.is_zero() {
            self.hear(&mut stages).await?;
        }
        for stage in &stages {
            if self.ways.all || !self.findings.found.iter().any(Found::settles) {
                self.stage(stage).await?;
            }
        }
        Ok(())
    }

    /// Listens before anything is sent. Who talks at one rate is heard at every other, too, if only as noise; so where the
    /// first setting is silent, all are. The setting at which talk made sense is tried first.
    async fn hear(&mut self, stages: &mut [Stage]) -> Result<(), Failure> {
        let mut lines: Vec<Option<LineSettings>> = Vec::new();
        let of_talkers = self.plan.talkers_lines.iter().cloned();
        let serial = self.ways.way == Way::Serial;
        let of_stages = stages.iter().map(|stage| stage.line.clone());
        let all = of_talkers.map(|line| serial.then_some(line)).chain(of_stages);
        for line in all {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let mut bytes = 0;
        for (number, line) in lines.iter().enumerate() {
            self.progress(&format!("{}: listening", shown(line.as_ref())));
            let (heard, sense) = self.listen(line.as_ref()).await?;
            bytes += heard.len();
            if sense {
                stages.sort_by_key(|stage| stage.line != *line);
                return Ok(());
            }
            if number == 0 && heard.is_empty() {
                return Ok(());
            }
        }
        if bytes > 0 {
            self.findings.note(format!(
                "somebody talks on the line ({bytes} bytes heard) in a way that no profile knows: what is found below may be \
                 disturbed by it"
            ));
        }
        Ok(())
    }

    /// Listens at one setting: what was heard, and whether it made sense.
    async fn listen(&mut self, line: Option<&LineSettings>) -> Result<(Vec<u8>, bool), Failure> {
        let mut ears: Vec<(&Profile, &Probe, Hearing, u32)> = Vec::new();
        for profile in &self.plan.talkers {
            for probe in profile.identify() {
                if let DeviceEngine::Messages(device) = &probe.device.engine {
                    let patterns = device.listens.iter().map(|listen| listen.expect.clone()).collect();
                    ears.push((profile, probe, Hearing::new(device.framing.clone(), patterns), 0));
                }
            }
        }
        let mut bytes = Vec::new();
        self.port
            .listen(line, self.ways.listen, |heard| {
                bytes.extend_from_slice(heard.unwrap_or_default());
                for (_, probe, hearing, count) in &mut ears {
                    match heard {
                        Some(heard) => hearing.push(heard),
                        None => hearing.silence(),
                    }
                    while let Some(heard) = hearing.heard() {
                        *count += u32::from(matches!(heard, Heard::Message(message) if is_meant(probe, &message)));
                    }
                }
            })
            .await?;
        let mut sense = false;
        for (profile, probe, _, count) in ears.iter().filter(|(.., count)| *count > 0) {
            sense = true;
            self.findings.found.push(Found {
                profile: Some(profile.id.to_string()),
                says: probe.says,
                unit: None,
                params: probe.params.clone(),
                line: line.cloned(),
                said: format!("{count} messages unasked"),
            });
        }
        if bytes.is_empty() || sense {
            return Ok((bytes, sense));
        }
        self.findings.note(format!("heard at {}: {}", shown(line), excerpt(&bytes)));
        Ok((bytes, false))
    }

    async fn stage(&mut self, stage: &Stage) -> Result<(), Failure> {
        let line = stage.line.as_ref();
        let mut spoke = self.questions(stage, &stage.questions).await?;
        if spoke.is_some() && !self.findings.settled_at(line) {
            // Somebody is there at this setting who is usually at another.
            let others: Vec<Question> = self
                .plan
                .stages
                .iter()
                .filter(|other| other.line != stage.line)
                .flat_map(|other| other.questions.clone())
                .filter(|question| !stage.questions.iter().any(|own| same(own, question)))
                .collect();
            spoke = self.questions(stage, &others).await?.or(spoke);
        }
        if self.ways.all || !self.findings.settled_at(line) {
            self.knock(stage).await?;
        }
        if let Some(said) = spoke.filter(|_| !self.findings.found.iter().any(|found| found.line == stage.line)) {
            let said = if said.is_empty() { String::new() } else { format!(" (`{said}`)") };
            self.findings.note(format!("somebody answers at {}{said}, but as no profile expects", shown(line)));
        }
        Ok(())
    }

    /// Asks; what was said first, if anybody said anything.
    async fn questions(&mut self, stage: &Stage, questions: &[Question]) -> Result<Option<String>, Failure> {
        let line = stage.line.as_ref();
        let mut silent = BTreeSet::new();
        let mut spoke = None;
        for (number, question) in questions.iter().enumerate() {
            let sends = question.sends();
            // A message that nobody answered is not sent again because another profile has it, too.
            if silent.contains(&sends.first().cloned()) {
                continue;
            }
            let count = questions.len();
            self.progress(&format!("{}: {number} of {count} questions, {}", shown(line), self.so_far()));
            match self.question(line, question).await? {
                Reply::Silence => drop(silent.insert(sends.first().cloned())),
                Reply::Right(heard) => {
                    spoke.get_or_insert_with(|| excerpt(&heard));
                    let Some(probe) = question.probe() else { continue };
                    self.findings.found.push(Found {
                        profile: Some(question.profile.id.to_string()),
                        says: probe.says,
                        unit: None,
                        params: probe.params.clone(),
                        line: line.cloned(),
                        said: excerpt(&heard),
                    });
                }
                Reply::Odd { why: driver::Error::Noisy { .. }, .. } => {
                    self.findings.note(format!("the line does not fall silent at {}", shown(line)));
                    return Ok(spoke);
                }
                Reply::Odd { heard, .. } => drop(spoke.get_or_insert_with(|| excerpt(&heard))),
            }
        }
        Ok(spoke)
    }

    /// Asks one question, and again where the answer is not beyond doubt: a right answer has to come twice, and an odd one
    /// may only have been late.
    async fn question(&mut self, line: Option<&LineSettings>, question: &Question) -> Result<Reply, Failure> {
        let Some(probe) = question.probe() else { return Ok(Reply::Silence) };
        let mut device = probe.device.clone();
        let usual = device.timing.reply;
        device.timing.reply = usual.min(self.ways.patience.reply);
        let mut rights = 0;
        let mut last = Reply::Silence;
        for attempt in 0..4 {
            last = self.port.ask(line, &device).await?;
            self.findings.sent = self.port.sent;
            match &last {
                Reply::Silence if attempt == 0 => return Ok(last),
                Reply::Right(_) if rights == 1 => return Ok(last),
                Reply::Right(_) => rights += 1,
                Reply::Odd { why: driver::Error::Noisy { .. }, .. } => return Ok(last),
                Reply::Odd { why: driver::Error::Echo, .. } if !self.port.echo => {
                    self.port.echo = true;
                    self.findings.echo = true;
                    self.findings.note("the adapter echoes what is sent: `echo = true`".to_owned());
                }
                Reply::Odd { .. } if attempt > 0 && rights == 0 => return Ok(last),
                Reply::Silence | Reply::Odd { .. } => device.timing.reply = usual.min(LONGEST_REPLY),
            }
        }
        Ok(last)
    }

    /// Looks for Modbus units, and asks each one that answers what it is.
    async fn knock(&mut self, stage: &Stage) -> Result<(), Failure> {
        let line = stage.line.as_ref();
        let mut there: BTreeSet<u8> = BTreeSet::new();
        let mut before: Option<Read> = None;
        for (number, read) in stage.knocks.iter().enumerate() {
            if there.contains(&read.unit) {
                continue;
            }
            let count = stage.knocks.len();
            self.progress(&format!("{}: Modbus, {number} of {count} reads, {}", shown(line), self.so_far()));
            let mut said = self.knock_once(line, read, self.ways.patience.knock).await?;
            if let Knocked::Odd(why) = &said {
                self.findings.note(format!("unit {} at {}: {why}", read.unit, shown(line)));
                // The answer may have been a late one to the question before.
                if let Some(late) = before.filter(|late| !there.contains(&late.unit))
                    && let Knocked::There(words) = self.knock_once(line, &late, LONGEST_REPLY).await?
                {
                    there.insert(late.unit);
                    self.recognise(line, late.unit, words).await?;
                }
                said = self.knock_once(line, read, LONGEST_REPLY).await?;
            }
            if let Knocked::There(words) = said {
                there.insert(read.unit);
                self.recognise(line, read.unit, words).await?;
            }
            before = Some(*read);
        }
        if there.len() > 2 && there.len() == self.plan.units.len() {
            self.findings.any_unit = true;
            self.findings.note("every unit answers: this may be one device that does not look at the unit".to_owned());
        }
        Ok(())
    }

    async fn knock_once(
        &mut self,
        line: Option<&LineSettings>,
        read: &Read,
        reply: Duration,
    ) -> Result<Knocked, Failure> {
        let answer = self.port.read(line, read, reply).await?;
        self.findings.sent = self.port.sent;
        Ok(match answer {
            Ok(words) => Knocked::There(format!("{} register 0 is {}", read.table.name(), words.first().unwrap_or(&0))),
            Err(Reply::Odd { why: driver::Error::Exception { code: 10 | 11, .. }, .. }) => Knocked::Nobody,
            Err(Reply::Odd { why: driver::Error::Exception { code, what }, .. }) => {
                Knocked::There(format!("exception {code}, {what}, to reading {} register 0", read.table.name()))
            }
            Err(Reply::Odd { why: driver::Error::Echo, .. }) if !self.port.echo => {
                self.port.echo = true;
                self.findings.echo = true;
                Knocked::Odd("the adapter echoes what is sent".to_owned())
            }
            Err(Reply::Odd { why, .. }) => Knocked::Odd(why.to_string()),
            Err(Reply::Silence | Reply::Right(_)) => Knocked::Nobody,
        })
    }

    /// Compares a unit with every profile.
    async fn recognise(&mut self, line: Option<&LineSettings>, unit: u8, said: String) -> Result<(), Failure> {
        let mut known = false;
        for profile in &self.plan.unit_profiles {
            for probe in profile.identify() {
                self.progress(&format!("{}: is unit {unit} a {}?", shown(line), profile.id));
                let Some(said) = self.compare(line, profile, probe, unit).await? else { continue };
                known = true;
                self.findings.found.push(Found {
                    profile: Some(profile.id.to_string()),
                    says: probe.says,
                    unit: Some(unit),
                    params: probe.params.clone(),
                    line: line.cloned(),
                    said,
                });
                break;
            }
        }
        if !known {
            self.findings.found.push(Found {
                profile: None,
                says: Says::Sure,
                unit: Some(unit),
                params: BTreeMap::new(),
                line: line.cloned(),
                said,
            });
        }
        Ok(())
    }

    /// What the unit's channels show, if that is what the profile says of such an instrument.
    async fn compare(
        &mut self,
        line: Option<&LineSettings>,
        profile: &Profile,
        probe: &Probe,
        unit: u8,
    ) -> Result<Option<String>, Failure> {
        let mut fields = Fields::new();
        let mut raws = Vec::new();
        for (read, channel) in reads(probe, unit).into_iter().zip(&probe.device.channels) {
            let (Some(read), Source::Register(register)) = (read, &channel.source) else { return Ok(None) };
            let danger = danger(&read.rtu_frame(), self.profiles).filter(|_| self.ways.way != Way::ModbusTcp);
            if let Some(danger) = danger {
                self.findings.left_out.push(LeftOut { profile: profile.id.to_string(), message: frame(&read), danger });
                return Ok(None);
            }
            let answer = self.port.read(line, &read, probe.device.timing.reply.min(LONGEST_REPLY)).await?;
            self.findings.sent = self.port.sent;
            let Some(raw) = answer.ok().and_then(|words| register.read(&words).ok()) else { return Ok(None) };
            fields.set(channel.field(), raw.clone());
            raws.push(raw);
        }
        let mut said = Vec::new();
        for ((channel, raw), shows) in probe.device.channels.iter().zip(&raws).zip(&probe.shows) {
            let outcome = channel.evaluate(raw, &fields);
            if let Some(shows) = shows {
                if !shows.is_shown(&outcome, Some(raw)) {
                    return Ok(None);
                }
                let value = match (raw, outcome) {
                    (crate::profile::Raw::Text(text), _) => text.to_string(),
                    (_, Outcome::Value { value, .. }) => format!("{}", value.get()),
                    (_, Outcome::Bad(reason)) => reason.to_string(),
                };
                said.push(format!("{} {value}", channel.id));
            }
        }
        Ok(Some(said.join(", ")))
    }

    fn so_far(&self) -> String {
        match self.findings.found.len() {
            0 => "nothing found yet".to_owned(),
            count => format!("{count} found"),
        }
    }

    /// Says how far it is, over what it said before, where a person watches.
    fn progress(&self, text: &str) {
        if self.ways.watched {
            super::super::progress(text);
        }
    }
}

/// What came of looking for a unit.
enum Knocked {
    There(String),
    Nobody,
    Odd(String),
}

fn same(one: &Question, other: &Question) -> bool {
    one.profile.id == other.profile.id && one.probe == other.probe
}

/// A line setting, for people.
pub(super) fn shown(line: Option<&LineSettings>) -> String {
    line.map_or_else(|| "socket".to_owned(), ToString::to_string)
}

/// The beginning of what was heard: as text if it is some, else in hex.
fn excerpt(bytes: &[u8]) -> String {
    let readable = bytes.iter().filter(|byte| matches!(byte, 0x20..0x7F | b'\r' | b'\n')).count();
    let text = if readable * 10 >= bytes.len() * 9 {
        printable(bytes)
    } else {
        bytes.iter().take(24).map(|byte| format!("{byte:02X} ")).collect()
    };
    super::super::screen::cut(text.trim(), 48)
}

/// Whether a message says something to this profile. Gauges of one family send frames of one shape, and a status tells which
/// of them it is: to the profiles of the others it is unknown.
fn is_meant(probe: &Probe, message: &HeardMessage) -> bool {
    let fed =
        |channel: &&DeviceChannel| matches!(&channel.source, Source::Field { poll, .. } if *poll == message.which);
    let measured = |channel: &&DeviceChannel| matches!(channel.kind, Kind::Gauge | Kind::Counter);
    let mut outcomes = probe
        .device
        .channels
        .iter()
        .filter(fed)
        .filter(measured)
        .map(|channel| channel.read(&message.fields))
        .peekable();
    outcomes.peek().is_none()
        || outcomes.any(|outcome| !matches!(outcome, Outcome::Bad(reason) if reason.as_str() == UNKNOWN_STATUS))
}
