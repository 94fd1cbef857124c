//! The table of calls, and their handlers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode, Uri, header};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};

use super::Call;
use super::control;
use super::gate;
use super::not_here;
use super::platform::Platform;
use super::refusal::Refusal;
use super::search;
use super::store::{Entry, Instrument, Landed, NewInstrument, Project, Sample, StreamIds, Tag, TimeSeries};
use super::wire::{ChunkBody, InitializeBody, MultiBody, Sent};

pub(super) type Shared = State<Arc<Platform>>;
pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// Two names of the same calls: the one that the vendor's software uses, and the one in the vendor's documentation.
const PREFIXES: [&str; 2] = ["tool-state", "metrology"];

/// Every call of the API.
pub(super) fn routes(platform: &Arc<Platform>) -> Router {
    let gated = |call: Call, handler: MethodRouter<Arc<Platform>>| gated(platform, call, handler);
    let mut routes = Router::new();
    for prefix in PREFIXES {
        routes = routes
            .route(&format!("/{prefix}/stream/initialize"), gated(Call::Initialize, post(initialize)))
            .route(&format!("/{prefix}/stream/chunk"), gated(Call::Chunk, post(chunk)))
            .route(&format!("/{prefix}/stream/chunk/multi"), gated(Call::ChunkMulti, post(chunk_multi)))
            .route(&format!("/{prefix}/stream/{{data_id}}/finalize"), gated(Call::Finalize, post(finalize)))
            .route(&format!("/{prefix}/{{data_id}}/timeseries/"), gated(Call::ReadBack, get(read_back)));
    }
    routes
        .route("/gateway/time", gated(Call::Time, get(time)))
        .route(
            "/instruments/synthesis",
            gated(Call::ListInstruments, get(list_instruments))
                .merge(gated(Call::CreateInstrument, post(create_instrument)))
                .merge(gated(Call::DeleteInstruments, delete(delete_instruments))),
        )
        .route(
            "/physical_samples/",
            gated(Call::ListSamples, get(list_samples)).merge(gated(Call::CreateSample, post(create_sample))),
        )
        .route("/data_entries/", gated(Call::ListEntries, get(list_entries)))
        .route("/projects/", gated(Call::ListProjects, get(list_projects)))
        .route("/projects/{project_id}/physical_samples", gated(Call::ListProjects, get(list_samples_of_project)))
        .route("/data_entries/physical_sample", gated(Call::LinkSample, post(link_sample)))
        .route("/projects/{project_id}/configuration/tracking_samples", gated(Call::TrackSample, post(track_sample)))
        .route("/tags/", gated(Call::ListTags, get(list_tags)).merge(gated(Call::CreateTag, post(create_tag))))
        .route("/tags/data-items/", gated(Call::AttachTags, post(attach_tags)))
        .merge(not_here::routes(platform))
        .fallback_service(gated(Call::Unknown, axum::routing::any(unknown)).with_state(Arc::clone(platform)))
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(platform))
        .merge(control::routes(platform))
}

/// A handler behind what every request passes.
pub(super) fn gated(
    platform: &Arc<Platform>,
    call: Call,
    handler: MethodRouter<Arc<Platform>>,
) -> MethodRouter<Arc<Platform>> {
    handler.layer(middleware::from_fn_with_state((Arc::clone(platform), call), gate::pass))
}

/// The part of a path that a route leaves open.
#[derive(Debug)]
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<String>::from_request_parts(head, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(rejection) => Err(Refusal::new(rejection.status(), rejection.body_text())),
        }
    }
}

async fn unknown(method: Method, uri: Uri) -> Refusal {
    Refusal::unknown(format!("this platform has no call {method} {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

async fn initialize(State(platform): Shared, Sent(body): Sent<InitializeBody>) -> Answer<StreamIds> {
    let (ids, number) = platform.transact(move |with, view| view.create(with, &body)).await?;
    platform.newest_stream.fetch_max(number, Ordering::Relaxed);
    Ok(Json(ids))
}

async fn chunk(State(platform): Shared, Sent(body): Sent<ChunkBody>) -> Answer<Option<Landed>> {
    let chunk = body.checked()?;
    let landed = platform.transact(move |with, view| view.put(with, &chunk)).await?;
    Ok(Json(landed.into_iter().next()))
}

async fn chunk_multi(State(platform): Shared, Sent(body): Sent<MultiBody>) -> Answer<Vec<Landed>> {
    let chunk = body.checked()?;
    platform.transact(move |with, view| view.put(with, &chunk)).await.map(Json)
}

async fn finalize(State(platform): Shared, Segment(data_id): Segment) -> Answer<StreamIds> {
    platform.transact(move |with, view| view.finalize(with, &data_id)).await.map(Json)
}

async fn read_back(State(platform): Shared, Segment(data_id): Segment) -> Answer<TimeSeries> {
    let read = platform.transact(move |from, view| {
        let stream = view.number(from, &data_id)?;
        Ok(TimeSeries::read(from, stream)?)
    });
    read.await.map(Json)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Time {
    received_at_unix_ms: f64,
    transmitted_at_unix_ms: f64,
}

async fn time(State(platform): Shared) -> ([(HeaderName, &'static str); 1], Json<Time>) {
    let received_at_unix_ms = platform.reference_unix_ms();
    let time = Time { received_at_unix_ms, transmitted_at_unix_ms: platform.reference_unix_ms() };
    ([(header::CACHE_CONTROL, "no-store")], Json(time))
}

async fn list_instruments(State(platform): Shared) -> Answer<Vec<Instrument>> {
    platform.transact(|from, _| Instrument::list(from)).await.map(Json)
}

#[derive(Debug, Serialize)]
struct InstrumentCreated {
    synth_source_id: i64,
}

async fn create_instrument(State(platform): Shared, Sent(new): Sent<NewInstrument>) -> Answer<InstrumentCreated> {
    let synth_source_id = platform.transact(move |with, _| Instrument::create(with, &new)).await?;
    Ok(Json(InstrumentCreated { synth_source_id }))
}

async fn delete_instruments(
    State(platform): Shared,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<StatusCode, Refusal> {
    let mut ids = Vec::new();
    for (name, value) in parameters {
        if name == "synthesis_instrument_ids" {
            let id: i64 = value
                .parse()
                .map_err(|_| Refusal::invalid(format!("synthesis_instrument_ids is `{value}`, expected a number")))?;
            ids.push(id);
        }
    }
    if ids.is_empty() {
        return Err(Refusal::invalid("synthesis_instrument_ids is missing, expected the number of an instrument"));
    }
    platform.transact(move |with, _| ids.iter().try_for_each(|id| Instrument::delete(with, *id))).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_samples(State(platform): Shared, Query(parameters): Query<Vec<(String, String)>>) -> Answer<Vec<Sample>> {
    let only = parameters.into_iter().find(|(name, _)| name == "physical_sample_id").map(|(_, id)| id);
    platform.transact(move |from, _| Sample::list(from, only.as_deref(), None)).await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with a name")]
struct NamedBody {
    name: String,
}

#[derive(Debug, Serialize)]
struct SampleCreated {
    physical_sample_id: String,
    /// The same under its older name, which the vendor's Python client still reads.
    id: String,
}

async fn create_sample(State(platform): Shared, Sent(body): Sent<NamedBody>) -> Answer<SampleCreated> {
    let id = platform.transact(move |with, view| Sample::create(with, &body.name, view.now_ms)).await?;
    Ok(Json(SampleCreated { physical_sample_id: id.clone(), id }))
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with data_ids and physical_sample_id")]
struct LinkBody {
    data_ids: Vec<String>,
    physical_sample_id: String,
}

/// What a call answers that has nothing to tell.
#[derive(Debug, Serialize)]
struct Done {}

async fn link_sample(State(platform): Shared, Sent(body): Sent<LinkBody>) -> Answer<Done> {
    let link = platform.transact(move |with, view| Sample::link(with, view, &body.physical_sample_id, &body.data_ids));
    link.await.map(|()| Json(Done {}))
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with physical_sample_id and set_active")]
struct TrackBody {
    physical_sample_id: String,
    #[serde(default)]
    set_active: bool,
}

async fn track_sample(State(platform): Shared, Segment(project): Segment, Sent(body): Sent<TrackBody>) -> Answer<Done> {
    let track =
        platform.transact(move |with, _| Sample::track(with, &body.physical_sample_id, &project, body.set_active));
    track.await.map(|()| Json(Done {}))
}

async fn list_tags(State(platform): Shared) -> Answer<Vec<Tag>> {
    platform.transact(|from, _| Tag::list(from)).await.map(Json)
}

#[derive(Debug, Serialize)]
struct TagCreated {
    id: String,
}

async fn create_tag(State(platform): Shared, Sent(body): Sent<NamedBody>) -> Answer<TagCreated> {
    let id = platform.transact(move |with, _| Tag::create(with, &body.name)).await?;
    Ok(Json(TagCreated { id }))
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with data_ids and tag_ids")]
struct AttachBody {
    data_ids: Vec<String>,
    tag_ids: Vec<String>,
}

async fn attach_tags(State(platform): Shared, Sent(body): Sent<AttachBody>) -> Answer<Done> {
    let attach = platform.transact(move |with, view| Tag::attach(with, view, &body.tag_ids, &body.data_ids));
    attach.await.map(|()| Json(Done {}))
}

async fn list_entries(State(platform): Shared, Query(parameters): Query<Vec<(String, String)>>) -> Answer<Vec<Entry>> {
    let filter = search::filter(parameters)?;
    platform.transact(move |from, view| Entry::list(from, view, &filter)).await.map(Json)
}

async fn list_projects(State(platform): Shared) -> Answer<Vec<Project>> {
    platform.transact(|from, _| Project::list(from)).await.map(Json)
}

async fn list_samples_of_project(State(platform): Shared, Segment(project): Segment) -> Answer<Vec<Sample>> {
    let list = platform.transact(move |from, _| {
        Project::expect(from, &project)?;
        Sample::list(from, None, Some(&project))
    });
    list.await.map(Json)
}
