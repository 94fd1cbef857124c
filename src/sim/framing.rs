//! Modbus frames as a device sees them: RTU with its silences and its dirt, and MBAP.
//!
//! Own code, because a device has to live on after garbage and has to stay silent for other units, and a library's server
//! that ends on the first and answers for all of the second can't be made to.
//!
//! Sources: MODBUS over Serial Line V1.02, 2.5.1; MODBUS Messaging on TCP/IP V1.0b, 3.1.3.

use crc::{CRC_16_MODBUS, Crc};

const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// Longest frame on a serial line, unit and CRC included.
const LONGEST: usize = 256;

/// A request without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The unit that is asked.
    pub(super) unit: u8,
    /// Function code and data; never empty.
    pub(super) pdu: Vec<u8>,
    /// What the answer has to repeat, on TCP.
    pub(super) transaction: u16,
}

/// Appends the CRC, low byte first.
pub(super) fn with_crc(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = MODBUS.checksum(&frame);
    frame.extend(crc.to_le_bytes());
    frame
}

/// An RTU frame.
pub(super) fn rtu_frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(unit);
    frame.extend(pdu);
    with_crc(frame)
}

/// A Modbus/TCP frame.
pub(super) fn mbap_frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 7);
    frame.extend(transaction.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
    frame.push(unit);
    frame.extend(pdu);
    frame
}

/// Finds RTU requests among bytes.
#[derive(Debug, Default)]
pub(super) struct Rtu {
    buffer: Vec<u8>,
}

impl Rtu {
    /// Takes bytes as they come; returns the requests that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Request> {
        self.buffer.extend(bytes);
        let mut requests = Vec::new();
        while let Some((request, end)) = (0..self.buffer.len()).find_map(|start| self.known_at(start)) {
            self.buffer.drain(..end);
            requests.push(request);
        }
        let excess = self.buffer.len().saturating_sub(LONGEST);
        self.buffer.drain(..excess);
        requests
    }

    /// Takes note of a silence: what is there is complete or was garbage.
    pub(super) fn silence(&mut self) -> Option<Request> {
        let bytes = std::mem::take(&mut self.buffer);
        (0..bytes.len()).find_map(|start| request_of(bytes.get(start..)?))
    }

    /// Whether a silence would say anything.
    pub(super) fn is_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The request of a function of known length that starts there and is complete, and where it ends.
    fn known_at(&self, start: usize) -> Option<(Request, usize)> {
        let rest = self.buffer.get(start..)?;
        let length = match *rest.get(1)? {
            1..=6 | 8 => 8,
            7 | 11 | 12 | 17 => 4,
            15 | 16 => 9 + usize::from(*rest.get(6)?),
            22 => 10,
            23 => 13 + usize::from(*rest.get(10)?),
            _ => return None,
        };
        Some((request_of(rest.get(..length)?)?, start + length))
    }
}

/// The request in a frame whose CRC is right.
fn request_of(frame: &[u8]) -> Option<Request> {
    let (body, crc) = frame.split_last_chunk::<2>()?;
    let (unit, pdu) = body.split_first()?;
    (!pdu.is_empty() && MODBUS.checksum(body) == u16::from_le_bytes(*crc)).then(|| Request {
        unit: *unit,
        pdu: pdu.to_vec(),
        transaction: 0,
    })
}

/// Finds Modbus/TCP requests among bytes.
#[derive(Debug, Default)]
pub(super) struct Mbap {
    buffer: Vec<u8>,
}

/// Bytes that are no Modbus/TCP. There is no way to find the next frame after them: a device closes the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotMbap;

impl Mbap {
    /// Takes bytes as they come; returns the requests that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Request>, NotMbap> {
        self.buffer.extend(bytes);
        let mut requests = Vec::new();
        while let Some(&[t1, t0, p1, p0, l1, l0]) = self.buffer.first_chunk::<6>() {
            let length = usize::from(u16::from_be_bytes([l1, l0]));
            if [p1, p0] != [0, 0] || !(2..=254).contains(&length) {
                return Err(NotMbap);
            }
            let Some((unit, pdu)) = self.buffer.get(6..6 + length).and_then(<[u8]>::split_first) else {
                break;
            };
            requests.push(Request { unit: *unit, pdu: pdu.to_vec(), transaction: u16::from_be_bytes([t1, t0]) });
            self.buffer.drain(..6 + length);
        }
        Ok(requests)
    }

    /// Whether a request has begun.
    pub(super) fn is_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(unit: u8) -> Request {
        Request { unit, pdu: vec![3, 0, 0, 0, 3], transaction: 0 }
    }

    #[test]
    fn the_crc_is_that_of_the_specification() {
        assert_eq!(MODBUS.checksum(b"123456789"), 0x4B37);
        assert_eq!(rtu_frame(1, &[3, 0, 0, 0, 3]), [1, 3, 0, 0, 0, 3, 0x05, 0xCB]);
        assert_eq!(rtu_frame(2, &[7]), [2, 7, 0x41, 0x12]);
    }

    #[test]
    fn a_function_of_unknown_length_ends_with_the_silence() {
        let mut rtu = Rtu::default();
        let frame = rtu_frame(1, &[0x68, 9, 9]);
        assert!(rtu.push(&frame).is_empty());
        assert!(rtu.is_waiting());
        assert_eq!(rtu.silence(), Some(Request { unit: 1, pdu: vec![0x68, 9, 9], transaction: 0 }));
        assert!(!rtu.is_waiting());
    }

    #[test]
    fn a_wrong_crc_is_garbage() {
        let mut rtu = Rtu::default();
        assert!(rtu.push(&[1, 3, 0, 0, 0, 3, 0x05, 0xCC]).is_empty());
        assert_eq!(rtu.silence(), None);
        assert_eq!(rtu.push(&rtu_frame(1, &[3, 0, 0, 0, 3])), [read(1)]);
    }

    #[test]
    fn what_is_no_mbap_is_refused() {
        assert_eq!(Mbap::default().push(&[0, 1, 0, 1, 0, 6, 1]), Err(NotMbap));
        assert_eq!(Mbap::default().push(&[0, 1, 0, 0, 0xFF, 0xFF, 1]), Err(NotMbap));
        assert_eq!(Mbap::default().push(&[0, 1, 0, 0, 0, 6, 1]), Ok(Vec::new()));
    }

    proptest! {
        /// Junk before, between and after, cut anywhere: every request is found, once, in order.
        #[test]
        fn requests_are_found_among_garbage(
            parts in proptest::collection::vec(
                (1_u8..247, proptest::collection::vec(any::<u8>(), 0..40)), 1..5),
            cut in 1_usize..9,
        ) {
            let mut bytes = Vec::new();
            for (unit, junk) in &parts {
                bytes.extend(junk);
                bytes.extend(rtu_frame(*unit, &[3, 0, 0, 0, 3]));
            }
            let mut rtu = Rtu::default();
            let found: Vec<_> = bytes.chunks(cut).flat_map(|piece| rtu.push(piece)).map(|r| r.unit).collect();
            let sent: Vec<_> = parts.iter().map(|(unit, _)| *unit).collect();
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn mbap_survives_any_cut(units in proptest::collection::vec(any::<u8>(), 1..6), cut in 1_usize..20) {
            let mut bytes = Vec::new();
            for (transaction, unit) in (7_u16..).zip(&units) {
                bytes.extend(mbap_frame(transaction, *unit, &[3, 0, 0, 0, 3]));
            }
            let mut mbap = Mbap::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                found.extend(mbap.push(piece).unwrap());
            }
            prop_assert_eq!(found.iter().map(|r| r.unit).collect::<Vec<_>>(), units);
            prop_assert!((7_u16..).zip(&found).all(|(transaction, r)| r.transaction == transaction));
        }
    }
}
