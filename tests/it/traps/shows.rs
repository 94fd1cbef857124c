//! A lab made of a text, and what its channels may show.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mbe_bridge::bridge::Reader;
use mbe_bridge::config;
use mbe_bridge::document::Problems;
use mbe_bridge::model::{Outcome, Quality};
use mbe_bridge::profile::{Library, Profile};

/// Nothing here takes as long unless it is broken, also on a machine with other things to do.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// How far a value that went through an instrument's own digits may be from what was set, as a part of it.
const DIGITS: f64 = 1e-5;

/// A profile of the library.
pub(super) fn profile(id: &str) -> Arc<Profile> {
    Arc::clone(Library::embedded().0.get(id).unwrap())
}

/// A lab's file with these links and instruments.
pub(super) fn configured(text: &str) -> Result<config::Config, Problems> {
    let (library, problems) = Library::embedded();
    assert!(problems.is_empty(), "{problems}");
    let read = config::read(Path::new("lab.toml"), &format!("data_dir = \"data\"\n{text}"), &library, &|_| None)?;
    Ok(read.config)
}

/// The same lab, being read.
pub(super) fn reader(text: &str) -> Reader {
    let config = configured(text).unwrap_or_else(|problems| panic!("{problems}"));
    Reader::start(&Arc::new(config)).unwrap()
}

/// What a channel may show.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shows {
    Value(f64),
    Bad(&'static str),
}

use Shows::{Bad, Value};

impl Shows {
    pub(super) fn fits(self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Value(expected), Outcome::Value { value, quality: Quality::Good }) => near(value.get(), expected, DIGITS),
            (Bad(reason), Outcome::Bad(shown)) => shown.as_str() == reason,
            _ => false,
        }
    }
}

/// Whether a value is what was expected, to this part of it.
pub(super) fn near(value: f64, expected: f64, part: f64) -> bool {
    (value - expected).abs() <= part * expected.abs()
}

/// Waits until a channel shows the last of these, and sees to it that it has never shown anything else than one of them.
pub(super) async fn until(reader: &Reader, channel: &str, shows: &[Shows]) {
    let begun = Instant::now();
    loop {
        let snapshot = reader.board().snapshot();
        let live = snapshot.channels.iter().find(|live| live.channel.name.to_string() == channel).unwrap();
        if let Some((_, outcome)) = &live.latest {
            assert!(
                shows.iter().any(|shows| shows.fits(outcome)),
                "`{channel}` shows {outcome:?}, not one of {shows:?}"
            );
        }
        for (_, number) in &live.recent {
            let is_one = |shows: &Shows| matches!(shows, Value(expected) if near(number.get(), *expected, DIGITS));
            assert!(shows.iter().any(is_one), "`{channel}` was {}, not one of {shows:?}", number.get());
        }
        let last = shows.last().unwrap();
        if live.latest.as_ref().is_some_and(|(_, outcome)| last.fits(outcome)) {
            return;
        }
        let complaints = snapshot.complaints();
        assert!(begun.elapsed() < DEADLINE, "`{channel}` never shows {last:?}: {live:?}; {complaints:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
