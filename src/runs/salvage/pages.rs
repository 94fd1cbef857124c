//! The pages of a damaged run file, without SQLite: its own, overlaid by those of its log.
//!
//! Source: "Database File Format", <https://www.sqlite.org/fileformat2.html>: 1.2 (pages), 1.3 (header), 1.6 (b-tree pages and
//! the overflow of their cells). Nothing is believed that can be checked: lengths are bounded by the file, chains by lengths.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::super::schema;
use super::log::Log;

/// Run files have pages of this size, and use all of it.
pub(super) const PAGE: usize = 4096;

/// The largest cell that is read. A chunk of 65 535 channels is far below.
const LARGEST: usize = 256 << 20;

/// How far a table leaf's cell may reach into its page, and the least that stays there of one that overflows.
const TABLE: (usize, usize) = (PAGE - 35, (PAGE - 12) * 32 / 255 - 23);

/// The same of an index leaf.
const INDEX: (usize, usize) = ((PAGE - 12) * 64 / 255 - 23, (PAGE - 12) * 32 / 255 - 23);

/// A page's content and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    /// It is from the log, and so newer than what the file itself had there.
    pub(super) logged: bool,
}

/// What a leaf belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Rows with a row id.
    Table,
    /// Rows of a table without row ids, or an index.
    Index,
}

/// A cell of a leaf.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// Zero in an index.
    pub(super) rowid: i64,
    /// What of its content is in the leaf.
    pub(super) local: Vec<u8>,
    length: usize,
    overflow: u32,
}

/// A damaged file and its log.
#[derive(Debug)]
pub(super) struct Pages {
    main: File,
    own: u32,
    log: Option<File>,
    pub(super) state: Log,
}

impl Pages {
    /// Opens both; the log may be missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let main = File::open(path)?;
        let own = u32::try_from(main.metadata()?.len() / PAGE as u64).unwrap_or(u32::MAX);
        let beside = schema::beside(path, "-wal");
        let state = Log::read(&beside)?;
        let log = if state.images.is_empty() { None } else { Some(File::open(beside)?) };
        Ok(Self { main, own, log, state })
    }

    /// The number of the last page.
    pub(super) fn last(&self) -> u32 {
        self.state.images.keys().copied().max().unwrap_or(0).max(self.own)
    }

    /// How many of the first `pages` are nowhere.
    pub(super) fn missing(&self, pages: u32) -> usize {
        (self.own..pages).filter(|before| !self.state.images.contains_key(&(before + 1))).count()
    }

    /// A page, counted from 1; none where it can't be read.
    pub(super) fn page(&mut self, number: u32) -> Option<Page> {
        let mut bytes = vec![0; PAGE];
        if let (Some(log), Some(at)) = (&mut self.log, self.state.images.get(&number))
            && read_at(log, *at, &mut bytes).is_ok()
        {
            return Some(Page { bytes, logged: true });
        }
        if number == 0 || number > self.own {
            return None;
        }
        let at = u64::from(number - 1) * PAGE as u64;
        read_at(&mut self.main, at, &mut bytes).ok()?;
        Some(Page { bytes, logged: false })
    }

    /// The content of a cell, its overflow included; none if that can't be.
    pub(super) fn content(&mut self, cell: &Cell) -> Option<Vec<u8>> {
        let mut content = cell.local.clone();
        let mut next = cell.overflow;
        // A chain is as long as the cell says, so that one that bites its tail ends too.
        while content.len() < cell.length {
            let page = self.page(next)?;
            let (link, rest) = page.bytes.split_first_chunk::<4>()?;
            next = u32::from_be_bytes(*link);
            content.extend(rest.iter().take(cell.length - content.len()));
        }
        Some(content)
    }
}

fn read_at(file: &mut File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

/// What sort of leaf a page is, if it is one.
pub(super) fn leaf(page: &[u8]) -> Option<Leaf> {
    match page.first()? {
        0x0D => Some(Leaf::Table),
        0x0A => Some(Leaf::Index),
        _ => None,
    }
}

/// How many cells a leaf says it has; no more than have room.
pub(super) fn cells(page: &[u8]) -> usize {
    short(page, 3).map_or(0, usize::from).min((PAGE - 8) / 2)
}

/// A cell by its place in the leaf; none where that makes no sense.
pub(super) fn cell(page: &[u8], kind: Leaf, place: usize) -> Option<Cell> {
    let at = usize::from(short(page, 8 + 2 * place)?);
    if at < 8 + 2 * cells(page) {
        return None;
    }
    let rest = page.get(at..)?;
    let (length, rest) = varint(rest)?;
    let length = usize::try_from(length).ok().filter(|length| *length > 0 && *length <= LARGEST)?;
    let (rowid, rest) = if kind == Leaf::Table { varint(rest)? } else { (0, rest) };
    let (most, least) = if kind == Leaf::Table { TABLE } else { INDEX };
    let spilled = least + (length - least.min(length)) % (PAGE - 4);
    let here = match length {
        length if length <= most => length,
        _ if spilled <= most => spilled,
        _ => least,
    };
    let (local, rest) = rest.split_at_checked(here)?;
    let overflow = if here < length { u32::from_be_bytes(*rest.first_chunk()?) } else { 0 };
    Some(Cell { rowid: rowid.cast_signed(), local: local.to_vec(), length, overflow })
}

fn short(page: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*page.get(at..)?.first_chunk()?))
}

/// A number of 1 to 9 bytes, seven bits each, eight in the ninth; and what follows it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for place in 0..8 {
        let byte = bytes.get(place)?;
        number = number << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(place + 1..)?));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(8)?), bytes.get(9..)?))
}
