//! Values as people write them: durations, numbers, scalars.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};

/// A duration written as text: `"250ms"`, `"5s"`, `"10min"`, `"2h 30min"`. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

impl DurationText {
    /// Reads what a file would have to say; none for a text that is no duration, or a negative one.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: SignedDuration = text.trim().parse().ok()?;
        Duration::try_from(parsed).ok().map(Self)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = DurationText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"250ms\", \"5s\" or \"10min\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DurationText, E> {
        let wrong = || E::invalid_value(Unexpected::Str(text), &self);
        let parsed: SignedDuration = text.trim().parse().map_err(|_| wrong())?;
        if parsed.is_negative() {
            return Err(E::custom(format_args!("the duration `{text}` is negative")));
        }
        Duration::try_from(parsed).map(DurationText).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

/// A number, or text that becomes one when parameters are put in: `0.1`, `1`, `"1e-{decimals}"`.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// Written as a number.
    Plain(f64),
    /// Written as text.
    Text(String),
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        #[expect(clippy::cast_precision_loss, reason = "a coefficient in a file")]
        Ok(Number::Plain(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        if number.is_finite() {
            Ok(Number::Plain(number))
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &"a finite number"))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        Ok(Number::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// A value, or a text that becomes one when parameters are put in: `280`, `"{address}"`, `"CDAB"`, `"{order}"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open<T> {
    /// Written as it is.
    Plain(T),
    /// Written as text with parameters in braces.
    Text(String),
}

struct OpenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OpenVisitor<T> {
    type Value = Open<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value, or a text with `{parameters}`")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Open<T>, E> {
        T::deserialize(number.into_deserializer()).map(Open::Plain)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Open<T>, E> {
        if text.contains('{') {
            return Ok(Open::Text(text.to_owned()));
        }
        T::deserialize(text.into_deserializer()).map(Open::Plain)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OpenVisitor(PhantomData))
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a duration such as \"250ms\", \"5s\" or \"10min\"" })
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "number" },
            { "type": "string", "description": "a number once its `{parameters}` are put in" },
        ] })
    }
}

impl<T: JsonSchema> JsonSchema for Open<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Open{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            generator.subschema_for::<T>(),
            { "type": "string", "pattern": "[{]", "description": "a text with `{parameters}`" },
        ] })
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A text, number or truth value, kept as it was written except for its quotes.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// In quotes.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Whole(whole) => whole.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
        }
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(truth))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as Derive;

    use super::*;

    #[derive(Debug, Derive)]
    struct Shape {
        at: DurationText,
    }

    fn duration(written: &str) -> Result<Duration, String> {
        toml::from_str::<Shape>(&format!("at = {written}"))
            .map(|shape| shape.at.0)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn durations_have_a_unit_and_are_not_negative() {
        for (written, millis) in [
            ("\"250ms\"", 250),
            ("\"5s\"", 5_000),
            ("\"10min\"", 600_000),
            ("\"2h 30min\"", 9_000_000),
            ("\"1.5s\"", 1_500),
            ("\"24h\"", 86_400_000),
            ("\"0s\"", 0),
        ] {
            assert_eq!(duration(written), Ok(Duration::from_millis(millis)), "{written}");
        }
        assert_eq!(duration("\"-1s\""), Err("the duration `-1s` is negative".to_owned()));
        for wrong in ["5", "5.0", "\"5\"", "\"fast\"", "true"] {
            let error = duration(wrong).unwrap_err();
            assert!(error.contains("expected a duration such as \"250ms\""), "{wrong}: {error}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        #[derive(Debug, Derive)]
        struct Scale {
            scale: Number,
        }
        let scale = |written: &str| toml::from_str::<Scale>(&format!("scale = {written}")).map(|shape| shape.scale);
        assert_eq!(scale("1"), Ok(Number::Plain(1.0)));
        assert_eq!(scale("\"1e-{decimals}\""), Ok(Number::Text("1e-{decimals}".to_owned())));
        assert!(scale("nan").is_err() && scale("-inf").is_err() && scale("true").is_err());
    }
}
