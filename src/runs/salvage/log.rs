//! Which pages of a write-ahead log can be trusted.
//!
//! Source: "WAL File Format" in <https://www.sqlite.org/fileformat2.html>, sections 4.1 to 4.3. The checksum of a frame goes
//! on from that of the frame before, which is in that frame's header: so a frame behind a broken one can be judged too, while
//! SQLite takes the first broken frame for the end of the log.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::pages::PAGE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The last bit says how words are ordered where checksums are made.
const MAGIC: u32 = 0x377f_0682;

/// What of a log can be used.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Where in the log the newest image of each page is.
    pub(super) images: HashMap<u32, u64>,
    /// Pages of the database after the newest transaction.
    pub(super) pages: Option<u32>,
    /// What was committed later than it is broken or gone. A torn end is none of that: it was never durable.
    pub(super) broken: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    page: u32,
    at: u64,
    /// Pages of the database, where the frame ends a transaction.
    commit: Option<u32>,
    whole: bool,
}

impl Log {
    /// Reads the log at this path; nothing where there is none.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let mut input = BufReader::with_capacity(1 << 16, file);
        let mut header = [0; HEADER];
        if length == 0 {
            return Ok(Self::default());
        }
        if input.read_exact(&mut header).is_err() {
            return Ok(Self { broken: true, ..Self::default() });
        }
        let little = word(&header, 0) != MAGIC | 1;
        let own = checksum(little, (0, 0), header.get(..24).unwrap_or_default());
        let intact = word(&header, 0) & !1 == MAGIC && own == (word(&header, 24), word(&header, 28));
        let salts = intact.then(|| (word(&header, 16), word(&header, 20)));
        let frames = frames(&mut input, little, salts, (word(&header, 24), word(&header, 28)));
        Ok(Self::of(&frames, intact))
    }

    fn of(frames: &[Frame], intact: bool) -> Self {
        let mut transactions: Vec<&[Frame]> = frames.split_inclusive(|frame| frame.commit.is_some()).collect();
        if transactions.last().is_some_and(|last| last.last().is_none_or(|frame| frame.commit.is_none())) {
            transactions.pop();
        }
        let whole = |transaction: &&[Frame]| transaction.iter().all(|frame| frame.whole);
        let until = transactions
            .iter()
            .rposition(|transaction| transaction.iter().all(|frame| frame.whole))
            .map_or(0, |last| last + 1);
        let (used, torn) = transactions.split_at_checked(until).unwrap_or((&[], &[]));
        let mut log = Self { broken: !intact || torn.len() > 1 || !used.iter().all(whole), ..Self::default() };
        for frame in used.iter().copied().flatten().filter(|frame| frame.whole) {
            log.images.insert(frame.page, frame.at);
            log.pages = frame.commit.or(log.pages);
        }
        log
    }
}

/// The frames that this log's header speaks of; those of the log's earlier lives, which it has not overwritten yet, are
/// left out, and so is a broken one whose header says nothing.
fn frames(input: &mut impl Read, little: bool, salts: Option<(u32, u32)>, mut before: (u32, u32)) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut salts = salts;
    let mut at = HEADER as u64;
    // Broken frames that may be ours, should one of ours follow.
    let mut unknown = 0_usize;
    let (mut header, mut page) = ([0; FRAME_HEADER], [0; PAGE]);
    while input.read_exact(&mut header).and_then(|()| input.read_exact(&mut page)).is_ok() {
        let of_frame = (word(&header, 8), word(&header, 12));
        let ours = *salts.get_or_insert(of_frame) == of_frame;
        let sum = checksum(little, checksum(little, before, header.get(..8).unwrap_or_default()), &page);
        let stored = (word(&header, 16), word(&header, 20));
        let frame = Frame {
            page: word(&header, 0),
            at: at + FRAME_HEADER as u64,
            commit: Some(word(&header, 4)).filter(|pages| *pages > 0),
            whole: ours && sum == stored && word(&header, 0) > 0,
        };
        if ours {
            let lost = Frame { page: 0, at: 0, commit: None, whole: false };
            frames.extend(std::iter::repeat_n(lost, std::mem::take(&mut unknown)));
            frames.push(frame);
        } else {
            unknown += 1;
        }
        before = stored;
        at += (FRAME_HEADER + PAGE) as u64;
    }
    frames
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn checksum(little: bool, seed: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let number = |bytes: &[u8; 4]| if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) };
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(seed, |(first, second), pair| {
        let [a, b, c, d, e, f, g, h] = *pair;
        let first = first.wrapping_add(number(&[a, b, c, d])).wrapping_add(second);
        (first, second.wrapping_add(number(&[e, f, g, h])).wrapping_add(first))
    })
}
