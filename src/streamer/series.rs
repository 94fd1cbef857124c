//! One channel's part of a push.

/// One channel's part of a [`push_multi`](super::TimeseriesStreamer::push_multi).
///
/// Channels that share a time axis are best given the same slice of timestamps: it is then checked, converted and stored once.
///
/// ```
/// use mbe_bridge::streamer::Series;
///
/// let (timestamps, values) = ([1_795_357_081.0, 1_795_357_081.1], [25.0, 25.01]);
/// let series = Series::new("temperature", &timestamps, &values).units("C");
/// # drop(series);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series<'a> {
    /// The channel's name, 1 to 255 characters.
    pub name: &'a str,
    /// Unix time in seconds, by this computer's clock.
    pub timestamps: &'a [f64],
    /// As many numbers as there are timestamps. One that is NaN or infinite is a missing point.
    pub values: &'a [f64],
    /// The unit of the values.
    pub units: Option<&'a str>,
}

impl<'a> Series<'a> {
    /// A series of plain numbers.
    pub fn new(name: &'a str, timestamps: &'a [f64], values: &'a [f64]) -> Self {
        Self { name, timestamps, values, units: None }
    }

    /// The same with a unit.
    #[must_use]
    pub fn units(mut self, units: &'a str) -> Self {
        self.units = Some(units);
        self
    }
}
