//! The head of a request.

use memchr::memmem;

/// A head is refused when it is longer than this, in bytes.
const LONGEST: usize = 16 * 1024;

/// What the sink needs to know of a head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    pub(crate) length: u64,
    /// The client wants the connection closed after the answer.
    pub(crate) close: bool,
}

/// Why a head can't be served; the connection is closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Refused {
    Malformed,
    TooLong,
    NoLength,
}

/// Takes the head off the front of `bytes`, once it is whole. `kept` holds what came before.
pub(crate) fn take<'a>(kept: &mut Vec<u8>, bytes: &'a [u8]) -> Result<Option<(Head, &'a [u8])>, Refused> {
    const END: &[u8] = b"\r\n\r\n";
    // The end may lie across two reads.
    let before = kept.len();
    kept.extend_from_slice(bytes);
    let from = before.saturating_sub(END.len() - 1);
    let Some(at) = kept.get(from..).and_then(|new| memmem::find(new, END)) else {
        return if kept.len() > LONGEST { Err(Refused::TooLong) } else { Ok(None) };
    };
    let head = kept.get(..from + at).ok_or(Refused::Malformed).and_then(parse)?;
    let body = bytes.get(from + at + END.len() - before..).ok_or(Refused::Malformed)?;
    kept.clear();
    Ok(Some((head, body)))
}

fn parse(bytes: &[u8]) -> Result<Head, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Malformed)?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
        return Err(Refused::Malformed);
    };
    let mut head = Head { method: method.to_owned(), target: target.to_owned(), length: 0, close: false };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Refused::Malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse().map_err(|_| Refused::Malformed)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Refused::NoLength);
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(head)
}
