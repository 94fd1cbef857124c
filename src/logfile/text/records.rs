//! Lines of a text file as records of fields, each with the number of its line.
//!
//! Lines are counted here and not by the CSV machine, so that a message names the line that an editor shows: comments,
//! blank lines and quoted line breaks included.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ring::digest;

use super::encoding::{Encoding, windows_1252};
use crate::logfile::Error;
use crate::logfile::error::{Fault, refused};

/// More than any log has in a line. A file without line ends must not fill the memory.
const LONGEST: u64 = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file that is summed up while it is read.
pub(super) struct Summed {
    file: File,
    pub(super) context: digest::Context,
    pub(super) bytes: u64,
}

impl Read for Summed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.context.update(into.get(..read).unwrap_or_default());
        self.bytes += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// The records of a file.
pub(super) struct Records {
    path: PathBuf,
    input: BufReader<Summed>,
    core: csv_core::Reader,
    delimiter: u8,
    comment: u8,
    encoding: Option<Encoding>,
    /// Lines read so far.
    lines_read: u64,
    /// The line that the record begins in.
    line: u64,
    raw: Vec<u8>,
    fields: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
    pub(super) last_comment: Option<(u64, String)>,
    /// The first line that is no UTF-8, and the first that is and has more than ASCII.
    pub(super) foreign: Option<u64>,
    pub(super) beyond_ascii: Option<u64>,
}

impl Records {
    pub(super) fn open(
        path: &Path,
        delimiter: u8,
        comment: u8,
        encoding: Option<Encoding>,
        skip_lines: u64,
    ) -> Result<Self, Error> {
        let failed = |error| Error::Read { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        let context = digest::Context::new(&digest::SHA256);
        let summed = Summed { file, context, bytes: 0 };
        let mut records = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(1 << 16, summed),
            core: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            comment,
            encoding,
            lines_read: 0,
            line: 0,
            raw: Vec::new(),
            fields: vec![0; 1024],
            ends: vec![0; 64],
            count: 0,
            last_comment: None,
            foreign: None,
            beyond_ascii: None,
        };
        for _ in 0..skip_lines {
            if !records.read_line()? {
                break;
            }
        }
        Ok(records)
    }

    /// Goes to the next record; false after the last.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        loop {
            if !self.read_line()? {
                self.count = 0;
                return Ok(false);
            }
            let text = self.raw.trim_ascii_start();
            if text.is_empty() {
                continue;
            }
            if let Some(comment) = text.strip_prefix(&[self.comment]) {
                let mut comment = comment;
                while let Some(rest) = comment.strip_prefix(&[self.comment]) {
                    comment = rest;
                }
                self.last_comment = Some((self.lines_read, String::from_utf8_lossy(comment).trim().to_owned()));
                continue;
            }
            break;
        }
        self.line = self.lines_read;
        self.split()?;
        Ok(true)
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn field(&self, at: usize) -> &str {
        let end = |at: usize| self.ends.get(at).copied().unwrap_or(0);
        let from = if at == 0 { 0 } else { end(at - 1) };
        let bytes = if at < self.count { self.fields.get(from..end(at)) } else { None };
        // Whatever was no UTF-8 was turned into it by the line.
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// The character of the line that a field begins with, from 1.
    pub(super) fn place(&self, at: usize) -> usize {
        let text = String::from_utf8_lossy(&self.raw);
        let (mut quoted, mut fields) = (false, 0);
        for (place, character) in text.chars().enumerate() {
            if fields == at {
                return place + 1;
            }
            match character {
                '"' => quoted = !quoted,
                _ if !quoted && character == char::from(self.delimiter) => fields += 1,
                _ => {}
            }
        }
        text.chars().count() + 1
    }

    pub(super) fn bytes(&self) -> u64 {
        let buffered = u64::try_from(self.input.buffer().len()).unwrap_or(0);
        self.input.get_ref().bytes.saturating_sub(buffered)
    }

    /// Reads what is left and sums all up.
    pub(super) fn digest(&mut self) -> Result<String, Error> {
        let rest = io::copy(&mut self.input, &mut io::sink());
        rest.map_err(|error| Error::Read { path: self.path.clone(), error })?;
        Ok(hex(self.input.get_ref().context.clone().finish().as_ref()))
    }

    /// The next line into `raw`, in UTF-8, without its end.
    fn read_line(&mut self) -> Result<bool, Error> {
        self.raw.clear();
        self.append_line()
    }

    fn append_line(&mut self) -> Result<bool, Error> {
        let before = self.raw.len();
        let read = (&mut self.input).take(LONGEST).read_until(b'\n', &mut self.raw);
        let read = read.map_err(|error| Error::Read { path: self.path.clone(), error })?;
        if read == 0 {
            return Ok(false);
        }
        self.lines_read += 1;
        if u64::try_from(read).unwrap_or(u64::MAX) >= LONGEST {
            let what = format!("line {} is longer than 1 MiB", self.lines_read);
            return Err(Error::NoTable { path: self.path.clone(), what });
        }
        if self.raw.get(before..).is_some_and(|line| line.contains(&0)) {
            let what = format!("line {} holds zero bytes, which no text has", self.lines_read);
            return Err(Error::NoTable { path: self.path.clone(), what });
        }
        for end in [b"\n".as_slice(), b"\r"] {
            if self.raw.len() > before && self.raw.ends_with(end) {
                self.raw.pop();
            }
        }
        if self.lines_read == 1 && self.raw.starts_with(BYTE_ORDER_MARK) {
            self.raw.drain(..BYTE_ORDER_MARK.len());
        }
        self.recode(before)?;
        Ok(true)
    }

    /// Turns what was read of a line into UTF-8.
    fn recode(&mut self, from: usize) -> Result<(), Error> {
        let line = self.raw.get(from..).unwrap_or_default();
        if line.is_ascii() {
            return Ok(());
        }
        let valid = std::str::from_utf8(line).is_ok();
        if valid {
            self.beyond_ascii.get_or_insert(self.lines_read);
        } else {
            self.foreign.get_or_insert(self.lines_read);
        }
        match self.encoding {
            Some(Encoding::Utf8) if !valid => Err(refused(
                &self.path,
                Fault::line(self.lines_read, "is not UTF-8"),
                "say how its characters are written with `--encoding windows-1252`",
            )),
            Some(Encoding::Utf8) => Ok(()),
            None if valid => Ok(()),
            Some(Encoding::Windows1252) | None => {
                let text = windows_1252(line);
                self.raw.truncate(from);
                self.raw.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    /// Takes the line apart, with those after it where a quote goes on.
    fn split(&mut self) -> Result<(), Error> {
        self.core.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        self.raw.push(b'\n');
        loop {
            let input = self.raw.get(read..).unwrap_or_default();
            let fields = self.fields.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(count..).unwrap_or_default();
            let (result, taken, put, ended) = self.core.read_record(input, fields, ends);
            (read, written, count) = (read + taken, written + put, count + ended);
            match result {
                csv_core::ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => break,
                csv_core::ReadRecordResult::InputEmpty => {
                    let too_long = u64::try_from(self.raw.len()).unwrap_or(u64::MAX) >= LONGEST;
                    if too_long || !self.append_line()? {
                        let fault = Fault::line(self.line, "a quote (\") is opened and never closed");
                        return Err(refused(&self.path, fault, "close it, or take the line out"));
                    }
                    self.raw.push(b'\n');
                }
            }
        }
        self.raw.pop();
        self.count = count;
        Ok(())
    }
}

/// Bytes in hexadecimal digits.
pub(in crate::logfile) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<(u64, Vec<String>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut records = Records::open(file.path(), b',', b'#', None, 0).unwrap();
        let mut found = Vec::new();
        while records.advance().unwrap() {
            found.push((records.line(), (0..records.count()).map(|at| records.field(at).to_owned()).collect()));
        }
        found
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let text = b"\xef\xbb\xbf# head\r\n\r\na,\"b\nc\",d\r\n#x\n1,2,\"say \"\"3\"\"\"\n\n 4,5,6";
        let found = records(text);
        let wanted = [(3, ["a", "b\nc", "d"]), (6, ["1", "2", "say \"3\""]), (8, [" 4", "5", "6"])];
        let wanted: Vec<(u64, Vec<String>)> =
            wanted.iter().map(|(line, cells)| (*line, cells.iter().map(|cell| (*cell).to_owned()).collect())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_field_is_found_in_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "µ,\"a,b\",c\n").unwrap();
        let mut records = Records::open(file.path(), b',', b'#', None, 0).unwrap();
        assert!(records.advance().unwrap());
        assert_eq!([0, 1, 2].map(|at| records.place(at)), [1, 3, 9]);
    }

    #[test]
    fn many_and_long_fields_fit() {
        let line: Vec<String> = (0..500).map(|n| format!("{n:0>40}")).collect();
        let found = records(format!("{}\n", line.join(",")).as_bytes());
        assert_eq!(found, [(1, line)]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, words) in [
            (b"a\0b\n".to_vec(), "line 1 holds zero bytes"),
            (vec![b'1'; 2 << 20], "line 1 is longer than 1 MiB"),
            (b"a,\"b\n1,2\n".to_vec(), "1: a quote (\") is opened and never closed"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let mut records = Records::open(file.path(), b',', b'#', None, 0).unwrap();
            let error = records.advance().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_digest_is_of_the_whole_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let mut records = Records::open(file.path(), b',', b'#', None, 0).unwrap();
        // Source: FIPS 180-2, appendix B.1.
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(records.digest().unwrap(), wanted);
    }
}
