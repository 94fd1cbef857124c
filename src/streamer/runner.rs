//! Generator mode: chunks of one channel, numbered and cut here.

use super::core::Core;
use super::stream::Stream;
use super::{Error, Ran, Series};

/// What is sent in one call of [`run`](super::TimeseriesStreamer::run).
pub(super) struct Runner<'a> {
    core: &'a Core,
    stream: &'a Stream,
    channel: &'a str,
    units: Option<&'a str>,
    ran: Ran,
}

impl<'a> Runner<'a> {
    pub(super) fn new(core: &'a Core, stream: &'a Stream, channel: &'a str, units: Option<&'a str>) -> Self {
        let first = stream.next_index(channel);
        let ran = Ran { chunks: 0, points: 0, first_chunk_index: first, next_chunk_index: first };
        Self { core, stream, channel, units, ran }
    }

    /// Sends some of it. Chunks that are on their way to the disk together share its syncs; what comes too fast for the disk
    /// waits.
    pub(super) async fn give(&mut self, timestamps: &[f64], values: &[f64]) -> Result<(), Error> {
        let lengths = (timestamps.len(), values.len());
        if lengths.0 != lengths.1 {
            return Err(Error::Lengths { channel: self.channel.to_owned(), timestamps: lengths.0, values: lengths.1 });
        }
        let most = self.stream.points_per_chunk();
        for (timestamps, values) in timestamps.chunks(most).zip(values.chunks(most)) {
            let series = [Series { name: self.channel, timestamps, values, units: self.units }];
            let Some(chunk) = self.stream.chunk(self.ran.next_chunk_index, &series, self.core.shift_nanos())? else {
                continue;
            };
            self.ran.chunks += 1;
            self.ran.points += chunk.points() as u64;
            self.ran.next_chunk_index += 1;
            match self.stream.accept(chunk.clone()) {
                Err(Error::TooFarBehind { .. }) => self.stream.give(chunk).await?,
                accepted => accepted?,
            };
        }
        Ok(())
    }

    /// What was sent.
    pub(super) fn ran(self) -> Ran {
        self.ran
    }
}
