//! Units in the names of columns: `T (degC)`, `p [mbar]`, `T / K`.

/// Words that are units between round brackets, where `(upper)` is none.
const KNOWN: &[&str] = &[
    "C", "°C", "degC", "deg C", "deg. C", "K", "F", "°F", "degF", "mK", "mbar", "bar", "Torr", "torr", "mTorr", "Pa",
    "hPa", "kPa", "MPa", "psi", "atm", "V", "mV", "uV", "µV", "kV", "A", "mA", "uA", "µA", "nA", "pA", "W", "mW", "kW",
    "VA", "%", "ppm", "ppb", "d", "h", "min", "s", "sec", "ms", "us", "µs", "ns", "Hz", "kHz", "MHz", "GHz", "rpm",
    "RPM", "1/min", "1/s", "sccm", "SCCM", "slm", "SLM", "ml/min", "mL/min", "l/min", "L/min", "m", "cm", "mm", "um",
    "µm", "nm", "Å", "A/s", "Å/s", "nm/s", "nm/min", "um/h", "µm/h", "ML", "ML/s", "K/min", "K/s", "°C/min", "C/min",
    "°C/s", "a.u.", "arb. u.", "arb.", "counts", "cts", "cps", "ohm", "Ω", "kΩ", "MΩ", "kohm", "Mohm", "deg", "°",
    "rad", "g", "mg", "kg", "N", "J", "eV", "meV", "keV", "T", "mT", "G", "dB", "dBm", "l", "L", "ml", "mL", "l/h",
    "m3/h", "m/s", "1", "-",
];

/// A name of a column apart from its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) name: String,
    pub(super) unit: Option<String>,
}

impl Heading {
    /// Takes a heading apart. Square brackets always hold a unit, round ones if the word is known as one.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let split = bracketed(&text, '[', ']')
            .or_else(|| bracketed(&text, '(', ')').filter(|(_, unit)| is_unit(unit)))
            .or_else(|| text.rsplit_once(" / ").filter(|(_, unit)| is_unit(unit)))
            .filter(|(name, _)| !name.trim().is_empty());
        match split {
            Some((name, unit)) => Self { name: name.trim().to_owned(), unit: meant(unit) },
            None => Self { name: text, unit: None },
        }
    }
}

fn bracketed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_suffix(close)?.rsplit_once(open)
}

/// Whether a word is a unit that labs write.
pub(super) fn is_unit(text: &str) -> bool {
    // Two characters look like the micro sign, two like the ring above A.
    let text = text.trim().replace('μ', "µ").replace('\u{212b}', "Å");
    KNOWN.contains(&text.as_str())
}

/// A unit as the platform gets it; none for a word that says that there is none.
pub(super) fn meant(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['[', ']', '(', ')']).trim();
    (!matches!(text, "" | "-" | "1")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_told_from_a_remark() {
        let cases = [
            ("T (degC)", "T", Some("degC")),
            ("p [mbar]", "p", Some("mbar")),
            ("Temperatur / °C", "Temperatur", Some("°C")),
            ("cell\n temperature (upper)", "cell temperature (upper)", None),
            ("cell [arbitrary]", "cell", Some("arbitrary")),
            ("flow(sccm)", "flow", Some("sccm")),
            ("emissivity [-]", "emissivity", None),
            ("on/off", "on/off", None),
            ("(degC)", "(degC)", None),
            ("rate (μm/h)", "rate", Some("μm/h")),
        ];
        for (text, name, unit) in cases {
            assert_eq!(
                Heading::parse(text),
                Heading { name: name.to_owned(), unit: unit.map(str::to_owned) },
                "{text}"
            );
        }
    }
}
