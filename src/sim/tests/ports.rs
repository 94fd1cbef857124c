//! Over real pseudo-terminals.

use super::*;
use crate::model::{Outcome, Transport};
use crate::sim::{Error, Pace};

const READ_GAUGE: &[u8] = &[0x01, 0x03, 0x00, 0x00, 0x00, 0x03, 0x05, 0xCB];
const GAUGE_SAYS: &[u8] = &[0x01, 0x03, 0x06, 0x30, 0xA4, 0xED, 0x3F, 0x00, 0x00, 0x50, 0x3C];
const READ_CONTROLLER: &[u8] = &[0x01, 0x03, 0x00, 0x01, 0x00, 0x01, 0xD5, 0xCA];
const CONTROLLER_SAYS: &[u8] = &[0x01, 0x03, 0x02, 0x00, 0xFD, 0x79, 0xC5];

#[tokio::test]
async fn the_documents_exchanges_happen_byte_for_byte() {
    let sim = on_a_port(vec![constant("p", pyrometer("00"), 256.3)]);
    let mut client = Client::open(&sim);
    client.exchange(b"00ms\r", b"02563\r").await;
    client.exchange(b"00ms\r\n00ms\r", b"02563\r02563\r").await;
    sim.set_state("p", "temperature", &Reason::named("over_range")).unwrap();
    client.exchange(b"00ms\r", b"88880\r").await;
    sim.set_raw("p", "temperature", Raw::Integer(75_550)).unwrap();
    client.exchange(b"00ms\r", b"75550\r").await;
    sim.release("p", "temperature").unwrap();
    client.exchange(b"00ms\r", b"02563\r").await;
    assert_eq!(sim.polls_seen("p").unwrap(), 6);

    let sim = on_a_port(vec![constant("g", multi_gauge(), 1.2e-9)]);
    Client::open(&sim).exchange(READ_GAUGE, GAUGE_SAYS).await;
    let sim = on_a_port(vec![constant("c", controller(), 25.3)]);
    Client::open(&sim).exchange(READ_CONTROLLER, CONTROLLER_SAYS).await;
}

#[tokio::test]
async fn garbage_does_not_keep_a_good_request_from_its_answer() {
    let sim = on_a_port(vec![constant("g", multi_gauge(), 1.2e-9)]);
    let mut client = Client::open(&sim);
    for garbage in
        [&[0xFF; 64][..], &[0x01, 0x03, 0x00], &[0x01, 0x10, 0, 0, 0, 1, 0xFF], &[0x00], READ_GAUGE.split_at(7).0]
    {
        client.send(garbage).await;
        client.exchange(READ_GAUGE, GAUGE_SAYS).await;
    }
    let sim = on_a_port(vec![constant("p", pyrometer("00"), 256.3)]);
    let mut client = Client::open(&sim);
    client.exchange(b"\x00\xFF\x80garbage\r00ms\r", b"02563\r").await;
    client.send(&[b'x'; 5_000]).await;
    client.exchange(b"\r00ms\r", b"02563\r").await;
}

#[tokio::test]
async fn a_request_may_come_in_pieces() {
    let sim = on_a_port(vec![constant("p", pyrometer("00"), 256.3)]);
    let mut client = Client::open(&sim);
    for byte in b"00m" {
        client.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    client.exchange(b"s\r", b"02563\r").await;
}

#[tokio::test]
async fn instruments_on_a_bus_answer_for_themselves() {
    let sim =
        on_a_port(vec![constant("c", controller(), 25.3).at_unit(1), constant("d", controller(), -1.0).at_unit(2)]);
    let mut client = Client::open(&sim);
    let read = |unit| rtu(unit, &[3, 0, 1, 0, 1]);
    // Nobody is 3, and 0 is for all: whatever came in answer would stand before what is expected.
    client.send(&read(3)).await;
    client.send(&read(0)).await;
    client.exchange(&read(2), &rtu(2, &[3, 2, 0xFF, 0xF6])).await;
    client.exchange(&read(1), CONTROLLER_SAYS).await;
    assert_eq!((sim.polls_seen("c").unwrap(), sim.polls_seen("d").unwrap()), (1, 1));

    let sim = on_a_port(vec![constant("a", pyrometer("00"), 600.0), constant("b", pyrometer("01"), 700.0)]);
    let mut client = Client::open(&sim);
    client.send(b"02ms\r").await;
    client.exchange(b"01ms\r", b"07000\r").await;
    client.exchange(b"00ms\r", b"06000\r").await;
}

#[test]
fn conflicts_are_refused() {
    let start =
        |instruments| Sim::start(SimSettings::new(Place::Pty { path: None }, instruments)).unwrap_err().to_string();
    let gauge = || constant("g", multi_gauge(), 1.0);
    assert_eq!(start(Vec::new()), "a simulated line needs at least one instrument");
    assert_eq!(start(vec![gauge(), gauge()]), "two instruments of one line are called `g`");
    assert_eq!(
        start(vec![gauge(), constant("c", controller(), 1.0)]),
        "`g` and `c` answer the same requests; give one of them another address"
    );
    assert_eq!(start(vec![gauge().at_unit(0)]), "`g` has the Modbus unit 0; units go from 1 to 247");
    assert_eq!(
        start(vec![gauge(), constant("p", pyrometer("00"), 1.0)]),
        "`p` does not speak what is spoken there: messages of its own and Modbus can't share a line"
    );
    let sim = on_a_port(vec![gauge()]);
    assert_eq!(
        sim.fault("x", "silence".parse().unwrap()).unwrap_err().to_string(),
        "no simulated instrument is called `x`"
    );
    assert_eq!(sim.set_value("g", "x", 1.0).unwrap_err().to_string(), "`g` has no channel `x`");
    let unknown = sim.set_state("g", "pressure_1", &Reason::named("x")).unwrap_err();
    assert!(matches!(unknown, Error::CannotShow(_)));
}

#[tokio::test]
async fn bytes_keep_the_line_s_pace() {
    let line = upp_line();
    let turnaround = Duration::from_millis(2);
    let sim = Sim::start(
        SimSettings::new(Place::Pty { path: None }, vec![constant("p", pyrometer("00"), 256.3)]).paced(line.clone()),
    )
    .unwrap();
    let mut client = Client::open(&sim);
    let least = line.time_of(11) + turnaround;
    let mut taken = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        client.exchange(b"00ms\r", b"02563\r").await;
        taken.push(asked.elapsed());
    }
    taken.sort();
    assert!(taken[0] >= least, "{:?} is faster than 19200 baud, which take {least:?}", taken[0]);
    assert!(taken[0] < least * 3, "{taken:?}, {least:?} at best");
    let said = sim.said();
    assert_eq!(said.len(), 20);
    assert!(said.iter().all(|said| said.reply_sent - said.request_received >= least - Duration::from_millis(1)));

    // RTU: 8 characters, 3.5 of silence in place of the shorter turnaround, 7 characters.
    let line = LineSettings { baud: 2_400, ..LineSettings::default() };
    let instrument = SimInstrument { turnaround: Duration::ZERO, ..constant("c", controller(), 25.3) };
    let sim = Sim::start(SimSettings::new(Place::Pty { path: None }, vec![instrument]).paced(line.clone())).unwrap();
    let mut client = Client::open(&sim);
    let asked = Instant::now();
    client.exchange(READ_CONTROLLER, CONTROLLER_SAYS).await;
    let least = line.time_of(15) + line.modbus_silence();
    assert!(asked.elapsed() >= least, "{:?} of {least:?}", asked.elapsed());
    assert!(matches!(sim.transport(), Transport::Serial { line: told, .. } if told == line));
}

#[tokio::test]
async fn another_baud_rate_is_noise_where_the_line_is_strict() {
    let instruments = vec![constant("p", pyrometer("00"), 256.3)];
    let settings = SimSettings { strict_baud: true, ..SimSettings::new(Place::Pty { path: None }, instruments) };
    let sim = Sim::start(SimSettings { pace: Pace::Line(upp_line()), ..settings }).unwrap();
    let open = |baud| {
        let builder = tokio_serial::new(sim.port().unwrap().to_str().unwrap(), baud).exclusive(false);
        Client(tokio_serial::SerialStream::open(&builder).unwrap())
    };
    let mut wrong = open(9_600);
    wrong.send(b"00ms\r").await;
    // Nothing tells that noise was heard but that it is not answered; the right rate on the same line is.
    let mut buffer = [0; 1];
    let heard = tokio::time::timeout(Duration::from_millis(60), wrong.0.read(&mut buffer)).await;
    assert!(heard.is_err(), "{heard:?}");
    drop(wrong);
    open(19_200).exchange(b"00ms\r", b"02563\r").await;
    assert_eq!(sim.polls_seen("p").unwrap(), 1);
}

#[tokio::test]
async fn clients_come_and_go() {
    let sim = on_a_port(vec![constant("p", pyrometer("00"), 256.3)]);
    for _ in 0..3 {
        // Exclusive, as tokio-serial opens by default.
        Client::open(&sim).exchange(b"00ms\r", b"02563\r").await;
    }
}

#[tokio::test]
async fn an_unplugged_port_comes_back_under_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("usb-FTDI_1234");
    let place = Place::Pty { path: Some(path.clone()) };
    let sim = Sim::start(SimSettings::new(place, vec![constant("p", pyrometer("00"), 256.3)])).unwrap();
    assert_eq!(sim.port(), Some(path.clone()));
    let first = std::fs::read_link(&path).unwrap();
    let mut client = Client::open(&sim);
    client.exchange(b"00ms\r", b"02563\r").await;

    sim.hang_up().unwrap();
    assert!(std::fs::symlink_metadata(&path).is_err(), "the name is gone with the port");
    let mut byte = [0; 1];
    // A hung-up terminal reads as an end or as an error, at once and for ever.
    let read = tokio::time::timeout(PATIENCE, client.0.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    sim.hang_up().unwrap();

    sim.come_back().unwrap();
    sim.come_back().unwrap();
    // While the old descriptor is open, the number of the old port is not given away.
    assert_ne!(std::fs::read_link(&path).unwrap(), first);
    Client::open(&sim).exchange(b"00ms\r", b"02563\r").await;
    assert_eq!(sim.polls_seen("p").unwrap(), 2);

    let started = Instant::now();
    sim.stop();
    sim.stop();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(std::fs::symlink_metadata(&path).is_err());
    assert!(matches!(sim.hang_up(), Err(Error::Stopped)));
}

#[tokio::test]
async fn a_port_without_a_name_is_found_again() {
    let sim = on_a_port(vec![constant("p", pyrometer("00"), 256.3)]);
    let held = Client::open(&sim);
    let first = sim.port().unwrap();
    sim.hang_up().unwrap();
    sim.come_back().unwrap();
    assert_ne!(sim.port().unwrap(), first, "the old number is still held");
    Client::open(&sim).exchange(b"00ms\r", b"02563\r").await;
    drop(held);
}

#[test]
fn the_last_handle_ends_the_simulator() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("port");
    let place = || Place::Pty { path: Some(path.clone()) };
    let sim = Sim::start(SimSettings::new(place(), vec![constant("p", pyrometer("00"), 1.0)])).unwrap();
    let clone = sim.clone();
    drop(sim);
    assert!(std::fs::symlink_metadata(&path).is_ok());
    drop(clone);
    assert!(std::fs::symlink_metadata(&path).is_err());

    // A link that a killed simulator has left is replaced, a file never.
    std::os::unix::fs::symlink("/dev/pts/none", &path).unwrap();
    drop(Sim::start(SimSettings::new(place(), vec![constant("p", pyrometer("00"), 1.0)])).unwrap());
    std::fs::write(&path, "mine").unwrap();
    let refused = Sim::start(SimSettings::new(place(), vec![constant("p", pyrometer("00"), 1.0)])).unwrap_err();
    assert!(refused.to_string().starts_with("could not open a pseudo-terminal at "), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn everything_that_was_said_is_in_the_record() {
    let growth = Scenario::growth(Duration::from_secs(2));
    let place = Place::Pty { path: None };
    let instruments = vec![SimInstrument::new("p", pyrometer("00"), growth)];
    let sim = Sim::start(SimSettings::new(place, instruments).paced(upp_line())).unwrap();
    let mut client = Client::open(&sim);
    let mut heard = Vec::new();
    for _ in 0..60 {
        let asked = Instant::now();
        client.send(b"00ms\r").await;
        let reply = client.take(6).await;
        let digits: f64 = str::from_utf8(&reply[..5]).unwrap().parse().unwrap();
        heard.push((asked, digits / 10.0, Instant::now()));
    }
    let said = sim.said();
    assert_eq!(said.len(), heard.len());
    for ((asked, value, answered), said) in heard.iter().zip(&said) {
        assert_eq!((&*said.instrument, &*said.channel, said.intact), ("p", "temperature", true));
        assert_eq!(said.outcome, Outcome::good(*value));
        assert!(*asked <= said.request_received && said.request_received < said.reply_sent);
        assert!(said.reply_sent <= *answered);
    }
    let (first, last) = (heard[0].1, heard[59].1);
    assert!(last > first + 100.0, "60 exchanges of 9 ms are in the ramp of a growth of 2 s: {first} to {last}");
}

#[tokio::test]
async fn the_record_has_a_bound() {
    let place = Place::Pty { path: None };
    let instruments = vec![constant("g", multi_gauge(), 1.2e-9)];
    let sim = Sim::start(SimSettings { record: 3, ..SimSettings::new(place, instruments) }).unwrap();
    let mut client = Client::open(&sim);
    for _ in 0..4 {
        client.exchange(READ_GAUGE, GAUGE_SAYS).await;
    }
    // Each answer holds a pressure and a state.
    assert_eq!(sim.said().len(), 3);
    assert_eq!(sim.forgotten(), 5);
}
