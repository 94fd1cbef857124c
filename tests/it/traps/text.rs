//! Traps of instruments with messages of their own, text and binary.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mbe_bridge::bridge::Reader;
use mbe_bridge::model::Outcome;
use mbe_bridge::profile::{DeviceEngine, Heard, Hearing, Library, Profile, printable};

use super::peer::Peer;
use super::shows::Shows::{self, Bad, Value};
use super::shows::{self, DEADLINE, profile, reader};

/// An instrument at the other end of a socket, with this channel, called `it`.
fn lab(peer: &Peer, profile: &str, params: &str, channel: &str) -> String {
    format!(
        "[links.bus.tcp]\naddress = \"{}\"\n[[instruments]]\nname = \"one\"\nprofile = \"{profile}\"\nlink = \"bus\"\n\
         every = \"20ms\"\nparams = {{ {params} }}\nchannels.{channel} = {{ name = \"it\" }}\n",
        peer.address()
    )
}

/// Waits until the channel `it` shows the last of these, and has shown nothing else than one of them.
async fn until(reader: &Reader, shows: &[Shows]) {
    shows::until(reader, "it", shows).await;
}

/// Waits until the instrument was asked so often.
async fn asked(peer: &Peer, times: usize) {
    let begun = Instant::now();
    while peer.asked().len() < times {
        assert!(begun.elapsed() < DEADLINE, "nobody asks: {:?}", peer.asked());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const CR: &[&str] = &["\r"];
/// The mnemonics of a TPG end with CR, and ENQ stands alone.
const TPG: &[&str] = &["\r", "\x05"];
const MKS: &[&str] = &[";FF"];

/// T2 and T3: numbers that look like readings and mean that there is none, and words where a number is expected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_for_no_value_never_becomes_one() {
    const UNIT: &str = "unit = \"Torr\"";
    const PRZ: &str = "@253ACK2.10E-09 NOGAUGE 4.50E-07 OFF LO<E-03 PROT_OFF;FF";
    for (id, params, ends, question, answer, channel, shows) in [
        ("impac-upp", "", CR, "00ms\r", "88880\r", "temperature", Bad("over_range")),
        ("impac-upp", "", CR, "00ms\r", "77770\r", "temperature", Bad("not_ready")),
        ("impac-upp", "", CR, "00ms\r", "75550\r", "temperature", Bad("head_too_hot")),
        ("impac-upp", "", CR, "00ms\r", "74440\r", "temperature", Bad("head_too_cold")),
        ("impac-upp-ratio", "", CR, "00ek\r", "0251488880\r", "temperature", Bad("over_range")),
        ("gp-xxrd", UNIT, CR, "#01RD\r", "*01 9.90E+09\r", "pressure", Bad("off")),
        ("gp-xxrd", UNIT, CR, "#01RD\r", "*01 1.01E+03\r", "pressure", Bad("over_range")),
        ("gp-xxrd", UNIT, CR, "#01RD\r", "?01 INVALID \r", "pressure", Bad("refused")),
        ("gp-307", UNIT, &["\r\n"], "DS IG1\r\n", "9.99E+9\r\n", "pressure", Bad("off")),
        ("mks-937b", UNIT, MKS, "@253PRZ?;FF", PRZ, "pressure_1", Value(2.1e-9)),
        ("mks-937b", UNIT, MKS, "@253PRZ?;FF", PRZ, "pressure_2", Bad("no_gauge")),
        ("mks-937b", UNIT, MKS, "@253PRZ?;FF", PRZ, "pressure_4", Bad("off")),
        ("mks-937b", UNIT, MKS, "@253PRZ?;FF", PRZ, "pressure_5", Bad("under_range")),
        ("mks-937b", UNIT, MKS, "@253PRZ?;FF", PRZ, "pressure_6", Bad("off_by_protection")),
        ("mks-937b", UNIT, MKS, "@253PRZ?;FF", "@253NAK160;FF", "pressure_1", Bad("unknown_message")),
        (
            "pfeiffer-vacuum-protocol",
            "",
            CR,
            "0010074002=?106\r",
            "0011074006NO_DEF190\r",
            "pressure",
            Bad("no_such_parameter"),
        ),
        ("thyracont-v1", "", CR, "001M^\r", "001NO_DEF\\\r", "pressure", Bad("no_such_parameter")),
        ("thyracont-v2", "", CR, "0010MV00D\r", "0011MV02ORh\r", "pressure", Bad("over_range")),
        ("thyracont-v2", "", CR, "0010MV00D\r", "0011MV02URn\r", "pressure", Bad("under_range")),
        ("agilent-xgs600", UNIT, CR, "#0002I1\r", "?FF\r", "pressure", Bad("refused")),
        ("edwards-tic", "", CR, "?V913\r", "=V913 9.9000e+09;59;0;0;0\r", "pressure_1", Bad("gauge_not_on")),
        // The vendor's own example of a refusal, whose checksum is none.
        ("thyracont-v2", "", CR, "0010MV00D\r", "0017MV00ERROR1X\r", "pressure", Bad("checksum")),
    ] {
        let peer = Peer::knowing(ends, &[(question, answer)]);
        let reader = reader(&lab(&peer, id, params, channel));
        until(&reader, &[shows]).await;
        reader.stop().await;
    }
}

/// T2: the TPG sends 2.0000E-2 for a gauge that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gauge_that_is_not_there_has_no_pressure() {
    let prx = "0,+8.3400E-03,5,+2.0000E-02\r\n";
    let peer = tpg(b"", "0\r\n", prx);
    let first = reader(&lab(&peer, "pfeiffer-tpg26x", "", "pressure_1"));
    until(&first, &[Value(8.34e-3)]).await;
    first.stop().await;
    let second = reader(&lab(&peer, "pfeiffer-tpg26x", "", "pressure_2"));
    until(&second, &[Bad("no_sensor")]).await;
    second.stop().await;
}

/// A TPG that answers UNI and PRX so, after it has sent `greeting` unasked.
fn tpg(greeting: &[u8], unit: &'static str, pressures: &'static str) -> Peer {
    let mut data = "";
    Peer::start(greeting, TPG, move |asked| {
        let answer = match asked.message.as_slice() {
            b"UNI\r" => {
                data = unit;
                "\x06\r\n"
            }
            b"PRX\r" => {
                data = pressures;
                "\x06\r\n"
            }
            b"\x05" => data,
            _ => "\x15\r\n",
        };
        answer.as_bytes().to_vec()
    })
}

/// T5: who is asked wrongly says nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_a_missing_reading() {
    for (id, params, ends, channel) in [
        ("impac-upp", "addr = \"07\"", CR, "temperature"),
        ("agilent-xgs600", "addr = \"05\", unit = \"Torr\"", CR, "pressure"),
        ("gamma-digitel", "addr = \"05\"", CR, "pressure_1"),
        ("mks-937b", "addr = \"005\", unit = \"Torr\"", MKS, "pressure_1"),
    ] {
        let others = [("00ms\r", "02563\r"), ("#0002I1\r", ">1.234E-09\r")];
        let peer = Peer::knowing(ends, &others);
        let reader = reader(&lab(&peer, id, params, channel));
        until(&reader, &[Bad("no_reply")]).await;
        reader.stop().await;
    }
}

/// T6: a TPG streams from power-up until the first character, and what is on its way then still comes; a Raytek tells of
/// its resets in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_unasked_is_no_answer() {
    let stream = b"0,+9.9999E+02,0,+9.9999E+02\r\n".repeat(20);
    let peer = tpg(&stream, "0\r\n", "0,+8.3400E-03,5,+2.0000E-02\r\n");
    let gauge = reader(&lab(&peer, "pfeiffer-tpg26x", "", "pressure_1"));
    until(&gauge, &[Bad("unsettled"), Bad("malformed"), Bad("no_reply"), Value(8.34e-3)]).await;
    gauge.stop().await;

    let mut first = true;
    let peer = Peer::start(b"", TPG, move |asked| {
        let late: &[u8] = if std::mem::take(&mut first) { b"0,+9.9999E+02,0,+9.9999E+02\r\n" } else { b"" };
        let answer: &[u8] = match asked.message.as_slice() {
            b"\x05" => b"0\r\n",
            _ => b"\x06\r\n",
        };
        [late, answer].concat()
    });
    let gauge = reader(&lab(&peer, "pfeiffer-tpg26x", "", "pressure_1"));
    // This one answers every ENQ with a unit, so there is never a pressure: the line from the stream is none.
    until(&gauge, &[Bad("unsettled"), Bad("malformed")]).await;
    asked(&peer, 12).await;
    until(&gauge, &[Bad("unsettled"), Bad("malformed")]).await;
    gauge.stop().await;

    let peer = Peer::knowing(CR, &[("?T\r", "#XI1\r\n!T0150.3\r\n")]);
    let pyrometer = reader(&lab(&peer, "raytek-ascii", "", "temperature"));
    until(&pyrometer, &[Value(150.3)]).await;
    pyrometer.stop().await;
    let peer = Peer::knowing(CR, &[("?T\r", "#XI1\r\n")]);
    let pyrometer = reader(&lab(&peer, "raytek-ascii", "", "temperature"));
    until(&pyrometer, &[Bad("malformed")]).await;
    pyrometer.stop().await;
}

/// T7: the mnemonic was acknowledged and the ENQ got lost, or its answer comes when something else was asked already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_handshake_is_no_reading() {
    let mut lost = 3;
    let mut held: Option<&'static [u8]> = None;
    let mut data: &'static [u8] = b"";
    let peer = Peer::start(b"", TPG, move |asked| {
        let answer: &[u8] = match asked.message.as_slice() {
            b"UNI\r" => {
                data = b"2\r\n";
                b"\x06\r\n"
            }
            b"PRX\r" => {
                data = b"0,+8.3400E-01,5,+2.0000E-02\r\n";
                b"\x06\r\n"
            }
            _ if lost > 0 => {
                lost -= 1;
                held = Some(data);
                b""
            }
            _ => data,
        };
        let held = if answer.is_empty() { None } else { held.take() };
        [held.unwrap_or_default(), answer].concat()
    });
    let reader = reader(&lab(&peer, "pfeiffer-tpg26x", "", "pressure_1"));
    // 0.834 Pa are 8.34e-3 mbar. Half of it would be a unit taken for another, or a number without its unit.
    let shows = [Bad("unsettled"), Bad("malformed"), Bad("no_reply"), Value(8.34e-3)];
    until(&reader, &shows).await;
    asked(&peer, 40).await;
    until(&reader, &shows).await;
    reader.stop().await;
}

/// T11: a gauge that can't hear so soon after its answer. Who asks it sooner gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instrument_is_left_the_time_that_it_needs() {
    let dead = Duration::from_millis(50);
    let peer = Peer::start(b"", CR, move |asked| match asked.after {
        Some(after) if asked.at.duration_since(after) < dead => Vec::new(),
        _ => b"*01 1.53E-06\r".to_vec(),
    });
    let reader = reader(&lab(&peer, "gp-xxrd", "unit = \"Torr\"", "pressure"));
    until(&reader, &[Value(1.53e-6)]).await;
    asked(&peer, 15).await;
    until(&reader, &[Value(1.53e-6)]).await;
    reader.stop().await;
}

/// T12: bytes that no instrument should send, and lines that end with CR where others end with CR LF.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stray_bytes_make_a_reading_missing_and_never_wrong() {
    for spoilt in [&b"001M9\x0082122V\r"[..], b"001M982\xFF122V\r", b"001M\x00982122V\r", b"001M98212V\r"] {
        let mut left = 3;
        let peer = Peer::start(b"", CR, move |_| {
            if left > 0 {
                left -= 1;
                return spoilt.to_vec();
            }
            b"001M982122V\r".to_vec()
        });
        let reader = reader(&lab(&peer, "thyracont-v1", "", "pressure"));
        let missing = [Bad("malformed"), Bad("checksum"), Bad("unsettled"), Bad("no_reply")];
        until(&reader, &[&missing[..], &[Value(982.1)]].concat()).await;
        assert!(peer.asked().len() > 3, "a spoilt reply was taken for a good one");
        reader.stop().await;
    }
    // CR alone where CR LF was said: nothing that is complete comes. With the parameter, it does.
    let ending_with_cr = || {
        let mut data = "";
        Peer::start(b"", TPG, move |asked| {
            let answer = match asked.message.as_slice() {
                b"\x05" => data,
                b"UNI\r" => {
                    data = "0\r";
                    "\x06\r"
                }
                _ => {
                    data = "0,+8.3400E-03\r";
                    "\x06\r"
                }
            };
            answer.as_bytes().to_vec()
        })
    };
    let peer = ending_with_cr();
    let wrong = reader(&lab(&peer, "pfeiffer-tpg36x", "", "pressure_1"));
    until(&wrong, &[Bad("malformed")]).await;
    wrong.stop().await;
    let peer = ending_with_cr();
    let right = reader(&lab(&peer, "pfeiffer-tpg36x", "eol = \"CR\"", "pressure_1"));
    until(&right, &[Value(8.34e-3)]).await;
    right.stop().await;
}

/// T13: while a gauge finds out the speed of the line, it loses up to two messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instrument_that_wakes_up_is_waited_for() {
    let mut lost = 2;
    let peer = Peer::start(b"", CR, move |_| {
        if lost > 0 {
            lost -= 1;
            return Vec::new();
        }
        b"0011MV079.734e2h\r".to_vec()
    });
    let reader = reader(&lab(&peer, "thyracont-v2", "", "pressure"));
    until(&reader, &[Bad("no_reply"), Bad("unsettled"), Value(973.4)]).await;
    reader.stop().await;
}

/// T14: somebody turns the controller to another unit while it runs. The pressure stays what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pressure_keeps_its_unit_when_the_controller_does_not() {
    // 8.34e-3 mbar in all units that a TPG 36x has; volts are none.
    let units = ["0", "1", "2", "3", "4"];
    let shown = ["+8.3400E-03", "+6.2555E-03", "+8.3400E-01", "+6.2555E+00", "+8.3400E-03"];
    for (unit, shown) in units.iter().zip(shown) {
        let unit: &'static str = format!("{unit}\r\n").leak();
        let peer = tpg(b"", unit, format!("0,{shown}\r\n").leak());
        let reader = reader(&lab(&peer, "pfeiffer-tpg36x", "", "pressure_1"));
        until(&reader, &[Value(8.34e-3)]).await;
        reader.stop().await;
    }
    let peer = tpg(b"", "5\r\n", "0,+5.0000E+00\r\n");
    let volts = reader(&lab(&peer, "pfeiffer-tpg36x", "", "pressure_1"));
    until(&volts, &[Bad("unknown_status")]).await;
    volts.stop().await;

    let mut turn = 0;
    let peer = Peer::start(b"", CR, move |_| {
        turn += 1;
        match turn {
            1 => b"01 OK 00 1.0E-11 TORR A5\r".to_vec(),
            _ => b"01 OK 00 1.0E-11 MBAR 80\r".to_vec(),
        }
    });
    let pump = reader(&lab(&peer, "gamma-digitel", "", "pressure_1"));
    until(&pump, &[Value(1.33322368421e-11), Value(1.0e-11)]).await;
    pump.stop().await;
}

/// What a stream says of a channel, cut as this test wants it: pieces of bytes, each followed by silence or not.
fn heard(profile: &Profile, channel: &str, pieces: &[&[u8]]) -> Vec<Outcome> {
    let device = profile.sample();
    let DeviceEngine::Messages(messages) = &device.engine else { panic!("{} has no messages", profile.id) };
    let patterns = messages.listens.iter().map(|listen| listen.expect.clone()).collect();
    let mut hearing = Hearing::new(messages.framing.clone(), patterns);
    for piece in pieces {
        hearing.push(piece);
    }
    hearing.silence();
    let channel = device.channels.iter().find(|known| &*known.id == channel).unwrap();
    let mut outcomes = Vec::new();
    while let Some(heard) = hearing.heard() {
        if let Heard::Message(message) = heard {
            outcomes.push(channel.read(&message.fields));
        }
    }
    outcomes
}

fn assert_only(outcomes: &[Outcome], shows: &[Shows], what: &str) {
    for outcome in outcomes {
        assert!(shows.iter().any(|shows| shows.fits(outcome)), "{what}: {outcome:?} is not one of {shows:?}");
    }
}

/// T9: payload bytes that look like headers are escaped, and packets come split at any byte, and heard from any byte on.
#[test]
fn escaped_packets_are_read_from_anywhere_and_split_anywhere() {
    let packets: Vec<u8> = [
        &[0x81, 0x44, 0x28, 0x80, 0x83, 0x00][..],
        &[0x83, 0x44, 0x28, 0x4D, 0x71, 0x35, 0x75, 0xF9, 0x08],
        &[0x81, 0x44, 0x28, 0x80, 0x83, 0x00],
        &[0x83, 0x44, 0x28, 0x4D, 0x71, 0x35, 0x75, 0xF9, 0x08],
        &[0x81, 0x44, 0x28, 0x80, 0x83, 0x00],
    ]
    .concat();
    let shows = [Value(674.046875), Value(673.210022)];
    let exactus = profile("basf-exactus-stream");
    for from in 0..packets.len() {
        let rest = &packets[from..];
        for at in 0..rest.len() {
            let (first, second) = rest.split_at(at);
            let outcomes = heard(&exactus, "temperature", &[first, second]);
            assert_only(&outcomes, &shows, &format!("from {from}, split at {at}"));
            let whole = if from <= 15 { 2 } else { 0 };
            assert!(outcomes.len() >= whole, "from {from}, split at {at}: {outcomes:?}");
        }
        let singly: Vec<&[u8]> = rest.chunks(1).collect();
        assert_only(&heard(&exactus, "temperature", &singly), &shows, &format!("from {from}, singly"));
    }
}

/// T6, T10 and T15: the same nine bytes are one pressure from one gauge, another from the next, and the vendor's misprints
/// are none from any. The stream is heard from any byte on.
#[test]
fn a_gauge_stream_is_read_by_the_law_of_its_own_type() {
    let bpg400 = [0x07, 0x05, 0x00, 0x00, 0xF2, 0x30, 0x14, 0x0A, 0x45];
    let hpg400 = [0x07, 0x05, 0x00, 0x00, 0xEB, 0x30, 0x14, 0x0B, 0x3F];
    for from in 0..9 {
        let stream: Vec<u8> = bpg400.repeat(3)[from..].to_vec();
        let outcomes = heard(&profile("inficon-bpg400"), "pressure", &[&stream]);
        assert_only(&outcomes, &[Value(1000.0)], &format!("from {from}"));
        assert!(outcomes.len() >= 2, "from {from}: {outcomes:?}");
    }
    for (id, message, shows) in [
        ("inficon-bpg400", hpg400, Bad("unknown_status")),
        ("leybold-itr90", hpg400, Bad("unknown_status")),
        ("inficon-hpg400", bpg400, Bad("unknown_status")),
        ("inficon-bcg450", bpg400, Bad("unknown_status")),
        ("inficon-bpg402", bpg400, Bad("unknown_status")),
        ("inficon-hpg400", hpg400, Value(454.0764)),
        ("leybold-itr90", bpg400, Value(1000.0)),
    ] {
        let outcomes = heard(&profile(id), "pressure", &[&message.repeat(2)]);
        assert_eq!(outcomes.len(), 2, "{id}");
        assert_only(&outcomes, &[shows], id);
    }
    // BCG450 with the checksum of the table, HPG400 with the pressure of the table.
    for (id, misprint) in [
        ("inficon-bcg450", [0x07, 0x05, 0x00, 0x00, 0xF2, 0x30, 0x14, 0x0D, 0x45]),
        ("inficon-hpg400", [0x07, 0x05, 0x00, 0x00, 0xF2, 0x30, 0x14, 0x0B, 0x3F]),
    ] {
        assert!(heard(&profile(id), "pressure", &[&misprint.repeat(3)]).is_empty(), "{id}");
    }
}

/// T16: every profile that asks with messages of its own, all its channels: not one message that its vendor's manual or
/// another's calls a setting goes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_profile_sends_anything_but_questions() {
    let (library, _) = Library::embedded();
    let mut lab = String::new();
    let mut peers = Vec::new();
    for profile in library.iter() {
        let DeviceEngine::Messages(messages) = &profile.sample().engine else { continue };
        if messages.listens() {
            continue;
        }
        let peer = Peer::start(b"", &["\r", "\n", "\x05", ";FF", "\x01", "\x02", "\x04"], |_| Vec::new());
        let required = profile.params.iter().filter(|(_, param)| param.default.is_none());
        let params: Vec<String> = required
            .map(|(name, param)| format!("{name} = \"{}\"", param.choices.first().map_or("?", |c| c)))
            .collect();
        let channels: String =
            profile.sample().channels.iter().map(|channel| format!("channels.{} = true\n", channel.id)).collect();
        lab += &format!(
            "[links.\"{id}\".tcp]\naddress = \"{}\"\n[[instruments]]\nname = \"{id}\"\nprofile = \"{id}\"\nlink = \"{id}\"\n\
             params = {{ {} }}\n{channels}",
            peer.address(),
            params.join(", "),
            id = profile.id,
        );
        peers.push((Arc::clone(profile), peer));
    }
    assert!(peers.len() > 15, "{} profiles ask", peers.len());
    let reader = reader(&lab);
    for (profile, peer) in &peers {
        asked(peer, 3).await;
        let messages: BTreeSet<Vec<u8>> = peer.asked().into_iter().map(|asked| asked.message).collect();
        for message in messages {
            for hearer in library.iter() {
                assert!(!hearer.would_change(&message), "{} sends `{}`", profile.id, printable(&message));
            }
        }
    }
    reader.stop().await;
}
