//! Checksums of messages, by name: the sums, xors and cyclic redundancy checks that instruments use.

use crc::{CRC_8_SMBUS, CRC_16_ARC, CRC_16_IBM_3740, CRC_16_MODBUS, CRC_16_XMODEM, Crc};
use schemars::JsonSchema;
use serde::Deserialize;

const CRC8: Crc<u8> = Crc::<u8>::new(&CRC_8_SMBUS);
const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);
const CCITT_FALSE: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);
const XMODEM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
const ARC: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);

/// How a checksum is reckoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumKind {
    /// The sum of the bytes, modulo 256.
    Sum8,
    /// The ones' complement of that sum.
    NotSum8,
    /// The two's complement of that sum, so that sum and checksum give 0.
    NegSum8,
    /// The sum modulo 64, plus 64: one printable character (Thyracont).
    Mod64,
    /// The exclusive or of the bytes.
    Xor8,
    /// CRC-8, polynomial 0x07, from 0.
    Crc8,
    /// CRC-16/MODBUS: polynomial 0x8005 reflected, from 0xFFFF.
    Crc16Modbus,
    /// CRC-16/CCITT-FALSE: polynomial 0x1021, from 0xFFFF.
    Crc16CcittFalse,
    /// CRC-16/XMODEM: polynomial 0x1021, from 0.
    Crc16Xmodem,
    /// CRC-16/ARC: polynomial 0x8005 reflected, from 0.
    Crc16Arc,
}

/// How a checksum stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumEncoding {
    /// One byte, as it is.
    Byte,
    /// Two hex digits.
    Hex2,
    /// Four hex digits.
    Hex4,
    /// Three decimal digits.
    Dec3,
    /// Two bytes, the high one first.
    Be,
    /// Two bytes, the low one first.
    Le,
}

/// A checksum: what it covers, how it is reckoned and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// How it is reckoned.
    pub kind: ChecksumKind,
    /// How it is written.
    pub encoding: ChecksumEncoding,
    /// The first byte of the message that it covers.
    pub from: usize,
    /// The first byte that it covers no more; the place of the checksum itself where there is none.
    pub to: Option<usize>,
}

impl ChecksumKind {
    /// Whether it has 16 bits; all others have 8.
    pub fn is_wide(self) -> bool {
        matches!(self, Self::Crc16Modbus | Self::Crc16CcittFalse | Self::Crc16Xmodem | Self::Crc16Arc)
    }

    /// How it is written where the profile does not say.
    pub fn usual_encoding(self) -> ChecksumEncoding {
        match self {
            Self::Crc16Modbus => ChecksumEncoding::Le,
            _ if self.is_wide() => ChecksumEncoding::Be,
            _ => ChecksumEncoding::Byte,
        }
    }

    /// The checksum of these bytes.
    fn of(self, bytes: &[u8]) -> u16 {
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        match self {
            Self::Sum8 => sum.into(),
            Self::NotSum8 => (!sum).into(),
            Self::NegSum8 => sum.wrapping_neg().into(),
            Self::Mod64 => u16::from(sum % 64) + 64,
            Self::Xor8 => bytes.iter().fold(0, |xor, byte| xor ^ byte).into(),
            Self::Crc8 => CRC8.checksum(bytes).into(),
            Self::Crc16Modbus => MODBUS.checksum(bytes),
            Self::Crc16CcittFalse => CCITT_FALSE.checksum(bytes),
            Self::Crc16Xmodem => XMODEM.checksum(bytes),
            Self::Crc16Arc => ARC.checksum(bytes),
        }
    }
}

impl ChecksumEncoding {
    /// How many bytes it takes.
    pub fn width(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Hex2 | Self::Be | Self::Le => 2,
            Self::Dec3 => 3,
            Self::Hex4 => 4,
        }
    }

    /// Whether a checksum of this kind can be written so.
    pub fn fits(self, kind: ChecksumKind) -> bool {
        match self {
            Self::Byte | Self::Hex2 | Self::Dec3 => !kind.is_wide(),
            Self::Hex4 | Self::Be | Self::Le => kind.is_wide(),
        }
    }
}

impl Checksum {
    /// The checksum, as it is written, of a message of which this comes before it.
    pub fn of(&self, before: &[u8]) -> Vec<u8> {
        let to = self.to.unwrap_or(before.len()).min(before.len());
        let sum = self.kind.of(before.get(self.from..to).unwrap_or_default());
        let [high, low] = sum.to_be_bytes();
        match self.encoding {
            ChecksumEncoding::Byte => vec![low],
            ChecksumEncoding::Hex2 => format!("{low:02X}").into_bytes(),
            ChecksumEncoding::Hex4 => format!("{sum:04X}").into_bytes(),
            ChecksumEncoding::Dec3 => format!("{low:03}").into_bytes(),
            ChecksumEncoding::Be => vec![high, low],
            ChecksumEncoding::Le => vec![low, high],
        }
    }

    /// Whether `written` is the checksum of what comes before it. Hex digits may be of either case.
    pub fn is_right(&self, before: &[u8], written: &[u8]) -> bool {
        let right = self.of(before);
        match self.encoding {
            ChecksumEncoding::Hex2 | ChecksumEncoding::Hex4 => right.eq_ignore_ascii_case(written),
            _ => right == written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ChecksumKind, encoding: ChecksumEncoding, from: usize, before: &[u8]) -> Vec<u8> {
        Checksum { kind, encoding, from, to: None }.of(before)
    }

    // The bytes are examples of vendors' manuals.
    #[test]
    fn examples_of_manuals_come_out() {
        use ChecksumEncoding::{Byte, Dec3, Hex2, Le};
        assert_eq!(of(ChecksumKind::Sum8, Dec3, 0, b"0010074002=?"), b"106", "Pfeiffer Vacuum Protocol");
        assert_eq!(of(ChecksumKind::Sum8, Dec3, 0, b"0011074006100023"), b"025", "Pfeiffer Vacuum Protocol");
        assert_eq!(of(ChecksumKind::Sum8, Hex2, 1, b"~ 01 0B 01 "), b"B4", "Gamma DIGITEL, command");
        assert_eq!(of(ChecksumKind::Sum8, Hex2, 0, b"01 OK 00 1.0E-11 TORR "), b"A5", "Gamma DIGITEL, reply");
        assert_eq!(of(ChecksumKind::Mod64, Byte, 0, b"001M"), b"^", "Thyracont V1");
        assert_eq!(of(ChecksumKind::Mod64, Byte, 0, b"0011MV079.734e2"), b"h", "Thyracont V2");
        assert_eq!(of(ChecksumKind::Sum8, Byte, 1, &[7, 5, 0, 0, 0xF2, 0x30, 0x14, 0x0A]), [0x45], "INFICON BPG400");
        assert_eq!(of(ChecksumKind::Xor8, Byte, 1, b"\x02PV25.3\x03"), [0x1F], "EI-Bisynch");
        assert_eq!(of(ChecksumKind::NegSum8, Hex2, 0, &[1, 3, 0, 0, 0, 2]), b"FA", "Modbus ASCII");
        assert_eq!(of(ChecksumKind::Crc16Modbus, Le, 0, &[1, 3, 0, 0, 0, 2]), [0xC4, 0x0B], "Modbus RTU");
    }

    /// Check values of the CRC catalogue for "123456789".
    #[test]
    fn cyclic_checks_are_those_of_their_names() {
        let check = b"123456789";
        assert_eq!(ChecksumKind::Crc16Modbus.of(check), 0x4B37);
        assert_eq!(ChecksumKind::Crc16CcittFalse.of(check), 0x29B1);
        assert_eq!(ChecksumKind::Crc16Xmodem.of(check), 0x31C3);
        assert_eq!(ChecksumKind::Crc16Arc.of(check), 0xBB3D);
        assert_eq!(ChecksumKind::Crc8.of(check), 0xF4);
    }

    #[test]
    fn a_range_ends_where_it_is_told() {
        let part = Checksum { kind: ChecksumKind::Sum8, encoding: ChecksumEncoding::Byte, from: 1, to: Some(3) };
        assert_eq!(part.of(&[1, 2, 3, 4]), [5]);
        assert_eq!(part.of(&[1]), [0], "nothing is covered");
        assert!(Checksum { encoding: ChecksumEncoding::Hex2, ..part }.is_right(&[0, 0xAB, 0], b"ab"));
    }
}
