//! Registers: how a number lies in 16-bit Modbus registers.
//!
//! Addresses are those of the protocol data unit, counted from zero. Source: MODBUS Application Protocol V1.1b3; orders
//! beyond big-endian are the vendors' own.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Raw;

/// A table of a Modbus device; each has a read function of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Coils, read by function 1.
    Coil,
    /// Discrete inputs, read by function 2.
    Discrete,
    /// Input registers, read by function 4.
    Input,
    /// Holding registers, read by function 3.
    Holding,
}

impl Table {
    /// The function code that reads it.
    pub const fn read_function(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    /// Whether its cells are single bits.
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// Its name in profiles.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }
}

/// What the registers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegisterType {
    /// One bit: a coil, a discrete input, or bit [`Register::bit`] of a register.
    Bit,
    /// The low byte of a register (the high one with `order = "BADC"`).
    U8,
    /// The same, signed.
    I8,
    /// Sixteen bits.
    U16,
    /// Sixteen bits, two's complement.
    I16,
    /// Two registers.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Four registers.
    U64,
    /// Four registers, two's complement.
    I64,
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Four decimal digits, one in each nibble.
    Bcd16,
    /// Eight decimal digits.
    Bcd32,
    /// Characters, [`Register::chars`] in each register; trailing NULs and blanks are dropped.
    Str,
    /// A code, sixteen bits.
    Enum,
    /// Sixteen flags.
    Flags,
}

impl RegisterType {
    /// The registers that a value takes; none for `str`, whose length the profile gives.
    pub const fn registers(self) -> Option<u16> {
        match self {
            Self::Bit | Self::U8 | Self::I8 | Self::U16 | Self::I16 | Self::F16 => Some(1),
            Self::Bcd16 | Self::Enum | Self::Flags => Some(1),
            Self::U32 | Self::I32 | Self::F32 | Self::Bcd32 => Some(2),
            Self::U64 | Self::I64 | Self::F64 => Some(4),
            Self::Str => None,
        }
    }
}

/// How the bytes of a value lie on the wire, for a value whose bytes are A (most significant) to D.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Order {
    /// Most significant word first, most significant byte first: what the specification says.
    #[default]
    Abcd,
    /// Least significant word first.
    Cdab,
    /// Most significant word first, bytes of each word swapped.
    Badc,
    /// Least significant byte first.
    Dcba,
}

impl Order {
    const fn words_reversed(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    const fn bytes_swapped(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }
}

/// Where a value lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The table.
    pub table: Table,
    /// The protocol address of the first register, from zero.
    pub address: u16,
    /// How many registers, or 1 for a coil or a discrete input; they are read in one request.
    pub registers: u16,
    /// What they hold.
    pub ty: RegisterType,
    /// The order of words and bytes.
    pub order: Order,
    /// The bit that a `bit` in a register means, 0 the lowest; 0 for coils.
    pub bit: u8,
    /// Characters in each register of a `str`: 2, or 1 in the low byte.
    pub chars: u8,
}

/// Why registers hold no value, or a value can't go into registers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Not as many registers as the value takes.
    #[error("expected {expected} registers, got {got}")]
    Count {
        /// As many as it takes.
        expected: u16,
        /// As many as there were.
        got: usize,
    },
    /// A nibble above 9 where a decimal digit belongs.
    #[error("{0:#06x} is not decimal digits")]
    NotDecimal(u16),
    /// Bytes of a text that are not printable ASCII.
    #[error("the text holds the byte {0:#04x}")]
    NotText(u8),
    /// A value that the type can't hold.
    #[error("{0} does not fit the register")]
    DoesNotFit(String),
}

impl Register {
    /// One past the last address.
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.registers)
    }

    /// Its addresses, the first one first.
    pub fn addresses(&self) -> impl Iterator<Item = u16> {
        (0..self.registers).map_while(|offset| self.address.checked_add(offset))
    }

    /// Reads the value from exactly its registers, as they came. A coil is one word, 0 or 1.
    pub fn read(&self, words: &[u16]) -> Result<Raw, RegisterError> {
        if words.len() != usize::from(self.registers) {
            return Err(RegisterError::Count { expected: self.registers, got: words.len() });
        }
        let words = self.in_order(words);
        let bits = words.iter().fold(0_u64, |bits, word| (bits << 16) | u64::from(*word));
        Ok(match self.ty {
            RegisterType::Bit => Raw::Integer(i128::from((bits >> self.bit.min(15)) & 1)),
            RegisterType::U8 => Raw::Integer(i128::from(bits & 0xFF)),
            RegisterType::I8 => signed(bits & 0xFF, 8),
            RegisterType::I16 => signed(bits, 16),
            RegisterType::I32 => signed(bits, 32),
            RegisterType::I64 => signed(bits, 64),
            RegisterType::U16 | RegisterType::Enum | RegisterType::Flags | RegisterType::U32 | RegisterType::U64 => {
                Raw::Integer(i128::from(bits))
            }
            RegisterType::F16 => Raw::Float(half_to_f64(words.first().copied().unwrap_or(0))),
            RegisterType::F32 => Raw::Float(f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0)))),
            RegisterType::F64 => Raw::Float(f64::from_bits(bits)),
            RegisterType::Bcd16 | RegisterType::Bcd32 => Raw::Integer(decimal_digits(&words)?),
            RegisterType::Str => Raw::Text(self.text(&words)?.into()),
        })
    }

    /// Writes a value into its registers and leaves the bits beside a `bit` or a byte as they are: for simulators.
    /// A float is rounded where the type is whole.
    pub fn write(&self, raw: &Raw, words: &mut [u16]) -> Result<(), RegisterError> {
        if words.len() != usize::from(self.registers) {
            return Err(RegisterError::Count { expected: self.registers, got: words.len() });
        }
        let mut ordered = self.in_order(words);
        match self.ty {
            RegisterType::Str => self.write_text(raw, &mut ordered)?,
            _ => {
                let old = ordered.iter().fold(0_u64, |bits, word| (bits << 16) | u64::from(*word));
                let bits = self.bits_of(raw, old)?;
                for (place, word) in ordered.iter_mut().rev().enumerate() {
                    *word = u16::try_from((bits >> (16 * place)) & 0xFFFF).unwrap_or(0);
                }
            }
        }
        words.copy_from_slice(&self.in_order(&ordered));
        Ok(())
    }

    /// Between the wire's order and most significant first; its own inverse.
    fn in_order(&self, words: &[u16]) -> Vec<u16> {
        let swap = |word: &u16| if self.order.bytes_swapped() { word.swap_bytes() } else { *word };
        // The characters of a text follow each other; only their bytes may be swapped.
        if self.order.words_reversed() && self.ty != RegisterType::Str {
            words.iter().rev().map(swap).collect()
        } else {
            words.iter().map(swap).collect()
        }
    }

    fn bits_of(&self, raw: &Raw, old: u64) -> Result<u64, RegisterError> {
        let misfit = || RegisterError::DoesNotFit(format!("{raw:?}"));
        let number = raw.number().ok_or_else(misfit)?;
        let whole = match raw {
            Raw::Integer(whole) => Some(*whole),
            _ => super::raw::whole_of(number.round()),
        };
        let within = |low: i128, high: i128| whole.filter(|w| (low..=high).contains(w)).ok_or_else(misfit);
        let unsigned =
            |bits: u32| within(0, (1_i128 << bits) - 1).and_then(|whole| u64::try_from(whole).map_err(|_| misfit()));
        let two_complement = |bits: u32| {
            let whole = within(-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)?;
            u64::try_from(whole & ((1_i128 << bits) - 1)).map_err(|_| misfit())
        };
        Ok(match self.ty {
            RegisterType::Bit => {
                let place = self.bit.min(15);
                (old & !(1 << place)) | (unsigned(1)? << place)
            }
            RegisterType::U8 => (old & !0xFF) | unsigned(8)?,
            RegisterType::I8 => (old & !0xFF) | two_complement(8)?,
            RegisterType::U16 | RegisterType::Enum | RegisterType::Flags => unsigned(16)?,
            RegisterType::U32 => unsigned(32)?,
            RegisterType::U64 => unsigned(64)?,
            RegisterType::I16 => two_complement(16)?,
            RegisterType::I32 => two_complement(32)?,
            RegisterType::I64 => two_complement(64)?,
            RegisterType::F16 => u64::from(f64_to_half(number)),
            RegisterType::F32 => u64::from(narrowed(number).to_bits()),
            RegisterType::F64 => number.to_bits(),
            RegisterType::Bcd16 => to_digits(within(0, 9_999)?),
            RegisterType::Bcd32 => to_digits(within(0, 99_999_999)?),
            RegisterType::Str => return Err(misfit()),
        })
    }

    fn text(&self, words: &[u16]) -> Result<String, RegisterError> {
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| {
                let [high, low] = word.to_be_bytes();
                if self.chars == 1 { vec![low] } else { vec![high, low] }
            })
            .collect();
        let end = bytes.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |last| last + 1);
        bytes
            .iter()
            .take(end)
            .map(|b| if (0x20..0x7F).contains(b) { Ok(char::from(*b)) } else { Err(RegisterError::NotText(*b)) })
            .collect()
    }

    fn write_text(&self, raw: &Raw, words: &mut [u16]) -> Result<(), RegisterError> {
        let text = match raw {
            Raw::Text(text) => text.to_string(),
            Raw::Integer(whole) => whole.to_string(),
            Raw::Float(number) => number.to_string(),
        };
        let each = usize::from(self.chars.clamp(1, 2));
        if text.len() > words.len() * each || !text.is_ascii() {
            return Err(RegisterError::DoesNotFit(text));
        }
        let mut bytes = text.bytes();
        for word in words {
            let mut next = || bytes.next().unwrap_or(0);
            *word = if each == 1 { u16::from(next()) } else { u16::from_be_bytes([next(), next()]) };
        }
        Ok(())
    }
}

fn signed(bits: u64, width: u32) -> Raw {
    let whole = i128::from(bits);
    let limit = 1_i128 << (width - 1);
    Raw::Integer(if whole >= limit { whole - (limit << 1) } else { whole })
}

fn decimal_digits(words: &[u16]) -> Result<i128, RegisterError> {
    let mut value = 0;
    for word in words {
        for shift in [12, 8, 4, 0] {
            let digit = (word >> shift) & 0xF;
            if digit > 9 {
                return Err(RegisterError::NotDecimal(*word));
            }
            value = value * 10 + i128::from(digit);
        }
    }
    Ok(value)
}

fn to_digits(mut value: i128) -> u64 {
    let mut bits = 0;
    let mut shift = 0;
    while value > 0 {
        bits |= u64::try_from(value % 10).unwrap_or(0) << shift;
        value /= 10;
        shift += 4;
    }
    bits
}

/// IEEE 754-2008 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from((bits >> 10) & 0x1F);
    let fraction = f64::from(bits & 0x3FF);
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    }
}

/// The nearest half-precision number; what is too large becomes infinite, as IEEE 754 has it.
fn f64_to_half(number: f64) -> u16 {
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = number.abs();
    if number.is_nan() {
        return 0x7E00;
    }
    if magnitude >= 65_520.0 {
        return sign | 0x7C00;
    }
    // A step of the format at this magnitude is 2^(exponent - 10); below 2^-14 the steps stay as they are there.
    let mut exponent = -14;
    while exponent < 15 && magnitude >= 2_f64.powi(exponent + 1) {
        exponent += 1;
    }
    let steps = (magnitude / 2_f64.powi(exponent - 10)).round_ties_even();
    let steps = super::raw::whole_of(steps).and_then(|whole| u16::try_from(whole).ok()).unwrap_or(0);
    // A normal number has 1024 steps or more, and the leading one is implied: adding carries it into the exponent.
    let biased = u16::try_from(exponent + 14).unwrap_or(0);
    sign | ((biased << 10) + steps)
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what goes into an f32 register")]
fn narrowed(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
