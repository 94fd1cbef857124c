//! Instruments: their profiles, links, addresses and parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::document::Problems;
use crate::document::Spanned;
use crate::document::did_you_mean;
use crate::model::Transport;
use crate::profile::Device;
use crate::profile::DeviceEngine;
use crate::profile::Library;
use crate::profile::Profile;
use crate::profile::printable;

use super::super::file::InstrumentFile;
use super::super::{InstrumentConfig, LinkConfig};
use super::Resolver;
use super::links::Profiles;

/// An instrument before its channels are chosen.
struct Placed {
    index: usize,
    name: Arc<str>,
    link: usize,
    unit: Option<u8>,
    profile: Arc<Profile>,
    device: Device,
}

impl Resolver<'_> {
    /// The profile of each instrument.
    pub(super) fn profiles(&mut self, library: &Library) -> Profiles {
        let document = self.document;
        if document.value.instruments.is_empty() && !document.was_cut("instruments") {
            self.error(0..0, "the file names no instruments", "add a table [[instruments]] for each");
        }
        document
            .value
            .instruments
            .iter()
            .enumerate()
            .map(|(index, entry)| self.profile(index, entry, library))
            .collect()
    }

    fn profile(&mut self, index: usize, entry: &Spanned<InstrumentFile>, library: &Library) -> Option<Arc<Profile>> {
        let file = entry.get_ref();
        match (&file.profile, &file.inline) {
            (Some(id), None) => {
                let found = library.get(id.get_ref());
                if found.is_none() {
                    let help = did_you_mean(id.get_ref(), "profiles", library.ids());
                    self.error(id.span(), format!("unknown profile `{}`", id.get_ref()), help);
                }
                found.map(Arc::clone)
            }
            (None, Some(inline)) => {
                let cuts = self.document.cuts_below(&format!("instruments[{index}].inline"));
                let name = file.name.as_ref().map_or("inline", |name| name.get_ref());
                let mut found = Problems::new();
                let made = Profile::inline(inline, name, &self.document.source, &cuts, &mut found);
                // What is cut out of it was noted when the file was read.
                let sound = !found.has_errors() && cuts.is_empty();
                self.problems.extend(found);
                made.filter(|_| sound).map(Arc::new)
            }
            (Some(_), Some(inline)) => {
                self.error(inline.span(), "an instrument has a `profile` or an `inline` one, not both", "");
                None
            }
            (None, None) => {
                let help = "profile = \"...\"; `mbe-bridge devices` lists them; or [instruments.inline]";
                if !self.document.was_cut(&format!("instruments[{index}].inline")) {
                    let message = format!("{} has no `profile`", self.shown(index));
                    self.missing(entry.span(), &format!("instruments[{index}].profile"), message, help);
                }
                None
            }
        }
    }

    pub(super) fn instruments(&mut self, profiles: &Profiles, links: &[LinkConfig]) -> Vec<InstrumentConfig> {
        let document = self.document;
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut placed: Vec<Placed> = Vec::new();
        for (index, (entry, profile)) in document.value.instruments.iter().zip(profiles).enumerate() {
            let name = self.instrument_name(index, entry, &mut names);
            let link = self.link_of(index, entry, links);
            let Some(profile) = profile else { continue };
            let unit = self.unit(index, entry, profile, link.and_then(|link| links.get(link)));
            let device = self.device(entry, profile);
            let (Some(name), Some(link)) = (name, link) else { continue };
            self.fits_link(entry, profile, links.get(link));
            let Some(device) = device else { continue };
            let new = Placed { index, name, link, unit, profile: Arc::clone(profile), device };
            self.fits_neighbours(entry, &new, &placed);
            placed.push(new);
        }
        let mut made = Vec::new();
        let mut taken = BTreeMap::new();
        for instrument in placed {
            let Some(entry) = document.value.instruments.get(instrument.index) else { continue };
            let (device, channels) =
                self.channels(instrument.index, entry.get_ref(), &instrument.name, &instrument.device, &mut taken);
            made.push(InstrumentConfig {
                name: instrument.name,
                link: instrument.link,
                unit: instrument.unit,
                profile: instrument.profile,
                device,
                channels,
            });
        }
        made
    }

    fn instrument_name<'n>(
        &mut self,
        index: usize,
        entry: &'n Spanned<InstrumentFile>,
        names: &mut BTreeSet<&'n str>,
    ) -> Option<Arc<str>> {
        let Some(name) = &entry.get_ref().name else {
            self.missing(entry.span(), &format!("instruments[{index}].name"), "an instrument has no `name`", "");
            return None;
        };
        let text = name.get_ref().as_str();
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            self.error(name.span(), "the name of an instrument can't be blank", "");
        } else if !names.insert(text) {
            self.error(name.span(), format!("two instruments are called `{text}`"), "");
        }
        Some(text.into())
    }

    fn link_of(&mut self, index: usize, entry: &Spanned<InstrumentFile>, links: &[LinkConfig]) -> Option<usize> {
        let Some(link) = &entry.get_ref().link else {
            let help = "link = the name of one of [links]";
            let message = format!("{} has no `link`", self.shown(index));
            self.missing(entry.span(), &format!("instruments[{index}].link"), message, help);
            return None;
        };
        let found = links.iter().position(|known| *known.name == **link.get_ref());
        if found.is_none() && !self.document.was_cut(&format!("links.{}", link.get_ref())) {
            let help = did_you_mean(link.get_ref(), "links", links.iter().map(|link| &*link.name));
            self.error(link.span(), format!("unknown link `{}`", link.get_ref()), help);
        }
        found
    }

    fn unit(
        &mut self,
        index: usize,
        entry: &Spanned<InstrumentFile>,
        profile: &Profile,
        link: Option<&LinkConfig>,
    ) -> Option<u8> {
        let Some(unit) = &entry.get_ref().unit else {
            if profile.is_modbus() {
                let help = "unit = 1 to 247; behind Modbus/TCP often 1 or 255";
                let path = format!("instruments[{index}].unit");
                self.missing(
                    entry.span(),
                    &path,
                    format!("{} speaks Modbus and has no `unit`", self.shown(index)),
                    help,
                );
            }
            return None;
        };
        if !profile.is_modbus() {
            let help = "addresses of text instruments are parameters: params = { addr = \"...\" }";
            self.error(unit.span(), format!("`{}` does not speak Modbus and has no `unit`", profile.id), help);
            return None;
        }
        // 0 is a broadcast, which nobody answers; gateways use 255 (and some 0) for themselves. Source: MODBUS Messaging on
        // TCP/IP Implementation Guide V1.0b, 4.4.2.1.
        let tcp = matches!(link.map(|link| &link.transport), Some(Transport::ModbusTcp { .. }));
        if !tcp && !(1..=247).contains(unit.get_ref()) {
            self.error(unit.span(), "a unit on a serial line is from 1 to 247", "");
        }
        Some(*unit.get_ref())
    }

    fn shown(&self, index: usize) -> String {
        let name = self.document.value.instruments.get(index).and_then(|entry| entry.get_ref().name.as_ref());
        name.map_or_else(|| "an instrument".to_owned(), |name| format!("`{}`", name.get_ref()))
    }

    fn device(&mut self, entry: &Spanned<InstrumentFile>, profile: &Profile) -> Option<Device> {
        let file = entry.get_ref();
        let params =
            file.params.iter().map(|(key, value)| (key.get_ref().clone(), value.get_ref().to_string())).collect();
        let mut allow = BTreeSet::new();
        for id in &file.allow {
            match profile.messages.iter().find(|message| message.id == *id.get_ref()) {
                Some(message) if message.changes_device => drop(allow.insert(message.id.clone())),
                Some(_) => {
                    self.warning(id.span(), format!("`{}` changes nothing and is sent anyway", id.get_ref()), "")
                }
                None => {
                    let ids = profile.messages.iter().map(|message| message.id.as_str());
                    let help = did_you_mean(id.get_ref(), "messages", ids);
                    self.error(
                        id.span(),
                        format!("the profile `{}` has no message `{}`", profile.id, id.get_ref()),
                        help,
                    );
                }
            }
        }
        match profile.device(&params, &allow) {
            Ok(device) => Some(device),
            Err(errors) => {
                for error in errors {
                    let place = file.params.iter().find(|(key, _)| Some(key.get_ref().as_str()) == error.name());
                    let span = match (place, &error) {
                        (Some((key, _)), crate::profile::ParamError::Unknown { .. }) => key.span(),
                        (Some((_, value)), _) => value.span(),
                        (None, _) => file.profile.as_ref().map_or(entry.span(), Spanned::span),
                    };
                    self.error(span, error.to_string(), error.help());
                }
                None
            }
        }
    }

    fn fits_link(&mut self, entry: &Spanned<InstrumentFile>, profile: &Profile, link: Option<&LinkConfig>) {
        let (Some(link), Some(key)) = (link, &entry.get_ref().link) else { return };
        match (&link.transport, profile.is_modbus()) {
            (Transport::Tcp { .. }, true) => self.error(
                key.span(),
                format!("`{}` speaks Modbus, and the link `{}` is a raw socket", profile.id, link.name),
                "write [links.NAME.modbus-tcp], or [links.NAME.rtu-over-tcp] for a serial device server",
            ),
            (Transport::RtuOverTcp { .. } | Transport::ModbusTcp { .. }, false) => self.error(
                key.span(),
                format!("`{}` speaks text, and the link `{}` speaks Modbus", profile.id, link.name),
                "write [links.NAME.tcp] for a serial device server",
            ),
            _ => {}
        }
    }

    fn fits_neighbours(&mut self, entry: &Spanned<InstrumentFile>, new: &Placed, placed: &[Placed]) {
        let file = entry.get_ref();
        let whole = file.link.as_ref().map_or(entry.span(), Spanned::span);
        for other in placed.iter().filter(|other| other.link == new.link) {
            match (&new.device.engine, &other.device.engine) {
                (DeviceEngine::Modbus(_), DeviceEngine::Modbus(_)) => {
                    if let Some(unit) = new.unit.filter(|_| new.unit == other.unit) {
                        let span = file.unit.as_ref().map_or(entry.span(), Spanned::span);
                        self.error(
                            span,
                            format!("`{}` and `{}` are both unit {unit} on one link", other.name, new.name),
                            "",
                        );
                    }
                }
                (DeviceEngine::Messages(own), DeviceEngine::Messages(theirs)) if own.listens() || theirs.listens() => {
                    let talker = if own.listens() { &new.name } else { &other.name };
                    let message = format!("`{talker}` speaks unasked and can't share its link");
                    self.error(whole.clone(), message, "give it a link of its own");
                    return;
                }
                (DeviceEngine::Messages(own), DeviceEngine::Messages(theirs)) => {
                    let sends = |text: &crate::profile::MessageDevice| -> Vec<Vec<u8>> {
                        text.polls.iter().filter_map(|poll| poll.steps.first()?.send.clone()).collect()
                    };
                    let theirs = sends(theirs);
                    if let Some(same) = sends(own).iter().find(|send| theirs.contains(send)) {
                        let span = file.params.first_key_value().map_or(whole.clone(), |(_, value)| value.span());
                        let message = format!(
                            "`{}` and `{}` are both asked by `{}` on one link",
                            other.name,
                            new.name,
                            printable(same)
                        );
                        self.error(span, message, "give them different addresses, or links of their own");
                    }
                }
                _ => {
                    let message =
                        format!("`{}` and `{}` speak different protocols and can't share a link", other.name, new.name);
                    self.error(whole.clone(), message, "Modbus RTU frames and text disturb each other");
                    return;
                }
            }
        }
    }
}
