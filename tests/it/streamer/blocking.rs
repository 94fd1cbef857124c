//! The blocking face, from plain threads and from inside a runtime.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mbe_bridge::streamer::blocking::TimeseriesStreamer;
use mbe_bridge::streamer::{Error, NewStream, Series};

use super::{Lab, builder, chunk};

#[test]
fn everything_works_without_a_runtime_of_the_program() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::start());
    let streamer: TimeseriesStreamer = lab.builder().open_blocking().unwrap();
    let data_id = streamer.initialize(NewStream::new().name("blocking")).unwrap();
    std::thread::scope(|scope| {
        for (number, channel) in ["a", "b", "c"].into_iter().enumerate() {
            let (streamer, data_id) = (&streamer, &data_id);
            scope.spawn(move || {
                for index in 0..10 {
                    let (timestamps, values) = chunk(index);
                    streamer.push(data_id, index, channel, &timestamps, &values, None).unwrap();
                }
                assert!(streamer.status(data_id).is_some(), "{number}");
            });
        }
    });
    streamer.run(&data_id, "d", None, (0..10).map(chunk)).unwrap();
    let (timestamps, values) = chunk(10);
    streamer.push_multi(&data_id, 10, &[Series::new("a", &timestamps, &values)]).unwrap();
    streamer.flush(None, Some(Duration::from_secs(20))).unwrap();
    let mut told = 0;
    assert_eq!(streamer.finalize_with(&data_id, |_| told += 1).unwrap().uploaded_points, 410);
    assert!(told > 0);
    for channel in ["a", "b", "c", "d"] {
        lab.check(&data_id, channel, 0..if channel == "a" { 11 } else { 10 });
    }
    assert!(streamer.list_growth_instruments().is_ok());
    assert!(streamer.close().unwrap().is_nothing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_be_called_inside_a_runtime() {
    let lab = Lab::start().await;
    let streamer = lab.builder().open_blocking().unwrap();
    let data_id = streamer.initialize(NewStream::new()).unwrap();
    let (timestamps, values) = chunk(0);
    streamer.push(&data_id, 0, "a", &timestamps, &values, None).unwrap();
    streamer.finalize(&data_id).unwrap();
    lab.check(&data_id, "a", [0]);
}

#[test]
fn waiting_can_be_interrupted_and_goes_on_behind() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::start());
    let streamer = builder(&lab.server.url(), lab.folder.path()).open_blocking().unwrap();
    let data_id = streamer.initialize(NewStream::new()).unwrap();
    lab.server.set_fault("status:503".parse().unwrap());
    let (timestamps, values) = chunk(0);
    streamer.push(&data_id, 0, "a", &timestamps, &values, None).unwrap();
    let asked = Cell::new(0);
    let third_time = || {
        asked.set(asked.get() + 1);
        asked.get() >= 3
    };
    let began = Instant::now();
    let interrupted = streamer.interruptible(&third_time).finalize(&data_id).unwrap_err();
    assert!(matches!(interrupted, Error::Interrupted), "{interrupted}");
    assert!(asked.get() == 3 && began.elapsed() >= Duration::from_millis(140), "{:?}", began.elapsed());
    lab.server.set_fault(mbe_bridge::server::Fault::None);
    streamer.finalize(&data_id).unwrap();
    lab.check(&data_id, "a", [0]);
}
