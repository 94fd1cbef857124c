//! The client against a real socket, whose other end answers as each test says.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use super::ApiKey;
use super::ChannelTotal;
use super::Client;
use super::NewGrowthInstrument;
use super::Platform;
use super::PlatformError;
use super::Settings;
use crate::model::ChannelName;
use crate::model::Chunk;
use crate::model::ChunkChannel;
use crate::model::Stamp;
use crate::model::StreamSpec;
use crate::model::with_causes;

const KEY: &str = "as-key-4711-geheim";

/// A request as it came in.
#[derive(Debug, Clone)]
struct Request {
    /// The number of the connection it came on.
    connection: usize,
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What the other end does after a request.
enum Then {
    /// Writes this and waits for the next request.
    Reply(String),
    /// Writes this and closes the connection.
    Cut(String),
    /// Nothing, for ever.
    Hang,
}

struct Site {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Site {
    /// Listens; `script` is asked with the number of each request.
    async fn start(script: impl Fn(usize, &Request) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let script = Arc::new(script);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { endpoint, requests }
    }

    fn client(&self) -> Client {
        let mut settings = Settings::new(ApiKey::parse(KEY).unwrap());
        settings.endpoint = format!("{}/", self.endpoint);
        settings.timeout = Duration::from_millis(400);
        settings.clock_timeout = Duration::from_millis(400);
        Client::new(&settings).unwrap()
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    seen: Arc<Mutex<Vec<Request>>>,
    script: Arc<impl Fn(usize, &Request) -> Then>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream, connection).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match script(number, &request) {
            // Who has read enough hangs up.
            Then::Reply(text) => drop(stream.write_all(text.as_bytes()).await),
            Then::Cut(text) => return stream.write_all(text.as_bytes()).await.unwrap(),
            Then::Hang => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Request> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let mut request = Request { connection, line: line.trim_end().to_owned(), headers, body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

fn ok(body: &str) -> Then {
    Then::Reply(reply("200 OK", "content-type: application/json\r\n", body))
}

/// What a chunk is answered with.
const WELL: &str = r#"[{"channel_name": "p"}]"#;

fn well() -> Then {
    ok(WELL)
}

fn chunk() -> Chunk {
    let channel = ChunkChannel {
        name: ChannelName::parse("p").unwrap(),
        unit: Some("mbar".into()),
        stamps: [Stamp::from_nanos(1_500_000_000)].into(),
        values: vec![1e-7],
    };
    Chunk { index: 3, channels: vec![channel] }
}

#[tokio::test]
async fn every_call_carries_the_key_but_the_clock_s() {
    let site = Site::start(|_, request| match request.line.split(' ').nth(1).unwrap() {
        "/tool-state/stream/initialize" => ok(r#"{"data_id": "d-1", "processed_data_id": "x", "new": [1]}"#),
        "/tool-state/stream/chunk/multi" => ok(r#"[{"channel_name": "p", "total_points": 301}]"#),
        "/tool-state/stream/chunk" => ok(r#"{"channel_name": "p", "total_points": null}"#),
        "/gateway/time" => ok(r#"{"receivedAtUnixMs": 1000.5, "transmittedAtUnixMs": 1001}"#),
        "/instruments/synthesis" => ok(r#"{"synth_source_id": 42}"#),
        "/physical_samples/" | "/tags/" if request.line.starts_with("GET") => ok(r#"[{"id": "i", "name": "n"}]"#),
        "/tool-state/stream/d-1/finalize" => ok(r#"{"data_id": "d-1", "processed_data_id": "x"}"#),
        _ => ok(""),
    })
    .await;
    let client = site.client();
    let spec =
        StreamSpec { name: "run".into(), synth_source_id: Some(42), points_per_chunk: 100, ..StreamSpec::default() };
    assert_eq!(client.initialize(&spec).await.unwrap().data_id, "d-1");
    let totals = client.push_multi("d-1", &chunk()).await.unwrap();
    assert_eq!(totals, [ChannelTotal { name: "p".into(), total_points: Some(301) }]);
    let total = client.push_channel("d-1", 3, &chunk().channels[0]).await.unwrap();
    assert_eq!(total, ChannelTotal { name: "p".into(), total_points: None });
    client.finalize("d-1").await.unwrap();
    assert_eq!(client.gateway_time().await.unwrap().received_ms, 1000.5);
    let new = NewGrowthInstrument { label: "GEN10".into(), name: "gen10".into(), sort: "mbe".into(), serial_id: None };
    assert_eq!(client.create_growth_instrument(&new).await.unwrap(), 42);
    client.delete_growth_instrument(42).await.unwrap();
    assert_eq!(client.physical_samples().await.unwrap()[0].id, "i");
    client.link_physical_sample("d-1", "s-1").await.unwrap();
    client.track_sample("p-1", "s-1").await.unwrap();
    assert_eq!(client.tags().await.unwrap()[0].name, "n");
    client.link_tags("d-1", &["t-1".to_owned()]).await.unwrap();

    let requests = site.requests();
    let asked: Vec<(&str, &str)> = requests.iter().map(|one| (one.line.as_str(), one.body.as_str())).collect();
    assert_eq!(
        asked,
        [
            (
                "POST /tool-state/stream/initialize HTTP/1.1",
                r#"{"stream_name":"run","synth_source_id":42,"points_per_chunk":100,"project_id":null}"#
            ),
            (
                "POST /tool-state/stream/chunk/multi HTTP/1.1",
                r#"{"data_id":"d-1","chunk_index":3,"channels":{"p":{"timestamps":[1.5],"values":[1e-7],"units":"mbar"}}}"#
            ),
            (
                "POST /tool-state/stream/chunk HTTP/1.1",
                r#"{"data_id":"d-1","chunk_index":3,"channel_name":"p","timestamps":[1.5],"values":[1e-7],"units":"mbar"}"#
            ),
            ("POST /tool-state/stream/d-1/finalize HTTP/1.1", ""),
            ("GET /gateway/time HTTP/1.1", ""),
            (
                "POST /instruments/synthesis HTTP/1.1",
                r#"{"label":"GEN10","name":"gen10","type":"mbe","serial_id":null}"#
            ),
            ("DELETE /instruments/synthesis?synthesis_instrument_ids=42 HTTP/1.1", ""),
            ("GET /physical_samples/ HTTP/1.1", ""),
            ("POST /data_entries/physical_sample HTTP/1.1", r#"{"data_ids":["d-1"],"physical_sample_id":"s-1"}"#),
            (
                "POST /projects/p-1/configuration/tracking_samples HTTP/1.1",
                r#"{"physical_sample_id":"s-1","set_active":true}"#
            ),
            ("GET /tags/ HTTP/1.1", ""),
            ("POST /tags/data-items/ HTTP/1.1", r#"{"data_ids":["d-1"],"tag_ids":["t-1"]}"#),
        ]
    );
    for request in &requests {
        let timed = request.line.contains("/gateway/time");
        assert_eq!(request.header("x-api-key"), (!timed).then_some(KEY), "{}", request.line);
        assert_eq!(request.header("cache-control"), timed.then_some("no-store"));
        let json = (!request.body.is_empty()).then_some("application/json");
        assert_eq!(request.header("content-type"), json, "{}", request.line);
    }
    let connections: std::collections::BTreeSet<usize> = requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 2, "one connection for chunks, one for the clock, both kept");
}

#[tokio::test]
async fn busy_then_well() {
    let site = Site::start(|number, _| match number {
        0 => Then::Reply(reply("503 Service Unavailable", "retry-after: 3\r\n", r#"{"detail": "restarting"}"#)),
        1 => Then::Reply(reply("429 Too Many Requests", "", "")),
        2 => Then::Reply(reply("400 Bad Request", "", "<Error><Code>RequestTimeout</Code></Error>")),
        _ => well(),
    })
    .await;
    let client = site.client();
    let error = client.push_multi("d", &chunk()).await.unwrap_err();
    assert_eq!(error.to_string(), "the platform answers with status 503: restarting");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    for _ in 0..2 {
        let error = client.push_multi("d", &chunk()).await.unwrap_err();
        assert!(error.is_transient() && error.retry_after().is_none(), "{error}");
    }
    client.push_multi("d", &chunk()).await.unwrap();
    assert_eq!(site.requests().len(), 4, "the client repeats nothing by itself");
}

#[tokio::test]
async fn a_platform_that_hangs_costs_the_time_out_and_no_more() {
    let site = Site::start(|number, _| if number == 0 { Then::Hang } else { well() }).await;
    let client = site.client();
    let began = std::time::Instant::now();
    let error = client.push_multi("d", &chunk()).await.unwrap_err();
    assert!(matches!(error, PlatformError::TimedOut) && error.is_transient(), "{error:?}");
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&began.elapsed()));
    client.push_multi("d", &chunk()).await.unwrap();
}

#[tokio::test]
async fn a_reply_that_stops_half_way_is_no_reply() {
    let site = Site::start(|number, _| match number {
        0 => Then::Cut(String::new()),
        1 => Then::Cut("HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
        2 => Then::Cut("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n[{\"channel_name\": ".to_owned()),
        3 => ok("<html>please log in</html>"),
        _ => well(),
    })
    .await;
    let client = site.client();
    for case in 0..3 {
        let error = client.push_multi("d", &chunk()).await.unwrap_err();
        assert!(matches!(error, PlatformError::Unreachable(_)), "case {case}: {error:?}");
        assert!(error.is_transient());
    }
    let error = client.push_multi("d", &chunk()).await.unwrap_err();
    assert!(matches!(error, PlatformError::BadReply { .. }) && error.is_transient(), "{error:?}");
    client.push_multi("d", &chunk()).await.unwrap();
}

/// The body of an answer with status 200 that is not the platform's.
const NOT_THE_PLATFORM_S: &[&str] = &[
    "",
    "null",
    "{}",
    "[]",
    "[{}]",
    "true",
    r#"{"status": "ok"}"#,
    r#"{"detail": "upstream"}"#,
    "<!DOCTYPE html><title>log in</title>",
];

#[tokio::test]
async fn success_that_is_not_the_platform_s_confirms_nothing() {
    let site = Site::start(|number, _| ok(NOT_THE_PLATFORM_S[number / 5])).await;
    let client = site.client();
    for body in NOT_THE_PLATFORM_S {
        let errors = [
            client.initialize(&StreamSpec::default()).await.unwrap_err(),
            client.push_multi("d", &chunk()).await.unwrap_err(),
            client.push_channel("d", 3, &chunk().channels[0]).await.unwrap_err(),
            client.finalize("d").await.unwrap_err(),
            client.gateway_time().await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, PlatformError::BadReply { .. }) && error.is_transient(), "`{body}`: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_chunk_is_confirmed_by_a_reply_that_names_each_channel_that_had_points() {
    let bodies = [
        r#"[{"channel_name": "p"}, {"channel_name": "t", "total_points": 5}]"#,
        r#"[{"channel_name": "p"}]"#,
        r#"[{"channel_name": "P "}, {"channel_name": "T"}]"#,
    ];
    let site = Site::start(move |number, _| ok(bodies[number])).await;
    let client = site.client();
    let mut two = chunk();
    let named = |name| ChunkChannel { name: ChannelName::parse(name).unwrap(), ..chunk().channels[0].clone() };
    // The last has nothing that is sent.
    two.channels.extend([named("t"), ChunkChannel { values: vec![f64::NAN], ..named("q") }]);
    assert_eq!(client.push_multi("d", &two).await.unwrap().len(), 2);
    let error = client.push_multi("d", &two).await.unwrap_err();
    assert!(matches!(error, PlatformError::BadReply { .. }), "{error:?}");
    client.push_multi("d", &two).await.unwrap();
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let page = " ".repeat(17 << 20);
    let site = Site::start(move |number, _| if number == 0 { ok(&page) } else { well() }).await;
    let mut settings = Settings::new(ApiKey::parse(KEY).unwrap());
    settings.endpoint = site.endpoint.clone();
    let client = Client::new(&settings).unwrap();
    let error = client.push_multi("d", &chunk()).await.unwrap_err();
    assert_eq!(error.to_string(), "the platform's answer can't be read: it is longer than 16 MiB");
    client.push_multi("d", &chunk()).await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_that_the_platform_has_closed_is_not_used_again() {
    let site = Site::start(|_, _| Then::Cut(reply("200 OK", "", WELL))).await;
    let client = site.client();
    for _ in 0..20 {
        // Whether the close is seen in time is a race; it costs one attempt at most, never two in a row.
        if client.push_multi("d", &chunk()).await.is_err() {
            client.push_multi("d", &chunk()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings::new(ApiKey::parse(KEY).unwrap());
    settings.endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&settings).unwrap().finalize("d").await.unwrap_err();
    assert!(matches!(error, PlatformError::Unreachable(_)), "{error:?}");
    assert!(with_causes(&error).to_lowercase().contains("connection refused"), "{}", with_causes(&error));
}

#[tokio::test]
async fn https_that_meets_no_tls_is_unreachable_and_never_falls_back() {
    let site = Site::start(|_, _| well()).await;
    let mut settings = Settings::new(ApiKey::parse(KEY).unwrap());
    settings.endpoint = site.endpoint.replace("http:", "https:");
    settings.timeout = Duration::from_secs(2);
    let error = Client::new(&settings).unwrap().finalize("d").await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(site.requests().iter().all(|request| request.header("x-api-key").is_none()));
}

#[tokio::test]
async fn a_refused_key_is_told_in_the_platform_s_words_and_without_the_key() {
    let site = Site::start(|number, request| {
        let key = request.header("x-api-key").unwrap();
        match number {
            0 => Then::Reply(reply("401 Unauthorized", "", &format!(r#"{{"detail": "key {key} has expired"}}"#))),
            1 => ok(&format!("who is {key}?")),
            _ => ok(&format!(r#"{{"key": "{key}"}}"#)),
        }
    })
    .await;
    let client = site.client();
    let error = client.finalize("d").await.unwrap_err();
    assert!(matches!(error, PlatformError::Unauthorized { status: 401, .. }));
    assert_eq!(error.words(), "key [redacted] has expired");
    let mut shown = format!("{error} {error:?}");
    for _ in 0..2 {
        let error = client.initialize(&StreamSpec::default()).await.unwrap_err();
        shown.push_str(&format!("{error} {error:?} {}", with_causes(&error)));
    }
    let settings = Settings::new(ApiKey::parse(KEY).unwrap());
    shown.push_str(&format!("{client:?} {settings:?}"));
    assert!(!shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn the_key_does_not_follow_a_redirect_to_another_host() {
    let other = Site::start(|_, _| ok(r#"{"data_id": "stolen"}"#)).await;
    let target = other.endpoint.clone();
    let site = Site::start(move |number, _| match number {
        0 => Then::Reply(reply("307 Temporary Redirect", &format!("location: {target}/x\r\n"), "")),
        1 => Then::Reply(reply("302 Found", "location: /login\r\n", "")),
        2 => Then::Reply(reply("307 Temporary Redirect", "location: /here\r\n", "")),
        _ => ok(r#"{"data_id": "d-1"}"#),
    })
    .await;
    let client = site.client();
    let spec = StreamSpec::default();
    let error = client.initialize(&spec).await.unwrap_err();
    assert_eq!(error.words(), format!("it points to {}/x", other.endpoint));
    assert!(client.initialize(&spec).await.unwrap_err().is_transient());
    assert!(other.requests().is_empty());
    assert_eq!(client.initialize(&spec).await.unwrap().data_id, "d-1");
    let last = site.requests().pop().unwrap();
    assert_eq!((last.line.as_str(), last.header("x-api-key")), ("POST /here HTTP/1.1", Some(KEY)));
    assert!(last.body.starts_with('{'));
}

#[tokio::test]
async fn a_sample_whose_name_is_taken_is_found_by_the_refusal() {
    let site = Site::start(|number, _| match number {
        0 => Then::Reply(reply("409 Conflict", "", r#"{"detail": {"physical_sample_id": "s-7", "message": "taken"}}"#)),
        1 => Then::Reply(reply("409 Conflict", "", r#"{"detail": "taken"}"#)),
        2 => ok(r#"{"id": "s-8"}"#),
        _ => ok(r#"{"physical_sample_id": "s-9", "id": "other"}"#),
    })
    .await;
    let client = site.client();
    assert_eq!(client.create_physical_sample("a").await.unwrap(), "s-7");
    let error = client.create_physical_sample("a").await.unwrap_err();
    assert!(matches!(error, PlatformError::Gone { status: 409, .. }));
    assert_eq!(client.create_physical_sample("b").await.unwrap(), "s-8");
    assert_eq!(client.create_physical_sample("c").await.unwrap(), "s-9");
}
