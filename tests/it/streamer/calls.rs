//! Every call, as the vendor's page shows them.

use std::time::Duration;

use mbe_bridge::server::StreamState as Stored;
use mbe_bridge::streamer::{Acknowledge, NewGrowthInstrument, NewStream, Series, StreamState};

use super::{Lab, START, chunk, new_stream, push};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_from_its_beginning_to_its_end() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let new = NewGrowthInstrument {
        label: "GEN10".to_owned(),
        name: "GEN10".to_owned(),
        sort: "mbe".to_owned(),
        serial_id: None,
    };
    let instrument = streamer.create_growth_instrument(&new).await.unwrap();
    let listed = streamer.list_growth_instruments().await.unwrap();
    assert!(listed.iter().any(|one| one.synth_source_id == instrument), "{listed:?}");

    let stream = NewStream::new()
        .name("MBE growth - temperature log")
        .physical_sample("GaN-001")
        .synth_source_id(instrument)
        .project_id("a-project")
        .tags(["night shift"]);
    let data_id = streamer.initialize(stream).await.unwrap();
    let stored = lab.stored_stream(&data_id);
    assert_eq!(stored.name.as_deref(), Some("MBE growth - temperature log"));
    assert_eq!((stored.sample.as_deref(), stored.tracked), (Some("GaN-001"), true));
    assert_eq!((stored.tags, stored.synth_source_id), (vec!["night shift".to_owned()], Some(instrument)));

    push(&streamer, &data_id, 0).await;
    let (timestamps, temperatures) = chunk(0);
    let pressures: Vec<f64> = temperatures.iter().map(|value| value * 1e-9).collect();
    let both = [
        Series::new("temperature 2", &timestamps, &temperatures).units("C"),
        Series::new("pressure", &timestamps, &pressures).units("mbar"),
    ];
    let pushed = streamer.push_multi(&data_id, 0, &both).await.unwrap();
    assert!(pushed.durable && pushed.queued_chunks >= 1 && pushed.queued_points >= 20, "{pushed:?}");
    let accepted = streamer.push_with(&data_id, 1, &both[1..], Acknowledge::Accepted).await.unwrap();
    assert!(!accepted.durable);

    streamer.flush(Some(&data_id), Some(Duration::from_secs(20))).await.unwrap();
    let status = streamer.status(&data_id).unwrap();
    assert_eq!((status.state, status.queued_chunks, status.uploaded_points), (StreamState::Open, 0, 40));
    assert_eq!(status.platform.as_str(), "up");
    assert_eq!(streamer.streams(), [status]);
    assert_eq!(streamer.clock_status(), None, "it is turned off");

    let mut told = Vec::new();
    let finalized = streamer.finalize_with(&data_id, |status| told.push(status.clone())).await.unwrap();
    assert_eq!((finalized.uploaded_points, finalized.continued_as.len()), (40, 0));
    assert_eq!(told.last().unwrap().state, StreamState::Finalized);
    assert_eq!(lab.stored_stream(&data_id).state, Stored::Success);
    let stored = lab.stored(&data_id);
    assert_eq!(stored.len(), 40);
    for (place, ((timestamp, temperature), pressure)) in
        timestamps.iter().zip(&temperatures).zip(&pressures).enumerate()
    {
        for (channel, index, value) in [
            ("temperature", 0, temperature),
            ("temperature 2", 0, temperature),
            ("pressure", 0, pressure),
            ("pressure", 1, pressure),
        ] {
            let found = stored[&(channel.to_owned(), index, place)];
            assert_eq!((found.0.to_bits(), found.1.to_bits()), (timestamp.to_bits(), value.to_bits()), "{channel}");
        }
    }
    streamer.delete_growth_instrument(instrument).await.unwrap();
    let left = streamer.close().await.unwrap();
    assert!(left.is_nothing(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generator_mode_numbers_and_cuts_chunks_and_waits_for_all() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    let ran = streamer.run(&data_id, "temperature", Some("C"), (0..50).map(chunk)).await.unwrap();
    assert_eq!((ran.chunks, ran.points, ran.first_chunk_index, ran.next_chunk_index), (50, 500, 0, 50));
    lab.check(&data_id, "temperature", 0..50);

    // Once more: it goes on where it ended.
    let more = streamer.run_stream(&data_id, "temperature", None, futures_util::stream::iter((50..60).map(chunk)));
    assert_eq!(more.await.unwrap().first_chunk_index, 50);
    lab.check(&data_id, "temperature", 0..60);

    // What is longer than a chunk becomes several.
    let long: (Vec<f64>, Vec<f64>) = (0..25).map(|k| (START + f64::from(k), f64::from(k))).unzip();
    let ran = streamer.run(&data_id, "long", None, [long.clone(), (vec![START], vec![1.0])]).await.unwrap();
    assert_eq!((ran.chunks, ran.points), (4, 26));
    let stored = lab.stored(&data_id);
    assert_eq!(stored[&("long".to_owned(), 2, 4)], (START + 24.0, 24.0));
    assert_eq!(stored[&("long".to_owned(), 3, 0)], (START, 1.0));
    streamer.finalize(&data_id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_values_are_left_out() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    let timestamps = [START, START + 1.0, START + 2.0];
    let series = [
        Series::new("whole", &timestamps, &[1.0, 2.0, 3.0]),
        Series::new("part", &timestamps, &[f64::NAN, 2.0, f64::INFINITY]),
        Series::new("nothing", &timestamps, &[f64::NAN; 3]),
        Series::new("empty", &[], &[]),
    ];
    streamer.push_multi(&data_id, 0, &series).await.unwrap();
    let nothing = streamer.push(&data_id, 1, "whole", &timestamps, &[f64::NAN; 3], None).await.unwrap();
    assert!(nothing.queued_chunks <= 1, "{nothing:?}");
    streamer.finalize(&data_id).await.unwrap();
    let stored = lab.stored(&data_id);
    let names: Vec<(&str, u64, usize)> =
        stored.keys().map(|(name, index, place)| (name.as_str(), *index, *place)).collect();
    assert_eq!(names, [("part", 0, 0), ("whole", 0, 0), ("whole", 0, 1), ("whole", 0, 2)]);
    assert_eq!(stored[&("part".to_owned(), 0, 0)], (START + 1.0, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_streams_at_once_do_not_mix() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let mut pushing = Vec::new();
    for _ in 0..4 {
        let streamer = streamer.clone();
        pushing.push(tokio::spawn(async move {
            let data_id = new_stream(&streamer).await;
            for index in 0..10 {
                push(&streamer, &data_id, index).await;
            }
            streamer.finalize(&data_id).await.unwrap();
            data_id
        }));
    }
    for pushing in pushing {
        lab.check(&pushing.await.unwrap(), "temperature", 0..10);
    }
    assert_eq!(streamer.streams().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_called_a_moment_ago_counts() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    for round in 0..20 {
        let data_id = new_stream(&streamer).await;
        assert_eq!(streamer.status(&data_id).unwrap().state, StreamState::Open);
        assert_eq!(streamer.streams().len(), round + 1);
        if round % 2 == 0 {
            push(&streamer, &data_id, 0).await;
            streamer.flush(Some(&data_id), None).await.unwrap();
            lab.check(&data_id, "temperature", [0]);
        }
        streamer.finalize(&data_id).await.unwrap();
    }
}
