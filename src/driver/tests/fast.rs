//! How fast it goes, and what settling costs. The bounds are wide; the numbers are printed.

use std::time::Duration;

use crate::link::Pacer;
use crate::link::Wire;
use crate::link::WireSettings;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtu_reads_on_an_unpaced_line() {
    let (ours, theirs) = SerialStream::pair().unwrap();
    tokio::spawn(serve(theirs, rtu_question, |question| vec![(Duration::ZERO, rtu_answer(question))]));
    let mut settings = WireSettings::serial(&fast_line());
    settings.modbus_silence = Duration::ZERO;
    settings.char_time = Duration::ZERO;
    let mut bus = Bus::over(Wire::new(ours, settings, Pacer::new(), None), Protocol::ModbusRtu);
    let rate = reads_per_second(&mut bus, 2000).await;
    println!("RTU on an unpaced pty without silences: {rate:.0} reads/s");
    assert!(rate > 100.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtu_reads_with_the_silences_of_a_real_line() {
    let Pty { master, keep, mut connector } = pty(fast_line());
    tokio::spawn(serve(master, rtu_question, |question| vec![(Duration::ZERO, rtu_answer(question))]));
    let mut bus = open(&mut connector, Protocol::ModbusRtu).await;
    let began = Instant::now();
    ask_modbus(&mut bus, 0, 1000).await.unwrap();
    println!("first read after opening, settled and held back: {:?}", began.elapsed());
    let rate = reads_per_second(&mut bus, 300).await;
    println!("RTU on a pty with 1.75 ms between frames: {rate:.0} reads/s of at most 571");
    assert!(rate > 50.0 && rate < 572.0, "{rate}");
    drop(keep);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modbus_tcp_reads() {
    let (listener, mut connector) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        serve(stream, tcp_question, |question| vec![(Duration::ZERO, tcp_answer(question))]).await;
    });
    let mut bus = open(&mut connector, Protocol::ModbusTcp).await;
    let rate = reads_per_second(&mut bus, 2000).await;
    println!("Modbus/TCP on loopback: {rate:.0} reads/s");
    assert!(rate > 100.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_costs_its_own_unit_and_hardly_its_neighbours() {
    let Pty { master, keep, mut connector } = pty(fast_line());
    tokio::spawn(serve(master, rtu_question, |question| {
        let lost = question[0] == 1 && question[3] == 1;
        if lost { Vec::new() } else { vec![(Duration::ZERO, rtu_answer(question))] }
    }));
    let mut bus = open(&mut connector, Protocol::ModbusRtu).await;
    let of_unit = |unit, address| Read { unit, ..numbered(address) };
    for unit in [1, 2] {
        bus.read(&of_unit(unit, 0), &timing(100)).await.unwrap();
    }
    let lost = Instant::now();
    assert!(matches!(bus.read(&of_unit(1, 1), &timing(100)).await, Err(Error::NoReply(_))));
    let neighbour = Instant::now();
    bus.read(&of_unit(2, 2), &timing(100)).await.unwrap();
    let own = Instant::now();
    bus.read(&of_unit(1, 3), &timing(100)).await.unwrap();
    let clean = Instant::now();
    bus.read(&of_unit(1, 4), &timing(100)).await.unwrap();
    println!(
        "time-out 100 ms: lost {:?}, neighbour's next {:?}, own next {:?}, then {:?}",
        neighbour - lost,
        own - neighbour,
        clean - own,
        clean.elapsed()
    );
    assert!(own - neighbour < clean - own, "the neighbour waits for silence only");
    drop(keep);
}

async fn reads_per_second(bus: &mut Bus, reads: u16) -> f64 {
    ask_modbus(bus, 0, 5000).await.unwrap();
    let began = Instant::now();
    for number in 0..reads {
        assert_eq!(ask_modbus(bus, number, 5000).await.unwrap(), number);
    }
    f64::from(reads) / began.elapsed().as_secs_f64()
}
