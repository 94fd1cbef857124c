//! What a scan would send, held against the whole library.

use super::plan::{danger, reads};
use super::*;
use crate::profile::DeviceEngine;

fn wishes(way: Way) -> Wishes {
    Wishes {
        way,
        profiles: Vec::new(),
        modbus_only: false,
        quick: false,
        units: (1..=32).collect(),
        baud_is_known: false,
    }
}

fn library() -> Library {
    let (library, problems) = Library::embedded();
    assert!(problems.is_empty(), "{problems}");
    library
}

#[test]
fn nothing_that_is_sent_could_change_any_instrument_of_the_library() {
    let library = library();
    let mut sent = 0;
    for way in [Way::Serial, Way::DeviceServer] {
        let plan = Plan::new(&library, &wishes(way), Clone::clone);
        for stage in &plan.stages {
            for message in stage.questions.iter().flat_map(plan::Question::sends) {
                sent += 1;
                assert_eq!(danger(&message, &library), None, "{}", String::from_utf8_lossy(&message));
            }
            for knock in &stage.knocks {
                sent += 1;
                assert_eq!(danger(&knock.rtu_frame(), &library), None, "{knock:?}");
            }
        }
        // What is not sent is named.
        for profile in library.iter().filter(|profile| !profile.is_modbus()) {
            for probe in profile.identify() {
                let DeviceEngine::Messages(device) = &probe.device.engine else { continue };
                for send in device.polls.iter().flat_map(|poll| &poll.steps).filter_map(|step| step.send.as_ref()) {
                    let said = |left_out: &&plan::LeftOut| {
                        left_out.profile == *profile.id && left_out.message == device.shown(send)
                    };
                    if danger(send, &library).is_some() {
                        assert!(plan.left_out.iter().any(|left_out| said(&left_out)), "{}", profile.id);
                    }
                }
            }
        }
    }
    assert!(sent > 100, "the check reads nothing");
}

#[test]
fn a_message_that_one_profile_takes_for_an_order_is_left_out_of_the_others_and_named() {
    let mut library = library();
    let text = "schema = 1\nid = \"jealous\"\nvendor = \"x\"\nstatus = \"untested\"\nsources = [\"none\"]\nengine = \"text\"\n\
                writes = ['^00(ms|na)', '^\\x05\\x03']\n[framing]\nterminator = \"<CR>\"\n[[poll]]\nevery = \"1s\"\n\
                steps = [{ send = \"?X\", expect = \"{v:f}\" }]\n[[channel]]\nid = \"v\"\nfrom = \"v\"\n\
                [[test]]\nexchange = [[\"?X<CR>\", \"1<CR>\"]]\nexpect = { v = 1.0 }\nsource = \"made for this test\"\n";
    let source = crate::document::Source::new("jealous.toml", text);
    library.insert(crate::profile::Profile::parse(&source, crate::profile::Origin::BuiltIn).unwrap());
    let plan = Plan::new(&library, &wishes(Way::Serial), Clone::clone);
    let upp = plan.left_out.iter().find(|left_out| left_out.profile == "impac-upp").unwrap();
    assert_eq!(upp.danger, "jealous");
    assert!(upp.message.starts_with("00"), "{upp:?}");
    let knocked = |unit: u8| plan.stages.iter().flat_map(|stage| &stage.knocks).any(|read| read.unit == unit);
    assert!(knocked(4) && knocked(6));
    let by_holding = |stage: &plan::Stage| {
        stage.knocks.iter().any(|read| read.unit == 5 && read.table == crate::profile::Table::Holding)
    };
    assert!(!plan.stages.iter().any(by_holding), "unit 5 would be asked by 05 03");
    assert!(plan.left_out.iter().any(|left_out| left_out.message.starts_with("05 03")), "{:?}", plan.left_out);
    for stage in &plan.stages {
        for message in stage.questions.iter().flat_map(plan::Question::sends) {
            assert_eq!(danger(&message, &library), None);
        }
    }
}

#[test]
fn known_line_settings_leave_one_stage() {
    let library = library();
    let wishes = Wishes { baud_is_known: true, ..wishes(Way::Serial) };
    let known = LineSettings { baud: 57_600, ..LineSettings::default() };
    let plan = Plan::new(&library, &wishes, |_| known.clone());
    let lines: Vec<_> = plan.stages.iter().map(|stage| stage.line.clone()).collect();
    assert_eq!(lines, [Some(known)]);
    let socket = Plan::new(&library, &Wishes { way: Way::ModbusTcp, ..wishes }, Clone::clone);
    assert_eq!(socket.stages.len(), 1);
    assert!(socket.stages[0].questions.is_empty() && !socket.stages[0].knocks.is_empty());
}

#[test]
fn each_stage_has_each_try_once_and_says_how_long_it_takes() {
    let library = library();
    let plan = Plan::new(&library, &wishes(Way::Serial), Clone::clone);
    for stage in &plan.stages {
        let mut seen = std::collections::BTreeSet::new();
        for question in &stage.questions {
            assert!(seen.insert((question.profile.id.to_string(), question.probe)), "{}", question.profile.id);
        }
        assert!(stage.at_worst(QUICK) < stage.at_worst(THOROUGH));
    }
    let upp = plan.stages.iter().filter(|stage| stage.questions.iter().any(|q| &*q.profile.id == "impac-upp"));
    assert_eq!(upp.count(), 1, "without --profile, each profile is tried at its own line settings only");
    let named = Wishes { profiles: vec!["impac-upp".to_owned()], ..wishes(Way::Serial) };
    let named = Plan::new(&library, &named, Clone::clone);
    assert_eq!(named.stages.len(), 7, "with it, at every usual rate");
    assert!(named.stages.iter().all(|stage| stage.knocks.is_empty()));
}

#[test]
fn the_reads_of_modbus_profiles_are_within_the_protocol() {
    for profile in library().iter().filter(|profile| profile.is_modbus()) {
        for probe in profile.identify() {
            for read in reads(probe, 1).into_iter().flatten() {
                assert!((1..=125).contains(&read.count), "{}: {read:?}", profile.id);
                assert!(!read.rtu_frame().is_empty());
            }
        }
    }
}

#[test]
fn units_are_ranges_and_lists() {
    assert_eq!(Units::parse("1,5,10-12,5").unwrap().0, [1, 5, 10, 11, 12]);
    for odd in ["", "0", "248", "x", "9-3", "1-"] {
        assert!(Units::parse(odd).is_err(), "{odd}");
    }
}
