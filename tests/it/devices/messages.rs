//! Profiles of instruments with messages of their own: what they may say, and what is heard by them.

use super::{HEAD, parse, with_vector};

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
