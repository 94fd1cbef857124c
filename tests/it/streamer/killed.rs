//! A program that is killed while it pushes, and picks its stream up again; on Linux, with what a power cut would take from
//! the disk.

use mbe_bridge::server::Fault;

use super::Lab;
use super::program::Program;

/// Lives of so many chunks each; every other one has no platform once it has its stream.
const LIVES: [usize; 4] = [40, 7, 1, 25];

async fn lives(lab: &Lab, environment: &[(&str, &str)], died: impl Fn()) {
    let (mut stream, mut last) = (None::<String>, 0);
    for (life, chunks) in LIVES.into_iter().enumerate() {
        if life % 2 == 1 {
            lab.server.set_fault("status:503".parse().unwrap());
        }
        let killed = tokio::task::block_in_place(|| {
            let mut program = Program::start(lab, stream.as_deref(), false, environment);
            stream = Some(program.data_id.clone());
            let last = program.durable(chunks);
            program.kill(last)
        });
        died();
        assert!(killed > last || life == 0, "it went on from {last} and came to {killed}");
        last = killed;
        lab.server.set_fault(Fault::None);
    }
    let data_id = stream.unwrap();
    let streamer = lab.open().await;
    let so_far = streamer.resume(&data_id).await.unwrap();
    // One chunk may have become durable without the program having been told.
    assert!([last + 1, last + 2].contains(&so_far.next_chunk_index), "{last}: {so_far:?}");
    streamer.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..so_far.next_chunk_index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_program_goes_on_with_nothing_lost_and_nothing_twice() {
    let lab = Lab::start().await;
    lives(&lab, &[], || {}).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_takes_nothing_that_a_push_said_to_be_durable() {
    let (lab, control) = (Lab::start().await, tempfile::tempdir().unwrap());
    let faults = crate::shim::Faults::new(&control.path().join("faults"), lab.folder.path());
    let account = || std::fs::read_dir(lab.folder.path().join("streamers")).unwrap().next().unwrap().unwrap().path();
    let cut = || {
        for slot in std::fs::read_dir(account()).unwrap() {
            faults.cut_power(&slot.unwrap().path().join("runs"));
        }
    };
    lives(&lab, &faults.environment(), cut).await;
}
