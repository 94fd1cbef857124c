//! The content of chunks, for runs that ask whether what arrives is what was sent.

use serde_json::Value;

/// Sums that don't depend on the order of arrival. Both wrap around.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) points: u64,
    /// Sum of the bits of every value.
    pub(crate) values: u64,
    /// Sum of the bits of every stamp.
    pub(crate) stamps: u64,
}

impl Content {
    /// Adds what a body holds; None if it is not a chunk of equally many finite stamps and values.
    pub(crate) fn add(&mut self, body: &[u8]) -> Option<()> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let mut sum = *self;
        match body.get("channels") {
            Some(Value::Object(channels)) => channels.values().try_for_each(|series| sum.add_series(series))?,
            Some(_) => return None,
            None => sum.add_series(&body)?,
        }
        *self = sum;
        Some(())
    }

    fn add_series(&mut self, series: &Value) -> Option<()> {
        let (stamps, values) = (series.get("timestamps")?.as_array()?, series.get("values")?.as_array()?);
        if stamps.len() != values.len() {
            return None;
        }
        for (stamp, value) in stamps.iter().zip(values) {
            self.stamps = self.stamps.wrapping_add(stamp.as_f64()?.to_bits());
            self.values = self.values.wrapping_add(value.as_f64()?.to_bits());
            self.points += 1;
        }
        Some(())
    }
}
