//! Modbus RTU frames: requests that read, and finding the answer in what came back.
//!
//! Source: MODBUS over Serial Line V1.02, 2.5.1; CRC in its appendix 6.2.2. The end of a frame is told by its length, not
//! by silence: USB adapters and schedulers make gaps of their own.

use std::time::Duration;

use crc::{CRC_16_MODBUS, Crc};
use tokio_modbus::{ExceptionCode, Request, Response};

use super::super::Error;

const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// The shortest frame: unit, function, exception code, CRC.
pub(super) const SHORTEST: usize = 5;

/// Unit, function, byte count and CRC around the data.
const AROUND_DATA: usize = 5;

/// A request to read, as it goes out, and what the answer to it has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The bytes that go out.
    pub(super) frame: Vec<u8>,
    unit: u8,
    function: u8,
    count: u16,
}

/// An answer found among the bytes that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it begins; what is before is noise.
    pub(super) start: usize,
    /// One past its last byte.
    pub(super) end: usize,
    /// What it says.
    pub(super) said: Result<Response, ExceptionCode>,
}

impl Question {
    /// Encodes a request. There is no code here for any function that writes.
    pub(super) fn new(unit: u8, request: &Request<'_>) -> Result<Self, Error> {
        let (address, count) = match request {
            Request::ReadCoils(address, count)
            | Request::ReadDiscreteInputs(address, count)
            | Request::ReadHoldingRegisters(address, count)
            | Request::ReadInputRegisters(address, count) => (*address, *count),
            _ => return Err(Error::ReadOnly { function: request.function_code().value() }),
        };
        let function = request.function_code().value();
        let mut frame = vec![unit, function];
        frame.extend(address.to_be_bytes());
        frame.extend(count.to_be_bytes());
        frame.extend(MODBUS.checksum(&frame).to_le_bytes());
        Ok(Self { frame, unit, function, count })
    }

    fn is_bits(&self) -> bool {
        self.function <= 2
    }

    /// Bytes of data in the answer.
    fn data(&self) -> usize {
        let count = usize::from(self.count);
        if self.is_bits() { count.div_ceil(8) } else { count * 2 }
    }

    /// Bytes of the regular answer.
    pub(super) fn answer(&self) -> usize {
        AROUND_DATA + self.data()
    }

    /// Finds the first answer that is right in unit, function, byte count and CRC.
    pub(super) fn find(&self, received: &[u8]) -> Option<Found> {
        (0..received.len()).find_map(|start| {
            let rest = received.get(start..)?;
            let said = match rest {
                [unit, function, count, ..]
                    if *unit == self.unit && *function == self.function && usize::from(*count) == self.data() =>
                {
                    Ok(self.decode(checked(rest, self.answer())?.get(3..)?))
                }
                [unit, function, code, ..] if *unit == self.unit && *function == self.function | 0x80 => {
                    checked(rest, SHORTEST)?;
                    Err(ExceptionCode::new(*code))
                }
                _ => return None,
            };
            let length = if said.is_ok() { self.answer() } else { SHORTEST };
            Some(Found { start, end: start + length, said })
        })
    }

    fn decode(&self, data: &[u8]) -> Response {
        let words =
            || data.chunks_exact(2).map(|pair| pair.iter().fold(0, |word, byte| (word << 8) | u16::from(*byte)));
        let bits = || data.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let bits = || bits().take(self.count.into());
        match self.function {
            1 => Response::ReadCoils(bits().collect()),
            2 => Response::ReadDiscreteInputs(bits().collect()),
            3 => Response::ReadHoldingRegisters(words().collect()),
            _ => Response::ReadInputRegisters(words().collect()),
        }
    }

    /// Where the question itself begins in what came in.
    pub(super) fn echo(&self, received: &[u8]) -> Option<usize> {
        received.windows(self.frame.len()).position(|window| window == self.frame)
    }

    /// Why there is no answer in what came in until the end of `reply`.
    pub(super) fn explain(&self, received: &[u8], reply: Duration) -> Error {
        if received.is_empty() {
            return Error::NoReply(reply);
        }
        if let Some(what) = (0..received.len()).find_map(|start| self.stranger(received.get(start..)?)) {
            return Error::Mismatch { what };
        }
        match received {
            [unit, function, count, ..]
                if *unit == self.unit && *function == self.function && usize::from(*count) != self.data() =>
            {
                let data = self.data();
                Error::Mismatch { what: format!("{count} bytes of data announced where {data} were asked for") }
            }
            [unit, function, ..] if *unit == self.unit && *function == self.function | 0x80 => {
                if received.len() < SHORTEST { Error::Truncated { got: received.len() } } else { Error::Checksum }
            }
            _ if received.len() < self.answer() => Error::Truncated { got: received.len() },
            _ => Error::Checksum,
        }
    }

    /// What a frame with a good CRC says about itself when it is not the answer.
    fn stranger(&self, frame: &[u8]) -> Option<String> {
        let [unit, function, count, ..] = frame else { return None };
        let length = match function {
            1..=4 => AROUND_DATA + usize::from(*count),
            0x81..=0x84 => SHORTEST,
            _ => return None,
        };
        checked(frame, length)?;
        Some(if *unit != self.unit {
            format!("unit {unit} answers where {} was asked", self.unit)
        } else if function & 0x7F != self.function {
            format!("an answer to function {} where {} was asked", function & 0x7F, self.function)
        } else {
            format!("{count} bytes of data where {} were asked for", self.data())
        })
    }
}

/// The frame without its CRC, if there are as many bytes and the CRC is right.
fn checked(bytes: &[u8], length: usize) -> Option<&[u8]> {
    let (body, crc) = bytes.get(..length)?.split_at_checked(length.checked_sub(2)?)?;
    (MODBUS.checksum(body).to_le_bytes() == crc).then_some(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut frame = body.to_vec();
        frame.extend(MODBUS.checksum(body).to_le_bytes());
        frame
    }

    fn holding(unit: u8, address: u16, count: u16) -> Question {
        Question::new(unit, &Request::ReadHoldingRegisters(address, count)).unwrap()
    }

    #[test]
    fn a_captured_exchange_is_encoded_and_found() {
        // Captured on a BASF Exactus at a growth chamber: 213.84 degC.
        let question = holding(1, 0, 2);
        assert_eq!(question.frame, [0x01, 0x03, 0x00, 0x00, 0x00, 0x02, 0xC4, 0x0B]);
        let answer = [0x01, 0x03, 0x04, 0x43, 0x55, 0xD7, 0x2F, 0xE1, 0x8B];
        let found = question.find(&answer).unwrap();
        assert_eq!((found.start, found.end), (0, 9));
        assert_eq!(found.said, Ok(Response::ReadHoldingRegisters(vec![0x4355, 0xD72F])));
    }

    #[test]
    fn exceptions_are_found() {
        let found = holding(1, 0, 2).find(&[0x01, 0x83, 0x02, 0xC0, 0xF1]).unwrap();
        assert_eq!(found.said, Err(ExceptionCode::IllegalDataAddress));
    }

    #[test]
    fn an_echo_that_could_be_an_answer_is_known_for_an_echo() {
        // Reading 24 coils from 0x03xx: the request has the shape of its own answer, CRC included.
        let question = Question::new(1, &Request::ReadCoils(0x0305, 24)).unwrap();
        let found = question.find(&question.frame).unwrap();
        assert_eq!(question.echo(&question.frame), Some(found.start));
    }

    #[test]
    fn each_way_of_being_wrong_has_its_name() {
        let question = holding(1, 0, 2);
        let why = |received: &[u8]| question.explain(received, Duration::from_millis(100)).to_string();
        assert_eq!(why(&[]), "no reply within 100 ms");
        assert_eq!(why(&[1, 3, 4, 0]), "the reply stopped after 4 bytes");
        assert_eq!(why(&[1, 3, 4, 0, 0, 0, 0, 9, 9]), "the reply's checksum is wrong");
        assert_eq!(why(&[1, 0x83, 2, 9, 9]), "the reply's checksum is wrong");
        assert!(why(&framed(&[2, 3, 4, 0, 0, 0, 0])).ends_with("unit 2 answers where 1 was asked"));
        assert!(why(&framed(&[1, 4, 4, 0, 0, 0, 0])).ends_with("an answer to function 4 where 3 was asked"));
        assert!(why(&framed(&[1, 3, 2, 0, 0])).ends_with("2 bytes of data where 4 were asked for"));
        assert!(why(&[1, 3, 0xFF, 0, 0, 0, 0, 9, 9]).ends_with("255 bytes of data announced where 4 were asked for"));
    }

    #[test]
    fn only_functions_that_read_can_be_encoded() {
        for (request, code) in [
            (Request::WriteSingleCoil(0, true), 5),
            (Request::WriteSingleRegister(0, 1), 6),
            (Request::WriteMultipleCoils(0, vec![true].into()), 15),
            (Request::WriteMultipleRegisters(0, vec![1].into()), 16),
            (Request::MaskWriteRegister(0, 1, 1), 22),
            (Request::ReadWriteMultipleRegisters(0, 1, 0, vec![1].into()), 23),
            (Request::ReportServerId, 17),
            (Request::Custom(3, vec![0, 0, 0, 1].into()), 3),
            (Request::Custom(6, vec![0, 0, 0, 1].into()), 6),
        ] {
            let refused = Question::new(1, &request).unwrap_err();
            assert!(matches!(refused, Error::ReadOnly { function } if function == code), "{request:?}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn an_answer_is_found_behind_any_noise(
            unit in 1_u8..=247,
            words in prop::collection::vec(any::<u16>(), 1..=125),
            noise in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let count = u16::try_from(words.len()).unwrap();
            let question = holding(unit, 7, count);
            let mut body = vec![unit, 3, u8::try_from(words.len() * 2).unwrap()];
            body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            let received = [noise.clone(), framed(&body)].concat();
            let found = question.find(&received).unwrap();
            prop_assert_eq!(found.start, noise.len());
            prop_assert_eq!(found.end, received.len());
            prop_assert_eq!(found.said, Ok(Response::ReadHoldingRegisters(words)));
        }

        #[test]
        fn no_flipped_bit_gets_through(bit in 0_usize..72, value in any::<u32>()) {
            let question = holding(1, 0, 2);
            let mut body = vec![1, 3, 4];
            body.extend(value.to_be_bytes());
            let mut received = framed(&body);
            received[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(question.find(&received), None);
        }

        #[test]
        fn what_came_in_is_always_explained(received in prop::collection::vec(any::<u8>(), 0..40)) {
            let question = holding(1, 0, 2);
            prop_assume!(question.find(&received).is_none());
            prop_assert!(!question.explain(&received, Duration::ZERO).to_string().is_empty());
        }
    }
}
