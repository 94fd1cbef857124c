//! A log of a million rows needs no more memory than a small one.

use std::fmt::Write as _;

use super::{Lab, Running, START, until};

/// The most memory that a process has had, in KiB. Source: proc(5), `VmHWM`.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_go_through_bounded_memory() {
    const ROWS: u32 = 1_000_000;
    let lab = Lab::start().await;
    let mut text = String::from("unix,T [degC],p [mbar]\n");
    for row in 0..ROWS {
        writeln!(text, "{},{},{}e-9", f64::from(START) + f64::from(row) / 8.0, 600 + row % 97, row % 13).unwrap();
    }
    let log = lab.log("large.csv", &text);
    let bytes = text.len();
    drop(text);
    let mut running = Running::start(lab.push(&log, &["--points-per-chunk", "1000"]));
    let pid = running.0.id();
    let mut most = 0;
    until("all of it is sent", async || {
        most = peak(pid).unwrap_or(0).max(most);
        running.0.try_wait().unwrap().map(drop)
    })
    .await;
    let said = running.ended().await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let stored = lab.server.stored(&lab.only_stream().data_id).unwrap();
    let points: usize = stored.iter().map(|channel| channel.points.len()).sum();
    assert_eq!(points, 2_000_000);
    eprintln!("{bytes} bytes of log, at most {most} KiB of memory; {}", said.out.lines().last().unwrap());
    assert!(most > 0 && most < 160 * 1024, "{most} KiB");
}
