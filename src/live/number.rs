//! Numbers as people read them.

/// A number as people read it beside others of its kind: pressures span fifteen decades, temperatures do not. Four digits
/// that count, or more.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        format!("{value:.3e}")
    } else if size < 1.0 && size != 0.0 {
        format!("{value:.6}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_any_size_loses_its_digits() {
        for (value, shown) in [
            (0.0, "0.000"),
            (650.5, "650.500"),
            (-12.3456, "-12.346"),
            (0.001_234, "0.001234"),
            (1.2e-9, "1.200e-9"),
            (-4.5e7, "-4.500e7"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
