//! Links whose instruments speak unasked, on threads of their own, over ptys and sockets.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{Event, Instrument, LinkThread, Plan, Report, Settings};
use crate::driver::Protocol;
use crate::driver::line_listener;
use crate::driver::raw_pty;
use crate::link::Connector;
use crate::link::SerialConnector;
use crate::link::TcpConnector;
use crate::model::{ChannelIndex, LineSettings, Outcome, Reason, Stamp, TimeBase};

/// A link with one instrument that says lines like this.
struct Link {
    thread: Option<LinkThread>,
    stop: CancellationToken,
}

impl Link {
    fn start<C: Connector + 'static>(
        link: usize,
        expect: &'static str,
        connector: impl Fn() -> C + Send + 'static,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        let name: Arc<str> = format!("t{link}").into();
        let settings = Settings { link, name, protocol: Protocol::Bytes };
        let plan = move || {
            let instrument = Instrument {
                name: "speaker".into(),
                driver: Box::new(line_listener(expect, Duration::from_millis(400))),
                channels: vec![Some(ChannelIndex(link))],
                warm_up: Duration::ZERO,
            };
            Plan { connector: Box::new(connector()), instruments: vec![instrument] }
        };
        let stop = CancellationToken::new();
        let thread = LinkThread::start(settings, TimeBase::start(), plan, reports, stop.clone()).unwrap();
        Self { thread: Some(thread), stop }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

fn tcp(address: &str) -> TcpConnector {
    TcpConnector::new(address, format!("tcp {address}"), None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_that_goes_quiet_hangs_up_and_returns_is_reported_and_heard_again_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    let (sender, mut reports) = mpsc::channel(1000);
    let connect_to = address.clone();
    let _link = Link::start(0, "{v:f}", move || tcp(&connect_to), sender);
    let speaker = std::thread::spawn(move || {
        let speak = |listener: &TcpListener, from: u32, quiet: Duration| {
            let (mut stream, _) = listener.accept().unwrap();
            for number in from..from + 50 {
                stream.write_all(format!("{number}\n").as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(quiet);
        };
        speak(&listener, 0, Duration::from_millis(900));
        // It hangs up on whoever comes for a while, then it is gone, then it is back.
        let began = Instant::now();
        listener.set_nonblocking(true).unwrap();
        while began.elapsed() < Duration::from_millis(1_500) {
            if listener.accept().is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(listener);
        std::thread::sleep(Duration::from_millis(500));
        let listener = TcpListener::bind(address).unwrap();
        let back = Instant::now();
        speak(&listener, 100, Duration::ZERO);
        back
    });
    let mut values = Vec::new();
    let mut stale = 0;
    let mut down = 0;
    let mut watermark = Stamp::default();
    let back_at = loop {
        let report = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await.unwrap().unwrap();
        match report.event {
            Event::Down { .. } => down += 1,
            Event::Heard(talk) => {
                for sample in talk.samples {
                    assert!(sample.at >= watermark, "{sample:?} before {watermark:?}");
                    match sample.outcome {
                        Outcome::Bad(reason) => {
                            assert_eq!(reason, Reason::STALE);
                            stale += 1;
                        }
                        value => values.push(value.value().unwrap().get()),
                    }
                }
                watermark = report.watermark;
            }
            _ => {}
        }
        if values.last().is_some_and(|last| *last >= 100.0) {
            break Instant::now();
        }
    };
    let back = speaker.join().unwrap();
    assert_eq!(
        values[..49],
        (1..50).map(f64::from).collect::<Vec<_>>(),
        "the first line may not have been a whole one"
    );
    assert_eq!(stale, 2, "900 ms of silence are two times 400 ms");
    assert!(down >= 2, "{down}");
    let hurried = accepted.load(Ordering::SeqCst);
    assert!((1..10).contains(&hurried), "tried {hurried} times in 1.5 s");
    assert!(back_at.duration_since(back) < Duration::from_secs(2), "{:?}", back_at.duration_since(back));
}

/// Lines of 64 bytes.
const LINES: u32 = 24_000;
const LINE: usize = 64;

/// Half a megabyte a second.
fn write_lines(mut to: impl Write) {
    let began = Instant::now();
    let per_line = Duration::from_nanos(LINE as u64 * 2_000);
    for first in (0..LINES).step_by(80) {
        std::thread::sleep((began + per_line * first).saturating_duration_since(Instant::now()));
        let lines: String = (first..first + 80).map(|n| format!("N{n:010} {:-<51}\n", "")).collect();
        to.write_all(lines.as_bytes()).unwrap();
    }
    // The port must not go away before it was read to the end.
    std::thread::sleep(Duration::from_secs(1));
}

/// Processor time of all link threads so far, in hundredths of a second: the 14th and 15th field. Source: proc(5).
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, fields)) = stat.rsplit_once(')') else { continue };
        if name.contains("(link t") {
            let fields: Vec<&str> = fields.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    Duration::from_millis(10 * ticks)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_megabytes_a_second_over_four_links_are_heard_without_a_loss() {
    let (sender, mut reports) = mpsc::channel(1000);
    let mut links = Vec::new();
    let mut writers = Vec::new();
    for link in 0..4 {
        let expect = "N{v:d10} {_:w}";
        if link < 2 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            writers.push(std::thread::spawn(move || write_lines(listener.accept().unwrap().0)));
            links.push(Link::start(link, expect, move || tcp(&address), sender.clone()));
        } else {
            let (master, port) = raw_pty();
            let line = LineSettings { baud: 4_000_000, ..LineSettings::default() };
            let connector = move || SerialConnector::new(&port, line.clone(), None);
            links.push(Link::start(link, expect, connector, sender.clone()));
            // Until the port is open, and set, what is written to it would come back.
            loop {
                let report = reports.recv().await.unwrap();
                if report.link == link && report.event == Event::Opened {
                    break;
                }
                assert!(!matches!(report.event, Event::Heard(talk) if report.link >= 2 && talk.messages > 0));
            }
            writers.push(std::thread::spawn(move || write_lines(master)));
        }
    }
    let began = Instant::now();
    let mut last = [None::<u32>; 4];
    let mut count = [0_u32; 4];
    let mut seen = 0;
    while last.iter().any(|last| *last != Some(LINES - 1)) {
        let report = tokio::time::timeout(Duration::from_secs(60), reports.recv()).await.unwrap().unwrap();
        let Event::Heard(talk) = report.event else { continue };
        seen += 1;
        assert_eq!(talk.broken, 0);
        for sample in talk.samples {
            let value: u32 = sample.outcome.value().unwrap().get().to_string().parse().unwrap();
            let last = &mut last[report.link];
            assert!(last.is_none_or(|last| last + 1 == value), "link {}: {value} after {last:?}", report.link);
            *last = Some(value);
            count[report.link] += 1;
        }
    }
    let used = processor_time();
    println!(
        "4 x {} lines of {LINE} bytes in {:?}, {seen} reports; the link threads took {used:?} of processor time",
        LINES,
        began.elapsed()
    );
    // What came before the second link was looked at is in reports that were passed over above.
    assert!(count[2..].iter().all(|count| *count >= LINES - 1), "{count:?}");
    for writer in writers {
        writer.join().unwrap();
    }
}
