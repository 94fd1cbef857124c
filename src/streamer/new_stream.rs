//! What a stream is created with.

use crate::model::StreamSpec;

/// What a stream is created with. Everything may be left out.
///
/// ```
/// use mbe_bridge::streamer::NewStream;
///
/// let stream = NewStream::new().name("MBE growth").physical_sample("GaN-001").synth_source_id(42).tags(["night shift"]);
/// # drop(stream);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewStream {
    name: Option<String>,
    synth_source_id: Option<i64>,
    physical_sample: Option<String>,
    project_id: Option<String>,
    tags: Vec<String>,
}

impl NewStream {
    /// A stream without a name or links.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text that people find it by.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The growth instrument, by its number: see
    /// [`list_growth_instruments`](super::TimeseriesStreamer::list_growth_instruments).
    #[must_use]
    pub fn synth_source_id(mut self, id: i64) -> Self {
        self.synth_source_id = Some(id);
        self
    }

    /// Name or UUID of the sample. A name that the platform does not know is created; a UUID has to exist.
    #[must_use]
    pub fn physical_sample(mut self, sample: impl Into<String>) -> Self {
        self.physical_sample = Some(sample.into());
        self
    }

    /// The project, by its UUID; with a sample, the sample becomes the one that the project tracks.
    #[must_use]
    pub fn project_id(mut self, project: impl Into<String>) -> Self {
        self.project_id = Some(project.into());
        self
    }

    /// Names or UUIDs of tags. Names that the platform does not know are created; UUIDs have to exist.
    #[must_use]
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn spec(self, points_per_chunk: usize) -> StreamSpec {
        StreamSpec {
            name: self.name.unwrap_or_default(),
            synth_source_id: self.synth_source_id,
            physical_sample: self.physical_sample,
            project_id: self.project_id,
            tags: self.tags,
            points_per_chunk,
        }
    }
}
