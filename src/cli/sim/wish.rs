//! What somebody wants to be simulated, as it stands on the command line.

use std::str::FromStr;

/// `impac-upp:addr=01,unit=degC`, `eurotherm-3200@2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The id of the profile.
    pub(super) profile: String,
    pub(super) params: Vec<(String, String)>,
    /// The Modbus unit, if it is said.
    pub(super) unit: Option<u8>,
}

/// `temperature=650`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    /// The channel, with its instrument before a dot where there is more than one.
    pub(super) channel: String,
    pub(super) number: f64,
}

impl Wish {
    /// A name for it that none of these others has.
    pub(super) fn name<'a>(&self, others: impl Iterator<Item = &'a str> + Clone) -> String {
        let taken = |name: &str| others.clone().any(|other| other == name);
        let numbered = (2_u32..).map(|number| format!("{}-{number}", self.profile));
        std::iter::once(self.profile.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit_of = |unit: &str| match unit.parse::<u8>() {
            Ok(unit) if (1..=247).contains(&unit) => Ok(unit),
            _ => Err(format!("`{unit}` is no Modbus unit: a number from 1 to 247")),
        };
        // A parameter's value may hold an `@`.
        let (rest, unit) = match text.rsplit_once('@') {
            Some((rest, unit)) if !unit.contains('=') && !unit.contains(':') => (rest, Some(unit_of(unit)?)),
            _ => (text, None),
        };
        let (profile, params) = rest.split_once(':').unwrap_or((rest, ""));
        if profile.is_empty() {
            return Err("write the id of a profile; `mbe-bridge devices` lists them".to_owned());
        }
        let param = |text: &str| match text.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
            None => Err(format!("`{text}` is no parameter: write NAME=VALUE")),
        };
        let params = params.split(',').filter(|text| !text.is_empty()).map(param).collect::<Result<_, _>>()?;
        Ok(Self { profile: profile.to_owned(), params, unit })
    }
}

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (channel, number) = text.split_once('=').ok_or("write CHANNEL=NUMBER")?;
        let number = number.trim().parse().map_err(|_| format!("`{number}` is no number"))?;
        Ok(Self { channel: channel.trim().to_owned(), number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let wish: Wish = "impac-upp:addr=01,unit=K@7".parse().unwrap();
        let params = [("addr".to_owned(), "01".to_owned()), ("unit".to_owned(), "K".to_owned())];
        assert_eq!((wish.profile.as_str(), wish.params.as_slice(), wish.unit), ("impac-upp", &params[..], Some(7)));
        let plain: Wish = "mg15".parse().unwrap();
        assert_eq!((plain.unit, plain.params.len()), (None, 0));
        assert_eq!(plain.name(["mg15", "mg15-2"].into_iter()), "mg15-3");
        assert_eq!(plain.name(["x"].into_iter()), "mg15");
        assert_eq!("mg15@0".parse::<Wish>().unwrap_err(), "`0` is no Modbus unit: a number from 1 to 247");
        assert_eq!("a:b".parse::<Wish>().unwrap_err(), "`b` is no parameter: write NAME=VALUE");
        assert!("".parse::<Wish>().is_err());
        assert_eq!("t=1e-9".parse(), Ok(Value { channel: "t".to_owned(), number: 1e-9 }));
        assert!("t".parse::<Value>().is_err() && "t=x".parse::<Value>().is_err());
    }
}
