//! Every shipped profile, simulated, read by the crate's own drivers: what is read is what was said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mbe_bridge::driver::{Bus, Protocol, driver};
use mbe_bridge::link::connector;
use mbe_bridge::model::{Outcome, Transport};
use mbe_bridge::profile::{Device, DeviceEngine, Heard, Hearing, Library, MessageDevice, Source};
use mbe_bridge::sim::{Place, Said, Scenario, Sim, SimHandle, SimInstrument, SimSettings};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::DEADLINE;

/// Messages that are heard of an instrument that speaks unasked.
const HEARD: usize = 20;

fn start(name: &str, device: &Device, place: Place) -> SimHandle {
    let growth = Scenario::growth(Duration::from_secs(60));
    let instrument = SimInstrument::new(name, device.clone(), growth).at_rate(200.0);
    Sim::start(SimSettings::new(place, vec![instrument])).unwrap()
}

fn places(device: &Device) -> [Place; 2] {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = match device.engine {
        DeviceEngine::Messages(_) => Place::Tcp { listen },
        DeviceEngine::Modbus(_) => Place::ModbusTcp { listen },
    };
    [Place::Pty { path: None }, socket]
}

/// The latest that was said of a channel.
fn latest(said: &[Said], channel: &str) -> Option<Outcome> {
    said.iter().rev().find(|said| *said.channel == *channel).map(|said| said.outcome.clone())
}

/// Reads all polls of an instrument once, each channel as it was said. Returns how many had a value.
async fn polled(name: &str, device: Device, place: Place) -> usize {
    let sim = start(name, &device, place);
    let protocol = match (&device.engine, sim.transport()) {
        (DeviceEngine::Messages(_), _) => Protocol::Bytes,
        (DeviceEngine::Modbus(_), Transport::ModbusTcp { .. }) => Protocol::ModbusTcp,
        (DeviceEngine::Modbus(_), _) => Protocol::ModbusRtu,
    };
    let wire = connector(&sim.transport(), None).open().await.unwrap();
    let mut bus = Bus::over(wire, protocol);
    let mut driver = driver(device.clone(), 1);
    driver.connect(&mut bus).await.unwrap();
    let mut values = 0;
    let mut read = vec![false; device.channels.len()];
    for poll in 0..driver.polls().len() {
        let polled = driver.poll(&mut bus, poll).await;
        assert!(polled.failure.is_none(), "{name}: {:?}", polled.failure);
        for reading in polled.exchanges.iter().flat_map(|exchange| &exchange.readings) {
            let id = &device.channels[reading.channel].id;
            assert_eq!(latest(&sim.said(), id), Some(reading.outcome.clone()), "{name}: `{id}`");
            values += usize::from(reading.outcome.value().is_some());
            read[reading.channel] = true;
        }
    }
    for (channel, read) in device.channels.iter().zip(read) {
        assert!(read, "{name}: `{}` was not read", channel.id);
    }
    assert_eq!(sim.writes_seen(name).unwrap(), 0);
    values
}

/// Listens to an instrument that speaks unasked: each channel as it was said. Returns how many had a value.
async fn heard(name: &str, device: Device, engine: MessageDevice, place: Place) -> usize {
    let sim = start(name, &device, place);
    let mut stream: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match sim.transport() {
        Transport::Serial { port, .. } => {
            Box::new(tokio_serial::SerialStream::open(&tokio_serial::new(port, 115_200)).unwrap())
        }
        Transport::Tcp { address } => Box::new(tokio::net::TcpStream::connect(address).await.unwrap()),
        other => panic!("{other}"),
    };
    let patterns = engine.listens.iter().map(|listen| listen.expect.clone()).collect();
    let mut hearing = Hearing::new(engine.framing.clone(), patterns);
    let mut heard: BTreeMap<Arc<str>, Vec<Outcome>> = BTreeMap::new();
    let mut messages = 0;
    let mut buffer = [0; 256];
    while messages < HEARD {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{name} has hung up");
        hearing.push(&buffer[..count]);
        while let Some(found) = hearing.heard() {
            let Heard::Message(message) = found else { panic!("{name}: {found:?}") };
            messages += 1;
            for channel in &device.channels {
                if matches!(channel.source, Source::Field { poll, .. } if poll == message.which) {
                    heard.entry(Arc::clone(&channel.id)).or_default().push(channel.read(&message.fields));
                }
            }
        }
    }
    let said = sim.said();
    assert!(said.iter().all(|said| said.intact && said.first_byte_sent <= said.reply_sent));
    for channel in &device.channels {
        let id = &channel.id;
        let heard = heard.get(id).unwrap_or_else(|| panic!("{name}: nothing was heard of `{id}`"));
        let said: Vec<&Outcome> = said.iter().filter(|said| said.channel == *id).map(|said| &said.outcome).collect();
        // The first message may have been missed, and more may have been said since.
        let in_order = said.windows(heard.len()).any(|said| said.iter().zip(heard).all(|(said, heard)| *said == heard));
        assert!(in_order, "{name}: `{id}`: heard {heard:?} of {said:?}");
    }
    heard.values().filter(|outcomes| outcomes.iter().any(|outcome| outcome.value().is_some())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shipped_profile_is_read_as_it_is_said() {
    let (library, problems) = Library::embedded();
    assert!(!problems.has_errors());
    let mut tasks = JoinSet::new();
    for profile in library.iter() {
        // The sample's law gives no number that the sample's register could hold.
        let params = match &*profile.id {
            "analog-gauge-adc" => [("address", "0"), ("a", "0.00025"), ("b", "-12.5")].as_slice(),
            _ => &[],
        };
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let made = profile.device(&params, &BTreeSet::new());
        let sample = made.ok().filter(|_| !params.is_empty()).unwrap_or_else(|| profile.sample().clone());
        for place in places(&sample) {
            let (name, device) = (profile.id.to_string(), sample.clone());
            tasks.spawn(async move {
                let channels = device.channels.len();
                let reading = async {
                    match &device.engine {
                        DeviceEngine::Messages(engine) if engine.listens() => {
                            heard(&name, device.clone(), engine.clone(), place.clone()).await
                        }
                        _ => polled(&name, device.clone(), place.clone()).await,
                    }
                };
                let values = tokio::time::timeout(DEADLINE, reading).await;
                let values = values.unwrap_or_else(|_| panic!("{name} at {place:?}: not within {DEADLINE:?}"));
                assert!(values > 0, "{name} shows no value at all");
                channels
            });
        }
    }
    let begun = Instant::now();
    let tried = tasks.len();
    let mut failures = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            let panic = error.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            failures.push(text.unwrap_or_else(|| "a panic without words".to_owned()));
        }
    }
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
    assert!(tried > 60, "only {tried} lines were simulated");
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}
