//! A profile: one family of instruments, checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::document;
use crate::document::Problems;
use crate::document::Source;
use crate::document::Spanned;
use crate::model::DataBits;
use crate::model::LineSettings;
use crate::model::Parity;
use crate::model::StopBits;
use regex::Regex;

use super::compile::{Compiler, compile, probes};
use super::device::{Device, DeviceEngine};
use super::identify::Probe;
use super::params::{Param, ParamError, fill_in};
use super::raw::is_name;
use super::schema::{ParamFile, ParityWord, Places, ProfileFile, SerialFile, Status};

/// Where a profile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program itself.
    BuiltIn,
    /// A file.
    Disk(PathBuf),
    /// The lab's own file.
    Inline,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Disk(path) => path.display().fmt(f),
            Self::Inline => f.write_str("inline"),
        }
    }
}

/// A message of `[[on_connect]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id, as the lab's `allow` names it.
    pub id: String,
    /// Whether it changes the device. Such a message is sent only where the lab allows it.
    pub changes_device: bool,
}

/// One family of instruments.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its id; never renamed.
    pub id: Arc<str>,
    /// Who makes the instruments; empty for an inline profile.
    pub vendor: String,
    /// The models that it fits.
    pub models: Vec<String>,
    /// Where the instruments are documented.
    pub doc: Vec<String>,
    /// Where what it says comes from.
    pub sources: Vec<String>,
    /// How sure it is.
    pub status: Status,
    /// What to beware of.
    pub caveats: Vec<String>,
    /// Where it comes from itself.
    pub origin: Origin,
    /// How a serial line is set unless the lab says otherwise.
    pub line: LineSettings,
    /// The port of a TCP connection unless the lab names one.
    pub tcp_port: Option<u16>,
    /// What the lab can fill in.
    pub params: BTreeMap<String, Param>,
    /// What may be sent when the link was opened.
    pub messages: Vec<Message>,
    pub(super) file: ProfileFile,
    pub(super) source: Source,
    pub(super) writes: Vec<regex::bytes::Regex>,
    pub(super) probes: Vec<Probe>,
    span: Range<usize>,
    sample: Device,
}

impl Profile {
    /// Reads a file of `devices/`. All that is wrong with it is found at once; its test vectors are run by
    /// [`Profile::verify`].
    pub fn parse(source: &Source, origin: Origin) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let document = document::read::<ProfileFile>(source, &mut problems);
        if problems.has_errors() && document.nothing_was_read() {
            // An error of syntax: nothing was read.
            return Err(problems);
        }
        header(&document.value, source, document.cuts(), &mut problems);
        let id = document.value.id.as_ref().map_or("", |id| id.get_ref());
        let made = Self::build(document.value.clone(), id, source, 0..0, document.cuts(), origin, &mut problems);
        made.filter(|_| !problems.has_errors()).ok_or(problems)
    }

    /// Takes a profile that stands inline in a lab's file. `cuts` are the entries below `span` that did not fit.
    pub(crate) fn inline(
        file: &Spanned<ProfileFile>,
        name: &str,
        source: &Source,
        cuts: &[String],
        problems: &mut Problems,
    ) -> Option<Self> {
        Self::build(file.get_ref().clone(), name, source, file.span(), cuts, Origin::Inline, problems)
    }

    fn build(
        file: ProfileFile,
        id: &str,
        source: &Source,
        span: Range<usize>,
        cuts: &[String],
        origin: Origin,
        problems: &mut Problems,
    ) -> Option<Self> {
        let params = params(&file.params, source, problems);
        let line = file.serial.as_ref().map_or_else(LineSettings::default, |serial| line(serial, source, problems));
        let samples = params.iter().map(|(name, param)| (name.clone(), param.sample())).collect();
        let messages: Vec<Message> = file
            .on_connect
            .iter()
            .filter_map(|message| Some((message.get_ref().id.as_ref()?, message.get_ref().changes_device)))
            .map(|(id, changes_device)| Message { id: id.get_ref().clone(), changes_device })
            .collect();
        let id: Arc<str> = id.into();
        let allow = messages.iter().map(|message| message.id.clone()).collect();
        let mut compiler = Compiler { source, problems, params: &samples, cuts, allow: &allow };
        let sample = compile(&file, &id, &span, &mut compiler)?;
        let probes = probes(&file, &id, &span, &params, &mut compiler);
        let writes = writes(&file, source, problems);
        let made = Self {
            id,
            vendor: file.vendor.as_ref().map(|vendor| vendor.get_ref().clone()).unwrap_or_default(),
            models: file.models.clone(),
            doc: file.doc.clone(),
            sources: file.sources.clone(),
            status: file.status.unwrap_or(Status::Untested),
            caveats: file.caveats.clone(),
            origin,
            line,
            tcp_port: file.tcp.as_ref().and_then(|tcp| tcp.port.as_ref()).map(|port| *port.get_ref()),
            params,
            messages,
            file,
            source: source.clone(),
            writes,
            probes,
            span,
            sample,
        };
        made.refuse_writes(problems);
        Some(made)
    }

    /// What the profile itself sends must not look like what it says would change the instrument.
    fn refuse_writes(&self, problems: &mut Problems) {
        let DeviceEngine::Messages(device) = &self.sample.engine else { return };
        for (pattern, span) in self.writes.iter().zip(self.file.writes.iter().map(Spanned::span)) {
            if let Some(message) = self.sends().find(|message| pattern.is_match(message)) {
                let what = format!("the profile itself sends `{}`, which this matches", device.shown(message));
                let help =
                    "a message that changes the device belongs to `[[on_connect]]`, with `changes_device = true`";
                problems.error(&self.source, span, what, help);
            }
        }
    }

    /// The device with sample parameters: to show what there is, and to reckon with before a lab has said anything.
    pub fn sample(&self) -> &Device {
        &self.sample
    }

    /// Whether it says how a serial line is set; if not, [`Self::line`] is a guess.
    pub fn states_line(&self) -> bool {
        self.file.serial.is_some()
    }

    /// Whether it speaks Modbus.
    pub fn is_modbus(&self) -> bool {
        matches!(self.sample.engine, DeviceEngine::Modbus(_))
    }

    /// Makes it concrete for one instrument. `allow` names the messages that may change the device; all others of that
    /// kind are left out. Parameters that the lab does not give have their defaults.
    pub fn device(
        &self,
        params: &BTreeMap<String, String>,
        allow: &BTreeSet<String>,
    ) -> Result<Device, Vec<ParamError>> {
        let params = fill_in(&self.id, &self.params, params)?;
        let mut problems = Problems::new();
        let mut compiler =
            Compiler { source: &self.source, problems: &mut problems, params: &params, cuts: &[], allow };
        let device = compile(&self.file, &self.id, &self.span, &mut compiler);
        let unusable = |why: &str| ParamError::Unusable { profile: self.id.to_string(), why: why.to_owned() };
        let errors: Vec<ParamError> = problems.iter().map(|problem| unusable(&problem.message)).collect();
        match device {
            Some(device) if errors.is_empty() => Ok(device),
            _ if errors.is_empty() => Err(vec![unusable("it has no engine")]),
            _ => Err(errors),
        }
    }
}

/// The regular expressions of `writes`, over bytes.
fn writes(file: &ProfileFile, source: &Source, problems: &mut Problems) -> Vec<regex::bytes::Regex> {
    let mut made = Vec::new();
    for pattern in &file.writes {
        match regex::bytes::Regex::new(&format!("(?s-u){}", pattern.get_ref())) {
            Ok(regex) => made.push(regex),
            Err(error) => problems.error(source, pattern.span(), format!("this is no regular expression: {error}"), ""),
        }
    }
    made
}

/// What a file of its own has to say about itself.
fn header(file: &ProfileFile, source: &Source, cuts: &[String], problems: &mut Problems) {
    let mut missing = |key: &str, is_missing: bool, help: &str| {
        if is_missing && !cuts.iter().any(|cut| cut == key) {
            problems.error(source, 0..0, format!("the profile has no `{key}`"), help);
        }
    };
    missing("schema", file.schema.is_none(), "schema = 1");
    missing("id", file.id.is_none(), "id = \"vendor-model\"; it is never renamed");
    missing("vendor", file.vendor.is_none(), "");
    missing("status", file.status.is_none(), "status = \"hardware\", \"manual\", \"driver\" or \"untested\"");
    missing("sources", file.sources.is_empty(), "sources = [\"...\"]: where what it says comes from");
    missing("test", file.test.is_empty(), "[[test]] holds bytes of a manual or a capture, and what they mean");
    if let Some(schema) = file.schema.as_ref().filter(|schema| *schema.get_ref() != 1) {
        problems.error(source, schema.span(), "this version of the bridge reads schema 1", "");
    }
    if let Some(id) = &file.id {
        let text = id.get_ref();
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if text.is_empty() || !plain {
            problems.error(source, id.span(), "an id consists of lower-case letters, digits and `-`", "");
        }
    }
}

fn params(file: &Places<ParamFile>, source: &Source, problems: &mut Problems) -> BTreeMap<String, Param> {
    let mut made = BTreeMap::new();
    for (name, entry) in file {
        let param = entry.get_ref();
        if !is_name(name.get_ref()) {
            problems.error(
                source,
                name.span(),
                format!("`{}` can't name a parameter", name.get_ref()),
                "use letters, digits and `_`",
            );
            continue;
        }
        let pattern =
            param.pattern.as_ref().and_then(|pattern| match Regex::new(&format!("^(?:{})$", pattern.get_ref())) {
                Ok(regex) => Some(regex),
                Err(_) => {
                    problems.error(source, pattern.span(), "the pattern is no regular expression", "");
                    None
                }
            });
        if let Some(default) = param.default.as_ref().filter(|_| param.required) {
            problems.error(source, default.span(), "a required parameter has no default", "");
        }
        if param.default.is_none() && !param.required {
            problems.error(
                source,
                name.span(),
                format!("the parameter `{}` has no `default`", name.get_ref()),
                "or say `required = true`",
            );
        }
        let choices = param.choices.iter().map(|choice| choice.get_ref().to_string()).collect();
        let default = param.default.as_ref().map(|default| default.get_ref().to_string());
        let made_param = Param { kind: param.kind.unwrap_or_default(), default, choices, pattern };
        for value in param.default.iter().chain(&param.choices) {
            if let Some(why) = made_param.objection(&value.get_ref().to_string()) {
                problems.error(
                    source,
                    value.span(),
                    format!("the parameter `{}` can't be this: {why}", name.get_ref()),
                    "",
                );
            }
        }
        made.insert(name.get_ref().clone(), made_param);
    }
    made
}

fn line(file: &SerialFile, source: &Source, problems: &mut Problems) -> LineSettings {
    let mut line = LineSettings { rts: file.rts, dtr: file.dtr, ..LineSettings::default() };
    line.echo = file.echo.unwrap_or_default();
    if let Some(baud) = baud(file.baud.as_ref(), source, problems) {
        line.baud = baud;
    }
    if let Some(bits) = data_bits(file.data_bits.as_ref(), source, problems) {
        line.data_bits = bits;
    }
    if let Some(word) = file.parity {
        line.parity = parity(word);
    }
    if let Some(bits) = stop_bits(file.stop_bits.as_ref(), source, problems) {
        line.stop_bits = bits;
    }
    line
}

/// A rate that a serial port can have.
pub(crate) fn baud(given: Option<&Spanned<u32>>, source: &Source, problems: &mut Problems) -> Option<u32> {
    let given = given?;
    if (50..=12_000_000).contains(given.get_ref()) {
        return Some(*given.get_ref());
    }
    problems.error(source, given.span(), "`baud` has to be from 50 to 12000000", "");
    None
}

/// 7 or 8.
pub(crate) fn data_bits(given: Option<&Spanned<u8>>, source: &Source, problems: &mut Problems) -> Option<DataBits> {
    match given.map(|given| (*given.get_ref(), given.span()))? {
        (7, _) => Some(DataBits::Seven),
        (8, _) => Some(DataBits::Eight),
        (_, span) => {
            problems.error(source, span, "`data_bits` has to be 7 or 8", "");
            None
        }
    }
}

/// 1 or 2.
pub(crate) fn stop_bits(given: Option<&Spanned<u8>>, source: &Source, problems: &mut Problems) -> Option<StopBits> {
    match given.map(|given| (*given.get_ref(), given.span()))? {
        (1, _) => Some(StopBits::One),
        (2, _) => Some(StopBits::Two),
        (_, span) => {
            problems.error(source, span, "`stop_bits` has to be 1 or 2", "");
            None
        }
    }
}

pub(crate) fn parity(word: ParityWord) -> Parity {
    match word {
        ParityWord::None => Parity::None,
        ParityWord::Even => Parity::Even,
        ParityWord::Odd => Parity::Odd,
    }
}
