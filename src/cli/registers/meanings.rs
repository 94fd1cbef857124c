//! What registers could mean: every type at every address of a window, in every order of words and bytes.

use std::collections::BTreeMap;

use crate::profile::Order;
use crate::profile::Raw;
use crate::profile::Register;
use crate::profile::RegisterType;
use crate::profile::Table;

/// The orders, as columns.
pub(super) const ORDERS: [(Order, &str); 4] =
    [(Order::Abcd, "ABCD"), (Order::Cdab, "CDAB"), (Order::Badc, "BADC"), (Order::Dcba, "DCBA")];

/// The types of two registers and of four, as rows.
pub(super) const PAIRS: [(RegisterType, &str); 4] = [
    (RegisterType::F32, "f32"),
    (RegisterType::I32, "i32"),
    (RegisterType::U32, "u32"),
    (RegisterType::Bcd32, "bcd32"),
];
pub(super) const FOURS: [(RegisterType, &str); 3] =
    [(RegisterType::F64, "f64"), (RegisterType::I64, "i64"), (RegisterType::U64, "u64")];

/// Magnitudes that people measure, in whatever unit: 1e-13 mbar to ten million ohms.
const SANE: std::ops::Range<f64> = 1e-13..1e7;

/// Words that came in one answer, from an address on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) address: u16,
    pub(super) words: Vec<u16>,
}

/// The answers that there are, the one as asked first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) answers: Vec<Answered>,
}

/// A number as it could be meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meaning {
    /// As it is shown.
    pub(super) shown: String,
    /// Whether somebody could have measured this.
    pub(super) plausible: bool,
}

impl Window {
    /// The words from `address` on, all of one answer, so that they belong together.
    pub(super) fn words(&self, address: u16, count: u16) -> Option<&[u16]> {
        self.answers.iter().find_map(|answer| {
            let from = usize::from(address.checked_sub(answer.address)?);
            answer.words.get(from..from + usize::from(count))
        })
    }

    /// Every address that was read.
    pub(super) fn addresses(&self) -> Vec<u16> {
        let mut known = BTreeMap::new();
        for answer in &self.answers {
            for (address, _) in (answer.address..=u16::MAX).zip(&answer.words) {
                known.insert(address, ());
            }
        }
        known.into_keys().collect()
    }

    /// What the registers from `address` on mean as this type in this order; none where they were not all read or hold no
    /// such value.
    pub(super) fn meaning(&self, address: u16, ty: RegisterType, order: Order) -> Option<Meaning> {
        let registers = ty.registers()?;
        let words = self.words(address, registers)?;
        let register = Register { table: Table::Holding, address, registers, ty, order, bit: 0, chars: 2 };
        Some(match register.read(words).ok()? {
            Raw::Integer(whole) => Meaning { shown: whole.to_string(), plausible: false },
            Raw::Float(number) => {
                let digits = if ty == RegisterType::F32 { 7 } else { 10 };
                Meaning { shown: float(number, digits), plausible: SANE.contains(&number.abs()) }
            }
            Raw::Text(text) => Meaning { shown: text.to_string(), plausible: false },
        })
    }
}

/// A float with so many digits that it can be told apart, and not so many that it hides what it is.
fn float(number: f64, digits: usize) -> String {
    let magnitude = number.abs();
    if !number.is_finite() {
        return number.to_string();
    }
    if magnitude != 0.0 && !(1e-4..1e7).contains(&magnitude) {
        let shown = format!("{number:.*e}", digits - 2);
        let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    // As many decimals as are left after the digits before the point.
    let before = format!("{:.0}", magnitude.trunc()).len();
    trimmed(&format!("{number:.*}", digits.saturating_sub(before))).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// The two characters of a register, with dots for what can't be printed.
pub(super) fn characters(word: u16) -> String {
    let shown = |byte: u8| if (0x20..0x7F).contains(&byte) { char::from(byte) } else { '.' };
    word.to_be_bytes().map(shown).iter().collect()
}

/// The bits of a register in groups of four, highest first.
pub(super) fn bits(word: u16) -> String {
    let nibble = |shift: u32| format!("{:04b}", (word >> shift) & 0xF);
    [12, 8, 4, 0].map(nibble).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(answers: &[(u16, &[u16])]) -> Window {
        let answered = |(address, words): &(u16, &[u16])| Answered { address: *address, words: words.to_vec() };
        Window { answers: answers.iter().map(answered).collect() }
    }

    #[test]
    fn each_order_finds_its_own_float() {
        // 123.45 is 0x42F6E666 in IEEE 754.
        for (words, order) in [
            ([0x42F6, 0xE666], Order::Abcd),
            ([0xE666, 0x42F6], Order::Cdab),
            ([0xF642, 0x66E6], Order::Badc),
            ([0x66E6, 0xF642], Order::Dcba),
        ] {
            let meaning = window(&[(7, &words)]).meaning(7, RegisterType::F32, order).unwrap();
            assert_eq!(meaning, Meaning { shown: "123.45".to_owned(), plausible: true });
        }
    }

    #[test]
    fn a_value_is_never_made_of_two_answers() {
        let window = window(&[(10, &[1, 2]), (9, &[8, 9]), (11, &[3, 4])]);
        assert_eq!(window.addresses(), [9, 10, 11, 12]);
        assert_eq!(window.words(10, 2), Some(&[1, 2][..]));
        assert_eq!(window.words(9, 2), Some(&[8, 9][..]));
        assert_eq!(window.words(11, 2), Some(&[3, 4][..]));
        assert_eq!(window.words(10, 3), None);
        assert_eq!(window.words(12, 2), None);
    }

    #[test]
    fn floats_are_short_and_insane_ones_are_not_marked() {
        assert_eq!(float(0.1 + 0.2, 10), "0.3");
        assert_eq!(float(f64::from(1.3e-9_f32), 7), "1.3e-9");
        assert_eq!(float(-1_234_567.0, 7), "-1234567");
        assert_eq!(float(0.0, 7), "0");
        assert_eq!(float(f64::NAN, 7), "NaN");
        let window = window(&[(0, &[0x0001, 0x0002])]);
        assert!(!window.meaning(0, RegisterType::F32, Order::Abcd).unwrap().plausible);
        assert_eq!(window.meaning(0, RegisterType::U32, Order::Cdab).unwrap().shown, "131073");
        assert_eq!(window.meaning(0, RegisterType::Bcd32, Order::Abcd).unwrap().shown, "10002");
    }

    #[test]
    fn characters_and_bits() {
        assert_eq!(characters(0x4142), "AB");
        assert_eq!(characters(0x0042), ".B");
        assert_eq!(bits(0xA001), "1010 0000 0000 0001");
    }
}
