//! Every profile that is shipped: it loads, it passes its vectors, and it is in the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mbe_bridge::document::Source;
use mbe_bridge::profile::json_schema;
use mbe_bridge::profile::{Library, Origin, Profile};

fn devices() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("devices")
}

fn files() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![devices()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let inside = path.strip_prefix(devices()).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(inside, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn parse(text: &str) -> Result<Profile, String> {
    Profile::parse(&Source::new("x.toml", text), Origin::BuiltIn).map_err(|problems| problems.to_string())
}

#[test]
fn every_shipped_profile_loads_and_passes_its_vectors() {
    let files = files();
    assert!(files.len() >= 3, "the check reads nothing");
    for (path, text) in &files {
        let profile = Profile::parse(&Source::new(path, text), Origin::BuiltIn).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(Path::new(path).file_stem().unwrap().to_str(), Some(&*profile.id), "the file is named for the id");
        let problems = profile.verify();
        assert!(problems.is_empty(), "{problems}");
        assert!(!profile.sources.is_empty() && !profile.models.is_empty());
    }
}

#[test]
fn the_program_holds_what_is_on_disk() {
    let embedded: BTreeMap<String, String> =
        Library::embedded_files().iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    assert_eq!(embedded, files());
    let (library, problems) = Library::embedded();
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(library.iter().count(), files().len(), "two files have the same id");
}

/// A vector that says something else than the profile must be found, whichever side is wrong.
#[test]
fn a_broken_vector_fails() {
    for (path, from, to, expected) in [
        (
            "impac/impac-upp.toml",
            "temperature = 256.3",
            "temperature = 256.4",
            "`temperature` should be 256.4, is 256.3",
        ),
        ("impac/impac-upp.toml", "scale = 0.1", "scale = 0.01", "`temperature` should be 256.3, is 25.63"),
        ("impac/impac-upp.toml", "88880 = \"over_range\", ", "", "should be bad:over_range, is 8888"),
        ("impac/impac-upp.toml", "{t:d5}", "{t:d4}", "should be 256.3, is bad:malformed"),
        ("impac/impac-upp.toml", "{addr}ms\"", "{addr}mw\"", "no poll sends `00ms<CR>` here"),
        ("impac/impac-upp.toml", "\"02563<CR>\"", "\"02563<LF>\"", "is no whole message by the profile's `framing`"),
        ("prevac/prevac-mg15.toml", "50 3C", "50 3D", "the CRC of `01 03 06 30 A4 ED 3F 00 00 50 3D` should be 50 3C"),
        ("prevac/prevac-mg15.toml", "order = \"ABCD\"", "order = \"CDAB\"", "`pressure_1` should be 0.0000000012"),
        ("prevac/prevac-mg15.toml", "address = 0\n", "address = 1\n", "`pressure_1` should be"),
        ("prevac/prevac-mg15.toml", "01 83 03 01 31", "01 84 03 03 01", "does not belong to the request"),
        ("eurotherm/eurotherm-3200.toml", "type = \"i16\"", "type = \"u16\"", "should be -10, is 65526"),
        (
            "eurotherm/eurotherm-3200.toml",
            "expect = { sensor_break",
            "expect = { sensor_brake",
            "no reading of `sensor_brake`",
        ),
    ] {
        let text = files()[path].replacen(from, to, 1);
        assert!(text != files()[path], "{path} does not hold {from}");
        let problems = parse(&text).unwrap().verify().to_string();
        assert!(problems.contains(expected), "{path}, {from} -> {to}:\n{problems}");
    }
}

#[test]
fn a_vector_without_a_source_is_none() {
    let upp = &files()["impac/impac-upp.toml"];
    let text = upp.replace("source = \"worked example from the vendor's UPP manuals listed above (which of them was not noted): 02563 is 256.3\"", "");
    assert!(parse(&text).unwrap().verify().to_string().contains("no `source`"));
    let without = upp.split("[[test]]").next().unwrap();
    assert!(parse(without).unwrap_err().contains("the profile has no `test`"));
}

const CHECKSUMMED: &str = r#"engine = "text"
writes = ['^[0-9]{3}1']
[params]
addr = { type = "string", default = "001" }
[framing]
terminator = "<CR>"
checksum = { kind = "sum8", encode = "dec3" }
[timing]
refresh = "200ms"
[[poll]]
every = "500ms"
steps = [{ send = "{addr}0074002=?{ck}", expect = ["{addr}1074006{p:m4e2}{ck}", "{addr}1074006{p:w6}{ck}"] }]
[[channel]]
id = "pressure"
from = "p"
unit = "hPa"
scale = 1e-23
text = { NO_DEF = "no_gauge" }
[[identify]]
tries = { addr = ["001", "002"] }
steps = [{ send = "{addr}0034902=?{ck}", expect = "{addr}1034906{_:w6}{ck}" }]
says = "sure"
[[test]]
exchange = [["0010074002=?106<CR>", "0011074006100023025<CR>"]]
expect = { pressure = 1000.0 }
source = "Pfeiffer Vacuum Protocol"
[[test]]
exchange = [["0010074002=?106<CR>", "0011074006NO_DEF190<CR>"]]
expect = { pressure = "bad:no_gauge" }
source = "computed"
[[test]]
exchange = [["0010074002=?106<CR>", "0011074006100023026<CR>"]]
expect = { pressure = "bad:checksum" }
source = "the first with a wrong checksum"
"#;

const TALKER: &str = r#"engine = "frame"
mode = "listen"
[framing]
start = "07 05"
fixed = 9
checksum = { kind = "sum8", from = 1 }
[[listen]]
expect = "07 05 {st:u8} {err:u8} {p:u16} {_:u16} {ck}"
stale_after = "2s"
[[channel]]
id = "pressure"
from = "p"
quality = { from = "err[4..7]", 0 = "good", 8 = "bad:hot_cathode" }
[[channel.case]]
when = { "st[4..5]" = 0 }
unit = "mbar"
curve = { kind = "pow10", a = 0.00025, b = -12.5 }
[[test]]
feed = "FF 07 05 00 00 F2 30 14 0A 45"
expect = { pressure = 1000.0 }
source = "BPG400 manual p. 32"
"#;

#[test]
fn checksums_alternatives_and_tries_are_understood() {
    let profile = parse(&format!("{HEAD}{CHECKSUMMED}")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(profile.verify().is_empty(), "{}", profile.verify());
    let probes = profile.identify();
    assert_eq!(probes.iter().map(|probe| probe.params["addr"].as_str()).collect::<Vec<_>>(), ["001", "002"]);
    let sent: Vec<&[u8]> = profile.sends().collect();
    assert_eq!(sent.len(), 3, "one poll and two tries");
    assert!(sent.contains(&&b"0020034902=?112\r"[..]), "{sent:?}");
    assert!(profile.would_change(b"0011000202111\r") && !sent.iter().any(|message| profile.would_change(message)));
}

#[test]
fn what_is_heard_unasked_is_tested_by_feeding_it() {
    let profile = parse(&format!("{HEAD}{TALKER}")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(profile.verify().is_empty(), "{}", profile.verify());
    assert_eq!(profile.identify().len(), 1, "it is recognised by what it says");
    let wrong = TALKER.replace("14 0A 45", "14 0A 46");
    let problems = parse(&format!("{HEAD}{wrong}")).unwrap().verify().to_string();
    assert!(problems.contains("the vector brings no reading of `pressure`"), "{problems}");
}

#[test]
fn what_is_wrong_with_messages_is_said() {
    for (body, from, to, expected) in [
        (CHECKSUMMED, "encode = \"dec3\"", "encode = \"be\"", "the checksum has 8 bits"),
        (CHECKSUMMED, "kind = \"sum8\", ", "", "`checksum` has no `kind`"),
        (CHECKSUMMED, "kind = \"sum8\"", "kind = \"sum9\"", "is not one of the choices"),
        (CHECKSUMMED, "checksum = { kind = \"sum8\", encode = \"dec3\" }", "", "`{ck}` needs a `checksum`"),
        (
            CHECKSUMMED,
            "terminator = \"<CR>\"",
            "terminator = \"<CR>\"\nfixed = 3",
            "told by `terminator` or by `fixed`",
        ),
        (CHECKSUMMED, "terminator = \"<CR>\"", "fixed = 19\ntail = 3", "counts the bytes behind a `terminator`"),
        (
            CHECKSUMMED,
            "terminator = \"<CR>\"",
            "terminator = \"<CR>\"\nescape = { byte = \"80\", before = \"80..85\" }",
            "messages whose length is known",
        ),
        (CHECKSUMMED, "refresh = \"200ms\"", "refresh = \"soon\"", "`soon` is no duration"),
        (CHECKSUMMED, "{p:m4e2}", "{p:m4}", "the form is"),
        (CHECKSUMMED, "{3}1'", "{3}0'", "the profile itself sends"),
        (CHECKSUMMED, "{3}1'", "{3'", "no regular expression"),
        (CHECKSUMMED, "tries = { addr", "tries = { adr", "no parameter `adr`"),
        (
            CHECKSUMMED,
            "says = \"sure\"",
            "says = \"sure\"\nreads = { pressure = \"good\" }",
            "goes with engine = \"modbus\"",
        ),
        (CHECKSUMMED, "says = \"sure\"", "says = \"certain\"", "is not one of the choices"),
        (CHECKSUMMED, "[[poll]]", "[[listen]]\nexpect = \"x\"\n[[poll]]", "goes with `mode = \"listen\"`"),
        (TALKER, "07 05 {st", "07 5 {st", "`5` is no byte in hex"),
        (TALKER, "{p:u16}", "{p:d5}", "the form is u8"),
        (TALKER, "fixed = 9", "fixed = 0", "at least one byte"),
        (TALKER, "fixed = 9", "length = { plus = 3 }", "`length` has no `at`"),
        (
            TALKER,
            "fixed = 9",
            "fixed = 9\nescape = { byte = \"80\", before = \"81..85\" }",
            "has to be among the bytes",
        ),
        (TALKER, "stale_after = \"2s\"", "stale_after = \"0s\"", "can't be zero"),
        (
            TALKER,
            "fixed = 9\nchecksum = { kind = \"sum8\", from = 1 }\n[[listen]]\nexpect = \"07 05 {st:u8} {err:u8} {p:u16} {_:u16} {ck}\"",
            "\n[[listen]]\nexpect = [\"07 05 {st:u8} {err:u8} {p:u16}\", \"07 05 {st:u8} {err:u8} {p:u16} {_:u8}\"]",
            "can begin alike",
        ),
        (TALKER, "expect = \"07 05 {st:u8} {err:u8} {p:u16} {_:u16} {ck}\"", "", "has no `expect`"),
        (TALKER, "[[channel]]", "[[poll]]\nsteps = [{ send = \"01\" }]\n[[channel]]", "asks for nothing"),
        (TALKER, "mode = \"listen\"", "", "goes with `mode = \"listen\"`"),
        (
            TALKER,
            "[[test]]",
            "[[identify]]\nsteps = [{ send = \"01\", expect = \"02\" }]\n[[test]]",
            "recognised by what it says",
        ),
    ] {
        let spoilt = body.replacen(from, to, 1);
        assert!(spoilt != body, "the profile does not hold {from}");
        let problems = parse(&format!("{HEAD}{spoilt}")).map(|_| ()).expect_err(to);
        assert!(problems.contains(expected), "{from} -> {to}:\n{problems}");
    }
}

#[test]
fn a_file_on_disk_replaces_the_embedded_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = files()["impac/impac-upp.toml"].replace("every = \"100ms\"", "every = \"50ms\"");
    fs::create_dir(folder.path().join("mine")).unwrap();
    let path = folder.path().join("mine/impac-upp.toml");
    fs::write(&path, &text).unwrap();
    let (library, problems) = Library::load(&[folder.path().to_owned()]);
    assert!(problems.is_empty(), "{problems}");
    let profile = library.get("impac-upp").unwrap();
    assert_eq!(profile.origin, Origin::Disk(path.clone()));
    assert_eq!(profile.sample().channels[0].every.as_millis(), 50);

    // A broken file is a problem, and the one that it was meant to replace is not used in its place.
    fs::write(&path, text.replace("engine = \"text\"", "engine = \"txt\"")).unwrap();
    let (library, problems) = Library::load(&[folder.path().to_owned()]);
    assert!(problems.to_string().contains("`txt` is not one of the choices"), "{problems}");
    assert!(library.get("impac-upp").is_none() && library.get("prevac-mg15").is_some());

    let (_, problems) = Library::load(&[folder.path().join("nowhere")]);
    assert!(problems.to_string().contains("could not read profiles from"), "{problems}");
}

const HEAD: &str = "schema = 1\nid = \"x\"\nvendor = \"v\"\nstatus = \"untested\"\nsources = [\"s\"]\n";

/// A profile with one test vector.
fn with_vector(body: &str, vector: &str) -> Profile {
    parse(&format!("{HEAD}{body}\n[[test]]\nsource = \"made up for this test\"\n{vector}\n"))
        .unwrap_or_else(|p| panic!("{p}"))
}

#[test]
fn polls_are_repeated_for_numbers() {
    let body = r#"
engine = "text"
framing = { terminator = "<CR>" }
[[poll]]
for = { n = [1, 2] }
every = "2s"
steps = [{ send = "PR{n}", expect = "{s{n}:i},{p{n}:f}" }]
[[channel]]
id = "first"
from = "p1"
quality = { from = "s1", 0 = "good", 3 = "uncertain:adjust" }
[[channel]]
id = "second"
from = "p2"
text = { "LO<*" = "under_range" }
plausible = [0.0, 1.0]
"#;
    for vector in [
        "exchange = [[\"PR2<CR>\", \"0,5.0<CR>\"], [\"PR1<CR>\", \"0,+1.5E-3<CR>\"]]\nexpect = { first = 0.0015, second = \"uncertain:implausible\" }",
        "exchange = [[\"PR1<CR>\", \"3,1<CR>\"]]\nexpect = { first = \"uncertain:adjust\" }",
        "exchange = [[\"PR1<CR>\", \"9,1<CR>\"]]\nexpect = { first = \"bad:unknown_status\" }",
    ] {
        let profile = with_vector(body, vector);
        assert!(profile.verify().is_empty(), "{}", profile.verify());
        assert_eq!(profile.sample().channels[1].every.as_secs(), 2);
    }
}

#[test]
fn modbus_vectors_cover_bits_texts_and_cases() {
    let body = r#"
engine = "modbus"
[[channel]]
id = "shutter"
table = "discrete"
address = 11
[[channel]]
id = "alarm"
table = "holding"
address = 5
type = "bit"
bit = 2
[[channel]]
id = "serial"
table = "holding"
address = 6
type = "str"
regs = 2
[[channel]]
id = "pressure"
table = "holding"
address = 4
type = "u16"
[[channel.case]]
when = { "flags[4..5]" = 0 }
unit = "mbar"
curve = { kind = "pow10", a = 0.00025, b = -12.5 }
[[channel.case]]
when = { "flags[4..5]" = 2 }
unit = "mbar"
curve = { kind = "pow10", a = 0.00025, b = -14.5 }
[[channel]]
id = "flags"
table = "holding"
address = 5
type = "flags"
"#;
    for vector in [
        // MODBUS Application Protocol V1.1b3, 6.2, shifted: discrete inputs 10 to 12 of unit 1 are 0, 1, 1.
        "exchange = [[\"01 02 00 0A 00 03 18 09\", \"01 02 01 06 21 8A\"]]\nexpect = { shutter = 1 }",
        "registers.holding.4 = [0xF230, 0x0004, 0x3132, 0x3300]\nexpect = { pressure = 1000, alarm = 1, serial = 123, flags = 4 }\ntolerance = 1e-6",
        "registers.holding.4 = [0xF230, 0x0020]\nexpect = { pressure = 10, alarm = 0 }\ntolerance = 1e-6",
        "registers.holding.4 = [0xF230, 0x0010]\nexpect = { pressure = \"bad:unknown_status\" }",
    ] {
        let profile = with_vector(body, vector);
        assert!(profile.verify().is_empty(), "{vector}\n{}", profile.verify());
        assert_eq!(profile.sample().channels[3].unit.as_deref(), Some("mbar"));
        assert_eq!(profile.sample().channels[3].with, [4]);
    }
}

/// A Modbus profile that leaves to the lab where and how its value lies.
const WHEREVER: &str = r#"
engine = "modbus"
params = { at = { default = 100 }, table = { default = "holding" }, order = { default = "ABCD" }, type = { default = "u16" }, base = { type = "int", default = 0 }, none = { type = "float", default = 9e9 } }
modbus = { order = "{order}", base = "{base}" }
[[channel]]
id = "value"
table = "{table}"
address = "{at}"
type = "{type}"
sentinel = { "{none}" = "off" }
"#;

#[test]
fn where_a_modbus_value_lies_may_be_left_to_the_lab() {
    for vector in [
        "registers.holding.100 = [7]\nexpect = { value = 7 }",
        "params = { at = \"0x0118\", table = \"input\" }\nregisters.input.\"0x0118\" = [7]\nexpect = { value = 7 }",
        "params = { at = 280, base = 1 }\nregisters.holding.279 = [7]\nexpect = { value = 7 }",
        "params = { type = \"f32\", order = \"CDAB\" }\nregisters.holding.100 = [0x0000, 0x4296]\nexpect = { value = 75 }",
        "params = { none = 7 }\nregisters.holding.100 = [7]\nexpect = { value = \"bad:off\" }",
    ] {
        let problems = with_vector(WHEREVER, vector).verify();
        assert!(problems.is_empty(), "{vector}\n{problems}");
    }
    for (params, expected) in [
        ("at = 65536", "`65536` is not a whole number from 0 to 65535"),
        ("at = \"0x1G\"", "`0x1G` is not a whole number from 0 to 65535"),
        ("at = -1", "`-1` is not a whole number from 0 to 65535"),
        ("at = 0, base = 1", "there is no register number 0"),
        ("base = 2", "`base` has to be 0 or 1"),
        ("table = \"holdings\"", "`holdings` is not one of the choices"),
        ("order = \"ACDB\"", "`ACDB` is not one of the choices"),
        ("type = \"f24\"", "`f24` is not one of the choices"),
        ("at = 65535, type = \"f32\"", "the value reaches beyond address 65535"),
        ("none = \"seven\"", "it has to be a number"),
    ] {
        let vector = format!("params = {{ {params} }}\nregisters.holding.100 = [7]\nexpect = {{ value = 7 }}");
        let problems = with_vector(WHEREVER, &vector).verify().to_string();
        assert!(problems.contains(expected), "{params}\n{problems}");
    }
}

#[test]
fn channels_may_share_the_meanings_of_their_codes() {
    let body = r#"
engine = "modbus"
[codes.state]
0 = "good"
1 = "bad:off"
2 = "uncertain:adjust"
other = "bad:fault"
[[channel]]
id = "value"
table = "input"
address = 0
type = "u16"
quality = { from = "state", codes = "state", 1 = "bad:asleep" }
[[channel]]
id = "state"
table = "input"
address = 1
type = "enum"
"#;
    for (state, expected) in [(0, "7"), (1, "\"bad:asleep\""), (2, "\"uncertain:adjust\""), (9, "\"bad:fault\"")] {
        let profile =
            with_vector(body, &format!("registers.input.0 = [7, {state}]\nexpect = {{ value = {expected} }}"));
        assert!(profile.verify().is_empty(), "{}", profile.verify());
    }
    let vector = "[[test]]\nsource = \"s\"\nexpect = { value = 1 }\n";
    let spoilt = body.replace("codes = \"state\"", "codes = \"stat\"");
    let problems = parse(&format!("{HEAD}{spoilt}{vector}")).map(|_| ()).unwrap_err();
    assert!(
        problems.contains("the profile has no `[codes.stat]`") && problems.contains("did you mean `state`?"),
        "{problems}"
    );
}

/// A setting at holding 280 says in which unit the value at input 88 is.
const UNIT_FAR_AWAY: &str = r#"
engine = "modbus"
[[channel]]
id = "pressure"
table = "input"
address = 88
type = "u16"
unit = "mbar"
case = [{ when = { unit = 1 }, scale = 1 }, { when = { unit = 2 }, scale = 0.01 }]
[[channel]]
id = "unit"
kind = "setting"
table = "holding"
address = 280
type = "enum"
"#;

#[test]
fn a_setting_may_lie_anywhere_and_a_status_may_not() {
    for (registers, expected) in [
        ("registers.holding.280 = [1]", "500"),
        ("registers.holding.280 = [2]", "5"),
        ("registers.holding.280 = [9]", "\"bad:unknown_status\""),
        ("", "\"bad:unknown_setting\""),
    ] {
        let vector = format!("registers.input.88 = [500]\n{registers}\nexpect = {{ pressure = {expected} }}");
        let profile = with_vector(UNIT_FAR_AWAY, &vector);
        assert!(profile.verify().is_empty(), "{}", profile.verify());
        assert_eq!(profile.sample().apart(0).collect::<Vec<_>>(), [1]);
    }
    let vector = "[[test]]\nsource = \"s\"\nexpect = { pressure = 1 }\n";
    for (from, to, expected) in [
        ("kind = \"setting\"", "kind = \"state\"", "only a channel of kind = \"setting\" may be elsewhere"),
        (
            "type = \"enum\"",
            "type = \"enum\"\nquality = { from = \"other\" }\n[[channel]]\nid = \"other\"\nkind = \"setting\"\ntable = \"coil\"\naddress = 1",
            "`pressure` depends on `unit`, which depends on another setting itself",
        ),
    ] {
        let spoilt = UNIT_FAR_AWAY.replacen(from, to, 1);
        assert!(spoilt != UNIT_FAR_AWAY);
        let problems = parse(&format!("{HEAD}{spoilt}{vector}")).map(|_| ()).expect_err(to);
        assert!(problems.contains(expected), "{problems}");
    }
}

/// Each part of a profile, spoilt, and what is said about it.
#[test]
fn what_is_wrong_with_a_profile_is_said() {
    let text = r#"
engine = "text"
framing = { terminator = "<CR>" }
params = { addr = { default = "00" } }
[[on_connect]]
id = "hello"
send = "HI"
[[poll]]
steps = [{ send = "{addr}ms", expect = "{t:d5}" }]
[[channel]]
id = "temperature"
from = "t"
"#;
    let modbus = r#"
engine = "modbus"
modbus = { functions = [3] }
[[channel]]
id = "pressure"
table = "holding"
address = 0
type = "f32"
"#;
    for (body, from, to, expected) in [
        (text, "{addr}ms", "{adr}ms", "`{adr}` is not a parameter of this profile"),
        (text, "{addr}ms", "{t:d5}ms", "a message that is sent can't hold the field"),
        (text, "{addr}ms", "a<b", "begins no control token"),
        (text, "{t:d5}", "{t:q}", "the form is f, i, w"),
        (text, "from = \"t\"", "from = \"u\"", "no message has the field `u`"),
        (text, "from = \"t\"", "frm = \"t\"", "did you mean `from`?"),
        (text, "from = \"t\"", "from = \"t\"\ntable = \"input\"", "does not go with engine = \"text\""),
        (text, "from = \"t\"", "from = \"t\"\nscale = 0", "a scale of 0"),
        (text, "from = \"t\"", "from = \"t\"\nscale = \"{addr}x\"", "is not a number"),
        (text, "from = \"t\"", "from = \"t\"\nsentinel = { OFF = \"off\" }", "words go into `text`"),
        (text, "from = \"t\"", "from = \"t\"\nsentinel = { 1 = \"good\" }", "is no reason"),
        (text, "from = \"t\"", "from = \"t\"\nquality = { 0 = \"good\" }", "`quality` has no `from`"),
        (text, "from = \"t\"", "from = \"t\"\nquality = { from = \"s\" }", "`s` is no field of the message"),
        (
            text,
            "from = \"t\"",
            "from = \"t\"\nquality = { from = \"t\", 0 = \"fine day\" }",
            "says nothing about a value",
        ),
        (text, "from = \"t\"", "from = \"t\"\nplausible = [2, 1]", "[least, greatest]"),
        (text, "from = \"t\"", "from = \"t\"\ncurve = { kind = \"poly\", a = 1 }", "do not go with its `kind`"),
        (text, "from = \"t\"", "from = \"t\"\ncurve = { kind = \"table\", points = [[1, 1], [0, 0]] }", "have to rise"),
        (text, "from = \"t\"", "from = \"t\"\nevery = \"0s\"", "shorter than 1ms"),
        (
            text,
            "from = \"t\"",
            "from = \"t\"\n[[channel]]\nid = \"temperature\"\nfrom = \"t\"",
            "two channels are called",
        ),
        (text, "default = \"00\"", "type = \"int\", default = \"x\"", "it has to be a whole number"),
        (text, "default = \"00\"", "type = \"string\"", "has no `default`"),
        (text, "default = \"00\"", "default = \"<CR>\"", "it has to be printable ASCII"),
        (text, "steps = [{", "steps = [{ regex = \"a\", ", "`expect` or `regex`, not both"),
        (text, "expect = \"{t:d5}\"", "regex = \"(?<t>.*)\"", "needs `longest`"),
        (text, "id = \"hello\"\n", "", "has no `id`"),
        (text, "framing = { terminator = \"<CR>\" }", "", "has no `framing`"),
        (text, "terminator = \"<CR>\"", "terminator = \"\"", "has to be at least one byte"),
        (modbus, "address = 0", "address = 65535", "reaches beyond address 65535"),
        (modbus, "address = 0\n", "", "has no `address`"),
        (modbus, "table = \"holding\"", "table = \"input\"", "is read by function 4"),
        (modbus, "table = \"holding\"", "table = \"coil\"", "are single bits"),
        (modbus, "functions = [3]", "functions = [3, 16]", "the bridge has no function that writes"),
        (modbus, "functions = [3]", "max_regs = 1", "the value takes 2 registers"),
        (modbus, "type = \"f32\"", "type = \"str\"", "needs `regs`"),
        (modbus, "type = \"f32\"", "type = \"bit\"", "needs `bit`"),
        (modbus, "type = \"f32\"", "type = \"f32\"\nbit = 1", "goes with type = \"bit\""),
        (modbus, "type = \"f32\"", "type = \"f32\"\nfrom = \"t\"", "`from` names a field of a message"),
        (modbus, "type = \"f32\"", "type = \"f32\"\nquality = { from = \"state\" }", "has no channel `state`"),
        (
            modbus,
            "type = \"f32\"",
            "type = \"f32\"\nquality = { from = \"far\" }\n[[channel]]\nid = \"far\"\ntable = \"holding\"\naddress = 200\ntype = \"u16\"",
            "can't be read in one request",
        ),
        (
            modbus,
            "modbus = { functions = [3] }",
            "framing = { terminator = \"<CR>\" }",
            "does not go with engine = \"modbus\"",
        ),
    ] {
        let vector = "[[test]]\nsource = \"s\"\nexpect = { temperature = 1 }\n";
        parse(&format!("{HEAD}{body}{vector}")).unwrap_or_else(|problems| panic!("{problems}"));
        let spoilt = body.replacen(from, to, 1);
        assert!(spoilt != body, "the profile does not hold {from}");
        let problems = parse(&format!("{HEAD}{spoilt}{vector}")).map(|_| ()).expect_err(to);
        assert!(problems.contains(expected), "{from} -> {to}:\n{problems}");
    }
}

#[test]
fn a_refusal_names_its_reason_and_bits_can_be_channels() {
    let body = r#"engine = "text"
framing = { terminator = ";FF" }
[[poll]]
steps = [{ send = "@253PR1?", expect = ["@253ACK{p:w} {s:x2}", "@253NAK{nak:i}"] }]
[[channel]]
id = "pressure"
from = "p"
quality = { from = "nak", 160 = "bad:unknown_message", other = "good" }
text = { OFF = "off", "*" = "no_number" }
[[channel]]
id = "state"
kind = "state"
from = "s[4..7]"
"#;
    for (reply, expected) in [
        ("@253ACK1.10e-9 83;FF", "pressure = 1.1e-9, state = 8"),
        ("@253ACKOFF 10;FF", "pressure = \"bad:off\", state = 1"),
        ("@253ACKLO<x3C>E-11 1F;FF", "pressure = \"bad:no_number\", state = 1"),
        ("@253NAK160;FF", "pressure = \"bad:unknown_message\", state = \"bad:absent\""),
        ("@253NAK161;FF", "pressure = \"bad:absent\""),
    ] {
        let vector = format!("exchange = [[\"@253PR1?;FF\", \"{reply}\"]]\nexpect = {{ {expected} }}");
        let problems = with_vector(body, &vector).verify();
        assert!(problems.is_empty(), "{problems}");
    }
}

/// `UPDATE_FIXTURES=1` writes what the types say now.
#[test]
fn the_published_json_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices/profile.schema.json");
    let schema = format!("{:#}\n", json_schema());
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == schema,
        "run `mbe-bridge devices schema > devices/profile.schema.json`"
    );
    let schema = json_schema();
    let channel = &schema["definitions"]["ChannelFile"];
    assert_eq!(channel["additionalProperties"], false, "unknown keys are refused by the schema too");
    assert!(channel["properties"]["type"]["description"].is_string(), "{channel}");
}
