//! Random actions against a reference that holds everything in memory.
//!
//! Whatever happens, crashes included: every committed point is there exactly once, what was frozen stays the same to the
//! bit, chunks are never too long, and the accounts add up.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{Counts, Frozen, RunState};

const CHANNELS: usize = 3;
const POINTS_PER_CHUNK: usize = 7;

#[derive(Debug, Clone)]
enum Action {
    /// Ticks, each with a choice of channels (a bit each) and a mark.
    Append(Vec<(u8, u8)>),
    Flush,
    Clock(i64),
    StreamOpened,
    StreamEnded,
    /// How many, whether those taken before are said to be in flight, and from which chunk on.
    Take(usize, bool, Option<prop::sample::Index>),
    /// Which of the frozen, and which channels are refused (a bit each).
    Settle(prop::sample::Index, u8),
    AttemptFailed(prop::sample::Index),
    /// Everything in memory is lost. Whether the log's index survives, as it does when only the process dies.
    Crash(bool),
    EndSession,
}

fn action() -> impl Strategy<Value = Action> {
    let append = prop::collection::vec((1..8_u8, 0..3_u8), 1..20);
    prop_oneof![
        8 => append.prop_map(Action::Append),
        5 => Just(Action::Flush),
        3 => (-2 * SECOND..2 * SECOND).prop_map(Action::Clock),
        2 => Just(Action::StreamOpened),
        1 => Just(Action::StreamEnded),
        5 => (1..6_usize, any::<bool>(), prop::option::weighted(0.3, any::<prop::sample::Index>()))
            .prop_map(|(limit, in_flight, from)| Action::Take(limit, in_flight, from)),
        6 => (any::<prop::sample::Index>(), prop_oneof![3 => Just(0_u8), 1 => 0..8_u8])
            .prop_map(|(which, refused)| Action::Settle(which, refused)),
        2 => any::<prop::sample::Index>().prop_map(Action::AttemptFailed),
        2 => any::<bool>().prop_map(Action::Crash),
        1 => Just(Action::EndSession),
    ]
}

/// What has to be on disk.
#[derive(Default)]
struct Reference {
    /// Committed, with the number of the session.
    committed: Vec<(i64, Tick)>,
    /// Appended only.
    buffered: Vec<Tick>,
    /// Committed ticks that are in no chunk.
    open: usize,
    chunks: usize,
    session: i64,
    streams: usize,
    stream_open: bool,
    /// The chunk with index 0 on the newest stream.
    base: u64,
    frozen: BTreeMap<u64, Frozen>,
    /// Frozen because a later chunk was taken, and not taken yet.
    frozen_ahead: BTreeSet<u64>,
    /// Refused channels of the chunks that are settled.
    settled: BTreeMap<u64, u8>,
    clocks: usize,
}

impl Reference {
    fn append(&mut self, ticks: Vec<Tick>) {
        self.buffered.extend(ticks);
        if self.open + self.buffered.len() >= POINTS_PER_CHUNK {
            self.commit();
        }
    }

    fn commit(&mut self) {
        self.open += self.buffered.len();
        self.committed.extend(self.buffered.drain(..).map(|tick| (self.session, tick)));
        self.chunks += self.open / POINTS_PER_CHUNK;
        self.open %= POINTS_PER_CHUNK;
    }

    fn seal(&mut self) {
        self.chunks += usize::from(self.open > 0);
        self.open = 0;
    }

    fn thaw(&mut self) {
        self.stream_open = false;
        self.frozen.clear();
        self.frozen_ahead.clear();
    }

    fn waiting(&self) -> impl Iterator<Item = u64> {
        (0..u64::try_from(self.chunks).unwrap()).filter(|seq| !self.settled.contains_key(seq))
    }
}

struct Bout {
    folder: TempDir,
    store: Option<Store>,
    handle: Handle,
    run: RunId,
    reference: Reference,
    next_tick: i64,
}

impl Bout {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (store, handle) = Store::open(settings(folder.path())).unwrap();
        let run = handle.begin(start(CHANNELS, POINTS_PER_CHUNK)).await.unwrap();
        let reference = Reference { session: 1, ..Reference::default() };
        Self { folder, store: Some(store), handle, run, reference, next_tick: 0 }
    }

    async fn act(&mut self, action: Action) {
        let reference = &mut self.reference;
        match action {
            Action::Append(cells) => {
                let ticks: Vec<Tick> = cells
                    .into_iter()
                    .map(|(channels, mark)| {
                        let mut tick = tick(self.next_tick, 0..CHANNELS);
                        self.next_tick += 1;
                        tick.points.retain(|point| channels & (1 << point.channel.0) != 0);
                        for point in &mut tick.points {
                            point.mark = [Mark::Good, Mark::Uncertain, Mark::Filled][usize::from(mark)];
                        }
                        tick
                    })
                    .collect();
                let counts = vec![Counts { read: 1, ..Counts::default() }; CHANNELS];
                self.handle.append(Batch { ticks: ticks.clone(), counts }).unwrap();
                reference.append(ticks);
            }
            Action::Flush => {
                self.handle.flush().await.unwrap();
                reference.commit();
            }
            Action::Clock(offset) => {
                self.handle.record_clock(reading(offset)).await.unwrap();
                reference.clocks += 1;
            }
            Action::StreamOpened => {
                reference.streams += 1;
                reference.thaw();
                self.handle.stream_opened(&self.run, &format!("data-{}", reference.streams)).await.unwrap();
                reference.stream_open = true;
                let oldest = reference.waiting().next();
                reference.base = oldest.unwrap_or(u64::try_from(reference.chunks).unwrap());
            }
            Action::StreamEnded => {
                let result = self.handle.stream_ended(&self.run, "410").await;
                assert_eq!(result.is_ok(), reference.streams > 0);
                reference.thaw();
            }
            Action::Take(limit, in_flight, from) => {
                let from = from.map_or(0, |from| from.index(reference.chunks + 1));
                self.take(limit, in_flight, u64::try_from(from).unwrap()).await;
            }
            Action::Settle(which, refused) => {
                let Some(seq) = pick(&reference.frozen, which) else { return };
                let words = |number| (channel(number).name, "422".to_owned());
                let refused_names: Vec<_> = (0..CHANNELS).filter(|c| refused & (1 << c) != 0).map(words).collect();
                self.handle.settle(&self.run, seq, &refused_names, &[]).await.unwrap();
                reference.frozen.remove(&seq);
                reference.settled.insert(seq, refused);
            }
            Action::AttemptFailed(which) => {
                let Some(seq) = pick(&reference.frozen, which) else { return };
                self.handle.attempt_failed(&self.run, seq, "503").await.unwrap();
                reference.frozen.get_mut(&seq).unwrap().attempts += 1;
            }
            Action::Crash(index_survives) => self.crash(index_survives).await,
            Action::EndSession => {
                self.handle.end_session().await.unwrap();
                reference.commit();
                reference.seal();
                self.begin_again().await;
            }
        }
    }

    async fn take(&mut self, limit: usize, skip_frozen: bool, from: u64) {
        let reference = &mut self.reference;
        let in_flight: Vec<u64> = if skip_frozen { reference.frozen.keys().copied().collect() } else { Vec::new() };
        let taken = self.handle.take(&self.run, limit, &in_flight, from).await;
        if !reference.stream_open {
            assert!(matches!(taken, Err(Error::NoStream(_))), "{taken:?}");
            return;
        }
        let taken = taken.unwrap();
        let waiting = reference.waiting().filter(|seq| *seq >= from && !in_flight.contains(seq));
        let wanted: Vec<u64> = waiting.take(limit).collect();
        assert_eq!(taken.iter().map(|frozen| frozen.seq).collect::<Vec<_>>(), wanted, "the oldest, in order");
        let ahead: Vec<u64> = reference.waiting().filter(|seq| *seq < from).collect();
        reference.frozen_ahead.extend(ahead.into_iter().filter(|seq| !reference.frozen.contains_key(seq)));
        for frozen in taken {
            reference.frozen_ahead.remove(&frozen.seq);
            match reference.frozen.get(&frozen.seq) {
                Some(before) => assert_eq!(&frozen, before, "a frozen chunk changed"),
                None => {
                    assert_eq!(frozen.chunk.index, frozen.seq - reference.base);
                    assert_eq!(frozen.data_id, format!("data-{}", reference.streams));
                    let attempts_before_thaw = frozen.attempts;
                    reference.frozen.insert(frozen.seq, Frozen { attempts: attempts_before_thaw, ..frozen });
                }
            }
        }
    }

    async fn crash(&mut self, index_survives: bool) {
        // The answer to any request tells that the appends before it have arrived.
        self.handle.pending().await.unwrap();
        let copy = self.folder_copy(index_survives);
        // The old store may write what it likes now: it is not looked at any more.
        self.store.take().unwrap().close().await.unwrap();
        let (store, handle) = Store::open(settings(copy.path())).unwrap();
        (self.folder, self.store, self.handle) = (copy, Some(store), handle);
        self.reference.buffered.clear();
        self.reference.seal();
        self.begin_again().await;
    }

    fn folder_copy(&self, with_index: bool) -> TempDir {
        let copy = crash_copy(self.folder.path());
        let index = schema::beside(&run_path(self.folder.path(), &self.run), "-shm");
        if with_index {
            std::fs::copy(index, schema::beside(&run_path(copy.path(), &self.run), "-shm")).unwrap();
        }
        copy
    }

    async fn begin_again(&mut self) {
        assert_eq!(self.handle.begin(start(CHANNELS, POINTS_PER_CHUNK)).await.unwrap(), self.run);
        self.reference.session += 1;
    }

    /// Compares the file with the reference.
    async fn check(&self) {
        let reference = &self.reference;
        self.handle.pending().await.unwrap();
        let file = RunFile::open(run_path(self.folder.path(), &self.run)).unwrap();
        let stored = chunks(&file);
        assert_eq!(stored.len(), reference.chunks);
        let mut found: Vec<(i64, Tick)> = Vec::new();
        for (seq, chunk) in (0..).zip(&stored) {
            assert_eq!(chunk.seq, seq);
            assert!(chunk.points.iter().all(|points| usize::try_from(*points).unwrap() <= POINTS_PER_CHUNK));
            found.extend(chunk.ticks.iter().map(|tick| (chunk.session.0, tick.clone())));
            match (chunk.state, reference.settled.get(&seq), reference.frozen.get(&seq)) {
                (ChunkState::Sealed, None, None) => assert_eq!(chunk.sent, None),
                (ChunkState::Frozen, None, None) if reference.frozen_ahead.contains(&seq) => {
                    assert_eq!(chunk.sent.as_ref().unwrap().chunk.index, seq - reference.base);
                }
                (ChunkState::Frozen, None, Some(frozen)) => {
                    assert_eq!(chunk.sent.as_ref().unwrap().chunk, frozen.chunk);
                    assert_eq!(chunk.attempts, frozen.attempts);
                }
                (ChunkState::Confirmed | ChunkState::Rejected, Some(_), None) => {}
                other => panic!("chunk {seq}: {other:?}"),
            }
        }
        for open in file.open_ticks().unwrap() {
            found.extend(open.ticks.into_iter().map(|tick| (open.session.0, tick)));
        }
        assert_eq!(found, reference.committed, "every committed point exactly once, in order");
        self.check_stamps(&stored);
        self.check_accounts(&stored, &file.counts().unwrap());
        assert_eq!(file.clock_readings().unwrap().len(), reference.clocks);
    }

    fn check_stamps(&self, stored: &[StoredChunk]) {
        let newest = i64::try_from(self.reference.streams).unwrap();
        let of_newest = stored.iter().filter_map(|chunk| chunk.sent.as_ref()).filter(|sent| sent.stream == newest);
        let stamps: Vec<Stamp> = of_newest.flat_map(|sent| sent.stamps.iter().copied()).collect();
        let rising = stamps.is_sorted_by(|a, b| a < b);
        assert!(rising, "the stamps of a stream rise");
    }

    fn check_accounts(&self, stored: &[StoredChunk], on_disk: &[Counts]) {
        let status = self.handle.snapshot().borrow().clone();
        let totals = status.runs.iter().find(|totals| totals.run == self.run).unwrap();
        assert_balanced(totals);
        assert_eq!(totals.counts, on_disk);
        let mut wanted = vec![Points::default(); CHANNELS];
        for (_, tick) in &self.reference.committed {
            for point in &tick.points {
                wanted[point.channel.0].open += 1;
            }
        }
        for chunk in stored {
            for (number, (wanted, points)) in wanted.iter_mut().zip(&chunk.points).enumerate() {
                wanted.open -= points;
                match self.reference.settled.get(&chunk.seq) {
                    None => wanted.queued += points,
                    Some(refused) if refused & (1 << number) != 0 => wanted.rejected += points,
                    Some(_) => wanted.uploaded += points,
                }
            }
        }
        assert_eq!(totals.points, wanted);
    }

    /// The run is closed, sent to the end and finalized.
    async fn finish(mut self) {
        self.act(Action::StreamOpened).await;
        self.handle.end_run().await.unwrap();
        self.reference.commit();
        self.reference.seal();
        self.check_closed().await;
        loop {
            let taken = self.handle.take(&self.run, 4, &[], 0).await.unwrap();
            if taken.is_empty() {
                break;
            }
            for frozen in taken {
                self.handle.settle(&self.run, frozen.seq, &[], &[]).await.unwrap();
            }
        }
        self.handle.stream_finalized(&self.run).await.unwrap();
        assert_eq!(self.handle.pending().await.unwrap(), []);
        let file = RunFile::open(run_path(self.folder.path(), &self.run)).unwrap();
        let found = chunks(&file).into_iter().flat_map(|chunk| chunk.ticks);
        assert!(found.eq(self.reference.committed.into_iter().map(|(_, tick)| tick)));
        assert_eq!(file.info().state, RunState::Done);
        self.store.take().unwrap().close().await.unwrap();
    }

    async fn check_closed(&self) {
        let pending = self.handle.pending().await.unwrap();
        let waiting = self.reference.chunks - self.reference.settled.len();
        assert_eq!(pending[0].queued, u64::try_from(waiting).unwrap());
        self.check().await;
    }
}

fn pick(frozen: &BTreeMap<u64, Frozen>, which: prop::sample::Index) -> Option<u64> {
    let seqs: Vec<u64> = frozen.keys().copied().collect();
    (!seqs.is_empty()).then(|| *which.get(&seqs))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_reference_does(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bout = Bout::new().await;
            for action in actions {
                bout.act(action).await;
                bout.check().await;
            }
            bout.finish().await;
        });
    }
}
