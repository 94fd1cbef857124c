//! Raw values: what a reply or a register says before anything is made of it.

use std::sync::Arc;

/// A value as the instrument sent it, before sentinels, scale and curve.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// A whole number: digits, hex digits, integer registers. Wide enough for every `u64` register.
    Integer(i128),
    /// A number with a fraction or an exponent; NaN and infinity are possible and become no value.
    Float(f64),
    /// A word. A channel that needs a number reads one from it, strictly.
    Text(Arc<str>),
}

impl Raw {
    /// A word.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// The number, where there is one. Text is read strictly: no blanks inside, no NUL, nothing left over.
    pub fn number(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "whole numbers above 2^53 lose digits no instrument measures"
            )]
            Self::Integer(whole) => Some(*whole as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => strict_number(text),
        }
    }

    /// The whole number, where there is one: for bits and codes. A float counts if it has no fraction.
    pub fn whole(&self) -> Option<i128> {
        match self {
            Self::Integer(whole) => Some(*whole),
            Self::Float(number) => whole_of(*number),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// The integer that a float stands for, if it stands for one that it can hold exactly.
pub(super) fn whole_of(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "no fraction, and within the exact range of f64")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

/// Reads a decimal number. `inf`, `nan` and the like, which Rust would take, are words here.
fn strict_number(text: &str) -> Option<f64> {
    let text = text.trim_matches(' ');
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain { text.parse().ok() } else { None }
}

/// The raw values of one exchange by name: the fields of a text reply, or Modbus channels by their ids.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(
    /// By name, each once. There are few: a search among neighbours costs less than a tree of them.
    Vec<(Arc<str>, Raw)>,
);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Raw> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, raw)| raw)
    }

    /// Sets a field.
    pub fn set(&mut self, name: &Arc<str>, raw: Raw) {
        self.put(Arc::clone(name), raw);
    }

    /// Adds the fields of another reply of the same poll.
    pub fn extend(&mut self, other: Self) {
        for (name, raw) in other.0 {
            self.put(name, raw);
        }
    }

    /// All fields, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Raw)> {
        self.0.iter().map(|(name, raw)| (name, raw))
    }

    fn put(&mut self, name: Arc<str>, raw: Raw) {
        match self.place(&name) {
            Ok(at) => {
                if let Some((_, old)) = self.0.get_mut(at) {
                    *old = raw;
                }
            }
            Err(at) => self.0.insert(at, (name, raw)),
        }
    }

    /// Where a field is, or where it would have to be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

/// A field, or a range of its bits: `err`, `err[4]`, `err[4..7]` (both ends included, bit 0 is the lowest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRef {
    /// The field of the same poll, or the id of another channel of the same Modbus device.
    pub name: Arc<str>,
    /// First and last bit.
    pub bits: Option<(u8, u8)>,
}

impl FieldRef {
    /// Reads `name`, `name[bit]` or `name[first..last]`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((name, range)) = text.split_once('[') else {
            return is_name(text).then(|| Self { name: text.into(), bits: None });
        };
        let range = range.strip_suffix(']')?;
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        let bits = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (is_name(name) && bits.0 <= bits.1 && bits.1 < 64).then(|| Self { name: name.into(), bits: Some(bits) })
    }

    /// The value that this refers to.
    pub fn of(&self, fields: &Fields) -> Option<Raw> {
        let raw = fields.get(&self.name)?;
        match self.bits {
            None => Some(raw.clone()),
            Some((first, last)) => Some(Raw::Integer((raw.whole()? >> first) & mask(first, last))),
        }
    }

    /// Sets the value that this refers to, and leaves other bits as they are.
    pub fn set(&self, fields: &mut Fields, code: &Raw) {
        let raw = match (self.bits, code.whole()) {
            (Some((first, last)), Some(code)) => {
                let mask = mask(first, last);
                let rest = fields.get(&self.name).and_then(Raw::whole).unwrap_or(0) & !(mask << first);
                Raw::Integer(rest | ((code & mask) << first))
            }
            _ => code.clone(),
        };
        fields.set(&self.name, raw);
    }
}

fn mask(first: u8, last: u8) -> i128 {
    (1_i128 << (last - first + 1)) - 1
}

/// Whether a text can name a field, a parameter or a channel: letters, digits and `_`, not a digit first.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_number_only_if_all_of_it_is() {
        assert_eq!(Raw::text(" +8.3400E-03").number(), Some(0.00834));
        for word in ["OFF", "LO<E-11", "1\u{0}2", "1 2", "", "nan", "inf", "NO_DEF", "0x10", "1.0e", "१"] {
            assert_eq!(Raw::text(word).number(), None, "{word:?}");
        }
    }

    #[test]
    fn bits_of_a_field_are_read_and_set_alone() {
        let nibble = FieldRef::parse("err[4..7]").unwrap();
        let mut fields = Fields::new();
        fields.set(&"err".into(), Raw::Integer(0x83));
        assert_eq!(nibble.of(&fields), Some(Raw::Integer(8)));
        nibble.set(&mut fields, &Raw::Integer(5));
        assert_eq!(fields.get("err"), Some(&Raw::Integer(0x53)));
        for wrong in ["err[7..4]", "err[", "4err", "err[64]", "err]", ""] {
            assert_eq!(FieldRef::parse(wrong), None, "{wrong:?}");
        }
    }
}
