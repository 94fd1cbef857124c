//! Compiling: from the grammar with parameters filled in to a device, noting all that is wrong on the way.
//!
//! A profile is compiled twice: once with sample parameters when it is loaded, to find its problems, and once for each
//! instrument. Both go the same way, so what was checked is what is used.

mod channel;
mod framing;
mod identify;
mod law;
mod message;
mod modbus;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::document::DurationText;
use crate::document::Number;
use crate::document::Open;
use crate::document::Problems;
use crate::document::Source;
use crate::document::Spanned;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::device::{Alphabet, Device, DeviceEngine, Timing};
use super::schema::{EngineWord, ModeWord, ProfileFile, TimingFile};
use super::text::substitute;

pub(super) use identify::probes;
pub(crate) use law::table;

/// The shortest period that can be asked for: below it the operating system's timers decide, not the file.
pub(crate) const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// What compiling needs beside the grammar.
pub(super) struct Compiler<'a> {
    /// The document that the profile stands in.
    pub(super) source: &'a Source,
    /// Where what is wrong goes.
    pub(super) problems: &'a mut Problems,
    /// Parameters with their values.
    pub(super) params: &'a BTreeMap<String, String>,
    /// Entries that were cut out of the profile already, whose absence is no second problem.
    pub(super) cuts: &'a [String],
    /// The messages that change the device and that the lab allows.
    pub(super) allow: &'a BTreeSet<String>,
}

/// Compiles a profile. `None` only where something essential is missing; problems may be noted even if there is a device.
pub(super) fn compile(
    file: &ProfileFile,
    id: &Arc<str>,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Option<Device> {
    let timing = compiler.timing(&file.timing);
    let Some(engine) = &file.engine else {
        compiler.missing(whole, "engine", "the profile has no `engine`", "engine = \"text\", \"frame\" or \"modbus\"");
        return None;
    };
    let (engine, sources) = match engine.get_ref() {
        EngineWord::Text | EngineWord::Frame => {
            let (alphabet, word) = match engine.get_ref() {
                EngineWord::Text => (Alphabet::Text, "text"),
                _ => (Alphabet::Bytes, "frame"),
            };
            compiler.only_with(word, &[("[modbus]", file.modbus.as_ref().map(Spanned::span))]);
            let (device, fields) = message::device(file, alphabet, whole, compiler)?;
            (DeviceEngine::Messages(device), channel::Sources::Fields(fields))
        }
        EngineWord::Modbus => {
            compiler.only_with(
                "modbus",
                &[
                    ("framing", file.framing.as_ref().map(Spanned::span)),
                    ("[[on_connect]]", file.on_connect.first().map(Spanned::span)),
                    ("[[poll]]", file.poll.first().map(Spanned::span)),
                    ("[[listen]]", file.listen.first().map(Spanned::span)),
                    (
                        "mode = \"listen\"",
                        file.mode.as_ref().filter(|mode| *mode.get_ref() == ModeWord::Listen).map(Spanned::span),
                    ),
                ],
            );
            let (modbus, numbering) = modbus::device(file, compiler);
            let sources = channel::Sources::Registers { device: modbus.clone(), numbering };
            (DeviceEngine::Modbus(modbus), sources)
        }
    };
    let channels = channel::channels(file, &sources, &timing, whole, compiler);
    let device = Device { profile: Arc::clone(id), timing, engine, channels };
    channel::settings_stand_alone(file, &device, compiler);
    Some(device)
}

impl Compiler<'_> {
    pub(super) fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.error(self.source, span, message, help);
    }

    /// Notes that a key is missing from a table, unless it was there and wrong.
    pub(super) fn missing(&mut self, table: &Range<usize>, path: &str, message: &str, help: &str) {
        if !self.cuts.iter().any(|cut| cut == path) {
            self.error(table.clone(), message, help);
        }
    }

    /// Refuses keys that belong to other engines.
    fn only_with(&mut self, engine: &str, keys: &[(&str, Option<Range<usize>>)]) {
        for (key, span) in keys {
            if let Some(span) = span {
                self.error(span.clone(), format!("`{key}` does not go with engine = \"{engine}\""), "");
            }
        }
    }

    fn substituted(&self, text: &str) -> String {
        substitute(text, self.params)
    }

    /// The number, with parameters put in if it is written as text.
    fn number(&mut self, number: &Spanned<Number>) -> Option<f64> {
        let text = match number.get_ref() {
            Number::Plain(number) => return Some(*number),
            Number::Text(text) => self.substituted(text),
        };
        let parsed = text.parse().ok().filter(|number: &f64| number.is_finite());
        if parsed.is_none() {
            self.error(
                number.span(),
                format!("`{text}` is not a number"),
                "only numbers with `{parameters}` are written as text",
            );
        }
        parsed
    }

    /// One of some words, with parameters put in if it is written so. `help` says what it can be.
    fn word<T: DeserializeOwned + Copy>(&mut self, word: &Spanned<Open<T>>, help: &str) -> Option<T> {
        let text = match word.get_ref() {
            Open::Plain(word) => return Some(*word),
            Open::Text(text) => self.substituted(text),
        };
        let read: Result<T, serde::de::value::Error> = T::deserialize(text.as_str().into_deserializer());
        if read.is_err() {
            self.error(word.span(), format!("`{text}` is not one of the choices"), help);
        }
        read.ok()
    }

    /// A number from 0 to 65535, with parameters put in if it is written as text: decimal, or hex as `0x0118`.
    fn word16(&mut self, number: &Spanned<Open<u16>>) -> Option<u16> {
        let text = match number.get_ref() {
            Open::Plain(number) => return Some(*number),
            Open::Text(text) => self.substituted(text),
        };
        let read = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => u16::from_str_radix(digits, 16).ok(),
            None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            let help = "decimal, or hex as in \"0x0118\"";
            self.error(number.span(), format!("`{text}` is not a whole number from 0 to 65535"), help);
        }
        read
    }

    fn numbers<const N: usize>(&mut self, numbers: [Option<&Spanned<Number>>; N]) -> [Option<f64>; N] {
        numbers.map(|number| number.and_then(|number| self.number(number)))
    }

    /// A period, which can't be shorter than [`SHORTEST_PERIOD`].
    fn period(&mut self, every: Option<&Spanned<DurationText>>) -> Option<Duration> {
        let every = every?;
        if every.get_ref().0 < SHORTEST_PERIOD {
            self.error(every.span(), "a period can't be shorter than 1ms", "");
            return None;
        }
        Some(every.get_ref().0)
    }

    /// A duration that may hold parameters.
    fn duration(&mut self, given: &Spanned<String>) -> Duration {
        let text = self.substituted(given.get_ref());
        match DurationText::parse(&text) {
            Some(duration) => duration.0,
            None => {
                let message = format!("`{text}` is no duration such as \"250ms\", \"5s\" or \"10min\"");
                self.error(given.span(), message, "");
                Duration::ZERO
            }
        }
    }

    fn timing(&mut self, file: &TimingFile) -> Timing {
        let standard = Timing::default();
        if let Some(reply) = file.reply.as_ref().filter(|reply| reply.get_ref().0.is_zero()) {
            self.error(reply.span(), "`reply` can't be zero: no device answers at once", "");
        }
        let or = |given: &Option<Spanned<DurationText>>, standard| given.as_ref().map_or(standard, |d| d.get_ref().0);
        Timing {
            reply: or(&file.reply, standard.reply),
            turnaround: or(&file.turnaround, standard.turnaround),
            idle: or(&file.idle, standard.idle),
            gap: or(&file.gap, standard.gap),
            after_connect: or(&file.after_connect, standard.after_connect),
            warm_up: or(&file.warm_up, standard.warm_up),
            refresh: file.refresh.as_ref().map_or(standard.refresh, |refresh| self.duration(refresh)),
        }
    }
}
