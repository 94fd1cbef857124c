//! What goes over a link, seen from outside: on the command line, from a running bridge, in a file.

use std::fs;
use std::path::Path;

use mbe_bridge::model::{TraceHead, TraceLine, Traced};
use mbe_bridge::sim::Place;

use super::field::{instrument, line, profile};
use super::lab::Lab;
use super::process::{Process, command};
use super::{KEY, platform, until};

/// A trace as a reader of the format sees it: its head, and what happened.
fn read(text: &str) -> (TraceHead, Vec<TraceLine>) {
    let head = text.lines().find_map(TraceHead::parse).unwrap_or_else(|| panic!("no head: {text}"));
    let lines: Vec<_> = text.lines().filter_map(|line| TraceLine::parse(line).unwrap()).collect();
    assert!(lines.windows(2).all(|pair| pair[0].at <= pair[1].at), "times go forward: {text}");
    (head, lines)
}

/// The bytes of each question, and of what came after it.
fn exchanges(lines: &[TraceLine]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut exchanges: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in lines {
        match (&line.what, exchanges.last_mut()) {
            (Traced::Out(bytes), _) => exchanges.push((bytes.clone(), Vec::new())),
            (Traced::In(bytes), Some((_, answer))) => answer.extend_from_slice(bytes),
            _ => {}
        }
    }
    exchanges
}

fn assert_is_a_talk_with_a_pyrometer(lines: &[TraceLine], least: usize) {
    let exchanges = exchanges(lines);
    let answered = exchanges.iter().filter(|(_, answer)| answer.ends_with(b"\r")).count();
    assert!(exchanges.iter().all(|(question, _)| question == b"00ms\r"), "{exchanges:?}");
    assert!(answered >= least, "{answered} of {}", exchanges.len());
}

fn written(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_can_be_watched_from_the_first_byte_or_while_it_runs() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let upp = profile("impac-upp");
    let port = lab.folder().join("ttyPyrometer");
    let pyrometer = line(Place::Pty { path: Some(port.clone()) }, &upp, vec![instrument("pyrometer", &upp, &[])]);
    lab.field = format!(
        "[links.pyro.serial]\nport = \"{}\"\n[[instruments]]\nname = \"pyrometer\"\nprofile = \"impac-upp\"\nlink = \"pyro\"",
        port.display()
    );
    let file = lab.write();
    let from_the_start = lab.folder().join("start.trace");
    let wish = format!("pyro={}", from_the_start.display());
    let run = ["--log-format", "json", "run", file.to_str().unwrap(), "--trace", &wish];
    let process = Process::start(&run, &[("AS_API_KEY", KEY)]);
    process.until_recorded(5).await;

    let at = process.url().await.trim_start_matches("http://").to_owned();
    let watched = command(&["trace", "pyro", "--at", &at, "--for", "2s"]).await;
    assert_eq!(watched.code(), 0, "{watched:#?}");
    let (head, lines) = read(&watched.stdout);
    assert_eq!((head.link.as_str(), head.target.starts_with(&*port.to_string_lossy())), ("pyro", true), "{head:?}");
    assert_is_a_talk_with_a_pyrometer(&lines, 10);

    let into_a_file = lab.folder().join("later.trace");
    let wanted = ["trace", "pyro", "--at", &at, "--for", "1s", "--out", into_a_file.to_str().unwrap()];
    let watched = command(&wanted).await;
    assert_eq!((watched.code(), watched.stdout.as_str()), (0, ""), "{watched:#?}");
    assert_is_a_talk_with_a_pyrometer(&read(&written(&into_a_file)).1, 3);
    let refused = command(&["trace", "gyro", "--at", &at]).await;
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr.contains("there is no link `gyro`; the links are: pyro"), "{}", refused.stderr);

    pyrometer.hang_up().unwrap();
    until("the trace says that the link is down", async || {
        let text = written(&from_the_start);
        if text.contains(" ! link is down: there is no serial port") { Ok(()) } else { Err(text) }
    })
    .await;
    pyrometer.come_back().unwrap();
    process.until("it is back", |_| process.logged("link is back").len() == 1).await;

    // A reader that never lets go does not keep the bridge from ending.
    let watcher = Process::start(&["trace", "pyro", "--at", &at], &[]);
    until("it watches", async || {
        let seen = watcher.stdout();
        if seen.contains("<CR>") { Ok(()) } else { Err(seen) }
    })
    .await;
    let ended = process.stop().await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(watcher.ended().await.code(), 0, "it ends with the bridge");

    let (_, lines) = read(&written(&from_the_start));
    let is_event = |line: &&TraceLine, what: &str| matches!(&line.what, Traced::Event(said) if said.contains(what));
    assert_eq!(lines.first().map(|line| &line.what), Some(&Traced::Event("opened".to_owned())));
    assert_eq!(lines.iter().filter(|line| is_event(line, "opened")).count(), 2);
    assert_eq!(lines.iter().filter(|line| is_event(line, "lost here")).count(), 0);
    assert_is_a_talk_with_a_pyrometer(&lines, 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lab_can_be_read_once_with_its_bytes_shown() {
    let mut lab = Lab::new("http://127.0.0.1:9");
    let upp = profile("impac-upp");
    let port = lab.folder().join("ttyPyrometer");
    let _pyrometer = line(Place::Pty { path: Some(port.clone()) }, &upp, vec![instrument("pyrometer", &upp, &[])]);
    lab.field = format!(
        "[links.pyro.serial]\nport = \"{}\"\n[[instruments]]\nname = \"pyrometer\"\nprofile = \"impac-upp\"\nlink = \"pyro\"",
        port.display()
    );
    let file = lab.write();
    let file = file.to_str().unwrap();
    let read_once = command(&["read", file, "--trace", "pyro"]).await;
    assert_eq!(read_once.code(), 0, "{read_once:#?}");
    assert!(read_once.stdout.contains("> 30 30 6D 73 0D  |00ms<CR>|"), "{}", read_once.stdout);
    assert!(read_once.stdout.contains("degC"), "{}", read_once.stdout);
    let refused = command(&["read", file, "--trace", "gyro"]).await;
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr.contains("the links are: pyro"), "{}", refused.stderr);
    let refused = command(&["read", file, "--trace", "pyro=/nowhere/at/all"]).await;
    assert_eq!(refused.code(), 4);
    assert!(refused.stderr.contains("/nowhere/at/all"), "{}", refused.stderr);
}
