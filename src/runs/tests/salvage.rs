//! Damaged run files: whatever is broken in them, what is readable comes out as it went in, and nothing else does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::run::Run;
use super::super::salvage::{self, Damaged, Outcome};
use super::*;
use crate::model::{Counts, Frozen, RunState};

const CHANNELS: usize = 3;
const PAGE: usize = 4096;

/// The status once nothing is being salvaged any more.
pub(super) async fn all_mended(handle: &Handle) -> Status {
    let mut status = handle.snapshot();
    let done = status.wait_for(|status| status.set_aside.iter().all(|aside| !aside.why.ends_with("being salvaged")));
    tokio::time::timeout(DEADLINE, done).await.unwrap().unwrap().clone()
}

/// A run file as bytes, and what is in it.
struct Made {
    run: RunId,
    main: Vec<u8>,
    log: Vec<u8>,
    ticks: BTreeMap<Stamp, Tick>,
    chunks: Vec<StoredChunk>,
    /// The pages of each body.
    pages: Vec<BTreeSet<usize>>,
    /// The pages without which nothing can be salvaged.
    head: BTreeSet<usize>,
    /// Slices that the platform has: by stream, channel and index.
    platform: Platform,
}

type Platform = BTreeMap<(String, String, u64), Vec<(Stamp, u64)>>;

fn send(platform: &mut Platform, frozen: &Frozen) {
    for channel in &frozen.chunk.channels {
        let key = (frozen.data_id.clone(), channel.name.to_string(), frozen.chunk.index);
        let points = channel.stamps.iter().copied().zip(channel.values.iter().map(|value| value.to_bits())).collect();
        platform.insert(key, points);
    }
}

/// Points of ticks with one channel missing here and there, and one filled.
fn some_ticks(numbers: std::ops::Range<i64>) -> Vec<Tick> {
    let mut ticks = ticks(numbers.clone(), CHANNELS);
    for (tick, number) in ticks.iter_mut().zip(numbers) {
        if number % 4 == 1 {
            tick.points.remove(0);
        }
        if number % 5 == 2 {
            tick.points.last_mut().unwrap().mark = Mark::Filled;
        }
    }
    ticks
}

fn counted(ticks: Vec<Tick>) -> Batch {
    let mut counts = vec![Counts::default(); CHANNELS];
    for point in ticks.iter().flat_map(|tick| &tick.points).filter(|point| point.mark == Mark::Good) {
        counts[point.channel.0].read += 1;
    }
    Batch { ticks, counts }
}

/// Two sessions; chunks that are confirmed, rejected in part, frozen and sealed; open ticks. With `logged`, the later half is in
/// the log only; else the file was closed and there is none.
async fn make(points_per_chunk: usize, logged: bool) -> Made {
    let folder = TempDir::new().unwrap();
    let per_chunk = i64::try_from(points_per_chunk).unwrap();
    let mut platform = Platform::new();
    let mut next = 0;
    let mut record = |handle: &Handle, count: i64| {
        handle.append(counted(some_ticks(next..next + count))).unwrap();
        next += count;
    };
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    let run = handle.begin(start(CHANNELS, points_per_chunk)).await.unwrap();
    handle.record_clock(reading(250_000_000)).await.unwrap();
    for _ in 0..11 {
        record(&handle, per_chunk / 2);
        handle.flush().await.unwrap();
    }
    handle.stream_opened(&run, "data-1").await.unwrap();
    let taken = handle.take(&run, 3, &[], 0).await.unwrap();
    taken.iter().for_each(|frozen| send(&mut platform, frozen));
    let refused = (channel(1).name, "422: no".to_owned());
    handle.settle(&run, 0, &[], &[]).await.unwrap();
    handle.settle(&run, 1, &[refused], &[]).await.unwrap();
    store.close().await.unwrap();

    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    assert_eq!(handle.begin(start(CHANNELS, points_per_chunk)).await.unwrap(), run);
    handle.event("note", "the shutter was opened").await.unwrap();
    for _ in 0..6 {
        record(&handle, per_chunk);
        handle.flush().await.unwrap();
    }
    let taken = handle.take(&run, 4, &[], 0).await.unwrap();
    taken.iter().for_each(|frozen| send(&mut platform, frozen));
    handle.settle(&run, 2, &[], &[]).await.unwrap();
    for _ in 0..3 {
        record(&handle, 2);
        handle.flush().await.unwrap();
    }
    let path = run_path(folder.path(), &run);
    let (main, log) = if logged {
        let copy = crash_copy(folder.path());
        let path = run_path(copy.path(), &run);
        (fs::read(&path).unwrap(), fs::read(schema::beside(&path, "-wal")).unwrap())
    } else {
        store.close().await.unwrap();
        (fs::read(&path).unwrap(), Vec::new())
    };
    let file = RunFile::open(&path).unwrap();
    let chunks = chunks(&file);
    assert_eq!((chunks.len(), file.open_ticks().unwrap().len()), (12, 3));
    let ticks: Vec<Tick> = some_ticks(0..next);
    let image = [&main[..], &log[..]].concat();
    let bodies: Vec<Vec<u8>> = chunks.iter().map(|chunk| super::super::body::encode(&chunk.ticks)).collect();
    let pages = pages_of(&image, &bodies);
    let head = [run.as_str().as_bytes(), b"channel_0"].iter().flat_map(|text| pages_of_text(&image, text)).collect();
    Made {
        run,
        main,
        log,
        ticks: ticks.into_iter().map(|tick| (tick.at, tick)).collect(),
        chunks,
        pages,
        head,
        platform,
    }
}

/// The pages in which parts of each of these are found that are in no other.
fn pages_of(image: &[u8], bodies: &[Vec<u8>]) -> Vec<BTreeSet<usize>> {
    const PART: usize = 8;
    let mut owners: HashMap<&[u8], Option<usize>> = HashMap::new();
    for (number, body) in bodies.iter().enumerate() {
        for part in body.windows(PART).filter(|part| part.iter().any(|byte| *byte != part[0])) {
            owners
                .entry(part)
                .and_modify(|owner| *owner = owner.filter(|owner| *owner == number))
                .or_insert(Some(number));
        }
    }
    let mut pages = vec![BTreeSet::new(); bodies.len()];
    for (at, part) in image.windows(PART).enumerate() {
        if let Some(Some(owner)) = owners.get(part) {
            pages[*owner].extend([at / PAGE, (at + PART - 1) / PAGE]);
        }
    }
    pages
}

fn pages_of_text(image: &[u8], text: &[u8]) -> Vec<usize> {
    let found = image.windows(text.len()).enumerate().filter(|(_, window)| *window == text);
    found.map(|(at, _)| at / PAGE).collect()
}

type Makings = LazyLock<Made>;

fn made(points_per_chunk: usize, logged: bool) -> Made {
    std::thread::spawn(move || tokio::runtime::Runtime::new().unwrap().block_on(make(points_per_chunk, logged)))
        .join()
        .unwrap()
}

static SMALL: Makings = LazyLock::new(|| made(10, false));
static LARGE: Makings = LazyLock::new(|| made(150, false));
static LOGGED: Makings = LazyLock::new(|| made(10, true));

/// Puts these bytes in place of the file that was made.
fn lay_out(made: &Made, main: &[u8], log: Option<&[u8]>) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("runs")).unwrap();
    let path = run_path(folder.path(), &made.run);
    fs::write(&path, main).unwrap();
    if let Some(log) = log {
        fs::write(schema::beside(&path, "-wal"), log).unwrap();
    }
    (folder, path)
}

fn set_aside(path: &Path) -> Outcome {
    let damaged = Damaged { path: path.to_owned(), why: "a test".to_owned(), logged: salvage::has_log(path) };
    salvage::set_aside(&damaged, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

/// What came out, by chunk; panics where anything came out that was not put in, or came out twice, or is not accounted for.
fn check(made: &Made, runs: &[PathBuf]) -> BTreeMap<(bool, u64), StoredChunk> {
    let mut seen = BTreeSet::new();
    let mut out = BTreeMap::new();
    for path in runs {
        let file = RunFile::open(path).unwrap();
        let apart = path.to_string_lossy().contains("-open");
        assert_eq!(file.open_ticks().unwrap(), []);
        for chunk in chunks(&file) {
            for tick in &chunk.ticks {
                assert_eq!(made.ticks.get(&tick.at), Some(tick), "it was never put in");
                assert!(seen.insert(tick.at), "{:?} came out twice", tick.at);
            }
            assert!(chunk.ticks.len() <= file.info().spec.points_per_chunk);
            out.insert((apart, chunk.seq), chunk);
        }
        for counts in file.counts().unwrap() {
            assert_eq!(counts.read, counts.settled(), "{counts:?}");
        }
        assert_eq!(file.events().unwrap().iter().filter(|event| event.kind == "salvaged").count(), 1);
        // A reader would keep the file from being opened for five seconds.
        drop(file);
        let run = Run::open(path).unwrap();
        assert_balanced(&run.totals());
        run.close_file();
    }
    out
}

/// Holds what came out against what had to.
fn check_chunks(made: &Made, out: &BTreeMap<(bool, u64), StoredChunk>, damaged: &BTreeSet<usize>) {
    for (chunk, pages) in made.chunks.iter().zip(&made.pages) {
        if !pages.is_disjoint(damaged) {
            continue;
        }
        let Some(salvaged) = out.get(&(false, chunk.seq)) else { panic!("chunk {} is missing", chunk.seq) };
        assert_eq!(salvaged.ticks, chunk.ticks, "chunk {}", chunk.seq);
        let (was, is) = (chunk.state, salvaged.state);
        assert!(was == is || is == ChunkState::Sealed, "chunk {} was {was:?} and is {is:?}", chunk.seq);
    }
}

/// Salvages a file of which some pages are not what they were, and checks what comes out.
fn trial(made: &Made, main: &[u8], log: Option<&[u8]>) -> Outcome {
    let image = [&made.main[..], &made.log[..]].concat();
    let now = [main, &vec![0; made.main.len().saturating_sub(main.len())], log.unwrap_or_default()].concat();
    let same = |page: usize| {
        image.get(page * PAGE..).map(|rest| &rest[..PAGE.min(rest.len())])
            == now.get(page * PAGE..).map(|rest| &rest[..PAGE.min(rest.len())])
    };
    let damaged: BTreeSet<usize> = (0..image.len().div_ceil(PAGE)).filter(|page| !same(*page)).collect();
    let (_folder, path) = lay_out(made, main, log);
    let outcome = set_aside(&path);
    assert!(!path.exists() && outcome.set_aside.path.exists());
    assert_eq!(fs::read(&outcome.set_aside.path).unwrap(), main, "nothing is changed in it");
    if outcome.runs.is_empty() {
        let nothing_left = made.pages.iter().all(|pages| !pages.is_disjoint(&damaged));
        let no_hope = nothing_left || !damaged.is_disjoint(&made.head) || main.is_empty();
        assert!(no_hope, "{:?} is no reason: {:?} of {:?}", outcome.set_aside.why, damaged, made.head);
    } else {
        let out = check(made, &outcome.runs);
        if made.log.is_empty() {
            check_chunks(made, &out, &damaged);
        }
        no_slice_shrinks(made, &outcome.runs);
    }
    outcome
}

/// Uploads everything that waits: no slice of the platform gets fewer points than it had.
fn no_slice_shrinks(made: &Made, runs: &[PathBuf]) {
    for path in runs {
        let mut run = Run::open(path).unwrap();
        if run.stream.as_ref().is_none_or(|stream| stream.state != crate::model::StreamState::Open) {
            run.stream_opened("data-new").unwrap();
        }
        for frozen in run.take(usize::MAX, &[], 0, &[]).unwrap().0 {
            for channel in &frozen.chunk.channels {
                let key = (frozen.data_id.clone(), channel.name.to_string(), frozen.chunk.index);
                let had = made.platform.get(&key).map_or(&[][..], Vec::as_slice);
                let values = |points: &[(Stamp, u64)]| points.iter().map(|(_, value)| *value).collect::<Vec<_>>();
                let now: Vec<u64> = channel.values.iter().map(|value| value.to_bits()).collect();
                assert!(had.is_empty() || values(had) == now, "slice {key:?} is overwritten");
            }
        }
        run.close_file();
    }
}

#[test]
fn a_file_that_is_not_damaged_comes_out_whole() {
    for made in [&*SMALL, &*LARGE, &*LOGGED] {
        let log = (!made.log.is_empty()).then_some(&made.log[..]);
        let (_folder, path) = lay_out(made, &made.main, log);
        assert_eq!(salvage::flaw(&path).unwrap(), None);
        let before = RunFile::open(&path).unwrap();
        let outcome = set_aside(&path);
        let out = check(made, &outcome.runs);
        assert_eq!(out.values().map(|chunk| chunk.ticks.len()).sum::<usize>(), made.ticks.len(), "{outcome:?}");
        check_chunks(made, &out, &BTreeSet::new());
        for chunk in &made.chunks {
            let same = &out[&(false, chunk.seq)];
            assert_eq!((same.state, same.session, &same.sent), (chunk.state, chunk.session, &chunk.sent));
        }
        assert_eq!((out.len(), outcome.runs.len()), (13, 1), "the open ticks are the last chunk");
        let file = RunFile::open(&outcome.runs[0]).unwrap();
        let (was, is) = (before.info(), file.info());
        assert_eq!((is.state, is.run.as_str()), (RunState::Closed, format!("{}-s1", was.run).as_str()));
        assert_eq!((is.spec, is.channels, is.period, is.created), (was.spec, was.channels, was.period, was.created));
        assert_eq!(file.sessions().unwrap(), before.sessions().unwrap());
        assert_eq!(file.streams().unwrap(), before.streams().unwrap());
        assert_eq!(file.clock_readings().unwrap(), before.clock_readings().unwrap());
        assert_eq!(file.refusals().unwrap(), before.refusals().unwrap());
        assert_eq!(file.counts().unwrap(), before.counts().unwrap());
        let events = file.events().unwrap();
        assert_eq!(events[..events.len() - 1], before.events().unwrap());
        no_slice_shrinks(made, &outcome.runs);
    }
}

#[test]
fn a_file_that_is_cut_anywhere_gives_what_is_left() {
    for made in [&*SMALL, &*LARGE] {
        for length in (0..made.main.len()).step_by(PAGE).chain((1..made.main.len()).step_by(2 * PAGE + 1777)) {
            trial(made, &made.main[..length], None);
        }
    }
}

#[test]
fn a_page_that_is_gone_costs_only_itself() {
    for made in [&*SMALL, &*LARGE] {
        for page in 0..made.main.len() / PAGE {
            for filling in [0, 0xA5, 0x0D] {
                let mut main = made.main.clone();
                main[page * PAGE..(page + 1) * PAGE].fill(filling);
                let outcome = trial(made, &main, None);
                assert!(page > 0 || !outcome.runs.is_empty(), "the first page is not needed");
            }
        }
    }
}

#[test]
fn a_log_without_its_file_gives_what_is_in_it() {
    let made = &*LOGGED;
    trial(made, &[], Some(&made.log));
    for length in (0..made.log.len()).step_by(3 * PAGE + 555) {
        trial(made, &made.main, Some(&made.log[..length]));
    }
}

#[test]
fn without_its_log_open_ticks_stay_away_from_the_stream() {
    let made = &*LOGGED;
    let outcome = trial(made, &made.main, None);
    let names: Vec<String> = outcome.runs.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert!(names.len() == 2 && names[1].ends_with("-s1-open.sqlite"), "{names:?}");
    assert!(outcome.set_aside.why.contains("in a run of their own"), "{outcome:?}");
}

/// Every tick of every run in the folder, once.
fn all_ticks(folder: &Path) -> BTreeSet<Stamp> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder.join("runs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sqlite") {
            let file = RunFile::open(&path).unwrap();
            let open = file.open_ticks().unwrap().into_iter().flat_map(|open| open.ticks);
            for tick in chunks(&file).into_iter().flat_map(|chunk| chunk.ticks).chain(open) {
                assert!(all.insert(tick.at), "{:?} is there twice", tick.at);
            }
        }
    }
    all
}

/// The files in the folder of runs, without those that SQLite makes and unmakes.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder.join("runs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".damaged-") || !(name.ends_with("-shm") || name.ends_with("-wal"))).collect()
}

#[tokio::test]
async fn a_process_that_dies_on_the_way_loses_nothing_and_makes_nothing_twice() {
    let made = &*LOGGED;
    let mut main = made.main.clone();
    main[..PAGE].fill(0xEE);
    let (folder, path) = lay_out(made, &main, Some(&made.log));
    let mut copies = vec![("before", crash_copy(folder.path()))];
    let damaged = Damaged { path: path.clone(), why: "a test".to_owned(), logged: true };
    let stopped = salvage::set_aside(&damaged, &AtomicBool::new(true), &mut |_| {});
    assert!(stopped.is_some() || names(folder.path()).len() == 1, "what is stopped leaves nothing behind");
    let (folder, path) = lay_out(made, &main, Some(&made.log));
    let damaged = Damaged { path, ..damaged };
    salvage::set_aside(&damaged, &AtomicBool::new(false), &mut |step| copies.push((step, crash_copy(folder.path()))))
        .unwrap();
    copies.push(("after", folder));
    // What a process leaves that dies while it writes the new file.
    let half = crash_copy(copies[0].1.path());
    fs::write(half.path().join("runs").join(format!("{}-s1.sqlite.salvaging", made.run)), &made.main[..3 * PAGE])
        .unwrap();
    copies.push(("half-written", half));
    assert_eq!(copies.len(), 7);

    let mut outcomes = BTreeSet::new();
    for (step, copy) in &copies {
        for start in 0..2 {
            let (store, handle) = Store::open(settings(copy.path())).unwrap();
            let status = all_mended(&handle).await;
            assert_eq!(status.set_aside.len(), 1, "{step}: {status:?}");
            assert!(status.set_aside[0].why.contains(&format!("{}-s1", made.run)), "{step}, {start}: {status:?}");
            assert_eq!(handle.pending().await.unwrap().len(), 1, "{step}, {start}");
            store.close().await.unwrap();
        }
        let aside = copy.path().join("runs").join(format!("{}.sqlite.damaged-1", made.run));
        assert_eq!(fs::read(&aside).unwrap(), main, "{step}");
        assert_eq!(fs::read(schema::beside(&aside, "-wal")).unwrap(), made.log, "{step}");
        outcomes.insert((names(copy.path()), all_ticks(copy.path())));
    }
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    let (_, ticks) = outcomes.first().unwrap();
    assert_eq!(ticks.len(), made.ticks.len());
}

#[tokio::test]
async fn what_sqlite_would_read_as_less_is_noticed_at_start() {
    let made = &*LOGGED;
    let mut torn = made.log.clone();
    // The first frame of several transactions.
    torn[32 + 24 + 77] ^= 4;
    let cut = &SMALL.main[..SMALL.main.len() - PAGE];
    type Case<'a> = (&'a Made, &'a [u8], Option<&'a [u8]>, &'a str);
    let cases: [Case<'_>; 5] = [
        (made, &[], Some(&made.log), "it is empty"),
        (made, &made.main, Some(&torn), "its log is broken"),
        (made, &made.main, None, "log"),
        (made, &made.main, Some(&[]), "log"),
        (&*SMALL, cut, None, "it is cut short"),
    ];
    for (made, main, log, why) in cases {
        let (folder, _) = lay_out(made, main, log);
        let (store, handle) = Store::open(settings(folder.path())).unwrap();
        let status = all_mended(&handle).await;
        assert_eq!(status.set_aside.len(), 1, "{why}");
        assert!(status.set_aside[0].why.contains(why), "{why}: {status:?}");
        for totals in &status.runs {
            assert_balanced(totals);
        }
        handle.begin(start(CHANNELS, 10)).await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_log_whose_last_commit_was_torn_is_no_damage() {
    let made = &*LOGGED;
    let (folder, _) = lay_out(made, &made.main, Some(&made.log[..made.log.len() - 1000]));
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    assert_eq!(handle.snapshot().borrow().set_aside.len(), 0);
    assert_eq!(handle.begin(start(CHANNELS, 10)).await.unwrap(), made.run);
    store.close().await.unwrap();
}

#[tokio::test]
async fn damage_that_shows_later_is_salvaged_then() {
    let made = &*LARGE;
    let (folder, path) = lay_out(made, &made.main, None);
    let root: u32 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'bodies'", [], |row| row.get(0))
        .unwrap();
    let mut main = made.main.clone();
    let root = usize::try_from(root).unwrap();
    main[(root - 1) * PAGE..root * PAGE].fill(0);
    fs::write(&path, &main).unwrap();
    let (store, handle) = Store::open(settings(folder.path())).unwrap();
    assert_eq!(handle.snapshot().borrow().set_aside.len(), 0, "nobody has looked for a body yet");
    let error = handle.take(&made.run, 9, &[], 0).await.unwrap_err();
    assert!(error.is_damage(), "{error:?}");
    let mut status = handle.snapshot();
    let shown = status.wait_for(|status| !status.set_aside.is_empty());
    drop(tokio::time::timeout(DEADLINE, shown).await.unwrap().unwrap());
    let status = all_mended(&handle).await;
    assert_eq!(status.unfinished, None);
    assert_eq!(status.set_aside.len(), 1, "{status:?}");
    let salvaged = RunId::new(&format!("{}-s1", made.run));
    let waiting = handle.pending().await.unwrap();
    assert_eq!(waiting.iter().map(|run| (&run.run, run.queued)).collect::<Vec<_>>(), [(&salvaged, 10)]);
    assert_eq!(handle.take(&salvaged, 20, &[], 0).await.unwrap().len(), 10);
    assert_balanced(&handle.snapshot().borrow().runs[0]);
    store.close().await.unwrap();
}

#[derive(Debug, Clone)]
enum Harm {
    Flip(Index, u8),
    Page(Index, u8),
    Swap(Index, Vec<u8>),
    Cut(Index),
}

fn harm() -> impl Strategy<Value = (bool, Harm)> {
    let what = prop_oneof![
        6 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, filling)| Harm::Page(at, filling)),
        2 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, bytes)| Harm::Swap(at, bytes)),
        1 => any::<Index>().prop_map(Harm::Cut),
    ];
    (prop::bool::weighted(0.3), what)
}

fn do_harm(bytes: &mut Vec<u8>, harm: &Harm) {
    if bytes.is_empty() {
        return;
    }
    match harm {
        Harm::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Harm::Page(at, filling) => {
            let page = at.index(bytes.len()) / PAGE * PAGE;
            let until = bytes.len().min(page + PAGE);
            bytes[page..until].fill(*filling);
        }
        Harm::Swap(at, new) => {
            let at = at.index(bytes.len());
            bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = *new);
        }
        Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_broken_nothing_is_invented_and_what_is_whole_comes_out(
        which in 0..3_u8, harms in prop::collection::vec(harm(), 1..5)
    ) {
        let made = [&*SMALL, &*LARGE, &*LOGGED][usize::from(which)];
        let (mut main, mut log) = (made.main.clone(), made.log.clone());
        for (in_log, harm) in &harms {
            do_harm(if *in_log && !log.is_empty() { &mut log } else { &mut main }, harm);
        }
        trial(made, &main, (!made.log.is_empty()).then_some(&log[..]));
    }
}
