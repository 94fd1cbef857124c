//! Over real sockets.

use std::net::{Ipv4Addr, SocketAddr};

use tokio_modbus::client::{Client as _, Reader as _, Writer as _};
use tokio_modbus::{ExceptionCode, Slave};

use super::*;

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn modbus_tcp(instruments: Vec<SimInstrument>) -> SimHandle {
    Sim::start(SimSettings::new(Place::ModbusTcp { listen: anywhere() }, instruments)).unwrap()
}

#[tokio::test]
async fn a_foreign_modbus_client_reads_what_is_shown() {
    let sim = modbus_tcp(vec![constant("g", multi_gauge(), 1.2e-9).at_unit(5)]);
    let connecting = tokio_modbus::client::tcp::connect_slave(sim.address().unwrap(), Slave(5));
    let mut client = tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap();
    assert_eq!(client.read_holding_registers(0, 3).await.unwrap().unwrap(), [0x30A4, 0xED3F, 0]);
    sim.set_value("g", "pressure_2", 1.001).unwrap();
    assert_eq!(
        client.read_holding_registers(3, 2).await.unwrap().unwrap(),
        [0x3F80, 0x20C5],
        "the handbook's test pattern"
    );
    assert_eq!(client.read_holding_registers(1, 1).await.unwrap(), Err(ExceptionCode::IllegalDataAddress));
    assert_eq!(client.write_single_register(0, 1).await.unwrap(), Err(ExceptionCode::IllegalFunction));
    assert_eq!(sim.writes_seen("g").unwrap(), 1);
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_state_reaches_the_registers_of_pressure_and_state() {
    let sim = modbus_tcp(vec![constant("g", multi_gauge(), 0.0)]);
    sim.set_state("g", "pressure_1", &Reason::named("emission_off")).unwrap();
    let mut client = Client::connect(&sim).await;
    let request = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 3];
    client.send(&request).await;
    assert_eq!(client.take(15).await[13..], [0, 2]);
    let said = sim.said();
    assert_eq!(said[0].outcome, crate::model::Outcome::Bad(Reason::named("emission_off")));
    assert_eq!(said[1].outcome, crate::model::Outcome::good(2.0));
}

#[tokio::test]
async fn mbap_is_answered_byte_for_byte() {
    let sim = modbus_tcp(vec![constant("c", controller(), 25.3)]);
    let mut client = Client::connect(&sim).await;
    let reply = [0xAB, 0xCD, 0, 0, 0, 5, 1, 3, 2, 0x00, 0xFD];
    client.exchange(&[0xAB, 0xCD, 0, 0, 0, 6, 1, 3, 0, 1, 0, 1], &reply).await;
    // Another unit is not here; the next request in the same segment is.
    client.send(&[0, 1, 0, 0, 0, 6, 9, 3, 0, 1, 0, 1]).await;
    client.exchange(&[0xAB, 0xCD, 0, 0, 0, 6, 1, 3, 0, 1, 0, 1], &reply).await;
}

#[tokio::test]
async fn garbage_ends_a_modbus_tcp_connection_and_no_other() {
    let sim = modbus_tcp(vec![constant("c", controller(), 25.3)]);
    let mut other = Client::connect(&sim).await;
    let mut client = Client::connect(&sim).await;
    client.send(b"GET / HTTP/1.1\r\n\r\n").await;
    client.wait_for_hang_up().await;
    let request = [0, 1, 0, 0, 0, 6, 1, 3, 0, 1, 0, 1];
    other.exchange(&request, &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0x00, 0xFD]).await;
    Client::connect(&sim).await.exchange(&request, &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0x00, 0xFD]).await;
}

#[tokio::test]
async fn rtu_and_text_go_through_sockets_too() {
    let place = Place::RtuOverTcp { listen: anywhere() };
    let sim = Sim::start(SimSettings::new(place, vec![constant("c", controller(), 25.3)])).unwrap();
    let mut client = Client::connect(&sim).await;
    client.send(&[0xFF, 0x01, 0x03]).await;
    client.exchange(&rtu(1, &[3, 0, 1, 0, 1]), &rtu(1, &[3, 2, 0x00, 0xFD])).await;

    let place = Place::Tcp { listen: anywhere() };
    let sim = Sim::start(SimSettings::new(place, vec![constant("g", gauge_controller(), 8.34e-3)])).unwrap();
    let mut client = Client::connect(&sim).await;
    client.exchange(b"PR1\r\n", b"\x06\r").await;
    client.exchange(b"\x05", b"0,8.34E-3\r").await;
}

#[tokio::test]
async fn a_listener_goes_away_and_comes_back_at_its_address() {
    let sim = modbus_tcp(vec![constant("c", controller(), 25.3)]);
    let address = sim.address().unwrap();
    let mut client = Client::connect(&sim).await;
    client.exchange(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 1, 0, 1], &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0x00, 0xFD]).await;
    sim.hang_up().unwrap();
    client.wait_for_hang_up().await;
    let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    sim.come_back().unwrap();
    assert_eq!(sim.address(), Some(address));
    let mut client = Client::connect(&sim).await;
    client.exchange(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 1, 0, 1], &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0x00, 0xFD]).await;
    sim.stop();
    client.wait_for_hang_up().await;
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind(anywhere()).unwrap();
    let listen = taken.local_addr().unwrap();
    let place = Place::ModbusTcp { listen };
    let error = Sim::start(SimSettings::new(place, vec![constant("c", controller(), 1.0)])).unwrap_err();
    assert_eq!(error.to_string(), format!("could not listen on {listen}"));
}
