//! Answers on a link, through the drivers themselves: the wire is in memory and the clock is paused.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use mbe_bridge::driver::modbus::Read;
use mbe_bridge::driver::{self, Bus, Protocol};
use mbe_bridge::link::{Pacer, Wire, WireSettings};
use mbe_bridge::profile::{Device, DeviceEngine, Table, Timing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use super::{device, head, messages};

const UNIT: u8 = 1;

thread_local! {
    /// Time passes only while nothing else happens, so a time-out takes no time.
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with_borrow_mut(|runtime| {
        let paused = || Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.get_or_insert_with(paused).block_on(future)
    })
}

/// The other end of a wire: each request is answered by what a function makes of it, in pieces.
struct Field<A> {
    answer: A,
    piece: usize,
    coming: VecDeque<u8>,
}

impl<A: FnMut(&[u8]) -> Vec<u8> + Unpin> AsyncRead for Field<A> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.coming.is_empty() {
            // Nothing comes unasked, and who waits has a time-out.
            return Poll::Pending;
        }
        let count = self.piece.min(self.coming.len()).min(into.remaining());
        into.put_slice(&self.coming.drain(..count).collect::<Vec<u8>>());
        Poll::Ready(Ok(()))
    }
}

impl<A: FnMut(&[u8]) -> Vec<u8> + Unpin> AsyncWrite for Field<A> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, request: &[u8]) -> Poll<io::Result<usize>> {
        let answer = (self.answer)(request);
        self.coming.extend(answer);
        Poll::Ready(Ok(request.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn bus(answer: impl FnMut(&[u8]) -> Vec<u8> + Send + Sync + Unpin + 'static, piece: u8, protocol: Protocol) -> Bus {
    let field = Field { answer, piece: usize::from(piece).max(1), coming: VecDeque::new() };
    Bus::over(Wire::new(field, WireSettings::socket(), Pacer::coarse(), None), protocol)
}

/// What a shipped device of text or frames answers. Two bytes choose the device, one the poll, one the size of pieces.
pub fn reply(data: &[u8]) {
    let Some(([high, low, poll, piece], said)) = head(data) else { return };
    let is_message = |device: &Device| matches!(device.engine, DeviceEngine::Messages(_));
    let Some(device) = device(u16::from_be_bytes([high, low]), is_message) else { return };
    let DeviceEngine::Messages(engine) = &device.engine else { return };
    messages::heard(&engine.framing, &messages::patterns(engine), said);
    if engine.listens() {
        return;
    }
    let mut driver = driver::driver(Device::clone(&device), 0);
    let polls = driver.polls().len().max(1);
    let owned = said.to_vec();
    block_on(async {
        let mut bus = bus(move |_| owned.clone(), piece, Protocol::Bytes);
        let polled = driver.poll(&mut bus, usize::from(poll) % polls).await;
        assert!(polled.failure.is_some() || !polled.exchanges.is_empty(), "neither readings nor a reason");
    });
}

/// A Modbus RTU answer to a read: values are only what stands there in a frame that is right to the last bit.
/// One byte chooses table and count, one the size of pieces, one whether a right CRC is added.
pub fn rtu(data: &[u8]) {
    let Some(([shape, piece, crc], said)) = head(data) else { return };
    let read = read_of(shape);
    let mut said = said.to_vec();
    if crc % 2 == 1 {
        let skipped = usize::from(crc / 2).min(said.len());
        let crc = modbus_crc(&said[skipped..]).to_le_bytes();
        said.extend(crc);
    }
    let answer = said.clone();
    let answered = block_on(async {
        let mut bus = bus(move |_| answer.clone(), piece, Protocol::ModbusRtu);
        bus.read(&read, &Timing::default()).await
    });
    if let Ok(answered) = answered {
        let frame = framed(&read, &answered.words);
        let stands = |window: &[u8]| equals(&read, window, &frame) && modbus_crc(window) == 0;
        assert!(said.windows(frame.len() + 2).any(stands), "{:?} out of {said:02X?}", answered.words);
    }
}

/// A Modbus/TCP answer to a read. One byte chooses table and count, one the size of pieces, one whether a right header is
/// put before the answer.
pub fn tcp(data: &[u8]) {
    let Some(([shape, piece, header], said)) = head(data) else { return };
    let read = read_of(shape);
    let owned = said.to_vec();
    let answer = move |request: &[u8]| match (header % 2 == 1, request) {
        (true, [first, second, ..]) => {
            let length = u16::try_from(owned.len() + 1).unwrap_or(u16::MAX).to_be_bytes();
            [&[*first, *second, 0, 0, length[0], length[1], UNIT][..], &owned].concat()
        }
        _ => owned.clone(),
    };
    let answered = block_on(async {
        let mut bus = bus(answer, piece, Protocol::ModbusTcp);
        bus.read(&read, &Timing::default()).await
    });
    if let Ok(answered) = answered {
        let body = framed(&read, &answered.words);
        // Without the unit, which stands in a header that may not be part of the input.
        let stands = |window: &[u8]| equals(&read, &[&[UNIT], window].concat(), &body);
        assert!(said.windows(body.len() - 1).any(stands), "{:?} out of {said:02X?}", answered.words);
    }
}

/// What a shipped Modbus device holds in its registers: each channel has a value or a reason. Two bytes choose the
/// device, one the poll; the rest are registers, over and over.
pub fn registers(data: &[u8]) {
    let Some(([high, low, poll], held)) = head(data) else { return };
    let is_modbus = |device: &Device| matches!(device.engine, DeviceEngine::Modbus(_));
    let Some(device) = device(u16::from_be_bytes([high, low]), is_modbus) else { return };
    let mut driver = driver::driver(Device::clone(&device), UNIT);
    let polls = driver.polls().len().max(1);
    let poll = usize::from(poll) % polls;
    let held = held.to_vec();
    let answer = move |request: &[u8]| {
        let &[first, second, _, _, _, _, unit, function, _, _, high, low] = request else { return Vec::new() };
        let count = usize::from(u16::from_be_bytes([high, low]));
        let bytes = if function <= 2 { count.div_ceil(8) } else { count * 2 };
        let mut answer = vec![first, second, 0, 0, 0, u8::try_from(bytes + 3).unwrap_or(0), unit, function];
        answer.push(u8::try_from(bytes).unwrap_or(0));
        answer.extend(held.iter().chain([&0]).cycle().take(bytes));
        answer
    };
    block_on(async {
        let mut bus = bus(answer, u8::MAX, Protocol::ModbusTcp);
        let polled = driver.poll(&mut bus, poll).await;
        let fed = polled.exchanges.iter().map(|exchange| exchange.readings.len()).sum::<usize>();
        let spec = driver.polls().get(poll).expect("a poll");
        assert!(polled.failure.is_some() || fed == spec.channels.len(), "{fed} readings of {}", spec.channels.len());
    });
}

fn read_of(shape: u8) -> Read {
    let table = [Table::Holding, Table::Input, Table::Coil, Table::Discrete][usize::from(shape % 4)];
    Read { unit: UNIT, table, address: 0x0102, count: u16::from(shape / 4) + 1 }
}

/// Unit, function, byte count and data of the answer that says so.
fn framed(read: &Read, words: &[u16]) -> Vec<u8> {
    let (function, data): (u8, Vec<u8>) = match read.table {
        Table::Holding => (3, words.iter().flat_map(|word| word.to_be_bytes()).collect()),
        Table::Input => (4, words.iter().flat_map(|word| word.to_be_bytes()).collect()),
        Table::Coil => (1, words.chunks(8).map(packed).collect()),
        Table::Discrete => (2, words.chunks(8).map(packed).collect()),
    };
    let mut frame = vec![UNIT, function, u8::try_from(data.len()).unwrap_or(u8::MAX)];
    frame.extend(data);
    frame
}

fn packed(bits: &[u16]) -> u8 {
    bits.iter().enumerate().fold(0, |byte, (place, bit)| byte | u8::from(*bit != 0) << place)
}

/// Whether a window begins with the frame, but for the padding of the last byte of bits.
fn equals(read: &Read, window: &[u8], frame: &[u8]) -> bool {
    let (Some((last, body)), Some(start)) = (frame.split_last(), window.get(..frame.len())) else { return false };
    let used = read.count % 8;
    let mask = if matches!(read.table, Table::Coil | Table::Discrete) && used > 0 { (1 << used) - 1 } else { 0xFF };
    start.starts_with(body) && start[body.len()] & mask == *last
}

/// The CRC of MODBUS over Serial Line V1.02, 6.2.2, bit by bit; 0 over a frame with its right CRC.
fn modbus_crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}
