//! Creating a stream with its sample, project and tags, in the order that leaves nothing half done.
//!
//! Sample and tags are resolved before the stream is created, so that a wrong one creates nothing; they are linked after.
//! Where linking fails, the stream is finalized and the error names it: a stream that no one can find by its sample must
//! not go on as if all were well.

use std::fmt;
use std::time::Duration;

use super::Named;
use super::Opened;
use super::Platform;
use super::PlatformError;
use crate::model::StreamSpec;

/// What was being linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStep {
    /// The physical sample.
    Sample,
    /// The sample, as one that the project tracks.
    Project,
    /// The tags.
    Tags,
}

impl fmt::Display for LinkStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sample => "physical sample",
            Self::Project => "project",
            Self::Tags => "tags",
        })
    }
}

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The samples can't be listed.
    #[error("could not list the platform's physical samples")]
    ListSamples(#[source] PlatformError),
    /// The sample is given by an id that the platform does not know.
    #[error("the platform has no physical sample with the id `{id}`; give its name to have it created")]
    NoSuchSample {
        /// The id.
        id: String,
    },
    /// The sample is given by a name, and can't be created.
    #[error("could not create the physical sample `{name}`")]
    CreateSample {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: PlatformError,
    },
    /// The tags can't be listed.
    #[error("could not list the platform's tags")]
    ListTags(#[source] PlatformError),
    /// A tag is given by an id that the platform does not know.
    #[error("the platform has no tag with the id `{id}`; give its name to have it created")]
    NoSuchTag {
        /// The id.
        id: String,
    },
    /// A tag is given by a name, and can't be created.
    #[error("could not create the tag `{name}`")]
    CreateTag {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: PlatformError,
    },
    /// The stream itself was not created.
    #[error("could not create the stream")]
    Create(#[source] PlatformError),
    /// The stream was created, could not be linked, and takes no data.
    #[error("could not link the {step} to the stream `{data_id}`, which was {}", if *finalized { "finalized" } else { "left open" })]
    Link {
        /// The stream.
        data_id: String,
        /// What was being linked.
        step: LinkStep,
        /// Whether the stream could be finalized; if not, the platform ends it by itself after two hours.
        finalized: bool,
        /// Why.
        #[source]
        source: PlatformError,
    },
}

impl OpenError {
    /// What the platform (or the way to it) said; none where it simply does not have what is named.
    pub fn platform(&self) -> Option<&PlatformError> {
        match self {
            Self::ListSamples(source)
            | Self::ListTags(source)
            | Self::Create(source)
            | Self::CreateSample { source, .. }
            | Self::CreateTag { source, .. }
            | Self::Link { source, .. } => Some(source),
            Self::NoSuchSample { .. } | Self::NoSuchTag { .. } => None,
        }
    }

    /// Whether the same may pass later without anything being changed.
    pub fn is_transient(&self) -> bool {
        self.platform().is_some_and(PlatformError::is_transient)
    }

    /// How long the platform asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.platform().and_then(PlatformError::retry_after)
    }
}

/// Creates a stream and links it to what its specification names.
///
/// A sample or tag is a name or a UUID; white space around it is dropped, a blank one is none. A UUID has to exist, a name
/// is compared without regard to case and created where it is missing. Where creation fails, the list is read once more:
/// somebody else may have been faster.
pub async fn open_stream(platform: &dyn Platform, spec: &StreamSpec) -> Result<Opened, OpenError> {
    let sample = match spec.physical_sample.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Some(resolve_sample(platform, text).await?),
        None => None,
    };
    let tags = resolve_tags(platform, &spec.tags).await?;
    let opened = platform.initialize(spec).await.map_err(OpenError::Create)?;
    match link(platform, &opened.data_id, spec, sample.as_deref(), &tags).await {
        Ok(()) => Ok(opened),
        Err((step, source)) => {
            let finalized = platform.finalize(&opened.data_id).await.is_ok();
            Err(OpenError::Link { data_id: opened.data_id, step, finalized, source })
        }
    }
}

async fn link(
    platform: &dyn Platform,
    data_id: &str,
    spec: &StreamSpec,
    sample: Option<&str>,
    tags: &[String],
) -> Result<(), (LinkStep, PlatformError)> {
    if let Some(sample) = sample {
        platform.link_physical_sample(data_id, sample).await.map_err(|error| (LinkStep::Sample, error))?;
        if let Some(project) = &spec.project_id {
            platform.track_sample(project, sample).await.map_err(|error| (LinkStep::Project, error))?;
        }
    }
    if !tags.is_empty() {
        platform.link_tags(data_id, tags).await.map_err(|error| (LinkStep::Tags, error))?;
    }
    Ok(())
}

async fn resolve_sample(platform: &dyn Platform, text: &str) -> Result<String, OpenError> {
    let known = platform.physical_samples().await.map_err(OpenError::ListSamples)?;
    if let Some(id) = find(&known, text) {
        return Ok(id);
    }
    if is_uuid(text) {
        return Err(OpenError::NoSuchSample { id: text.to_owned() });
    }
    match platform.create_physical_sample(text).await {
        Ok(id) => Ok(id),
        Err(source) => {
            let known = platform.physical_samples().await.map_err(OpenError::ListSamples)?;
            find(&known, text).ok_or_else(|| OpenError::CreateSample { name: text.to_owned(), source })
        }
    }
}

async fn resolve_tags(platform: &dyn Platform, tags: &[String]) -> Result<Vec<String>, OpenError> {
    let mut wanted: Vec<&str> = Vec::new();
    for tag in tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()) {
        if !wanted.iter().any(|earlier| same(earlier, tag)) {
            wanted.push(tag);
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known = platform.tags().await.map_err(OpenError::ListTags)?;
    // Ids first: where one does not exist, nothing at all is to be created.
    if let Some(id) = wanted.iter().find(|tag| is_uuid(tag) && find(&known, tag).is_none()) {
        return Err(OpenError::NoSuchTag { id: (*id).to_owned() });
    }
    let mut ids: Vec<String> = Vec::new();
    for tag in wanted {
        let id = match find(&known, tag) {
            Some(id) => id,
            None => create_tag(platform, tag).await?,
        };
        // A tag may be named twice: by its name and by its id.
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

async fn create_tag(platform: &dyn Platform, name: &str) -> Result<String, OpenError> {
    match platform.create_tag(name).await {
        Ok(id) => Ok(id),
        Err(source) => {
            let known = platform.tags().await.map_err(OpenError::ListTags)?;
            find(&known, name).ok_or_else(|| OpenError::CreateTag { name: name.to_owned(), source })
        }
    }
}

/// The id of the entry that has this id (for a UUID) or this name.
fn find(known: &[Named], text: &str) -> Option<String> {
    let by_id = is_uuid(text);
    known.iter().find(|entry| same(if by_id { &entry.id } else { &entry.name }, text)).map(|entry| entry.id.clone())
}

fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// Whether the text is a UUID as people write it: 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use mockall::Sequence;
    use mockall::predicate::eq;

    use super::*;
    use crate::atomscale::MockPlatform;

    const UUID: &str = "0188D9E2-1111-4222-8333-00000000000a";

    fn named(id: &str, name: &str) -> Named {
        Named { id: id.into(), name: name.into() }
    }

    fn spec(sample: &str, project: Option<&str>, tags: &[&str]) -> StreamSpec {
        StreamSpec {
            name: "run".into(),
            physical_sample: Some(sample.into()),
            project_id: project.map(Into::into),
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
            points_per_chunk: 100,
            ..StreamSpec::default()
        }
    }

    fn refused() -> PlatformError {
        PlatformError::Status { status: 400, words: "exists".into(), retry_after: None }
    }

    fn opened() -> Result<Opened, PlatformError> {
        Ok(Opened { data_id: "d-1".into() })
    }

    #[tokio::test]
    async fn sample_and_tags_are_resolved_before_the_stream_is_created_and_linked_after() {
        let mut platform = MockPlatform::new();
        let mut order = Sequence::new();
        platform
            .expect_physical_samples()
            .once()
            .in_sequence(&mut order)
            .returning(|| Ok(vec![named("s-0", "other"), named("s-1", " gan-001 ")]));
        platform.expect_tags().once().in_sequence(&mut order).returning(|| Ok(vec![named("t-1", "Growth")]));
        platform.expect_create_tag().with(eq("new")).once().in_sequence(&mut order).returning(|_| Ok("t-2".into()));
        platform.expect_initialize().once().in_sequence(&mut order).returning(|_| opened());
        platform
            .expect_link_physical_sample()
            .with(eq("d-1"), eq("s-1"))
            .once()
            .in_sequence(&mut order)
            .returning(|_, _| Ok(()));
        platform
            .expect_track_sample()
            .with(eq("p-1"), eq("s-1"))
            .once()
            .in_sequence(&mut order)
            .returning(|_, _| Ok(()));
        platform
            .expect_link_tags()
            .withf(|data_id, tags| data_id == "d-1" && tags == ["t-1", "t-2"])
            .once()
            .in_sequence(&mut order)
            .returning(|_, _| Ok(()));
        let spec = spec(" GaN-001", Some("p-1"), &["growth ", "", "new", "GROWTH", "NEW"]);
        assert_eq!(open_stream(&platform, &spec).await.unwrap().data_id, "d-1");
    }

    #[tokio::test]
    async fn without_sample_and_tags_there_is_one_request() {
        let mut platform = MockPlatform::new();
        platform.expect_initialize().once().returning(|_| opened());
        open_stream(&platform, &spec("  ", Some("p-1"), &[" "])).await.unwrap();
    }

    #[tokio::test]
    async fn an_unknown_id_creates_nothing() {
        let mut platform = MockPlatform::new();
        platform.expect_physical_samples().returning(|| Ok(vec![named("s-1", UUID)]));
        let error = open_stream(&platform, &spec(UUID, None, &[])).await.unwrap_err();
        assert!(matches!(error, OpenError::NoSuchSample { .. }) && !error.is_transient(), "{error}");

        let mut platform = MockPlatform::new();
        platform.expect_tags().once().returning(|| Ok(vec![]));
        let error = open_stream(&platform, &spec("", None, &["new", UUID])).await.unwrap_err();
        assert!(matches!(error, OpenError::NoSuchTag { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_known_id_is_found_whatever_its_case() {
        let mut platform = MockPlatform::new();
        platform.expect_physical_samples().returning(|| Ok(vec![named(&UUID.to_lowercase(), "x")]));
        platform.expect_initialize().returning(|_| opened());
        platform.expect_link_physical_sample().with(eq("d-1"), eq(UUID.to_lowercase())).once().returning(|_, _| Ok(()));
        open_stream(&platform, &spec(UUID, None, &[])).await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_creation_lists_once_more() {
        let mut platform = MockPlatform::new();
        let mut order = Sequence::new();
        platform.expect_physical_samples().once().in_sequence(&mut order).returning(|| Ok(vec![]));
        platform.expect_create_physical_sample().once().in_sequence(&mut order).returning(|_| Err(refused()));
        platform
            .expect_physical_samples()
            .once()
            .in_sequence(&mut order)
            .returning(|| Ok(vec![named("s-9", "gan-001")]));
        platform.expect_tags().once().in_sequence(&mut order).returning(|| Ok(vec![]));
        platform.expect_create_tag().once().in_sequence(&mut order).returning(|_| Err(refused()));
        platform.expect_tags().once().in_sequence(&mut order).returning(|| Ok(vec![]));
        let error = open_stream(&platform, &spec("GaN-001", None, &["growth"])).await.unwrap_err();
        assert_eq!(error.to_string(), "could not create the tag `growth`");
    }

    #[tokio::test]
    async fn a_stream_that_can_not_be_linked_is_finalized_and_named() {
        let mut platform = MockPlatform::new();
        platform.expect_physical_samples().returning(|| Ok(vec![named("s-1", "a")]));
        platform.expect_initialize().once().returning(|_| opened());
        platform.expect_link_physical_sample().once().returning(|_, _| Ok(()));
        platform.expect_track_sample().once().returning(|_, _| Err(refused()));
        platform.expect_finalize().with(eq("d-1")).once().returning(|_| Ok(()));
        let error = open_stream(&platform, &spec("a", Some("p"), &[])).await.unwrap_err();
        assert_eq!(error.to_string(), "could not link the project to the stream `d-1`, which was finalized");
        assert_eq!(error.platform().unwrap().words(), "exists");
    }

    #[test]
    fn uuids_are_told_from_names() {
        assert!(is_uuid(UUID));
        for name in ["GaN-001", "0188d9e2-1111-4222-8333-00000000000g", "0188d9e2111142228333000000000000", ""] {
            assert!(!is_uuid(name), "{name}");
        }
    }
}
