//! Channels: which ones the lab wants, what it calls them, and what it knows better than the profile.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::document::DurationText;
use crate::document::Spanned;
use crate::document::did_you_mean;
use crate::model::Channel;
use crate::model::ChannelName;
use crate::model::Kind;
use crate::profile::Device;
use crate::profile::DeviceChannel;
use crate::profile::DeviceEngine;
use crate::profile::SHORTEST_PERIOD;
use crate::profile::Scaling;
use crate::profile::table;

use super::super::file::{ChannelChoice, ChannelFile, InstrumentFile, LimitsFile};
use super::super::{ConfiguredChannel, Limits};
use super::Resolver;

/// The names that are taken, each with the instrument that has it.
type Taken = BTreeMap<ChannelName, Arc<str>>;

/// How often an instrument can be asked.
enum Pace {
    /// As often as the line allows, but for what it repeats within this time.
    Refresh(Duration),
    /// It isn't asked.
    OfItsOwn,
}

impl Pace {
    fn of(device: &Device) -> Self {
        match &device.engine {
            DeviceEngine::Messages(messages) if messages.listens() => Self::OfItsOwn,
            _ => Self::Refresh(device.timing.refresh),
        }
    }
}

impl Resolver<'_> {
    /// With a table `channels`, exactly those that it names (and does not set to `false`); with one that only leaves out,
    /// or with none, all others that measure something.
    pub(super) fn channels(
        &mut self,
        index: usize,
        file: &InstrumentFile,
        instrument: &Arc<str>,
        device: &Device,
        taken: &mut Taken,
    ) -> (Device, Vec<ConfiguredChannel>) {
        let mut unknown = false;
        for key in file.channels.keys() {
            if !device.channels.iter().any(|channel| *channel.id == **key.get_ref()) {
                let help = did_you_mean(key.get_ref(), "channels", device.channels.iter().map(|channel| &*channel.id));
                self.error(key.span(), format!("`{instrument}` has no channel `{}`", key.get_ref()), help);
                unknown = true;
            }
        }
        let choice = |id: &str| file.channels.iter().find(|(key, _)| key.get_ref() == id);
        let some_named = file.channels.values().any(|choice| matches!(choice.get_ref(), ChannelChoice::Yes(_)));
        let mut device = device.clone();
        let pace = Pace::of(&device);
        self.instrument_period(file, &mut device, &pace);
        let mut wanted = Vec::new();
        let mut made = Vec::new();
        let own_span = self.instrument_span(index);
        for (place, channel) in device.channels.iter_mut().enumerate() {
            let plain = ChannelFile::default();
            let (span, chosen) = match choice(&channel.id) {
                Some((key, choice)) => match choice.get_ref() {
                    ChannelChoice::No => continue,
                    ChannelChoice::Yes(file) => (key.span(), &**file),
                },
                None if some_named || channel.optional => continue,
                None if !matches!(channel.kind, Kind::Gauge | Kind::Counter) => continue,
                None => (own_span.clone(), &plain),
            };
            wanted.push(place);
            made.extend(self.channel(instrument, channel, chosen, span, &pace, taken));
        }
        if wanted.is_empty() && !unknown {
            self.error(own_span, format!("no channel of `{instrument}` is used"), "");
        }
        let (device, places) = device.narrowed(&wanted);
        if made.len() == places.len() {
            for (channel, place) in made.iter_mut().zip(places) {
                channel.device_channel = place;
            }
        }
        (device, made)
    }

    /// The lab's period for the instrument counts for what it measures; settings and the like keep their own.
    fn instrument_period(&mut self, file: &InstrumentFile, device: &mut Device, pace: &Pace) {
        let Some(every) = file.every.as_ref().and_then(|every| self.period(every, pace)) else { return };
        for channel in &mut device.channels {
            if matches!(channel.kind, Kind::Gauge | Kind::Counter | Kind::State) {
                channel.every = every;
            }
        }
    }

    /// A period that the lab asks for, if the instrument can keep it.
    fn period(&mut self, every: &Spanned<DurationText>, pace: &Pace) -> Option<Duration> {
        let asked = every.get_ref().0;
        match pace {
            _ if asked < SHORTEST_PERIOD => {
                self.error(every.span(), "a period can't be shorter than 1ms", "");
                None
            }
            Pace::OfItsOwn => {
                let help = "leave `every` out; `[align] period` says how many of its readings are kept";
                self.error(every.span(), "the instrument speaks unasked, at a pace of its own", help);
                None
            }
            Pace::Refresh(refresh) if asked < *refresh => {
                let message = format!(
                    "the instrument has a new value every {} ms only: asked more often, it repeats the old one",
                    refresh.as_millis()
                );
                let help =
                    "ask less often, or set the profile's parameter to what the instrument is set to, if it has one";
                self.error(every.span(), message, help);
                None
            }
            Pace::Refresh(_) => Some(asked),
        }
    }

    fn channel(
        &mut self,
        instrument: &Arc<str>,
        channel: &mut DeviceChannel,
        file: &ChannelFile,
        span: Range<usize>,
        pace: &Pace,
        taken: &mut Taken,
    ) -> Option<ConfiguredChannel> {
        if let Some(every) = file.every.as_ref().and_then(|every| self.period(every, pace)) {
            channel.every = every;
        }
        channel.decoding.calibration.extend(self.calibration(file));
        if let Some(unit) = &file.unit {
            channel.unit = Some(unit.trim()).filter(|unit| !unit.is_empty()).map(Arc::from);
        }
        let limits = file.limits.as_ref().map(|limits| self.limits(limits)).unwrap_or_default();
        let (text, span) = match &file.name {
            Some(name) => (name.get_ref().clone(), name.span()),
            None => (format!("{instrument}_{}", channel.id), span),
        };
        let name = match ChannelName::parse(&text) {
            Ok(name) => name,
            Err(error) => {
                self.error(span, error.to_string(), "");
                return None;
            }
        };
        if let Some(other) = taken.insert(name.clone(), Arc::clone(instrument)) {
            let message = if other == *instrument {
                format!("two channels of `{instrument}` are called `{name}`")
            } else {
                format!("a channel of `{other}` and one of `{instrument}` are both called `{name}`")
            };
            self.error(span, message, "equal names mean one history; name one of them differently");
        }
        Some(ConfiguredChannel {
            device_channel: 0,
            channel: Channel {
                name,
                unit: channel.unit.clone(),
                instrument: Arc::clone(instrument),
                source: Arc::clone(&channel.id),
                kind: channel.kind,
            },
            every: channel.every,
            limits,
        })
    }

    fn calibration(&mut self, file: &ChannelFile) -> Option<Scaling> {
        let finite = |number: &Option<Spanned<f64>>| number.as_ref().is_none_or(|number| number.get_ref().is_finite());
        if let Some(wrong) =
            [&file.scale, &file.offset].into_iter().find(|number| !finite(number)).and_then(Option::as_ref)
        {
            self.error(wrong.span(), "a calibration consists of finite numbers", "");
        }
        if let Some(scale) = file.scale.as_ref().filter(|scale| *scale.get_ref() == 0.0) {
            self.error(scale.span(), "a scale of 0 makes every reading the same", "");
        }
        if let Some(points) = &file.table {
            if let Some(beside) = file.scale.as_ref().or(file.offset.as_ref()) {
                self.error(beside.span(), "a calibration is a `table`, or `scale` and `offset`, not both", "");
            }
            return match table(points.get_ref().iter().map(Vec::as_slice)) {
                Ok(scaling) => Some(scaling),
                Err(why) => {
                    self.error(points.span(), why, "");
                    None
                }
            };
        }
        let number = |number: &Option<Spanned<f64>>, usual| number.as_ref().map_or(usual, |number| *number.get_ref());
        let stated = file.scale.is_some() || file.offset.is_some();
        stated.then(|| Scaling::Linear { scale: number(&file.scale, 1.0), offset: number(&file.offset, 0.0) })
    }

    fn limits(&mut self, entry: &Spanned<LimitsFile>) -> Limits {
        let LimitsFile { low, high } = *entry.get_ref();
        let ordered = low.zip(high).is_none_or(|(low, high)| low < high);
        if !ordered || [low, high].into_iter().flatten().any(f64::is_nan) {
            self.error(entry.span(), "`low` has to be below `high`", "limits = { low = 1e-11, high = 1e-6 }");
        }
        Limits { low, high }
    }
}
