//! Modbus/TCP gateways that close, reset or drop connections, and units behind them that are dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::driver::ModbusDriver;
use crate::driver::Protocol;
use crate::driver::modbus_unit;
use crate::link::TcpConnector;
use crate::model::{ChannelIndex, Outcome, Reason};

use super::super::{Event, Instrument, Plan, Settings};
use super::{EVERY, Running, settings};

fn modbus_instrument(name: &str, first_channel: usize, driver: ModbusDriver) -> Instrument {
    let channels = vec![Some(ChannelIndex(first_channel)), Some(ChannelIndex(first_channel + 1))];
    Instrument { name: name.into(), driver: Box::new(driver), channels, warm_up: Duration::ZERO }
}

/// Polls over Modbus/TCP; the gateway treats each connection like this.
async fn over_tcp<F>(instruments: Vec<Instrument>, gateway: impl Fn(TcpStream) -> F + Send + 'static) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(gateway(stream));
        }
    });
    let connector = Box::new(TcpConnector::new(&address, format!("modbus-tcp {address}"), None));
    Running::start_with(Settings { protocol: Protocol::ModbusTcp, ..settings() }, Plan { connector, instruments })
}

/// The answer of a unit whose one register holds 7.
fn seven(question: &[u8; 12]) -> Vec<u8> {
    [&question[..4], &[0, 5, question[6], 3, 2, 0, 7]].concat()
}

#[tokio::test]
async fn a_gateway_that_closes_idle_connections_costs_no_reading() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let slow = modbus_instrument("slow", 0, modbus_unit(1, Duration::from_secs(1)));
    let mut running = over_tcp(vec![slow], move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut question = [0; 12];
            let idle = Duration::from_millis(300);
            while let Ok(Ok(_)) = tokio::time::timeout(idle, stream.read_exact(&mut question)).await {
                stream.write_all(&seven(&question)).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(running.next().await.event, Event::Opened);
    let mut last_opened = 0;
    for _ in 0..4 {
        let event = running.next().await.event;
        let Event::Polled(poll) = event else { panic!("{event:?}") };
        let outcomes: Vec<_> = poll.samples.into_iter().map(|sample| sample.outcome).collect();
        assert_eq!(outcomes, [Outcome::good(7.0), Outcome::good(7.0)]);
        assert_eq!((poll.missed, poll.failure), (0, None));
        last_opened = opened.load(Ordering::SeqCst);
    }
    assert!(last_opened >= 3, "the gateway did close idle connections: {last_opened}");
}

#[tokio::test]
async fn a_connection_that_is_closed_at_once_each_time_counts_as_lost() {
    let one = modbus_instrument("one", 0, modbus_unit(1, Duration::from_millis(500)));
    let mut running = over_tcp(vec![one], |stream| async move { drop(stream) }).await;
    let poll = running.next_poll(0).await;
    assert_eq!(poll.failure.map(|failure| failure.reason), Some(Reason::LINK_DOWN));
    assert!(matches!(running.next().await.event, Event::Down { .. }));
}

#[tokio::test]
async fn a_dead_unit_behind_a_gateway_is_given_pauses_and_its_neighbour_keeps_its_rate() {
    for code in [0x0A, 0x0B] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let dead = modbus_instrument("dead", 0, modbus_unit(2, EVERY));
        let well = modbus_instrument("well", 2, modbus_unit(1, EVERY));
        let mut running = over_tcp(vec![dead, well], move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                let mut question = [0; 12];
                while stream.read_exact(&mut question).await.is_ok() {
                    let answer = if question[6] == 1 {
                        seven(&question)
                    } else {
                        counted.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        [&question[..4], &[0, 3, 2, 0x83, code]].concat()
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            }
        })
        .await;
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let poll = running.next_poll(0).await;
            assert!(poll.samples.iter().all(|sample| sample.outcome == Outcome::Bad(Reason::EXCEPTION)), "{poll:?}");
            pauses.push(poll.failure.unwrap().pause);
        }
        assert_eq!(pauses, [None, None, Some(Duration::from_secs(1))]);
        assert_eq!(asked.load(Ordering::SeqCst), 3, "the second request of a poll that failed is not tried");
        let mut neighbour = 0;
        loop {
            match running.next().await.event {
                Event::Polled(poll) if poll.instrument == 0 => break,
                Event::Polled(_) => neighbour += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(neighbour > 25, "the neighbour keeps its rate of 50 a second: {neighbour}");
    }
}

#[tokio::test]
async fn a_peer_that_resets_is_tried_without_haste_and_read_again_within_two_seconds() {
    let well = Arc::new(AtomicBool::new(true));
    let opened = Arc::new(AtomicUsize::new(0));
    let (is_well, counted) = (Arc::clone(&well), Arc::clone(&opened));
    let one = modbus_instrument("one", 0, modbus_unit(1, EVERY));
    let mut running = over_tcp(vec![one], move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_well = Arc::clone(&is_well);
        async move {
            let mut question = [0; 12];
            while stream.read_exact(&mut question).await.is_ok() && is_well.load(Ordering::SeqCst) {
                stream.write_all(&seven(&question)).await.unwrap();
            }
            // Closing with unread or unsent bytes and no linger is a reset.
            stream.set_zero_linger().unwrap();
        }
    })
    .await;
    assert_eq!(running.next_poll(0).await.failure, None);
    let began = Instant::now();
    let before = opened.load(Ordering::SeqCst);
    well.store(false, Ordering::SeqCst);
    let mut downs = 0;
    while began.elapsed() < Duration::from_secs(3) {
        match running.next().await.event {
            Event::Down { .. } => downs += 1,
            Event::Polled(poll) if downs > 0 => {
                assert!(poll.samples.iter().all(|sample| sample.outcome.value().is_none()), "{poll:?}");
            }
            _ => {}
        }
    }
    let opens = opened.load(Ordering::SeqCst) - before;
    assert!(downs >= 1 && opens <= 20, "{opens} connections in three seconds, {downs} times down");
    well.store(true, Ordering::SeqCst);
    let back = Instant::now();
    while running.next_poll(0).await.failure.is_some() && back.elapsed() < Duration::from_secs(10) {}
    assert!(back.elapsed() < Duration::from_secs(2), "after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_unit_for_which_a_gateway_drops_the_connection_is_left_alone_and_its_neighbour_is_read() {
    let dead = modbus_instrument("dead", 0, modbus_unit(2, EVERY));
    let well = modbus_instrument("well", 2, modbus_unit(1, EVERY));
    let mut running = over_tcp(vec![dead, well], |mut stream| async move {
        let mut question = [0; 12];
        while stream.read_exact(&mut question).await.is_ok() && question[6] == 1 {
            stream.write_all(&seven(&question)).await.unwrap();
        }
    })
    .await;
    let mut pause = None;
    let began = Instant::now();
    while pause.is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is never left alone");
        pause = running.next_poll(0).await.failure.unwrap().pause;
    }
    let mut neighbour = 0;
    loop {
        match running.next().await.event {
            Event::Polled(poll) if poll.instrument == 0 => break,
            Event::Polled(poll) => neighbour += u64::from(poll.failure.is_none()),
            _ => {}
        }
    }
    assert!(neighbour > 25, "the neighbour keeps its rate of 50 a second: {neighbour}");
}
