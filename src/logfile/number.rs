//! Numbers as files have them: with a point or a comma before the fraction, or not there at all.

use super::cells::Cell;

/// What stands before the fraction of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// `650.5`
    Point,
    /// `650,5`
    Comma,
}

impl std::str::FromStr for Decimal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "." | "point" => Ok(Self::Point),
            "," | "comma" => Ok(Self::Comma),
            _ => Err("write `.` or `,`"),
        }
    }
}

/// What a cell of a value column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Is(f64),
    Missing,
    Bad,
}

/// Reads numbers; the first that has a fraction decides what stands before it, unless that is known.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub(super) decimal: Option<Decimal>,
    missing: Vec<String>,
    missing_numbers: Vec<f64>,
    /// The line of the first comma, as long as every comma could also stand between thousands.
    pub(super) thousands: Thousands,
    buffer: String,
}

/// Whether the commas of a file could stand between thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thousands {
    /// There are none yet.
    Unseen,
    /// They could; the first is in this line.
    Possible(u64),
    /// One of them can't.
    Excluded,
}

impl Numbers {
    pub(super) fn new(decimal: Option<Decimal>, missing: &[String]) -> Self {
        let mut numbers = Self {
            decimal,
            missing: missing.iter().map(|word| word.trim().to_owned()).collect(),
            missing_numbers: Vec::new(),
            thousands: if decimal.is_some() { Thousands::Excluded } else { Thousands::Unseen },
            buffer: String::new(),
        };
        numbers.missing_numbers = missing.iter().filter_map(|word| number(word.trim())).collect();
        numbers
    }

    /// Reads a cell.
    pub(super) fn read(&mut self, cell: Cell<'_>, line: u64) -> Value {
        let value = match cell {
            Cell::Empty => return Value::Missing,
            Cell::Number(number) if number.is_finite() => number,
            Cell::Number(_) => return Value::Missing,
            Cell::Whole(number) => number as f64,
            Cell::Instant { .. } | Cell::Other(_) => return Value::Bad,
            Cell::Text(text) => {
                if text.eq_ignore_ascii_case("nan") || self.missing.iter().any(|word| word == text) {
                    return Value::Missing;
                }
                match self.text(text, line) {
                    Some(value) => value,
                    None => return Value::Bad,
                }
            }
        };
        if self.missing_numbers.contains(&value) { Value::Missing } else { Value::Is(value) }
    }

    /// Reads a number.
    pub(super) fn text(&mut self, text: &str, line: u64) -> Option<f64> {
        if !text.contains(',') {
            let value = number(text)?;
            if text.contains('.') {
                match self.decimal {
                    None => self.decimal = Some(Decimal::Point),
                    Some(Decimal::Point) => {}
                    Some(Decimal::Comma) => return None,
                }
            }
            return Some(value);
        }
        if self.decimal == Some(Decimal::Point) || text.contains('.') {
            return None;
        }
        self.buffer.clear();
        self.buffer.extend(text.chars().map(|c| if c == ',' { '.' } else { c }));
        let value = number(&self.buffer)?;
        self.decimal = Some(Decimal::Comma);
        self.thousands = match self.thousands {
            Thousands::Unseen if could_be_thousands(text) => Thousands::Possible(line),
            Thousands::Possible(first) if could_be_thousands(text) => Thousands::Possible(first),
            _ => Thousands::Excluded,
        };
        Some(value)
    }
}

/// `1,234`: one to three digits, the first no zero, a comma, three digits.
fn could_be_thousands(text: &str) -> bool {
    let Some((whole, rest)) = text.trim_start_matches(['+', '-']).split_once(',') else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (1..=3).contains(&whole.len()) && !whole.starts_with('0') && digits(whole) && rest.len() == 3 && digits(rest)
}

/// A number with a point, written in digits. No words such as `inf`.
pub(super) fn number(text: &str) -> Option<f64> {
    let written = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    if !written {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(numbers: &mut Numbers, text: &str) -> Value {
        numbers.read(Cell::of(text), 1)
    }

    #[test]
    fn the_first_fraction_decides_for_all() {
        let mut numbers = Numbers::new(None, &[]);
        assert_eq!(read(&mut numbers, "650"), Value::Is(650.0));
        assert_eq!(read(&mut numbers, "-6,5e2"), Value::Is(-650.0));
        assert_eq!(read(&mut numbers, "650.5"), Value::Bad);
        let mut numbers = Numbers::new(None, &[]);
        assert_eq!(read(&mut numbers, "1.2e-9"), Value::Is(1.2e-9));
        assert_eq!(read(&mut numbers, "650,5"), Value::Bad);
        assert_eq!(read(&mut numbers, "1,234.5"), Value::Bad);
    }

    #[test]
    fn commas_of_thousands_are_suspected_until_one_is_none() {
        let mut numbers = Numbers::new(None, &[]);
        numbers.read(Cell::of("1,234"), 7);
        numbers.read(Cell::of("12,000"), 8);
        assert_eq!(numbers.thousands, Thousands::Possible(7));
        numbers.read(Cell::of("0,123"), 9);
        assert_eq!(numbers.thousands, Thousands::Excluded);
    }

    #[test]
    fn what_is_no_number_is_missing_only_if_somebody_said_so() {
        let mut numbers = Numbers::new(None, &["---".to_owned(), "-999".to_owned()]);
        for (text, value) in [
            ("", Value::Missing),
            ("NaN", Value::Missing),
            ("---", Value::Missing),
            ("-999.0", Value::Missing),
            ("inf", Value::Bad),
            ("NA", Value::Bad),
            ("6 50", Value::Bad),
            ("1e999", Value::Bad),
            ("0x10", Value::Bad),
            ("−5", Value::Bad),
        ] {
            assert_eq!(read(&mut numbers, text), value, "{text}");
        }
        assert_eq!(numbers.read(Cell::Number(f64::NAN), 1), Value::Missing);
        assert_eq!(numbers.read(Cell::Whole(-999), 1), Value::Missing);
    }
}
