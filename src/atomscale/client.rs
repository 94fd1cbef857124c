//! The platform over HTTP.

use std::fmt;
use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::Method;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde_json::Value;

use super::ApiKey;
use super::ChannelTotal;
use super::GatewayTime;
use super::GrowthInstrument;
use super::Named;
use super::NewGrowthInstrument;
use super::Opened;
use super::Platform;
use super::PlatformError;
use super::SetUpError;
use super::Settings;
use super::encode;
use super::redirect;
use super::reply::Reply;
use super::wire;
use crate::model::Chunk;
use crate::model::ChunkChannel;
use crate::model::StreamSpec;
use crate::model::is_loopback;

/// Largest answer that is read: a list of some 100,000 samples. A larger one is not the platform's.
const LARGEST_REPLY: usize = 16 << 20;

/// An idle connection is closed after this long, before the minute after which load balancers close theirs: a request
/// that meets a connection just closed by the other side fails without need.
const IDLE: Duration = Duration::from_secs(50);

/// All requests of HTTP/2 share a connection. One that is dead without a word (a firewall that has forgotten it) would take one
/// request after the other until the system gives it up, which takes a quarter of an hour: so it is asked this often, and
/// given up when it does not answer for as long.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Chooses the process's TLS provider, once: without one, every HTTP client panics when it is built.
pub fn prepare_tls() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another part of the process has just installed a TLS provider");
    }
}

/// The platform's API on kept-alive connections: HTTP/2 where a TLS server offers it, else HTTP/1.1. Cheap to share behind an `Arc`.
pub struct Client {
    http: reqwest::Client,
    /// A connection of its own: a measurement of the clock must not wait behind chunks, nor open a connection.
    clock: reqwest::Client,
    base: Url,
    stream_path: String,
    /// Where chunks go: the address of nearly every request.
    multi: Url,
    api_key: ApiKey,
    api_key_header: HeaderValue,
}

impl Client {
    /// Prepares a client. Nothing is sent, no name is resolved.
    pub fn new(settings: &Settings) -> Result<Self, SetUpError> {
        prepare_tls();
        let base = endpoint(&settings.endpoint)?;
        let http = builder(settings, &base)
            .timeout(settings.timeout)
            .pool_max_idle_per_host(settings.idle_connections)
            .build()
            .map_err(SetUpError::Https)?;
        let clock = builder(settings, &base)
            .timeout(settings.clock_timeout)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(SetUpError::Https)?;
        let stream_path = settings.stream_path.trim_matches('/').to_owned();
        Ok(Self {
            http,
            clock,
            multi: url(&base, &stream_path, None, "chunk/multi"),
            base,
            stream_path,
            api_key_header: settings.api_key.header()?,
            api_key: settings.api_key.clone(),
        })
    }

    /// The address of a call: the endpoint's own path, then these segments. Slashes inside an id are escaped.
    fn url(&self, path: &str, id: Option<&str>, tail: &str) -> Url {
        url(&self.base, path, id, tail)
    }

    fn stream_url(&self, id: Option<&str>, tail: &str) -> Url {
        self.url(&self.stream_path, id, tail)
    }

    /// One request with the key; the whole answer, whatever its status.
    async fn send(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Reply, PlatformError> {
        let mut request = self.http.request(method, url).header("X-API-KEY", self.api_key_header.clone());
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut reply = read(request.send().await).await?;
        // What an answer says may be shown to people; a platform that repeats the key must not make us print it.
        reply.body = self.api_key.redact(reply.body);
        Ok(reply)
    }

    /// Asks for a whole stream; the answer is read by the caller, part by part.
    pub(super) async fn get_timeseries(
        &self,
        data_id: &str,
        within: Duration,
    ) -> Result<reqwest::Response, PlatformError> {
        let prefix = self.stream_path.strip_suffix("/stream").unwrap_or(&self.stream_path);
        let url = self.url(prefix, Some(data_id), "timeseries/");
        let request = self.http.get(url).header("X-API-KEY", self.api_key_header.clone()).timeout(within);
        request.send().await.map_err(transport)
    }

    /// The body of an answer without the key, should the platform repeat it.
    pub(super) fn redacted(&self, body: Vec<u8>) -> Vec<u8> {
        self.api_key.redact(body)
    }

    async fn post(&self, url: Url, body: &(impl Serialize + Sync)) -> Result<Reply, PlatformError> {
        let body = serde_json::to_vec(body).map_err(PlatformError::Encode)?;
        self.send(Method::POST, url, Some(body)).await
    }

    async fn get(&self, path: &str) -> Result<Value, PlatformError> {
        self.send(Method::GET, self.url(path, None, ""), None).await?.json()
    }
}

fn url(base: &Url, path: &str, id: Option<&str>, tail: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/').filter(|part| !part.is_empty()));
        segments.extend(id);
        segments.extend(tail.split('/').filter(|part| !part.is_empty()));
        if path.ends_with('/') && id.is_none() || tail.ends_with('/') {
            segments.push("");
        }
    }
    url
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).field("stream_path", &self.stream_path).finish()
    }
}

fn builder(settings: &Settings, base: &Url) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_EVERY)
        .tcp_nodelay(true)
        .redirect(redirect::policy())
        .retry(reqwest::retry::never())
        .user_agent(concat!("mbe-bridge/", env!("CARGO_PKG_VERSION")));
    let builder = match base.scheme() {
        // Certificates are of no use, and a bare system that has none must still run the demo.
        "http" => builder.tls_certs_only([]),
        _ => builder.https_only(true),
    };
    // A lab's proxy is for the world outside.
    if is_loopback(base.host_str().unwrap_or_default()) { builder.no_proxy() } else { builder }
}

/// Reads an endpoint; what is wrong with it is said without repeating a password that may be in it.
fn endpoint(text: &str) -> Result<Url, SetUpError> {
    let text = text.trim();
    let wrong = |problem: &str| SetUpError::Endpoint {
        endpoint: text.rsplit('@').next().unwrap_or_default().to_owned(),
        problem: problem.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is no address ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or password, which the platform does not take"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("holds a `?` or `#`"));
    }
    Ok(url)
}

/// Reads a whole answer, or says why there is none.
async fn read(sent: Result<reqwest::Response, reqwest::Error>) -> Result<Reply, PlatformError> {
    let mut response = sent.map_err(transport)?;
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(transport)? {
        if body.len() + part.len() > LARGEST_REPLY {
            return Err(PlatformError::BadReply { what: "it is longer than 16 MiB".to_owned() });
        }
        body.extend_from_slice(&part);
    }
    Ok(Reply { status, headers, body })
}

pub(super) fn transport(error: reqwest::Error) -> PlatformError {
    if error.is_timeout() { PlatformError::TimedOut } else { PlatformError::Unreachable(Box::new(error)) }
}

#[async_trait::async_trait]
impl Platform for Client {
    async fn initialize(&self, spec: &StreamSpec) -> Result<Opened, PlatformError> {
        let reply = self.post(self.stream_url(None, "initialize"), &wire::Initialize::new(spec)).await?.json()?;
        Ok(Opened { data_id: wire::needed_id(&reply, &["data_id"])? })
    }

    async fn push_multi(&self, data_id: &str, chunk: &Chunk) -> Result<Vec<ChannelTotal>, PlatformError> {
        let body = encode::multi(data_id, chunk).map_err(PlatformError::Encode)?;
        let reply = self.send(Method::POST, self.multi.clone(), Some(body)).await?;
        let sent = chunk.channels.iter().filter(|channel| encode::has_points(channel)).count();
        match wire::usual_totals(&reply.body, sent).filter(|_| reply.is_success()) {
            Some(totals) => Ok(totals),
            None => wire::totals(&reply.json()?, sent),
        }
    }

    async fn push_channel(
        &self,
        data_id: &str,
        index: u64,
        channel: &ChunkChannel,
    ) -> Result<ChannelTotal, PlatformError> {
        let body = encode::single(data_id, index, channel).map_err(PlatformError::Encode)?;
        let reply = self.send(Method::POST, self.stream_url(None, "chunk"), Some(body)).await?.json()?;
        let named = wire::totals(&reply, 1)?.into_iter().next();
        Ok(named.unwrap_or_else(|| ChannelTotal { name: channel.name.to_string(), total_points: None }))
    }

    async fn finalize(&self, data_id: &str) -> Result<(), PlatformError> {
        let reply = self.send(Method::POST, self.stream_url(Some(data_id), "finalize"), None).await?.json()?;
        wire::needed_id(&reply, &["data_id", "processed_data_id"]).map(drop)
    }

    async fn gateway_time(&self) -> Result<GatewayTime, PlatformError> {
        let url = self.url("gateway/time", None, "");
        let request = self.clock.get(url).header("Cache-Control", "no-store");
        wire::gateway_time(&read(request.send().await).await?.json()?)
    }

    async fn growth_instruments(&self) -> Result<Vec<GrowthInstrument>, PlatformError> {
        wire::growth_instruments(&self.get("instruments/synthesis").await?)
    }

    async fn create_growth_instrument(&self, new: &NewGrowthInstrument) -> Result<i64, PlatformError> {
        let url = self.url("instruments/synthesis", None, "");
        wire::synth_source_id(&self.post(url, &wire::NewInstrument::new(new)).await?.json()?)
    }

    async fn delete_growth_instrument(&self, synth_source_id: i64) -> Result<(), PlatformError> {
        let mut url = self.url("instruments/synthesis", None, "");
        url.query_pairs_mut().append_pair("synthesis_instrument_ids", &synth_source_id.to_string());
        self.send(Method::DELETE, url, None).await?.json()?;
        Ok(())
    }

    async fn physical_samples(&self) -> Result<Vec<Named>, PlatformError> {
        wire::named(&self.get("physical_samples/").await?)
    }

    async fn create_physical_sample(&self, name: &str) -> Result<String, PlatformError> {
        let reply = self.post(self.url("physical_samples/", None, ""), &wire::NewNamed { name }).await?;
        if reply.status == 409
            && let Some(taken) = wire::taken_id(&reply.body)
        {
            return Ok(taken);
        }
        wire::needed_id(&reply.json()?, &["physical_sample_id", "id"])
    }

    async fn link_physical_sample(&self, data_id: &str, sample_id: &str) -> Result<(), PlatformError> {
        let body = wire::LinkSample { data_ids: [data_id], physical_sample_id: sample_id };
        self.post(self.url("data_entries/physical_sample", None, ""), &body).await?.json()?;
        Ok(())
    }

    async fn track_sample(&self, project_id: &str, sample_id: &str) -> Result<(), PlatformError> {
        let body = wire::TrackSample { physical_sample_id: sample_id, set_active: true };
        let url = self.url("projects", Some(project_id), "configuration/tracking_samples");
        self.post(url, &body).await?.json()?;
        Ok(())
    }

    async fn tags(&self) -> Result<Vec<Named>, PlatformError> {
        wire::named(&self.get("tags/").await?)
    }

    async fn create_tag(&self, name: &str) -> Result<String, PlatformError> {
        let reply = self.post(self.url("tags/", None, ""), &wire::NewNamed { name }).await?.json()?;
        wire::needed_id(&reply, &["id", "tag_id"])
    }

    async fn link_tags(&self, data_id: &str, tag_ids: &[String]) -> Result<(), PlatformError> {
        let body = wire::LinkTags { data_ids: [data_id], tag_ids };
        self.post(self.url("tags/data-items/", None, ""), &body).await?.json()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Client {
        let mut settings = Settings::new(ApiKey::parse("k").unwrap());
        settings.endpoint = endpoint.to_owned();
        Client::new(&settings).unwrap()
    }

    #[test]
    fn no_slash_is_doubled_and_none_is_lost() {
        for endpoint in ["http://127.0.0.1:1", "http://127.0.0.1:1/", " http://127.0.0.1:1 "] {
            let client = client(endpoint);
            assert_eq!(
                client.stream_url(None, "chunk/multi").as_str(),
                "http://127.0.0.1:1/tool-state/stream/chunk/multi"
            );
            assert_eq!(client.url("tags/", None, "").as_str(), "http://127.0.0.1:1/tags/");
            assert_eq!(client.url("instruments/synthesis", None, "").path(), "/instruments/synthesis");
            assert_eq!(client.stream_url(Some("a/b"), "finalize").path(), "/tool-state/stream/a%2Fb/finalize");
        }
        let behind = client("http://127.0.0.1:1/api/v1/");
        assert_eq!(behind.url("physical_samples/", None, "").path(), "/api/v1/physical_samples/");
        assert_eq!(
            behind.url("projects", Some("p"), "configuration/tracking_samples").path(),
            "/api/v1/projects/p/configuration/tracking_samples"
        );
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused_without_its_password() {
        for wrong in ["api.atomscale.ai", "ftp://x", "https://user:hunter2@x/", "https://x/?a=1", ""] {
            let mut settings = Settings::new(ApiKey::parse("k").unwrap());
            settings.endpoint = wrong.to_owned();
            let error = Client::new(&settings).unwrap_err();
            assert!(matches!(error, SetUpError::Endpoint { .. }), "{wrong}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
