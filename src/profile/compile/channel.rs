//! Channels: what a device offers, where it comes from and what it depends on.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::document::Spanned;
use crate::document::did_you_mean;
use crate::model::Kind;

use super::super::device::{Device, DeviceChannel, ModbusDevice, Source, Timing};
use super::super::raw::{FieldRef, is_name};
use super::super::register::RegisterType;
use super::super::schema::{ChannelFile, KindWord, ProfileFile};
use super::message::FieldsOfPolls;
use super::modbus::Numbering;
use super::{Compiler, law, modbus};

/// The period of a Modbus channel that names none.
const USUAL_PERIOD: Duration = Duration::from_secs(1);

/// The period of a setting that names none: settings change when people change them.
const SETTING_PERIOD: Duration = Duration::from_secs(60);

/// Where raw values can come from.
pub(super) enum Sources {
    /// Fields of messages.
    Fields(FieldsOfPolls),
    /// Registers, and the order of bytes that the device uses.
    Registers {
        /// The limits of the device.
        device: ModbusDevice,
        /// How its addresses and bytes are meant.
        numbering: Numbering,
    },
}

pub(super) fn channels(
    file: &ProfileFile,
    sources: &Sources,
    timing: &Timing,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Vec<DeviceChannel> {
    if file.channel.is_empty() {
        compiler.missing(whole, "channel", "the profile has no `[[channel]]`", "");
    }
    let mut made = Vec::new();
    let mut spans = Vec::new();
    for (index, entry) in file.channel.iter().enumerate() {
        if let Some(channel) = one(index, entry, file, sources, timing, compiler) {
            if made.iter().any(|other: &DeviceChannel| other.id == channel.id) {
                let span = entry.get_ref().id.as_ref().map_or(entry.span(), Spanned::span);
                compiler.error(span, format!("two channels are called `{}`", channel.id), "");
            }
            made.push(channel);
            spans.push(entry.span());
        }
    }
    if let Sources::Registers { device, .. } = sources {
        join(&mut made, &spans, device, compiler);
    }
    made
}

fn one(
    index: usize,
    entry: &Spanned<ChannelFile>,
    file: &ProfileFile,
    sources: &Sources,
    timing: &Timing,
    compiler: &mut Compiler<'_>,
) -> Option<DeviceChannel> {
    let channel = entry.get_ref();
    let whole = entry.span();
    let path = format!("channel[{index}]");
    let id = match &channel.id {
        None => {
            compiler.missing(&whole, &format!("{path}.id"), "a channel has no `id`", "");
            None
        }
        Some(id) if !is_name(id.get_ref()) => {
            compiler.error(
                id.span(),
                format!("`{}` can't be the id of a channel", id.get_ref()),
                "use letters, digits and `_`",
            );
            None
        }
        Some(id) => Some(Arc::from(id.get_ref().as_str())),
    };
    let kind = kind(channel.kind);
    let (source, period) = match sources {
        Sources::Fields(fields) => {
            foreign(channel, compiler);
            let FieldRef { name, bits } = field(&path, &whole, channel, fields, compiler)?;
            let poll = fields.get(&name).copied()?;
            let every = polled_every(file, poll, compiler);
            (Source::Field { poll, name, bits }, every)
        }
        Sources::Registers { device, numbering } => {
            if let Some(from) = &channel.from {
                compiler.error(
                    from.span(),
                    "`from` names a field of a message; a Modbus channel has `table` and `address`",
                    "",
                );
            }
            let register = modbus::register(&path, &whole, channel, device, *numbering, compiler)?;
            let usual = if matches!(kind, Kind::Setting | Kind::Info) { SETTING_PERIOD } else { USUAL_PERIOD };
            (Source::Register(register), usual)
        }
    };
    let single = matches!(&source, Source::Register(register) if register.ty == RegisterType::F32);
    let mut unit = channel.unit.as_ref().map(|unit| compiler.substituted(unit.get_ref()));
    let decoding = law::decoding(&path, channel, &file.codes, single, &mut unit, compiler);
    if let (Sources::Fields(fields), Source::Field { poll, .. }) = (sources, &source) {
        let alien = decoding.needs().find(|name| fields.get(*name) != Some(poll));
        if let Some(name) = alien {
            let message = format!("`{name}` is no field of the message that the channel comes from");
            compiler.error(whole, message, "");
        }
    }
    Some(DeviceChannel {
        id: id?,
        unit: unit.filter(|unit| !unit.is_empty()).map(Arc::from),
        kind,
        every: compiler.period(channel.every.as_ref()).unwrap_or(period.max(timing.refresh)),
        optional: channel.optional,
        source,
        decoding,
        with: Vec::new(),
    })
}

/// Refuses keys of Modbus in a profile of messages.
fn foreign(channel: &ChannelFile, compiler: &mut Compiler<'_>) {
    compiler.only_with(
        "text\" or \"frame",
        &[
            ("table", channel.table.as_ref().map(Spanned::span)),
            ("address", channel.address.as_ref().map(Spanned::span)),
            ("type", channel.ty.as_ref().map(Spanned::span)),
            ("order", channel.order.as_ref().map(Spanned::span)),
            ("regs", channel.regs.as_ref().map(Spanned::span)),
            ("bit", channel.bit.as_ref().map(Spanned::span)),
            ("chars", channel.chars.as_ref().map(Spanned::span)),
        ],
    );
}

fn field(
    path: &str,
    whole: &Range<usize>,
    channel: &ChannelFile,
    fields: &FieldsOfPolls,
    compiler: &mut Compiler<'_>,
) -> Option<FieldRef> {
    let Some(from) = &channel.from else {
        compiler.missing(
            whole,
            &format!("{path}.from"),
            "a channel has no `from`",
            "from = the name of a field of a message",
        );
        return None;
    };
    let found = FieldRef::parse(from.get_ref()).filter(|field| fields.contains_key(&field.name));
    if found.is_none() {
        let help = did_you_mean(from.get_ref(), "fields", fields.keys().map(|name| &**name));
        compiler.error(from.span(), format!("no message has the field `{}`", from.get_ref()), help);
    }
    found
}

/// The period of a poll, by its place after `for` was expanded.
fn polled_every(file: &ProfileFile, poll: usize, compiler: &mut Compiler<'_>) -> Duration {
    let mut left = poll;
    for entry in &file.poll {
        let repetitions: usize = entry.get_ref().numbers.values().map(|numbers| numbers.get_ref().len()).product();
        if left < repetitions {
            return compiler.period(entry.get_ref().every.as_ref()).unwrap_or(USUAL_PERIOD);
        }
        left -= repetitions;
    }
    USUAL_PERIOD
}

/// Finds the channels whose raw values others need. They have to come with the same request, except settings, which don't
/// change from one request to the next.
fn join(made: &mut [DeviceChannel], spans: &[Range<usize>], device: &ModbusDevice, compiler: &mut Compiler<'_>) {
    let ids: Vec<Arc<str>> = made.iter().map(|channel| Arc::clone(&channel.id)).collect();
    let kinds: Vec<Kind> = made.iter().map(|channel| channel.kind).collect();
    let sources: Vec<Source> = made.iter().map(|channel| channel.source.clone()).collect();
    for (channel, span) in made.iter_mut().zip(spans) {
        let needed: Vec<Arc<str>> = channel.decoding.needs().map(Arc::clone).collect();
        for name in needed {
            let Some(place) = ids.iter().position(|id| *id == name) else {
                let help = did_you_mean(&name, "channels", ids.iter().map(|id| &**id));
                compiler.error(span.clone(), format!("the profile has no channel `{name}` to look at"), help);
                continue;
            };
            if !channel.with.contains(&place) {
                channel.with.push(place);
            }
            let (Source::Register(own), Some(Source::Register(other))) = (&channel.source, sources.get(place)) else {
                continue;
            };
            if kinds.get(place) != Some(&Kind::Setting) && !device.fits_one_request(own, other) {
                let message = format!("`{}` and `{name}` can't be read in one request", channel.id);
                let help = "a value and its status have to be of one moment; only a channel of kind = \"setting\" may be elsewhere";
                compiler.error(span.clone(), message, help);
            }
        }
    }
}

/// Refuses a setting that is read before the channels that depend on it and depends on another such setting itself: which
/// of the two comes first is not told.
pub(super) fn settings_stand_alone(file: &ProfileFile, device: &Device, compiler: &mut Compiler<'_>) {
    for index in 0..device.channels.len() {
        let chained = device.apart(index).find(|setting| device.apart(*setting).next().is_some());
        let ids = device.channels.get(index).zip(chained.and_then(|setting| device.channels.get(setting)));
        let Some((channel, setting)) = ids else { continue };
        let is_it = |id: &Spanned<String>| *id.get_ref() == *channel.id;
        let entry = file.channel.iter().find(|entry| entry.get_ref().id.as_ref().is_some_and(is_it));
        if let Some(entry) = entry {
            let message =
                format!("`{}` depends on `{}`, which depends on another setting itself", channel.id, setting.id);
            compiler.error(entry.span(), message, "a setting that others look at has to speak for itself");
        }
    }
}

fn kind(word: Option<KindWord>) -> Kind {
    match word {
        None | Some(KindWord::Gauge) => Kind::Gauge,
        Some(KindWord::Counter) => Kind::Counter,
        Some(KindWord::State) => Kind::State,
        Some(KindWord::Setting) => Kind::Setting,
        Some(KindWord::Info) => Kind::Info,
    }
}
