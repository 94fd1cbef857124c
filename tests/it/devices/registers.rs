//! Profiles of Modbus devices: where their values lie, and what they depend on.

use super::{HEAD, parse, with_vector};

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
