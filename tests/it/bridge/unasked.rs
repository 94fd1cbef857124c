//! An instrument that speaks unasked, through the whole program: what is on the platform is what it said, at the time when
//! it said it.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use mbe_bridge::model::Outcome;
use mbe_bridge::sim::Said;

use super::lab::Lab;
use super::oracle::Oracle;
use super::platform;
use super::process::{Process, command};

/// Lines of a number and a status, which the lab describes in line.
const FIELD: &str = r#"
[links.monitor.tcp]
address = "ADDRESS"
[[instruments]]
name = "monitor"
link = "monitor"
channels.rate = { name = "deposition_rate" }
[instruments.inline]
engine = "text"
mode = "listen"
framing = { terminator = "<CR><LF>" }
[[instruments.inline.listen]]
expect = "R={r:f},{_:w}"
stale_after = "700ms"
[[instruments.inline.channel]]
id = "rate"
from = "r"
unit = "nm/s"
"#;

/// Says a number 25 times a second until nobody listens; what it said.
fn speak(listener: &TcpListener) -> Vec<Said> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut said = Vec::new();
    for number in 0.. {
        let value = 1023.0 + f64::from(number) / 4.0;
        let at = Instant::now();
        let (head, tail) = (format!("R={value}"), ",ok\r\n");
        let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(tail.as_bytes()));
        if written.is_err() {
            break;
        }
        said.push(Said {
            instrument: "monitor".into(),
            channel: "rate".into(),
            outcome: Outcome::good(value),
            request_received: at,
            first_byte_sent: at,
            reply_sent: at,
            intact: true,
        });
        std::thread::sleep(Duration::from_millis(40));
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_unasked_is_on_the_platform_as_it_was_said() {
    let server = platform().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut lab = Lab::new(&server.url());
    lab.field = FIELD.replace("ADDRESS", &listener.local_addr().unwrap().to_string());
    let file = lab.write();
    let checked = command(&["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code(), 0, "{checked:?}");
    assert!(checked.stdout.contains("speaks unasked"), "{}", checked.stdout);

    let speaker = std::thread::spawn(move || speak(&listener));
    let process = Process::run(&file);
    process.until_recorded(30).await;
    let status = process
        .until("its rate is known", |status| status["instruments"][0]["speech"]["rate"].as_f64().is_some())
        .await;
    let speech = &status["instruments"][0]["speech"];
    assert!(speech["rate"].as_f64().unwrap() > 5.0 && speech["broken"] == 0, "{speech}");
    process.stop().await;
    let said = speaker.join().unwrap();

    let account = Oracle::new(&server, vec![said]).check(&lab.run());
    let counts = account.of("deposition_rate");
    assert!(counts.recorded >= 30 && counts.decimated > counts.recorded, "{counts:?}");
    assert_eq!(counts.bad_total(), 0, "{counts:?}");
    // The first line may not have been a whole one, and what was said after the end was heard by nobody.
    let heard = usize::try_from(counts.read).unwrap();
    assert!(
        heard < account.said["deposition_rate"] && heard + 60 > account.said["deposition_rate"],
        "{counts:?} {:?}",
        account.said
    );
}
