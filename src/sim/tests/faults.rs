//! Every fault, as it is seen on the wire.

use super::*;
use crate::sim::Fault;

const READ: &[u8] = &[0x01, 0x03, 0x00, 0x01, 0x00, 0x01, 0xD5, 0xCA];
const SAYS: &[u8] = &[0x01, 0x03, 0x02, 0x00, 0xFD, 0x79, 0xC5];

fn modbus() -> (SimHandle, Client<tokio_serial::SerialStream>) {
    let sim = on_a_port(vec![constant("x", controller(), 25.3)]);
    let client = Client::open(&sim);
    (sim, client)
}

fn text() -> (SimHandle, Client<tokio_serial::SerialStream>) {
    let instrument = SimInstrument { refusal: Some(b"no\r".to_vec()), ..constant("x", pyrometer("00"), 256.3) };
    let sim = on_a_port(vec![instrument]);
    let client = Client::open(&sim);
    (sim, client)
}

/// Strikes once: the answer is this, and the one after it is good again.
async fn strikes(plan: &str, rtu_says: &[u8], text_says: &[u8]) {
    let (sim, mut client) = modbus();
    sim.fault("x", plan.parse().unwrap()).unwrap();
    client.exchange(READ, rtu_says).await;
    client.exchange(READ, SAYS).await;
    let (sim, mut client) = text();
    sim.fault("x", plan.parse().unwrap()).unwrap();
    client.exchange(b"00ms\r", text_says).await;
    client.exchange(b"00ms\r", b"02563\r").await;
    let intact: Vec<bool> = sim.said().iter().map(|said| said.intact).collect();
    assert_eq!(intact.last(), Some(&true));
}

#[tokio::test]
async fn silence() {
    strikes("silence*1", &[], &[]).await;
    let (sim, mut client) = modbus();
    sim.fault("x", Fault::Silence.always()).unwrap();
    for _ in 0..3 {
        client.send(READ).await;
    }
    until("three requests", || sim.polls_seen("x").unwrap() == 3).await;
    sim.clear_faults("x").unwrap();
    client.exchange(READ, SAYS).await;
    assert_eq!(sim.said().len(), 1, "what was not said is not in the record");
}

#[tokio::test]
async fn wrong_unit() {
    strikes("wrong-unit*1", &rtu(2, &[3, 2, 0x00, 0xFD]), &[]).await;
}

#[tokio::test]
async fn checksum() {
    strikes("checksum*1", &[0x01, 0x03, 0x02, 0x00, 0xFD, 0x79, 0xC4], b"0256\xB3\r").await;
}

#[tokio::test]
async fn bit_flip() {
    strikes("bit-flip*1", &[0x01, 0x03, 0x02, 0x01, 0xFD, 0x79, 0xC5], b"02463\r").await;
}

#[tokio::test]
async fn junk_before() {
    strikes("junk:3*1", &[&[0xFF, 0x00, 0xA5], SAYS].concat(), b"\xFF\x00\xA502563\r").await;
}

#[tokio::test]
async fn truncation() {
    strikes("truncate:3*1", &SAYS[..3], b"025").await;
}

#[tokio::test]
async fn an_answer_twice() {
    strikes("twice*1", &[SAYS, SAYS].concat(), b"02563\r02563\r").await;
}

#[tokio::test]
async fn exceptions_and_refusals() {
    strikes("exception:6*1", &[0x01, 0x83, 0x06, 0xC1, 0x32], b"no\r").await;
}

#[tokio::test]
async fn echo() {
    strikes("echo*1", &[READ, SAYS].concat(), b"00ms\r02563\r").await;
}

#[tokio::test]
async fn a_late_answer_comes_after_the_next_question_and_in_order() {
    let (sim, mut client) = text();
    let late = Duration::from_millis(150);
    sim.fault("x", Fault::Late(late).next(1)).unwrap();
    let asked = Instant::now();
    client.send(b"00ms\r").await;
    until("the first request", || sim.polls_seen("x").unwrap() == 1).await;
    // What was asked has been answered in thought: the late answer is the old one.
    sim.set_value("x", "temperature", 300.0).unwrap();
    client.send(b"00ms\r").await;
    assert_eq!(client.take(12).await, b"02563\r03000\r");
    assert!(asked.elapsed() >= late);
    let said = sim.said();
    assert!(said[0].reply_sent - said[0].request_received >= late);
    assert!(said[1].request_received < said[0].reply_sent, "the second question came before the first answer");
}

#[tokio::test]
async fn slow_and_split_answers_take_their_time() {
    let (sim, mut client) = text();
    sim.fault("x", Fault::Slow(Duration::from_millis(120)).next(1)).unwrap();
    let asked = Instant::now();
    client.exchange(b"00ms\r", b"02563\r").await;
    assert!(asked.elapsed() >= Duration::from_millis(120));

    sim.fault("x", Fault::Split(Duration::from_millis(10)).next(1)).unwrap();
    client.send(b"00ms\r").await;
    let mut arrivals = Vec::new();
    for byte in b"02563\r" {
        assert_eq!(client.take(1).await, [*byte]);
        arrivals.push(Instant::now());
    }
    assert!(arrivals[5] - arrivals[0] >= Duration::from_millis(40), "{arrivals:?}");
}

#[tokio::test]
async fn a_port_that_hangs_up_instead_of_answering_returns_by_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("port");
    let place = Place::Pty { path: Some(path.clone()) };
    let sim = Sim::start(SimSettings::new(place, vec![constant("x", pyrometer("00"), 256.3)])).unwrap();
    let mut client = Client::open(&sim);
    sim.fault("x", "hang-up:50ms*1".parse().unwrap()).unwrap();
    let asked = Instant::now();
    client.send(b"00ms\r").await;
    let mut byte = [0; 1];
    let read = tokio::time::timeout(PATIENCE, client.0.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    until("the port's return", || path.exists()).await;
    assert!(asked.elapsed() >= Duration::from_millis(50));
    Client::open(&sim).exchange(b"00ms\r", b"02563\r").await;
}

#[tokio::test]
async fn only_every_nth_answer_is_struck() {
    let (sim, mut client) = text();
    sim.fault("x", "truncate:2/3".parse().unwrap()).unwrap();
    for _ in 0..2 {
        client.exchange(b"00ms\r", b"02563\r").await;
        client.exchange(b"00ms\r", b"02563\r").await;
        client.exchange(b"00ms\r", b"02").await;
    }
    let intact: Vec<bool> = sim.said().iter().map(|said| said.intact).collect();
    assert_eq!(intact, [true, true, false, true, true, false]);
}

#[tokio::test]
async fn numbers_that_are_none_go_out_as_they_are() {
    let sim = on_a_port(vec![constant("x", multi_gauge(), 0.0)]);
    let mut client = Client::open(&sim);
    sim.set_value("x", "pressure_1", f64::NAN).unwrap();
    client.exchange(&rtu(1, &[3, 0, 0, 0, 3]), &rtu(1, &[3, 6, 0x7F, 0xC0, 0, 0, 0, 0])).await;
    assert_eq!(sim.said()[0].outcome, crate::model::Outcome::Bad(Reason::NOT_A_NUMBER));
}
