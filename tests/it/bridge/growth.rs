//! A growth from beginning to end, as a lab runs it.

use mbe_bridge::atomscale::{ApiKey, Client, NewGrowthInstrument, Platform as _, Settings};

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::Oracle;
use super::process::Process;
use super::{KEY, platform};

/// The `synth_source_id` of a growth instrument made for a test.
async fn growth_instrument(url: &str) -> i64 {
    let settings = Settings { endpoint: url.to_owned(), ..Settings::new(ApiKey::parse(KEY).unwrap()) };
    let new = NewGrowthInstrument {
        label: "GEN10".to_owned(),
        name: "GEN10".to_owned(),
        sort: "mbe".to_owned(),
        serial_id: None,
    };
    Client::new(&settings).unwrap().create_growth_instrument(&new).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_instruments_say_is_on_the_platform_once_and_under_the_growth_s_links() {
    let server = platform().await;
    let synth_source_id = growth_instrument(&server.url()).await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    lab.stream = format!(
        "name = \"GEN10 {{start:%Y}}\"\nsynth_source_id = {synth_source_id}\nphysical_sample = \"GaN-001\"\n\
         project_id = \"p-1\"\ntags = [\"growth\", \"e2e\"]\npoints_per_chunk = 10"
    );
    let process = Process::run(&lab.write());
    process.until_recorded(4 * 25).await;
    let status = process.until("all is well", |status| status["state"] == "well").await;
    assert_eq!(status["complaints"], serde_json::json!([]), "{status:#}");
    let ended = process.stop().await;
    assert!(ended.stderr.contains("run is complete on the platform"), "{}", ended.stderr);

    let account = Oracle::new(&server, chamber.said()).check(&lab.run());
    account.assert_nothing_was_missed();
    assert!(account.fewest() >= 20, "{:?}", account.counts);
    account.assert_hardly_anything_is_bad();
    let streams = server.streams().unwrap();
    assert_eq!(streams.len(), 1);
    let stream = &streams[0];
    let name = stream.name.as_deref().unwrap();
    assert!(name.starts_with("GEN10 20") && name.len() == "GEN10 2026".len(), "{name}");
    assert_eq!(stream.synth_source_id, Some(synth_source_id));
    assert_eq!(stream.sample.as_deref(), Some("GaN-001"));
    assert_eq!(stream.project_id.as_deref(), Some("p-1"));
    assert_eq!((stream.tags.as_slice(), stream.tracked), (["e2e".to_owned(), "growth".to_owned()].as_slice(), true));
    assert_eq!(stream.points_per_chunk, 10);
    let units: Vec<_> =
        server.stored(&stream.data_id).unwrap().into_iter().map(|c| (c.name, c.unit.unwrap_or_default())).collect();
    let expected = [
        ("chamber_pressure", "mbar"),
        ("heater_output", "%"),
        ("manipulator_temperature", "degC"),
        ("substrate_temperature", "degC"),
    ];
    assert_eq!(units, expected.map(|(name, unit)| (name.to_owned(), unit.to_owned())));

    // Promise 1: the bridge never changes an instrument.
    for (name, line) in chamber.lines() {
        assert!(line.polls_seen(name).unwrap() >= 20);
        assert_eq!(line.writes_seen(name).unwrap(), 0, "{name}");
    }
}
