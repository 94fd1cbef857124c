//! The traps of real instruments, and instruments that speak unasked.

use super::super::bench::{Bench, Outgoing, Reply};
use super::super::instrument::Shown;
use super::*;
use crate::model::Outcome;
use crate::profile::{Checksum, ChecksumEncoding, ChecksumKind, Heard, Hearing, Library, Misfit};
use crate::sim::Fault;

fn bench_of(instrument: SimInstrument) -> Bench {
    Bench::new(vec![instrument], 100)
}

fn of_profile(id: &str, params: &[(&str, &str)], value: f64) -> SimInstrument {
    let (library, _) = Library::embedded();
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SimInstrument::of("x", library.get(id).unwrap(), &params, Scenario::constant(value)).unwrap()
}

fn outgoing(replies: Vec<Reply>) -> Vec<Outgoing> {
    let bytes = |reply| match reply {
        Reply::Bytes(outgoing) => outgoing,
        Reply::HangUp(_) => panic!("nobody asked for a hang-up"),
    };
    replies.into_iter().map(bytes).collect()
}

fn told(bench: &mut Bench, message: &[u8], at: Instant) -> Vec<Vec<u8>> {
    outgoing(bench.told(message, at)).into_iter().map(|outgoing| outgoing.bytes).collect()
}

fn switch(bench: &mut Bench, plan: &str) {
    bench.bay("x").unwrap().faults.add(plan.parse().unwrap());
}

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[test]
fn a_checksum_is_wrong_by_itself() {
    let checksum = Checksum { kind: ChecksumKind::Sum8, encoding: ChecksumEncoding::Hex2, from: 0, to: None };
    let pattern = Pattern::text("OK {p:f} {ck}", Some(checksum)).unwrap();
    let source = Source::Field { poll: 0, name: "p".into(), bits: None };
    let mut device = text_device(&[&[("p\r", "")]], vec![channel("pressure", Some("mbar"), source, linear(1.0))]);
    let DeviceEngine::Messages(engine) = &mut device.engine else { panic!() };
    engine.polls[0].steps[0].expect = Some(pattern.clone());
    let mut bench = bench_of(constant("x", device, 1.2e-9));
    let right = told(&mut bench, b"p\r", Instant::now()).remove(0);
    switch(&mut bench, "checksum");
    let wrong = told(&mut bench, b"p\r", Instant::now()).remove(0);
    let ends = right.len() - 3;
    assert_eq!(wrong[..ends], right[..ends], "{wrong:?}");
    assert_eq!(pattern.read(&wrong[..wrong.len() - 1]).unwrap_err().why, Misfit::Checksum);
    assert!(wrong[ends..].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'\r'));
}

#[test]
fn another_address_answers_where_answers_carry_one() {
    let mut gauge = bench_of(of_profile("gp-xxrd", &[("addr", "01"), ("unit", "Torr")], 1.5e-6));
    assert!(told(&mut gauge, b"#01RD\r", Instant::now())[0].starts_with(b"*01 "));
    switch(&mut gauge, "wrong-unit");
    let answer = told(&mut gauge, b"#01RD\r", Instant::now()).remove(0);
    assert!(answer.starts_with(b"*02 "), "{answer:?}");
    let mut pyrometer = bench_of(of_profile("impac-upp", &[], 300.0));
    switch(&mut pyrometer, "wrong-unit");
    assert!(told(&mut pyrometer, b"00ms\r", Instant::now()).is_empty());
}

#[test]
fn nothing_is_said_while_it_boots_and_after_its_power_was_gone() {
    let mut bench = bench_of(constant("x", pyrometer("00"), 256.3));
    switch(&mut bench, "boot:5s");
    assert!(told(&mut bench, b"00ms\r", after(0)).is_empty());
    assert!(told(&mut bench, b"00ms\r", after(4_900)).is_empty());
    assert_eq!(told(&mut bench, b"00ms\r", after(5_000)).len(), 1);
    bench.power_up();
    assert!(told(&mut bench, b"00ms\r", after(4_900)).is_empty());
}

#[test]
fn requests_in_its_dead_time_are_not_heard() {
    let mut bench = bench_of(constant("x", pyrometer("00"), 256.3));
    switch(&mut bench, "dead-time:150ms");
    let asked = Instant::now();
    let answer = outgoing(bench.told(b"00ms\r", asked)).remove(0);
    let times = super::super::bench::Times { request_received: asked, first_byte: asked, last_byte: asked };
    bench.note(&answer, times);
    assert!(told(&mut bench, b"00ms\r", asked + Duration::from_millis(149)).is_empty());
    assert_eq!(told(&mut bench, b"00ms\r", asked + Duration::from_millis(150)).len(), 1);
    assert_eq!(bench.bay("x").unwrap().polls, 2);
}

#[test]
fn values_repeat_until_they_are_refreshed() {
    let rising = Scenario::sweep(0.0, 1_000.0, Duration::from_secs(100));
    let mut bench = bench_of(SimInstrument::new("x", pyrometer("00"), rising));
    switch(&mut bench, "refresh:1s");
    let begun = Instant::now();
    let mut at = |millis| told(&mut bench, b"00ms\r", begun + Duration::from_millis(millis)).remove(0);
    // The bench is a little older than `begun`.
    let first = at(2_100);
    assert_eq!(at(2_800), first);
    assert_ne!(at(3_100), first);
}

#[test]
fn a_lost_step_leaves_the_conversation_where_it_was() {
    let mut bench = bench_of(constant("x", gauge_controller(), 8.34e-3));
    switch(&mut bench, "skip-step:2*1");
    assert_eq!(told(&mut bench, b"PR1\r", Instant::now()), [b"\x06\r"]);
    assert!(told(&mut bench, b"\x05", Instant::now()).is_empty());
    assert_eq!(told(&mut bench, b"\x05", Instant::now()), [b"0,8.34E-3\r"]);
}

#[test]
fn strays_and_unasked_bytes_come_where_they_were_told() {
    let mut bench = bench_of(constant("x", pyrometer("00"), 256.3));
    switch(&mut bench, "stray*3");
    let ask = |bench: &mut Bench| told(bench, b"00ms\r", Instant::now());
    assert_eq!(ask(&mut bench), [b"\x0002563\r"]);
    assert_eq!(ask(&mut bench), [b"025\x7F63\r"]);
    assert_eq!(ask(&mut bench), [b"\xFF02563\r"]);
    switch(&mut bench, "stray:1*1");
    assert_eq!(ask(&mut bench), [b"0\x802563\r"]);
    switch(&mut bench, "unasked:#XI1<CR>*1");
    assert_eq!(ask(&mut bench), [&b"02563\r"[..], b"#XI1\r"]);
    assert_eq!(ask(&mut bench), [b"02563\r"]);
}

#[test]
fn the_form_is_the_one_that_shows_what_is_meant() {
    let mut bench = bench_of(of_profile("basf-exactus-stream", &[], 674.046_875));
    let said = |bench: &mut Bench| outgoing(bench.speaks(Instant::now())).remove(0);
    let both = said(&mut bench);
    assert_eq!(both.bytes[0], 0x83);
    // The other kind of packet comes in turn.
    assert_eq!(said(&mut bench).bytes[0], 0x84);
    bench.bay("x").unwrap().set(0, Shown::Set(Outcome::Bad(Reason::ABSENT)));
    let current = said(&mut bench);
    assert_eq!(current.bytes[0], 0x82);
    assert_eq!(current.said[0].1, Outcome::Bad(Reason::ABSENT));
    said(&mut bench);
    bench.bay("x").unwrap().release(0);
    bench.bay("x").unwrap().set(1, Shown::Set(Outcome::Bad(Reason::ABSENT)));
    // BASF Exactus manual p. 52: 674.047 degC, with its escape.
    assert_eq!(said(&mut bench).bytes, [0x81, 0x44, 0x28, 0x80, 0x83, 0x00]);
}

/// Messages of a gauge that speaks a thousand times a second, out of what is read from its port.
async fn hears(client: &mut Client<tokio_serial::SerialStream>, device: &Device, messages: usize) {
    let DeviceEngine::Messages(engine) = &device.engine else { panic!() };
    let patterns = engine.listens.iter().map(|listen| listen.expect.clone()).collect();
    let mut hearing = Hearing::new(engine.framing.clone(), patterns);
    let mut heard = 0;
    while heard < messages {
        hearing.push(&client.take(1).await);
        while let Some(found) = hearing.heard() {
            assert!(matches!(found, Heard::Message(_)), "{found:?}");
            heard += 1;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_talker_talks_while_somebody_has_its_port_open() {
    let gauge = of_profile("inficon-bpg400", &[], 1e-6).at_rate(1_000.0);
    let device = gauge.device.clone();
    let sim = on_a_port(vec![gauge]);
    let mut client = Client::open(&sim);
    hears(&mut client, &device, 50).await;
    drop(client);
    // Within a moment it notices that nobody is there.
    let mut before = u64::MAX;
    while before != sim.spoken("x").unwrap() {
        before = sim.spoken("x").unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let opened = Instant::now();
    let known = sim.said().len();
    let mut client = Client::open(&sim);
    hears(&mut client, &device, 50).await;
    assert!(sim.said()[known..].iter().all(|said| said.first_byte_sent >= opened && said.intact));
    let taken = opened.elapsed();
    assert!(taken >= Duration::from_millis(49), "faster than a thousand a second: {taken:?}");
}

#[tokio::test]
async fn a_talker_keeps_its_line_s_pace() {
    let gauge = of_profile("inficon-bpg400", &[], 1e-6).at_rate(1_000.0);
    let (device, line) = (gauge.device.clone(), LineSettings::default());
    let on_the_line = line.time_of(9 * 20);
    let sim = Sim::start(SimSettings::new(Place::Pty { path: None }, vec![gauge]).paced(line)).unwrap();
    let mut client = Client::open(&sim);
    hears(&mut client, &device, 1).await;
    let begun = Instant::now();
    hears(&mut client, &device, 21).await;
    assert!(begun.elapsed() >= on_the_line, "{:?} for what takes {on_the_line:?}", begun.elapsed());
}

#[tokio::test]
async fn chatter_ends_with_the_first_character() {
    let sim = on_a_port(vec![constant("x", pyrometer("00"), 256.3)]);
    sim.fault("x", Fault::Chatter { bytes: b"hi\r".to_vec(), every: Duration::from_millis(5) }.always()).unwrap();
    let mut client = Client::open(&sim);
    assert_eq!(client.take(6).await, b"hi\rhi\r");
    client.send(b"00ms\r").await;
    let mut heard = Vec::new();
    while !heard.ends_with(b"02563\r") {
        heard.extend(client.take(1).await);
    }
    client.exchange(b"00ms\r", b"02563\r").await;
    sim.say(b"there\r".to_vec());
    assert_eq!(client.take(6).await, b"there\r");
}

#[test]
fn talkers_that_can_t_be_are_refused() {
    let talker = |name: &str| SimInstrument { name: name.into(), ..of_profile("inficon-bpg400", &[], 1e-6) };
    let start =
        |instruments| Sim::start(SimSettings::new(Place::Pty { path: None }, instruments)).unwrap_err().to_string();
    assert_eq!(
        start(vec![talker("a"), talker("b")]),
        "`a` and `b` both speak unasked; only one of them can have the line"
    );
    assert_eq!(start(vec![talker("a").at_rate(0.0)]), "`a` can't speak 0 times a second; a rate is a number above 0");
}
