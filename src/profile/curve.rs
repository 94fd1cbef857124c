//! Curves: from raw numbers to physical ones, and back for simulators.

use crate::model::Reason;

/// A law between two numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// `raw * scale + offset`.
    Linear {
        /// Factor.
        scale: f64,
        /// Summand, in the unit of the result.
        offset: f64,
    },
    /// `10^(a * raw + b)`: logarithmic gauges.
    Pow10 {
        /// Factor in the exponent.
        a: f64,
        /// Summand in the exponent.
        b: f64,
    },
    /// `c[0] + c[1] * raw + c[2] * raw^2 + ...`
    Poly(Vec<f64>),
    /// Straight lines between points of rising raw value; nothing outside them.
    Table(Vec<(f64, f64)>),
}

impl Scaling {
    /// The raw value as it is.
    pub const IDENTITY: Self = Self::Linear { scale: 1.0, offset: 0.0 };

    /// The number for a raw number; a table has none outside its points.
    pub fn apply(&self, raw: f64) -> Result<f64, Reason> {
        match self {
            Self::Linear { scale, offset } => Ok(scaled(raw, *scale) + offset),
            Self::Pow10 { a, b } => Ok(10_f64.powf(a * raw + b)),
            Self::Poly(c) => Ok(c.iter().rev().fold(0.0, |sum, c| sum * raw + c)),
            Self::Table(points) => interpolate(points.iter().copied(), raw),
        }
    }

    /// A raw number that gives this number, if there is one and it can be found. A polynomial of a degree above 1 has none.
    pub fn invert(&self, value: f64) -> Option<f64> {
        match self {
            Self::Linear { scale, offset } => (*scale != 0.0).then(|| (value - offset) / scale),
            Self::Pow10 { a, b } => (*a != 0.0 && value > 0.0).then(|| (value.log10() - b) / a),
            Self::Poly(c) => match c.as_slice() {
                [offset, scale] if *scale != 0.0 => Some((value - offset) / scale),
                _ => None,
            },
            Self::Table(points) => {
                let swapped = points.iter().map(|(raw, value)| (*value, *raw));
                let falling = points.first().zip(points.last()).is_some_and(|(first, last)| first.1 > last.1);
                if falling { interpolate(swapped.rev(), value).ok() } else { interpolate(swapped, value).ok() }
            }
        }
    }
}

/// Multiplies; a scale such as 0.1 divides by 10 instead, so that 2563 becomes the number nearest to 256.3.
fn scaled(raw: f64, scale: f64) -> f64 {
    let inverse = (1.0 / scale).round();
    if inverse.is_finite() && inverse.abs() > 1.0 && 1.0 / inverse == scale { raw / inverse } else { raw * scale }
}

fn interpolate(points: impl Iterator<Item = (f64, f64)>, at: f64) -> Result<f64, Reason> {
    if at.is_nan() {
        return Err(Reason::NOT_A_NUMBER);
    }
    let mut before: Option<(f64, f64)> = None;
    for (x, y) in points {
        if at == x {
            return Ok(y);
        }
        if at < x {
            let (x0, y0) = before.ok_or_else(|| Reason::named("under_range"))?;
            return Ok(y0 + (y - y0) * ((at - x0) / (x - x0)));
        }
        before = Some((x, y));
    }
    Err(Reason::named("over_range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_the_nearest_numbers() {
        let tenths = Scaling::Linear { scale: 0.1, offset: 0.0 };
        assert_eq!(tenths.apply(2563.0), Ok(256.3));
        assert_eq!(tenths.apply(3.0), Ok(0.3));
        assert_eq!(tenths.apply(-170.0), Ok(-17.0));
    }

    #[test]
    fn a_logarithmic_gauge_is_read_as_its_manual_says() {
        // INFICON BPG400 manual p. 32: F2 30 is 1000 mbar.
        let gauge = Scaling::Pow10 { a: 0.00025, b: -12.5 };
        assert!((gauge.apply(f64::from(0xF230_u16)).unwrap() - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn a_table_says_nothing_beyond_its_ends() {
        let table = Scaling::Table(vec![(0.0, 10.0), (10.0, 0.0)]);
        assert_eq!(table.apply(2.5), Ok(7.5));
        assert_eq!(table.apply(10.0), Ok(0.0));
        assert_eq!(table.apply(-0.1), Err(Reason::named("under_range")));
        assert_eq!(table.apply(10.1), Err(Reason::named("over_range")));
        assert_eq!(table.apply(f64::NAN), Err(Reason::NOT_A_NUMBER));
        assert_eq!(table.invert(7.5), Some(2.5));
    }

    #[test]
    fn laws_are_inverted() {
        for law in [
            Scaling::Linear { scale: 0.1, offset: -273.15 },
            Scaling::Pow10 { a: 0.00025, b: -12.5 },
            Scaling::Poly(vec![1.0, 2.0]),
            Scaling::Table(vec![(0.0, 1.0), (5000.0, 3.0), (9000.0, 4.0)]),
        ] {
            let raw = law.invert(law.apply(4321.0).unwrap()).unwrap();
            assert!((raw - 4321.0).abs() < 1e-6, "{law:?}: {raw}");
        }
        assert_eq!(Scaling::Poly(vec![0.0, 1.0, 1.0]).invert(2.0), None);
        assert_eq!(Scaling::Pow10 { a: 1.0, b: 0.0 }.invert(-1.0), None);
    }
}
