//! A run file held against itself: what SQLite says, what is in the bodies, what the rows and counts say of them.

use std::collections::{BTreeMap, HashSet};

use super::Findings;
use crate::model::{Counts, Mark, RunState, SessionId, Stamp, StreamState, Tick, with_causes};
use crate::runs::Axis;
use crate::runs::read::{ChunkHead, ChunkState, Fate, Info, RunFile, Session, Stream};
use crate::runs::{Error, Points};

const COPY: &str = "if there is a copy of the file, verify that; points that the platform has confirmed are safe there \
     (`mbe-bridge runs verify --platform` says which)";
const BRIDGE: &str = "this is a defect of the bridge: keep the file and report it";
const RESTART: &str = "start the bridge on its data folder: it seals, sends and closes what was left";

/// Chunks read at once.
const PAGE: usize = 256;

/// Adds what is wrong. An error says that the file can't be read any further.
pub(super) fn check(file: &RunFile, quick: bool, findings: &mut Findings) -> Result<(), Error> {
    for line in file.integrity(quick)? {
        findings.add(None, None, format!("SQLite says: {line}"), COPY);
    }
    let refusals = file.refusals()?;
    let info = file.info();
    let mut check = Check {
        sessions: file.sessions()?,
        streams: file.streams()?,
        refused: refusals.iter().map(|refusal| (refusal.seq, refusal.channel)).collect(),
        points: vec![Points::default(); info.channels.len()],
        marked: vec![(0, 0); info.channels.len()],
        info,
        next: 0,
        before: None,
        indices: BTreeMap::new(),
        stamped: BTreeMap::new(),
        waiting: 0,
        salvaged: file.events()?.iter().any(|event| event.kind == "salvaged"),
        findings,
    };
    loop {
        let page = file.heads(check.next, PAGE)?;
        if page.is_empty() {
            break;
        }
        for head in &page {
            check.chunk(file, head);
        }
    }
    check.refusals();
    check.open(file)?;
    for seq in file.stray_bodies()? {
        check.findings.add(Some(seq), None, "its ticks are there, and nothing that says when they were sent", COPY);
    }
    let counts = file.counts()?;
    check.counts(&counts);
    check.run();
    Ok(())
}

struct Check<'a> {
    info: Info,
    sessions: Vec<Session>,
    streams: Vec<Stream>,
    refused: HashSet<(u64, usize)>,
    /// As the rows say.
    points: Vec<Points>,
    /// Samples and filled points, as the bodies show.
    marked: Vec<(u64, u64)>,
    /// The number that the next chunk should have.
    next: u64,
    /// Session and last tick of the chunk before.
    before: Option<(SessionId, Stamp)>,
    /// By stream: the chunks by index.
    indices: BTreeMap<i64, BTreeMap<u64, u64>>,
    /// By stream: the last stamp.
    stamped: BTreeMap<i64, Stamp>,
    /// Chunks that wait for the platform.
    waiting: u64,
    /// It was made of what was readable of a damaged file.
    salvaged: bool,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn add(&mut self, head: &ChunkHead, channel: Option<usize>, what: impl Into<String>, cure: &'static str) {
        let name = channel.map(|channel| self.name(channel));
        self.findings.add(Some(head.seq), name.as_deref(), what, cure);
    }

    fn name(&self, channel: usize) -> String {
        let known = self.info.channels.get(channel);
        known.map_or_else(|| format!("channel {channel}"), |channel| channel.name.to_string())
    }

    fn chunk(&mut self, file: &RunFile, head: &ChunkHead) {
        if head.seq > self.next {
            let last = head.seq - 1;
            let what = if last == self.next {
                format!("chunk {last} of this run is missing")
            } else {
                format!("chunks {} to {last} of this run are missing", self.next)
            };
            if self.salvaged {
                self.findings.remarks.push(format!("{what}: this run was salvaged from a damaged file"));
            } else {
                self.findings.add(None, None, what, COPY);
            }
        }
        self.next = head.seq + 1;
        self.findings.chunks += 1;
        self.row(head);
        match file.ticks(head.seq) {
            Ok(ticks) => {
                self.body(head, &ticks);
                self.stamps(head, &ticks);
            }
            Err(error) => {
                let what = match file.has_body(head.seq) {
                    Ok(false) => "its ticks are not there".to_owned(),
                    _ => with_causes(&error),
                };
                self.add(head, None, what, COPY);
            }
        }
        self.before = Some((head.session, head.last));
    }

    /// What the row says, without the ticks.
    fn row(&mut self, head: &ChunkHead) {
        let given = self.info.axis == Axis::Given;
        // Channels come as a program gives them; a chunk says nothing of later ones.
        if head.points.len() > self.info.channels.len() || (!given && head.points.len() < self.info.channels.len()) {
            let what = format!("it counts {} channels, the run has {}", head.points.len(), self.info.channels.len());
            self.add(head, None, what, BRIDGE);
        }
        if head.points.iter().all(|points| *points == 0) {
            self.add(head, None, "it has no points", BRIDGE);
        }
        let widest = u64::try_from(self.info.spec.points_per_chunk).unwrap_or(u64::MAX);
        for (channel, points) in head.points.iter().enumerate() {
            if *points > widest {
                let what = format!("{points} points, but a slice of the stream holds {widest}");
                self.add(head, Some(channel), what, BRIDGE);
            }
            let fate = head.fate(channel, self.refused.contains(&(head.seq, channel)));
            if let Some(target) = self.points.get_mut(channel) {
                match fate {
                    Fate::Queued => target.queued += points,
                    Fate::Uploaded => target.uploaded += points,
                    Fate::Rejected => target.rejected += points,
                }
            }
            self.findings.points += points;
        }
        match self.sessions.iter().find(|session| session.number == head.session) {
            None => self.add(head, None, format!("session {} is not there", head.session.0), BRIDGE),
            Some(session) => {
                // A tick is at most half a period before the sample on it, and no sample is older than the anchor.
                let earliest = session.anchor.minus(self.info.period.unwrap_or_default());
                if !given && head.first < earliest {
                    self.add(head, None, "it begins before its session did", BRIDGE);
                }
            }
        }
        if head.last < head.first {
            self.add(head, None, "it ends before it begins", BRIDGE);
        }
        if let Some((session, last)) = self.before {
            if head.session < session {
                self.add(head, None, "it is of an earlier session than the chunk before", BRIDGE);
            } else if !given && head.session == session && head.first <= last {
                self.add(head, None, "it overlaps the chunk before", BRIDGE);
            }
        }
        self.state(head);
    }

    /// What the row says of its way to the platform.
    fn state(&mut self, head: &ChunkHead) {
        let waits = matches!(head.state, ChunkState::Sealed | ChunkState::Frozen);
        self.waiting += u64::from(waits);
        let with_points = || head.points.iter().enumerate().filter(|(_, points)| **points > 0);
        let refused = with_points().filter(|(channel, _)| self.refused.contains(&(head.seq, *channel))).count();
        let all = with_points().count();
        match head.state {
            ChunkState::Confirmed if refused == all && all > 0 => {
                self.add(head, None, "it counts as confirmed, but all of its channels were refused", BRIDGE);
            }
            ChunkState::Rejected if refused < all => {
                self.add(head, None, "it counts as rejected, but not all of its channels were refused", BRIDGE);
            }
            _ => {}
        }
        let Some(placed) = head.placed else {
            if matches!(head.state, ChunkState::Frozen | ChunkState::Confirmed) {
                self.add(head, None, "it was sent, and nothing says where to", BRIDGE);
            }
            return;
        };
        let newest = self.streams.last().map(|stream| (stream.record.number, stream.record.state));
        match self.streams.iter().find(|stream| stream.record.number == placed.stream) {
            None => self.add(head, None, format!("stream {} is not there", placed.stream), BRIDGE),
            Some(_) if head.state == ChunkState::Frozen && newest != Some((placed.stream, StreamState::Open)) => {
                let what = format!("it waits to be confirmed on stream {}, which is not open", placed.stream);
                self.add(head, None, what, RESTART);
            }
            Some(_) => {}
        }
        if self.info.axis == Axis::Given {
            // Several chunks of other channels may be for one slice, and a program may give one twice.
            return;
        }
        if let Some(other) = self.indices.entry(placed.stream).or_default().insert(placed.index, head.seq) {
            let what = format!("it has index {} of stream {}, as chunk {other} has", placed.index, placed.stream);
            self.add(head, None, what, BRIDGE);
        }
        let base = self.streams.iter().find(|stream| stream.record.number == placed.stream).and_then(|of| of.base);
        if let Some(base) = base {
            let due = i128::from(head.seq) - i128::from(base);
            if i128::from(placed.index) != due {
                let what = format!("it has index {} of stream {}, and should have {due}", placed.index, placed.stream);
                self.add(head, None, what, BRIDGE);
            }
        }
    }

    /// What the ticks show.
    fn body(&mut self, head: &ChunkHead, ticks: &[Tick]) {
        let mut found = vec![0_u64; self.info.channels.len()];
        let mut beyond = 0_u64;
        for point in ticks.iter().flat_map(|tick| &tick.points) {
            match (found.get_mut(point.channel.0), self.marked.get_mut(point.channel.0)) {
                (Some(count), Some(marked)) => {
                    *count += 1;
                    if point.mark == Mark::Filled { marked.1 += 1 } else { marked.0 += 1 }
                }
                _ => beyond += 1,
            }
        }
        if beyond > 0 {
            self.add(head, None, format!("{beyond} points are of no channel of this run"), BRIDGE);
        }
        for (channel, (found, said)) in found.iter().zip(&head.points).enumerate() {
            if found != said {
                self.add(head, Some(channel), format!("{said} points are said to be there, {found} are"), COPY);
            }
        }
        let given = self.info.axis == Axis::Given;
        if !given && !ticks.windows(2).all(|pair| matches!(pair, [a, b] if a.at < b.at)) {
            self.add(head, None, "its ticks are out of order", BRIDGE);
        }
        let times = || ticks.iter().map(|tick| tick.at);
        let ends = if given { (times().min(), times().max()) } else { (times().next(), times().next_back()) };
        if ends != (Some(head.first), Some(head.last)) {
            self.add(head, None, "its first or last tick is not where its row says", COPY);
        }
        if self.info.axis == Axis::Grid && ticks.len() > self.info.spec.points_per_chunk {
            let what = format!("{} ticks, but a slice holds {}", ticks.len(), self.info.spec.points_per_chunk);
            self.add(head, None, what, BRIDGE);
        }
    }

    /// Stamps of a stream go up, but for steps of the clock that the file knows of.
    fn stamps(&mut self, head: &ChunkHead, ticks: &[Tick]) {
        let Some(placed) = head.placed else { return };
        let stamps = placed.stamps(ticks);
        let given = self.info.axis == Axis::Given;
        let last = if given { stamps.iter().max() } else { stamps.last() };
        if last.copied() != head.last_utc {
            self.add(head, None, "its last stamp is not the one that its row says", COPY);
        }
        if given {
            return;
        }
        if !stamps.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
            self.add(head, None, "its stamps are out of order", BRIDGE);
        }
        if head.only.is_some() {
            // Sent again later, to its old place between the others or on a stream of its own.
            return;
        }
        let before = self.stamped.get(&placed.stream).copied();
        if let (Some(first), Some(before)) = (stamps.first(), before)
            && *first <= before
        {
            let back = before.since(*first).as_secs_f64();
            if placed.floor.is_none() {
                let what = "the clock was found to have been fast";
                let chunk = head.seq;
                self.findings.remarks.push(format!("chunk {chunk} goes back by {back:.3} s: {what}, and set right"));
            } else {
                self.add(
                    head,
                    None,
                    format!("its stamps begin {back:.6} s before the end of the chunk before"),
                    BRIDGE,
                );
            }
        }
        if let Some(last) = stamps.last() {
            self.stamped.insert(placed.stream, before.map_or(*last, |before| before.max(*last)));
        }
    }

    /// Rows of refusals are of chunks and channels that are there.
    fn refusals(&mut self) {
        let channels = self.info.channels.len();
        let mut odd: Vec<_> = self.refused.iter().filter(|(seq, of)| *seq >= self.next || *of >= channels).collect();
        odd.sort();
        let odd: Vec<_> = odd.into_iter().copied().collect();
        for (seq, channel) in odd {
            let name = self.name(channel);
            let what = "the platform is said to have refused it, but there is no such chunk or channel";
            self.findings.add(Some(seq), Some(&name), what, BRIDGE);
        }
    }

    /// Commits that no chunk holds yet.
    fn open(&mut self, file: &RunFile) -> Result<(), Error> {
        for flaw in file.open_flaws()? {
            let flaw: String = flaw.chars().take(200).collect();
            self.findings.add(None, None, format!("a commit that no chunk holds yet can't be read: {flaw}"), RESTART);
        }
        let mut open = 0;
        for batch in file.open_ticks()? {
            for point in batch.ticks.iter().flat_map(|tick| &tick.points) {
                open += 1;
                if let (Some(target), Some(marked)) =
                    (self.points.get_mut(point.channel.0), self.marked.get_mut(point.channel.0))
                {
                    target.open += 1;
                    if point.mark == Mark::Filled { marked.1 += 1 } else { marked.0 += 1 }
                }
            }
        }
        self.findings.points += open;
        if open > 0 && self.info.state != RunState::Recording {
            let what = format!("the run is closed, and {open} points are in no chunk");
            self.findings.add(None, None, what, RESTART);
        }
        Ok(())
    }

    fn counts(&mut self, counts: &[Counts]) {
        if counts.len() != self.info.channels.len() {
            let what = format!("{} channels, but accounts of {}", self.info.channels.len(), counts.len());
            self.findings.add(None, None, what, COPY);
        }
        for (channel, counts) in counts.iter().enumerate() {
            let name = self.name(channel);
            let mut add = |what: String| self.findings.add(None, Some(&name), what, COPY);
            if counts.read != counts.settled() {
                add(format!("{} readings, {} accounted for", counts.read, counts.settled()));
            }
            let Some(points) = self.points.get(channel) else { continue };
            let on_disk = counts.recorded + counts.filled;
            if on_disk != points.total() {
                add(format!(
                    "recorded {} + filled {} is not uploaded {} + queued {} + rejected {}",
                    counts.recorded,
                    counts.filled,
                    points.uploaded,
                    points.queued + points.open,
                    points.rejected
                ));
            }
            let Some((samples, filled)) = self.marked.get(channel) else { continue };
            if on_disk == points.total() && (*samples, *filled) != (counts.recorded, counts.filled) {
                add(format!(
                    "recorded {} and filled {}, but the ticks hold {samples} and {filled}",
                    counts.recorded, counts.filled
                ));
            }
        }
    }

    fn run(&mut self) {
        let mut add = |what: String, cure| self.findings.add(None, None, what, cure);
        for (place, stream) in self.streams.iter().enumerate() {
            let number = stream.record.number;
            let newest = place + 1 == self.streams.len();
            if stream.record.state == StreamState::Open && !newest {
                add(format!("stream {number} is open, and a later one is there"), BRIDGE);
            }
        }
        if self.info.state == RunState::Done {
            if self.waiting > 0 {
                add(format!("the run is done, and {} chunks wait for the platform", self.waiting), BRIDGE);
            }
            if self.streams.iter().any(|stream| stream.record.state == StreamState::Open) {
                add("the run is done, and a stream of it is open".to_owned(), BRIDGE);
            }
        }
        if self.sessions.is_empty() {
            add("there is no session".to_owned(), BRIDGE);
        }
    }
}
