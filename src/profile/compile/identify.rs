//! `[[identify]]`: the tries by which an instrument is recognised.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::document::Spanned;
use crate::document::did_you_mean;

use super::super::device::{Alphabet, Device, DeviceEngine, MessagePoll, Source, Step};
use super::super::identify::{Probe, Shows};
use super::super::params::Param;
use super::super::schema::{IdentifyFile, ProfileFile, Says};
use super::message::{Language, identify_steps};
use super::{Compiler, compile};

/// More parameters to go through than this are a mistake: a scan would take for ever.
const MOST_TRIES: usize = 512;

/// The tries of a profile. `params` are those of the profile, `samples` their values where a try says nothing.
pub(in crate::profile) fn probes(
    file: &ProfileFile,
    id: &Arc<str>,
    whole: &Range<usize>,
    params: &BTreeMap<String, Param>,
    compiler: &mut Compiler<'_>,
) -> Vec<Probe> {
    if file.identify.is_empty() {
        return usual(file, id, whole, compiler);
    }
    let mut made = Vec::new();
    for (index, entry) in file.identify.iter().enumerate() {
        let path = format!("identify[{index}]");
        for values in combinations(entry, params, compiler) {
            let mut all = compiler.params.clone();
            all.extend(values.clone());
            let nothing = BTreeSet::new();
            let mut own = Compiler {
                source: compiler.source,
                problems: &mut *compiler.problems,
                params: &all,
                cuts: compiler.cuts,
                allow: &nothing,
            };
            let probe = one(&path, entry, file, id, whole, values, &mut own);
            made.extend(probe);
            // What is wrong with one try is wrong with all.
            if compiler.problems.has_errors() {
                return made;
            }
        }
    }
    made
}

/// What a profile that says nothing is tried by.
fn usual(file: &ProfileFile, id: &Arc<str>, whole: &Range<usize>, compiler: &mut Compiler<'_>) -> Vec<Probe> {
    // Its problems were noted when the profile itself was compiled.
    if compiler.problems.has_errors() {
        return Vec::new();
    }
    let Some(device) = compile(file, id, whole, compiler) else { return Vec::new() };
    let says = match &device.engine {
        DeviceEngine::Modbus(_) => return Vec::new(),
        DeviceEngine::Messages(messages) if messages.listens() => Says::Likely,
        DeviceEngine::Messages(_) => Says::Possible,
    };
    let device = first_poll_of(device);
    vec![Probe { params: BTreeMap::new(), says, device, shows: Vec::new() }]
}

fn first_poll_of(mut device: Device) -> Device {
    if let DeviceEngine::Messages(messages) = &mut device.engine {
        messages.polls.truncate(1);
        messages.on_connect.clear();
    }
    device.channels.retain(|channel| match &channel.source {
        Source::Field { poll, .. } => *poll == 0,
        Source::Register(_) => true,
    });
    device
}

fn one(
    path: &str,
    entry: &Spanned<IdentifyFile>,
    file: &ProfileFile,
    id: &Arc<str>,
    whole: &Range<usize>,
    params: BTreeMap<String, String>,
    compiler: &mut Compiler<'_>,
) -> Option<Probe> {
    let identify = entry.get_ref();
    let device = compile(file, id, whole, compiler)?;
    let says = identify.says.unwrap_or(Says::Likely);
    let alphabet = match &device.engine {
        DeviceEngine::Modbus(_) => {
            if let Some(step) = identify.steps.first() {
                compiler.error(step.span(), "a Modbus profile is recognised by `reads`, not by `steps`", "");
            }
            return registers(path, entry, device, params, says, compiler);
        }
        DeviceEngine::Messages(messages) => messages.alphabet,
    };
    if let Some((channel, _)) = identify.reads.first_key_value() {
        compiler.error(channel.span(), "`reads` goes with engine = \"modbus\"; messages have `steps`", "");
    }
    if identify.steps.is_empty() {
        return Some(Probe { params, says, device: first_poll_of(device), shows: Vec::new() });
    }
    let steps = steps(path, entry, file, alphabet, whole, compiler)?;
    let mut device = device;
    device.channels.clear();
    if let DeviceEngine::Messages(messages) = &mut device.engine {
        if messages.listens() {
            compiler.error(
                entry.span(),
                "an instrument that speaks unasked is recognised by what it says",
                "leave `steps` out",
            );
        }
        messages.on_connect.clear();
        let every = messages.polls.first().map_or(Duration::from_secs(1), |poll| poll.every);
        messages.polls = vec![MessagePoll { every, steps }];
    }
    Some(Probe { params, says, device, shows: Vec::new() })
}

fn steps(
    path: &str,
    entry: &Spanned<IdentifyFile>,
    file: &ProfileFile,
    alphabet: Alphabet,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Option<Vec<Step>> {
    let language = Language::of(file, alphabet, whole, compiler)?;
    for step in &entry.get_ref().steps {
        if let Some(changes) = &step.get_ref().changes_device {
            compiler.error(changes.span(), "what is sent to recognise an instrument can't change it", "");
        }
    }
    let steps = identify_steps(path, &entry.get_ref().steps, &language, compiler);
    if steps.first().is_some_and(|step| step.send.is_none()) {
        compiler.error(entry.span(), "the steps have to begin with `send`", "");
    }
    Some(steps)
}

fn registers(
    path: &str,
    entry: &Spanned<IdentifyFile>,
    device: Device,
    params: BTreeMap<String, String>,
    says: Says,
    compiler: &mut Compiler<'_>,
) -> Option<Probe> {
    let identify = entry.get_ref();
    if identify.reads.is_empty() {
        let help = "reads = { device_name = \"DSR 54N*\" }: channels of this profile and what they show";
        compiler.missing(&entry.span(), &format!("{path}.reads"), "`[[identify]]` has no `reads`", help);
        return None;
    }
    let mut wanted = Vec::new();
    let mut shows = Vec::new();
    for (channel, value) in &identify.reads {
        let found = device.channels.iter().position(|known| *known.id == **channel.get_ref());
        let Some(place) = found else {
            let help = did_you_mean(channel.get_ref(), "channels", device.channels.iter().map(|known| &*known.id));
            compiler.error(channel.span(), format!("the profile has no channel `{}`", channel.get_ref()), help);
            continue;
        };
        wanted.push(place);
        shows.push(Shows::parse(&value.get_ref().to_string()));
    }
    let (device, places) = device.narrowed(&wanted);
    // Channels that are only needed by the others may show anything; they come after.
    let mut ordered: Vec<Option<Shows>> = vec![None; device.channels.len()];
    for (place, shows) in places.into_iter().zip(shows) {
        if let Some(slot) = ordered.get_mut(place) {
            *slot = Some(shows);
        }
    }
    Some(Probe { params, says, device, shows: ordered })
}

/// Every combination of the parameters to go through.
fn combinations(
    entry: &Spanned<IdentifyFile>,
    params: &BTreeMap<String, Param>,
    compiler: &mut Compiler<'_>,
) -> Vec<BTreeMap<String, String>> {
    let mut sets = vec![BTreeMap::new()];
    for (name, values) in &entry.get_ref().tries {
        let Some(param) = params.get(name.get_ref()) else {
            let help = did_you_mean(name.get_ref(), "parameters", params.keys().map(String::as_str));
            compiler.error(name.span(), format!("the profile has no parameter `{}`", name.get_ref()), help);
            continue;
        };
        for value in values.get_ref() {
            if let Some(why) = param.objection(&value.to_string()) {
                compiler.error(values.span(), format!("`{value}` can't be the parameter: {why}"), "");
            }
        }
        if values.get_ref().is_empty() {
            compiler.error(values.span(), "there is nothing to try", "");
        }
        sets = sets
            .iter()
            .flat_map(|set: &BTreeMap<String, String>| {
                values.get_ref().iter().map(|value| {
                    let mut set = set.clone();
                    set.insert(name.get_ref().clone(), value.to_string());
                    set
                })
            })
            .collect();
    }
    if sets.len() > MOST_TRIES {
        compiler.error(entry.span(), format!("these are {} tries; at most {MOST_TRIES} can be", sets.len()), "");
        return Vec::new();
    }
    sets
}
