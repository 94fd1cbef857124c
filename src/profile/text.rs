//! Texts with control tokens: `PRX<CR>`, `<x06>`, and `{addr}` for a parameter.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The tokens that name a byte. `<SP>` is a blank that would otherwise be lost at an edge.
const TOKENS: &[(&str, u8)] = &[
    ("NUL", 0x00),
    ("SOH", 0x01),
    ("STX", 0x02),
    ("ETX", 0x03),
    ("EOT", 0x04),
    ("ENQ", 0x05),
    ("ACK", 0x06),
    ("BEL", 0x07),
    ("BS", 0x08),
    ("HT", 0x09),
    ("LF", 0x0A),
    ("VT", 0x0B),
    ("FF", 0x0C),
    ("CR", 0x0D),
    ("SO", 0x0E),
    ("SI", 0x0F),
    ("DLE", 0x10),
    ("XON", 0x11),
    ("XOFF", 0x13),
    ("NAK", 0x15),
    ("ESC", 0x1B),
    ("SP", 0x20),
    ("DEL", 0x7F),
];

/// What can be wrong with a text of a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A `<` that begins no token.
    #[error(
        "`<` begins no control token here; tokens are `<CR>`, `<LF>`, `<ENQ>`, `<x06>` and the like, a plain `<` is `<x3C>`"
    )]
    Token,
    /// A `{` that begins no field or parameter.
    #[error("`{{{0}` is neither a parameter nor a field; a plain `{{` is `<x7B>`")]
    Brace(String),
    /// A parameter that the profile does not have.
    #[error("`{{{0}}}` is not a parameter of this profile")]
    UnknownParam(String),
    /// A field where only literal text can be.
    #[error("a message that is sent can't hold the field `{{{0}}}`")]
    FieldInMessage(String),
    /// A field form that does not exist.
    #[error(
        "`{{{name}:{form}}}`: the form is f, i, w, d5 (digits), x4 (hex digits), xf32 (a float in hex digits), w6 (characters), a8 (any bytes) or m4e2 (mantissa and exponent)"
    )]
    Form {
        /// The field.
        name: String,
        /// What follows the colon.
        form: String,
    },
    /// A field form of frames that does not exist.
    #[error(
        "`{{{name}:{form}}}`: the form is u8, i8, u16, i16, u24, i24, u32, i32, f32, f64, the wider ones with `le` behind them if the low byte comes first, s8 (characters), or for `_` also b3 (bytes)"
    )]
    FrameForm {
        /// The field.
        name: String,
        /// What follows the colon.
        form: String,
    },
    /// Something that is no pair of hex digits.
    #[error("`{0}` is no byte in hex, and no field")]
    Hex(String),
    /// `{ck}` without a checksum.
    #[error("`{{ck}}` needs a `checksum` in `[framing]`")]
    NoChecksum,
    /// A message of nothing.
    #[error("there is nothing in the message")]
    Empty,
    /// A field whose end can't be told.
    #[error(
        "`{{{0}}}` is followed at once by another field, so its end can't be told; put a literal between them, or use d or x with a length"
    )]
    Endless(String),
    /// One name twice.
    #[error("the field `{0}` occurs twice")]
    Twice(String),
    /// Characters outside ASCII.
    #[error("`{0}` is not ASCII; name the byte by `<x..>`")]
    NotAscii(char),
    /// A regular expression that can't be compiled.
    #[error("{0}")]
    Regex(String),
}

/// The bytes of a text with control tokens, which has neither parameters nor fields: `#XI1<CR>`.
pub fn bytes_of(text: &str) -> Result<Vec<u8>, TextError> {
    super::pattern::text_message(text, None).map(|(bytes, _)| bytes)
}

/// One piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A byte written as itself.
    Char(u8),
    /// A byte written as a token.
    Control(u8),
    /// What stands between braces.
    Braces(String),
}

/// Cuts a text into its pieces.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TextError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '<' => {
                let (token, next) = after.split_once('>').ok_or(TextError::Token)?;
                match token {
                    "CRLF" => found.extend([Piece::Control(b'\r'), Piece::Control(b'\n')]),
                    _ => found.push(Piece::Control(control(token).ok_or(TextError::Token)?)),
                }
                rest = next;
            }
            '{' => {
                let (inside, next) = after.split_once('}').ok_or_else(|| TextError::Brace(after.to_owned()))?;
                found.push(Piece::Braces(inside.to_owned()));
                rest = next;
            }
            _ => {
                let byte = u8::try_from(first).ok().filter(u8::is_ascii).ok_or(TextError::NotAscii(first))?;
                found.push(Piece::Char(byte));
                rest = after;
            }
        }
    }
    Ok(found)
}

fn control(token: &str) -> Option<u8> {
    if let Some((_, byte)) = TOKENS.iter().find(|(name, _)| *name == token) {
        return Some(*byte);
    }
    let digits = token.strip_prefix('x').filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// Puts parameters in. Names that are not among them stay, for a field or an error.
pub(super) fn substitute(text: &str, params: &BTreeMap<String, String>) -> String {
    let mut made = text.to_owned();
    for (name, value) in params {
        made = made.replace(&format!("{{{name}}}"), value);
    }
    made
}

/// Bytes as people read them: `00ms<CR>`.
pub fn printable(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for byte in bytes {
        match TOKENS.iter().find(|(name, code)| code == byte && *name != "SP") {
            Some((name, _)) => {
                shown.push('<');
                shown.push_str(name);
                shown.push('>');
            }
            None if byte.is_ascii_graphic() || *byte == b' ' => shown.push(char::from(*byte)),
            None => {
                // Writing to a String can't fail.
                write!(shown, "<x{byte:02X}>").unwrap_or_default();
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::pattern::text_message;
    use super::*;

    fn message(text: &str) -> Result<(Vec<u8>, bool), TextError> {
        text_message(text, None)
    }

    #[test]
    fn tokens_become_bytes_and_back() {
        assert_eq!(message("PRX<CR><LF>"), Ok((b"PRX\r\n".to_vec(), true)));
        assert_eq!(message("PRX<CRLF>"), Ok((b"PRX\r\n".to_vec(), true)));
        assert_eq!(message("<ENQ>"), Ok((vec![5], true)));
        assert_eq!(message("a<x3C>b"), Ok((b"a<b".to_vec(), false)));
        assert_eq!(printable(b"PRX\r\n\x05\xFF "), "PRX<CR><LF><ENQ><xFF> ");
    }

    #[test]
    fn wrong_texts_are_named() {
        assert_eq!(message("a<b"), Err(TextError::Token));
        assert_eq!(message("<CRX>"), Err(TextError::Token));
        assert_eq!(message("{addr"), Err(TextError::Brace("addr".to_owned())));
        assert_eq!(message("{addr}ms"), Err(TextError::UnknownParam("addr".to_owned())));
        assert_eq!(message("{t:d5}"), Err(TextError::FieldInMessage("t:d5".to_owned())));
        assert_eq!(message("°C"), Err(TextError::NotAscii('°')));
    }

    #[test]
    fn parameters_go_in_first() {
        let params = BTreeMap::from([("n".to_owned(), "2".to_owned())]);
        assert_eq!(substitute("P{n} {p{n}:f} {m}", &params), "P2 {p2:f} {m}");
    }
}
