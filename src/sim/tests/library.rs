//! Every shipped profile, backwards.

use super::super::bench::{Bench, Reply};
use super::super::framing::Request;
use super::super::line::Speech;
use super::*;
use crate::model::Outcome;
use crate::profile::{Library, Profile};

/// What a simulated instrument says of each channel when it is asked for everything.
fn everything_said(bench: &mut Bench, device: &Device) -> Vec<(Arc<str>, Outcome)> {
    let mut said = Vec::new();
    let mut take = |replies: Vec<Reply>| {
        for reply in replies {
            let Reply::Bytes(outgoing) = reply else { panic!("nobody asked for a hang-up") };
            said.extend(outgoing.said);
        }
    };
    match &device.engine {
        DeviceEngine::Messages(text) => {
            for message in text.polls.iter().flat_map(|poll| &poll.steps).filter_map(|step| step.send.as_ref()) {
                take(bench.told(message, Instant::now()));
            }
            for _ in &text.listens {
                take(bench.speaks(Instant::now()));
            }
        }
        DeviceEngine::Modbus(_) => {
            for (index, channel) in device.channels.iter().enumerate() {
                let apart: Vec<usize> = device.apart(index).collect();
                let along = channel.with.iter().filter(|other| !apart.contains(other));
                let needed = along.map(|other| &device.channels[*other]).chain([channel]);
                let registers: Vec<&Register> = needed
                    .map(|channel| match &channel.source {
                        Source::Register(register) => register,
                        Source::Field { .. } => panic!("a field of a Modbus device"),
                    })
                    .collect();
                let start = registers.iter().map(|register| register.address).min().unwrap();
                let end = registers.iter().map(|register| register.end()).max().unwrap();
                let count = u16::try_from(end - u32::from(start)).unwrap();
                let mut pdu = vec![registers[0].table.read_function()];
                pdu.extend(start.to_be_bytes());
                pdu.extend(count.to_be_bytes());
                take(bench.asked(&Request { unit: 1, pdu, transaction: 0 }, Speech::Rtu, Instant::now()));
            }
        }
    }
    said
}

/// The instrument of a profile with sample parameters, or with sensible ones where the lab has to choose numbers.
fn sample(profile: &Profile) -> Device {
    let given: &[(&str, &str)] = match &*profile.id {
        "analog-gauge-adc" => &[("address", "0"), ("a", "0.00025"), ("b", "-12.5")],
        _ => return profile.sample().clone(),
    };
    let params = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    profile.device(&params, &BTreeSet::new()).unwrap()
}

fn has_choice(device: &Device) -> bool {
    let DeviceEngine::Messages(engine) = &device.engine else { return false };
    let polled = engine.polls.iter().flat_map(|poll| &poll.steps).filter_map(|step| step.expect.as_ref());
    polled.chain(engine.listens.iter().map(|listen| &listen.expect)).any(Pattern::has_choice)
}

#[test]
fn every_shipped_profile_can_be_simulated_through_a_growth() {
    let (library, problems) = Library::embedded();
    assert!(!problems.has_errors());
    let mut checked = 0;
    for profile in library.iter() {
        let device = &sample(profile);
        let instrument = SimInstrument::new(&profile.id, device.clone(), Scenario::growth(Duration::from_secs(30)));
        on_a_port(vec![instrument.clone()]).stop();
        let mut bench = Bench::new(vec![instrument], 0);
        let said = everything_said(&mut bench, device);
        for channel in &device.channels {
            let id = &channel.id;
            let outcome = said.iter().find(|(said, _)| said == id).map(|(_, outcome)| outcome);
            let outcome = outcome.unwrap_or_else(|| panic!("{}: nothing is said of `{id}`", profile.id));
            if matches!(channel.kind, Kind::Gauge | Kind::Setting | Kind::Counter) {
                // Of two forms of an answer, one has a field that the other has not.
                let is_left_out = *outcome == Outcome::Bad(Reason::ABSENT) && has_choice(device);
                assert!(outcome.value().is_some() || is_left_out, "{}: `{id}` is {outcome:?}", profile.id);
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} channels are shipped");
}

/// Each reason that a profile can give for a missing value can be provoked, and comes out as that reason.
#[test]
fn every_state_of_every_shipped_profile_can_be_shown() {
    let (library, _) = Library::embedded();
    let mut checked = 0;
    for profile in library.iter() {
        let device = &sample(profile);
        let instrument = SimInstrument::new(&profile.id, device.clone(), Scenario::growth(Duration::from_secs(30)));
        let sim = on_a_port(vec![instrument.clone()]);
        let mut bench = Bench::new(vec![instrument], 0);
        for (index, channel) in device.channels.iter().enumerate() {
            let decoding = &channel.decoding;
            let listed =
                decoding.quality.iter().flat_map(|quality| quality.codes.iter()).filter_map(
                    |(_, verdict)| match verdict {
                        Verdict::Bad(reason) => Some(reason),
                        Verdict::Good | Verdict::Uncertain(_) => None,
                    },
                );
            let named = decoding.sentinels.iter().map(|(_, reason)| reason);
            let words = decoding.texts.iter().map(|(_, reason)| reason);
            for reason in listed.chain(named).chain(words) {
                sim.set_state(&profile.id, &channel.id, reason).unwrap();
                let bay = bench.bay(&profile.id).unwrap();
                bay.set(index, super::super::instrument::Shown::Set(Outcome::Bad(reason.clone())));
                let said = everything_said(&mut bench, device);
                let outcome = said.into_iter().find(|(id, _)| *id == channel.id).map(|(_, outcome)| outcome);
                assert_eq!(outcome, Some(Outcome::Bad(reason.clone())), "{}: `{}`", profile.id, channel.id);
                checked += 1;
            }
            bench.bay(&profile.id).unwrap().release(index);
        }
    }
    assert!(checked > 10, "only {checked} states are shipped");
}
