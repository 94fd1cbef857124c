//! Reading a stream back: `GET /tool-state/{data_id}/timeseries/`.
//!
//! A day of many channels is a gigabyte of JSON, so the answer is read as it comes: one channel at a time is in memory.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use tokio::sync::mpsc;

use super::client::{Client, transport};
use super::reply::Reply;
use super::{Platform, PlatformError};

/// The longest wait for the next part of the answer. The platform puts a long series together before it begins.
const NEXT_PART: Duration = Duration::from_secs(120);

/// The longest whole answer.
const WHOLE: Duration = Duration::from_secs(4 * 3_600);

/// Parts that wait to be read.
const WAITING_PARTS: usize = 16;

/// Largest answer that is read where it says why there is no series.
const LARGEST_REFUSAL: usize = 1 << 20;

/// A channel as the platform has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSeries {
    /// Its name.
    pub channel: String,
    /// Its unit.
    pub units: Option<String>,
    /// Unix time in whole milliseconds, and value; empty places are left out. A value can be missing.
    pub points: Vec<(i64, Option<f64>)>,
}

/// A platform that can be read back. Apart from [`Platform`], which is what uploading needs.
pub trait ReadBack: Platform {
    /// Reads a stream back, channel by channel, in the platform's order.
    fn timeseries(
        &self,
        data_id: &str,
        take: impl FnMut(StoredSeries) + Send + 'static,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;
}

impl ReadBack for Client {
    async fn timeseries(
        &self,
        data_id: &str,
        take: impl FnMut(StoredSeries) + Send + 'static,
    ) -> Result<(), PlatformError> {
        let asked = tokio::time::timeout(NEXT_PART, self.get_timeseries(data_id, WHOLE));
        let mut response = asked.await.map_err(|_| PlatformError::TimedOut)??;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            let headers = response.headers().clone();
            let mut body = Vec::new();
            while let Some(part) = response.chunk().await.map_err(transport)?
                && body.len() < LARGEST_REFUSAL
            {
                body.extend_from_slice(&part);
            }
            let reply = Reply { status, headers, body: self.redacted(body) };
            return reply.json().and(Ok(()));
        }
        let (parts, received) = mpsc::channel(WAITING_PARTS);
        let parsing = tokio::task::spawn_blocking(move || parse(Parts { received, part: Vec::new(), at: 0 }, take));
        let mut cut = None;
        loop {
            match tokio::time::timeout(NEXT_PART, response.chunk()).await {
                Ok(Ok(Some(part))) => {
                    if parts.send(part.to_vec()).await.is_err() {
                        break;
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    cut = Some(transport(error));
                    break;
                }
                Err(_) => {
                    cut = Some(PlatformError::TimedOut);
                    break;
                }
            }
        }
        drop(parts);
        let parsed = parsing.await.unwrap_or_else(|_| Err("it could not be read to its end".to_owned()));
        match (cut, parsed) {
            (Some(error), _) => Err(error),
            (None, Err(what)) => Err(PlatformError::BadReply { what }),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// The answer's parts as one stream of bytes.
struct Parts {
    received: mpsc::Receiver<Vec<u8>>,
    part: Vec<u8>,
    at: usize,
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut rest = self.part.get(self.at..).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.read(into)?;
                self.at += count;
                return Ok(count);
            }
            match self.received.blocking_recv() {
                Some(part) => (self.part, self.at) = (part, 0),
                None => return Ok(0),
            }
        }
    }
}

fn parse(from: impl Read, take: impl FnMut(StoredSeries)) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(1 << 16, from));
    let found = Answer { take }.deserialize(&mut reader).and_then(|found| reader.end().and(Ok(found)));
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err("expected `properties`".to_owned()),
        Err(error) => Err(format!("expected a series for each channel: {error}")),
    }
}

/// The outer object: `{"properties": {...}}`. Says whether they were there.
struct Answer<F> {
    take: F,
}

impl<'de, F: FnMut(StoredSeries)> DeserializeSeed<'de> for Answer<F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(StoredSeries)> Visitor<'de> for Answer<F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `properties`")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "properties" {
                map.next_value_seed(Properties { take: &mut self.take })?;
                found = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The inner object: a series by name.
struct Properties<'a, F> {
    take: &'a mut F,
}

/// A series as it is sent. Nothing in it has to be there; what is not of equal length ends with the shortest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Property {
    unix_timestamp_ms: Vec<Option<f64>>,
    values: Vec<Option<f64>>,
    units: Option<String>,
}

impl<'de, F: FnMut(StoredSeries)> DeserializeSeed<'de> for Properties<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(StoredSeries)> Visitor<'de> for Properties<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a series for each channel")
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float saturates, and no clock goes beyond 64 bits of milliseconds"
    )]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((channel, property)) = map.next_entry::<String, Property>()? {
            let points = property.unix_timestamp_ms.iter().zip(&property.values);
            let points = points.filter_map(|(at, value)| Some(((*at)?.round() as i64, *value))).collect();
            (self.take)(StoredSeries { channel, units: property.units, points });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<StoredSeries>, String> {
        let mut taken = Vec::new();
        parse(text.as_bytes(), |series| taken.push(series)).map(|()| taken)
    }

    #[test]
    fn a_series_is_read_without_its_empty_places() {
        let text = r#"{"other": [1, {"a": 2}], "properties": {
            "T": {"relative_time_seconds": [0, null, 1], "unix_timestamp_ms": [1000, null, 2000], "values": [1.5, null, -3e-9], "units": "degC"},
            "p": {"unix_timestamp_ms": [1000], "values": [null], "units": null}}}"#;
        let expected = [
            StoredSeries {
                channel: "T".to_owned(),
                units: Some("degC".to_owned()),
                points: vec![(1_000, Some(1.5)), (2_000, Some(-3e-9))],
            },
            StoredSeries { channel: "p".to_owned(), units: None, points: vec![(1_000, None)] },
        ];
        assert_eq!(parsed(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_series_is_said() {
        for (text, words) in [
            ("{}", "expected `properties`"),
            ("[]", "an object with `properties`"),
            (r#"{"properties": {"T": {"values": ["x"]}}}"#, "expected f64"),
            (r#"{"properties": {"T": {"values": [1.5"#, "EOF"),
            (r#"{"properties": {}} more"#, "trailing"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
