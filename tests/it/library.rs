//! What holds for all shipped profiles together: none is asked something that would change another, each says where it comes
//! from and how it is recognised, and the list of them is complete.

use mbe_bridge::profile::{Library, Profile, printable};

fn library() -> Library {
    let (library, problems) = Library::embedded();
    assert!(problems.is_empty(), "{problems}");
    assert!(library.iter().count() > 25, "the check reads nothing");
    library
}

fn profile<'a>(library: &'a Library, id: &str) -> &'a Profile {
    library.get(id).unwrap_or_else(|| panic!("there is no profile `{id}`"))
}

/// Which instrument is on a port is not known while one looks for it: what asks one must not set another.
#[test]
fn nothing_that_is_polled_or_scanned_changes_any_instrument() {
    let library = library();
    let mut messages = 0;
    for sender in library.iter() {
        for message in sender.sends() {
            messages += 1;
            for hearer in library.iter() {
                assert!(
                    !hearer.would_change(message),
                    "`{}` of {} would change a {}",
                    printable(message),
                    sender.id,
                    hearer.id
                );
            }
        }
    }
    assert!(messages > 60, "{messages} messages");
}

/// Modbus reads go to ports where other instruments may be, too: to the units and addresses that are likely, at least.
#[test]
fn modbus_reads_change_no_instrument_that_speaks_otherwise() {
    let crc = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS);
    let library = library();
    for unit in 1..=32_u8 {
        for function in 1..=4_u8 {
            for address in [0x0000_u16, 0x0001, 0x0058, 0x0101, 0x0120, 0x1300, 0x8002] {
                let [high, low] = address.to_be_bytes();
                let mut frame = vec![unit, function, high, low, 0, 2];
                frame.extend(crc.checksum(&frame).to_le_bytes());
                for hearer in library.iter() {
                    assert!(!hearer.would_change(&frame), "{} takes {frame:02X?} for a setting", hearer.id);
                }
            }
        }
    }
}

/// Messages that manuals name as setting or switching something, or that have the form of one. A profile that does not know them would let them pass.
#[test]
fn what_manuals_call_a_setting_is_known_as_one() {
    let library = library();
    let settings: &[(&str, &[u8])] = &[
        ("impac-upp", b"00em0970\r"),
        ("impac-upp", b"00m100640258\r"),
        ("impac-upp", b"01N2em0950\r"),
        ("impac-upp", b"00re\r"),
        ("impac-upp-ratio", b"00fh1\r"),
        ("sensortherm-metis", b"00ar1\r"),
        ("raytek-ascii", b"E=0.975\r"),
        ("raytek-ascii", b"001E#0.975\r"),
        ("raytek-ascii", b"V=B\r"),
        ("raytek-ascii-burst", b"$=UTEI\r"),
        ("optris-ct", b"\x84\x03\xB6"),
        ("optris-ct", b"\x84\x03\xB6\x31"),
        ("optris-ct", b"\xB0\x84\x03\xB6"),
        ("optris-ct", b"\xAD\x00"),
        ("basf-exactus-stream", b"\x02\x30\x30\x03"),
        ("basf-exactus-stream", b"\x01\x05\x00\x13\x00\x00\x3C\x0F"),
        ("gamma-digitel", b"~ 01 37 01 A9\r"),
        ("gamma-digitel", b"~ 01 38 01 AA\r"),
        ("gamma-digitel-tcp", b"cmd 37 01\r"),
        ("pfeiffer-tpg26x", b"UNI,0\r"),
        ("pfeiffer-tpg26x", b"COM,1\r"),
        ("pfeiffer-tpg36x", b"SEN,2,0\r"),
        ("inficon-vgc", b"HVC,1\r"),
        ("leybold-center", b"COM\r"),
        ("pfeiffer-vacuum-protocol", b"0421001006111111020\r"),
        ("mks-937b", b"@253CMD!val;FF"),
        ("mks-9xx", b"@253CMD!val;FF"),
        ("gp-xxrd", b"#01IG1\r"),
        ("gp-xxrd", b"#01IG0\r"),
        ("gp-xxrd", b"#01DG1\r"),
        ("gp-350", b"#01IG1\r"),
        ("gp-307", b"IG1 ON\r\n"),
        ("agilent-xgs600", b"#0010\r"),
        ("agilent-xgs600", b"#0030UGATE1\r"),
        ("agilent-xgs600", b"#0031UION1\r"),
        ("thyracont-v1", b"001m100023X\r"),
        ("thyracont-v2", b"0012DU04mbarX\r"),
        ("inficon-bpg400", b"\x03\x10\x3E\x00\x4E"),
        ("inficon-bpg400", b"\x03\x10\x5D\x94\x01"),
        ("inficon-bpg402", b"\x03\x20\x3E\x3E\x9C"),
        ("inficon-bcg450", b"\x03\x10\x5D\x69\xD6"),
        ("leybold-itr90", b"\x03\x10\x5D\x94\x01"),
        ("inficon-hpg400", b"\x03\x10\x3E\x01\x4F"),
        ("edwards-tic", b"!C904 1\r"),
        ("teledyne-ige3000", b"*01T=06\r"),
        ("bronkhorst-propar", b":0603010121018000\r\n"),
    ];
    for (id, message) in settings {
        assert!(profile(&library, id).would_change(message), "{id} lets `{}` pass", printable(message));
    }
    // Every profile that could know of settings does.
    for profile in library.iter().filter(|profile| is_of_messages(profile)) {
        let known = settings.iter().any(|(id, _)| **id == *profile.id);
        assert!(known || is_for_anything(profile), "{} has no setting in this list", profile.id);
    }
}

fn is_of_messages(profile: &Profile) -> bool {
    !matches!(profile.sample().engine, mbe_bridge::profile::DeviceEngine::Modbus(_))
}

/// A profile for whatever the lab has: there is nothing to recognise, and nobody knows what would change it.
fn is_for_anything(profile: &Profile) -> bool {
    profile.vendor == "any"
}

#[test]
fn every_profile_says_where_it_comes_from_and_how_it_is_recognised() {
    for (path, text) in Library::embedded_files() {
        assert!(text.contains("sources = ["), "{path} has no sources");
        assert!(text.contains("caveats = ["), "{path} has no caveats; an instrument without any has `caveats = []`");
        assert!(text.contains("[[test]]"), "{path} has no test vector");
        let about = text.strip_prefix("#:schema ../profile.schema.json\n\n# ");
        assert!(about.is_some(), "{path} does not begin with its schema and what it is about");
    }
    let library = library();
    for profile in library.iter().filter(|profile| is_of_messages(profile) && !is_for_anything(profile)) {
        assert!(!profile.identify().is_empty(), "{} can't be recognised", profile.id);
        let own = Library::embedded_files().iter().find(|(path, _)| path.ends_with(&format!("/{}.toml", profile.id)));
        let (_, text) = own.unwrap();
        assert!(text.contains("[[identify]]"), "{} leaves to chance how it is recognised", profile.id);
    }
}

#[test]
fn the_list_of_profiles_is_complete() {
    let readme = include_str!("../../devices/README.md");
    let files: Vec<&str> = Library::embedded_files().iter().map(|(path, _)| *path).collect();
    for path in &files {
        assert!(readme.contains(&format!("`{path}`")), "devices/README.md does not list {path}");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let listed: Vec<&str> = rows.flat_map(|row| row.split('`')).filter(|word| word.ends_with(".toml")).collect();
    for path in &listed {
        assert!(files.contains(path), "devices/README.md lists {path}, which is not there");
    }
    assert_eq!(listed.len(), files.len(), "devices/README.md lists a file twice");
}
