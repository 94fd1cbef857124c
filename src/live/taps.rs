//! Taps on the wires: who wants to see what goes over a link, sees it from now on.
//!
//! The link's thread only looks whether anybody watches, and if so puts a copy into each watcher's bounded queue. It never
//! waits: what a slow watcher has no room for is lost, and a line says how much. Lines are made into text on the watcher's
//! side. With nobody watching, a tap costs the reading of one flag.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::model::{TimeBase, TraceHead, TraceLine, Traced};

/// Lines that wait for a watcher: half a minute of a busy link.
const WAITING_LINES: usize = 4_096;

/// Lines that are handed on at once.
const LINES_AT_ONCE: usize = 256;

/// Watchers of one link; each costs memory, and nobody needs more.
const MOST_WATCHERS: usize = 16;

/// The taps of all links.
#[derive(Debug, Default)]
pub struct Taps {
    taps: Vec<Arc<Tap>>,
}

impl Taps {
    /// Taps for links with these names and targets, in the order of the lab's TOML.
    pub fn new(time: TimeBase, links: impl IntoIterator<Item = (Arc<str>, String)>) -> Self {
        let tap = |(name, target): (Arc<str>, String)| Tap {
            time,
            head: TraceHead { link: name.to_string(), target },
            watched: AtomicBool::new(false),
            watchers: Mutex::new(Watchers { closed: false, ends: Vec::new() }),
        };
        Self { taps: links.into_iter().map(|link| Arc::new(tap(link))).collect() }
    }

    /// The tap on a link, by its place in the lab's TOML.
    pub fn get(&self, link: usize) -> Option<&Arc<Tap>> {
        self.taps.get(link)
    }

    /// The tap on a link, by name.
    pub fn named(&self, link: &str) -> Option<&Arc<Tap>> {
        self.taps.iter().find(|tap| tap.head.link == link)
    }

    /// The names of all links, for people.
    pub fn names(&self) -> String {
        self.taps.iter().map(|tap| tap.head.link.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Ends every watch, now and for ever: what is in the queues can still be read.
    pub fn close(&self) {
        for tap in &self.taps {
            let mut watchers = tap.lock();
            watchers.closed = true;
            watchers.ends.clear();
            tap.watched.store(false, Ordering::Relaxed);
        }
    }
}

/// The tap on one link.
#[derive(Debug)]
pub struct Tap {
    time: TimeBase,
    head: TraceHead,
    watched: AtomicBool,
    watchers: Mutex<Watchers>,
}

#[derive(Debug)]
struct Watchers {
    closed: bool,
    ends: Vec<End>,
}

/// The link's end of a queue.
#[derive(Debug)]
struct End {
    lines: mpsc::Sender<TraceLine>,
    /// Lines that found no room and were not yet spoken of.
    lost: Arc<AtomicU64>,
}

/// There is no room for another watcher, or nothing more to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWatch {
    /// As many as are allowed watch already.
    #[error("{MOST_WATCHERS} watch this link already; end one of them first")]
    Crowded,
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Closed,
}

impl Tap {
    /// Notes bytes to the field.
    pub fn out(&self, bytes: &[u8]) {
        self.note(|| Traced::Out(bytes.to_vec()));
    }

    /// Notes bytes from the field.
    pub fn came(&self, bytes: &[u8]) {
        self.note(|| Traced::In(bytes.to_vec()));
    }

    /// Notes an event.
    pub fn event(&self, what: &str) {
        self.note(|| Traced::Event(what.to_owned()));
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Watches from now on.
    pub fn watch(&self) -> Result<Watch, NoWatch> {
        self.watch_with_room_for(WAITING_LINES)
    }

    fn watch_with_room_for(&self, lines: usize) -> Result<Watch, NoWatch> {
        let mut watchers = self.lock();
        watchers.ends.retain(|end| !end.lines.is_closed());
        if watchers.closed {
            return Err(NoWatch::Closed);
        }
        if watchers.ends.len() >= MOST_WATCHERS {
            return Err(NoWatch::Crowded);
        }
        let (sender, receiver) = mpsc::channel(lines);
        let lost = Arc::new(AtomicU64::new(0));
        watchers.ends.push(End { lines: sender, lost: Arc::clone(&lost) });
        self.watched.store(true, Ordering::Relaxed);
        Ok(Watch { head: Some(self.head.clone()), time: self.time, lines: receiver, lost, text: String::new() })
    }

    fn note(&self, what: impl FnOnce() -> Traced) {
        if !self.is_watched() {
            return;
        }
        let line = TraceLine { at: self.time.now(), what: what() };
        let mut watchers = self.lock();
        watchers.ends.retain(|end| end.offer(&line));
        if watchers.ends.is_empty() {
            self.watched.store(false, Ordering::Relaxed);
        }
    }

    /// A panic elsewhere leaves at worst one watcher too many.
    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// Hands a line over, after word of those that were lost. False when nobody is at the other end.
    fn offer(&self, line: &TraceLine) -> bool {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            match self.lines.try_send(lines_lost(lost, line)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    self.lost.fetch_add(lost + 1, Ordering::Relaxed);
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        match self.lines.try_send(line.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

fn lines_lost(lost: u64, before: &TraceLine) -> TraceLine {
    let what = Traced::Event(format!("{lost} lines are lost here: whoever reads this trace is too slow"));
    TraceLine { at: before.at, what }
}

/// A watcher's end of a queue. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    /// The first line, until it was read.
    head: Option<TraceHead>,
    time: TimeBase,
    lines: mpsc::Receiver<TraceLine>,
    lost: Arc<AtomicU64>,
    text: String,
}

impl Watch {
    /// Waits for lines and gives all that are there, with line ends; first the head, at once. None when the watch is over.
    pub async fn lines(&mut self) -> Option<String> {
        if self.begin() {
            return self.handed_on();
        }
        let line = self.lines.recv().await;
        self.go_on(line)
    }

    /// The same for a thread, which it blocks.
    pub fn blocking_lines(&mut self) -> Option<String> {
        if self.begin() {
            return self.handed_on();
        }
        let line = self.lines.blocking_recv();
        self.go_on(line)
    }

    fn begin(&mut self) -> bool {
        let head = self.head.take();
        if let Some(head) = &head {
            self.put(head);
        }
        head.is_some()
    }

    fn go_on(&mut self, line: Option<TraceLine>) -> Option<String> {
        let mut next = line;
        let mut taken = 0;
        while let Some(line) = next {
            self.put(&line);
            taken += 1;
            next = if taken < LINES_AT_ONCE { self.lines.try_recv().ok() } else { None };
        }
        if self.lines.is_empty() {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let now = TraceLine { at: self.time.now(), what: Traced::Event(String::new()) };
                self.put(&lines_lost(lost, &now));
            }
        }
        self.handed_on()
    }

    fn put(&mut self, line: &impl std::fmt::Display) {
        use std::fmt::Write as _;
        // A String takes everything; a time beyond the calendar is left out.
        writeln!(self.text, "{line}").unwrap_or_default();
    }

    fn handed_on(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taps() -> Taps {
        Taps::new(
            TimeBase::start(),
            [("pyro".into(), "/dev/ttyUSB0 (19200 8E1)".to_owned()), ("bus".into(), String::new())],
        )
    }

    fn read(text: &str) -> Vec<Traced> {
        text.lines().filter_map(|line| TraceLine::parse(line).unwrap()).map(|line| line.what).collect()
    }

    #[tokio::test]
    async fn who_watches_sees_what_goes_over_the_link_from_then_on() {
        let taps = taps();
        let tap = taps.named("pyro").unwrap();
        assert!(taps.named("gyro").is_none() && taps.get(2).is_none());
        tap.out(b"before");
        let mut watch = tap.watch().unwrap();
        taps.named("bus").unwrap().out(b"elsewhere");
        tap.out(b"00ms\r");
        tap.came(b"02563\r");
        tap.event("link is down: unplugged");
        assert_eq!(watch.lines().await.unwrap(), "# mbe-bridge trace 1; link pyro; /dev/ttyUSB0 (19200 8E1); \n");
        let expected = [
            Traced::Out(b"00ms\r".to_vec()),
            Traced::In(b"02563\r".to_vec()),
            Traced::Event("link is down: unplugged".to_owned()),
        ];
        assert_eq!(read(&watch.lines().await.unwrap()), expected);
    }

    #[tokio::test]
    async fn a_slow_watcher_loses_lines_and_is_told_how_many_and_nobody_waits_for_it() {
        let taps = taps();
        let tap = taps.named("pyro").unwrap();
        let mut slow = tap.watch_with_room_for(4).unwrap();
        let mut quick = tap.watch().unwrap();
        for n in 0..10_u8 {
            tap.out(&[n]);
        }
        let mut seen = Vec::new();
        slow.lines().await.unwrap();
        seen.extend(read(&slow.lines().await.unwrap()));
        for n in 10..12_u8 {
            tap.out(&[n]);
        }
        seen.extend(read(&slow.lines().await.unwrap()));
        let lost = "6 lines are lost here: whoever reads this trace is too slow";
        let out = |n: u8| Traced::Out(vec![n]);
        let expected = [out(0), out(1), out(2), out(3), Traced::Event(lost.to_owned()), out(10), out(11)];
        assert_eq!(seen, expected);
        quick.lines().await.unwrap();
        assert_eq!(read(&quick.lines().await.unwrap()), (0..12).map(out).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn losses_before_the_end_are_told_too_and_every_line_is_seen_or_counted() {
        let taps = taps();
        let mut watch = taps.named("pyro").unwrap().watch_with_room_for(2).unwrap();
        let writer = std::thread::spawn(move || {
            let tap = taps.named("pyro").unwrap();
            (0..20_000_u32).for_each(|n| tap.out(&n.to_be_bytes()));
            taps.close();
        });
        let (mut seen, mut lost) = (0, 0);
        while let Some(text) = watch.lines().await {
            for what in read(&text) {
                match what {
                    Traced::Event(said) => lost += said.split(' ').next().unwrap().parse::<u64>().unwrap(),
                    _ => seen += 1,
                }
            }
        }
        writer.join().unwrap();
        assert_eq!(seen + lost, 20_000, "{lost} lost");
    }

    #[test]
    fn nobody_watches_once_all_have_left_and_a_closed_tap_takes_nobody() {
        let taps = taps();
        let tap = taps.named("pyro").unwrap();
        let watches: Vec<_> = (0..MOST_WATCHERS).map(|_| tap.watch().unwrap()).collect();
        assert_eq!(tap.watch().unwrap_err(), NoWatch::Crowded);
        drop(watches);
        tap.out(b"?");
        assert!(!tap.is_watched());
        let mut last = tap.watch().unwrap();
        taps.close();
        assert!(last.blocking_lines().unwrap().starts_with('#'));
        assert_eq!(last.blocking_lines(), None);
        assert_eq!(tap.watch().unwrap_err(), NoWatch::Closed);
    }
}
