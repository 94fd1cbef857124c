//! The trace of a link as lines of text: what went over the wire, when, for people and for replaying.
//!
//! ```text
//! # mbe-bridge trace 1; link pyro; /dev/ttyUSB0 (19200 8E1);
//! 2026-11-22T17:30:01.123456Z > 30 30 6D 73 0D  |00ms<CR>|
//! 2026-11-22T17:30:01.129456Z < 30 32 35 36 33 0D  |02563<CR>|
//! 2026-11-22T17:30:05.000000Z ! link is down: no such file
//! ```
//!
//! `>` is to the field, `<` from the field, `!` an event. Times are UTC in the session's time base. The hexadecimal part
//! is what counts; the text behind it is for the eye. Lines that begin with `#` are heads or remarks.

use std::fmt;

use super::Stamp;

/// The names of the control characters. Source: ANSI X3.4-1986, table 2.
const CONTROLS: [&str; 32] = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI", "DLE",
    "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
];

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceLine {
    /// When; microseconds survive in text.
    pub at: Stamp,
    /// What.
    pub what: Traced,
}

/// What is seen on a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced {
    /// Bytes to the field.
    Out(Vec<u8>),
    /// Bytes from the field.
    In(Vec<u8>),
    /// Something else: opened, down, lines lost.
    Event(String),
}

/// The first line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceHead {
    /// The link's name.
    pub link: String,
    /// Where it goes: `/dev/ttyUSB0 (19200 8E1)`.
    pub target: String,
}

/// Why a line is none of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTraceLine {
    /// It does not begin with a time.
    #[error("expected a time such as `2026-11-22T17:30:01.123456Z` at the beginning of the line")]
    Time,
    /// What follows the time is not a direction.
    #[error("expected `>`, `<` or `!` behind the time")]
    Direction,
    /// The bytes can't be read.
    #[error("expected bytes such as `30 6D 0D`, each of two hexadecimal digits, and two blanks before the text")]
    Bytes,
}

impl TraceLine {
    /// Reads a line; none for a head, a remark or an empty line.
    pub fn parse(line: &str) -> Result<Option<Self>, NoTraceLine> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (time, rest) = line.split_once(' ').ok_or(NoTraceLine::Time)?;
        let time: jiff::Timestamp = time.parse().map_err(|_| NoTraceLine::Time)?;
        let nanos = i64::try_from(time.as_nanosecond()).map_err(|_| NoTraceLine::Time)?;
        let (direction, rest) = rest.split_at_checked(1).ok_or(NoTraceLine::Direction)?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let what = match direction {
            ">" => Traced::Out(bytes(rest)?),
            "<" => Traced::In(bytes(rest)?),
            "!" => Traced::Event(rest.to_owned()),
            _ => return Err(NoTraceLine::Direction),
        };
        Ok(Some(Self { at: Stamp::from_nanos(nanos), what }))
    }
}

/// The bytes before the text that repeats them.
fn bytes(text: &str) -> Result<Vec<u8>, NoTraceLine> {
    let hex = text.split_once("  ").map_or(text, |(hex, _)| hex);
    let byte = |digits: &str| match digits.len() {
        // `from_str_radix` takes a sign.
        2 if !digits.starts_with('+') => u8::from_str_radix(digits, 16).map_err(|_| NoTraceLine::Bytes),
        _ => Err(NoTraceLine::Bytes),
    };
    hex.split_ascii_whitespace().map(byte).collect()
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.at.as_nanos())).map_err(|_| fmt::Error)?;
        write!(f, "{time:.6} ")?;
        match &self.what {
            Traced::Out(bytes) => write!(f, "> {}", Shown(bytes)),
            Traced::In(bytes) => write!(f, "< {}", Shown(bytes)),
            // One event, one line.
            Traced::Event(event) => write!(f, "! {}", event.replace(char::is_control, " ")),
        }
    }
}

/// Bytes in hexadecimal and, behind two blanks, as text.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02X} ")?;
        }
        f.write_str(if self.0.is_empty() { "  |" } else { " |" })?;
        for byte in self.0 {
            match (CONTROLS.get(usize::from(*byte)), byte) {
                (Some(name), _) => write!(f, "<{name}>")?,
                (None, b' '..=b'~') => write!(f, "{}", char::from(*byte))?,
                (None, _) => write!(f, "<x{byte:02X}>")?,
            }
        }
        f.write_str("|")
    }
}

impl TraceHead {
    /// Reads a head; none if the line is none.
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("# mbe-bridge trace 1; link ")?;
        let (link, target) = rest.split_once("; ")?;
        Some(Self { link: link.to_owned(), target: target.trim_end().trim_end_matches(';').to_owned() })
    }
}

impl fmt::Display for TraceHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "# mbe-bridge trace 1; link {}; {}; ", self.link, self.target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(what: Traced) -> TraceLine {
        TraceLine { at: Stamp::from_nanos(1_795_368_601_123_456_000), what }
    }

    #[test]
    fn lines_are_what_they_are_said_to_be() {
        let head = TraceHead { link: "pyro".to_owned(), target: "/dev/ttyUSB0 (19200 8E1)".to_owned() };
        assert_eq!(head.to_string(), "# mbe-bridge trace 1; link pyro; /dev/ttyUSB0 (19200 8E1); ");
        assert_eq!(TraceHead::parse(&head.to_string()), Some(head.clone()));
        assert_eq!(TraceHead::parse(head.to_string().trim_end()), Some(head));
        let shown = [
            (Traced::Out(b"00ms\r".to_vec()), "2026-11-22T17:30:01.123456Z > 30 30 6D 73 0D  |00ms<CR>|"),
            (Traced::In(b"\x00\x7f\xff ".to_vec()), "2026-11-22T17:30:01.123456Z < 00 7F FF 20  |<NUL><x7F><xFF> |"),
            (Traced::Event("link is\ndown".to_owned()), "2026-11-22T17:30:01.123456Z ! link is down"),
        ];
        for (what, text) in shown {
            assert_eq!(line(what).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_line_is_refused_with_what_was_expected() {
        for remark in ["", "  ", "# mbe-bridge trace 1; link a; b; ", "# by hand"] {
            assert_eq!(TraceLine::parse(remark), Ok(None));
        }
        assert_eq!(TraceLine::parse("yesterday > 00  |.|"), Err(NoTraceLine::Time));
        assert_eq!(TraceLine::parse("2026-11-22T17:30:01Z"), Err(NoTraceLine::Time));
        assert_eq!(TraceLine::parse("2026-11-22T17:30:01Z ? 00"), Err(NoTraceLine::Direction));
        for bytes in ["0", "000", "zz", "+1", "00|"] {
            assert_eq!(
                TraceLine::parse(&format!("2026-11-22T17:30:01Z > {bytes}")),
                Err(NoTraceLine::Bytes),
                "{bytes}"
            );
        }
        let by_hand = TraceLine::parse("2026-11-22T17:30:01Z > 30 0d").unwrap().unwrap();
        assert_eq!(by_hand.what, Traced::Out(b"0\r".to_vec()), "text is not needed");
    }

    proptest! {
        #[test]
        fn every_line_is_read_back(bytes: Vec<u8>, event in "[ -~]{0,40}", micros in 0_i64..4_000_000_000_000_000, way in 0..3) {
            let what = match way {
                0 => Traced::Out(bytes),
                1 => Traced::In(bytes),
                _ => Traced::Event(event),
            };
            let line = TraceLine { at: Stamp::from_nanos(micros * 1_000), what };
            prop_assert_eq!(TraceLine::parse(&line.to_string()), Ok(Some(line)));
        }

        #[test]
        fn nothing_that_can_be_read_breaks_the_reader(text in ".{0,80}") {
            drop(TraceLine::parse(&text));
            drop(TraceHead::parse(&text));
        }
    }
}
