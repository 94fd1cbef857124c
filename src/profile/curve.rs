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

    /// A raw number that gives this number, if there is one; of several, the least one that is not negative.
    pub fn invert(&self, value: f64) -> Option<f64> {
        match self {
            Self::Linear { scale, offset } => (*scale != 0.0).then(|| (value - offset) / scale),
            Self::Pow10 { a, b } => (*a != 0.0 && value > 0.0).then(|| (value.log10() - b) / a),
            Self::Poly(c) => match c.as_slice() {
                [offset, scale] if *scale != 0.0 => Some((value - offset) / scale),
                [constant, rest @ ..] => {
                    let shifted = [&[constant - value], rest].concat();
                    let roots = roots(&shifted);
                    roots.iter().copied().find(|raw| *raw >= 0.0).or_else(|| roots.last().copied())
                }
                [] => None,
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

/// The real roots of a polynomial, rising. Between two roots of its derivative there is at most one, found by halving;
/// none where it only touches zero between two steps of `f64`.
fn roots(c: &[f64]) -> Vec<f64> {
    let degree = c.iter().rposition(|c| *c != 0.0).unwrap_or(0);
    let (Some(leading), Some(lower)) = (c.get(degree), c.get(..degree)) else { return Vec::new() };
    if degree == 0 {
        return Vec::new();
    }
    let at = |x: f64| lower.iter().rev().fold(*leading, |sum, c| sum * x + c);
    // Cauchy's bound: no root lies farther from zero.
    let bound = 1.0 + lower.iter().map(|c| (c / leading).abs()).fold(0.0, f64::max);
    if !bound.is_finite() {
        return Vec::new();
    }
    let derivative: Vec<f64> = (1_u32..).zip(c.iter().skip(1)).map(|(power, c)| f64::from(power) * c).collect();
    let mut edges = vec![-bound];
    edges.extend(roots(&derivative).into_iter().filter(|x| x.abs() < bound));
    edges.push(bound);
    let mut found: Vec<f64> = Vec::new();
    for (low, high) in edges.iter().zip(edges.iter().skip(1)) {
        if let Some(root) = crossing(&at, *low, *high)
            && found.last() != Some(&root)
        {
            found.push(root);
        }
    }
    found
}

/// Where a function that rises or falls throughout crosses zero, to the last bit.
fn crossing(at: &impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> Option<f64> {
    if at(low) == 0.0 {
        return Some(low);
    }
    if at(high) == 0.0 {
        return Some(high);
    }
    let below = at(low) < 0.0;
    if below == (at(high) < 0.0) {
        return None;
    }
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return Some(middle);
        }
        if (at(middle) < 0.0) == below { low = middle } else { high = middle }
    }
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn a_polynomial_is_inverted_wherever_it_has_an_answer(
            c in prop::collection::vec(-100.0..100.0_f64, 1..6),
            raw in -1e4..1e4_f64,
        ) {
            let law = Scaling::Poly(c.clone());
            let value = law.apply(raw).unwrap();
            // Where the curve is all but flat, no step of f64 may hit the value: there is an answer to within a rounding.
            let scale = c.iter().rev().fold(0.0, |sum: f64, c| sum * raw.abs() + c.abs());
            if let Some(found) = law.invert(value) {
                let reached = law.apply(found).unwrap();
                let room = 1e-9 * c.iter().rev().fold(scale, |sum: f64, c| sum.max(c.abs() * found.abs().max(1.0)));
                prop_assert!((reached - value).abs() <= room.max(1e-6 * value.abs()), "{found} gives {reached}, not {value}");
            }
        }

        #[test]
        fn a_rising_polynomial_is_inverted_back_to_where_it_came_from(
            c in prop::collection::vec(0.01..10.0_f64, 2..6),
            raw in 0.0..65535.0_f64,
        ) {
            let law = Scaling::Poly(c);
            let found = law.invert(law.apply(raw).unwrap()).unwrap();
            prop_assert!((found - raw).abs() <= 1e-6 * raw.max(1.0), "{found} for {raw}");
        }
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
        assert_eq!(Scaling::Poly(vec![0.0, 1.0, 1.0]).invert(2.0), Some(1.0), "of 1 and -2");
        assert_eq!(Scaling::Poly(vec![1.0, 0.0, 1.0]).invert(0.5), None, "x^2 + 1 is never 0.5");
        assert_eq!(Scaling::Poly(vec![7.0]).invert(7.0), None, "every raw number gives 7");
        assert_eq!(Scaling::Poly(vec![7.0, 0.0, 0.0]).invert(7.0), None);
        assert_eq!(Scaling::Pow10 { a: 1.0, b: 0.0 }.invert(-1.0), None);
    }
}
