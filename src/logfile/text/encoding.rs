//! Characters: UTF-8, or Windows-1252, which holds all of Latin-1 that can be printed.

/// How characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// One to four bytes a character.
    Utf8,
    /// One byte a character, as older programs write `°` and `µ`.
    Windows1252,
}

impl std::str::FromStr for Encoding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "windows-1252" | "cp1252" | "latin-1" | "latin1" | "iso-8859-1" => Ok(Self::Windows1252),
            _ => Err("write `utf-8`, `windows-1252` or `latin-1`"),
        }
    }
}

/// The characters of the bytes 0x80 to 0x9F, where Windows-1252 is not Latin-1. Source: the WHATWG Encoding Standard,
/// index windows-1252; bytes that stand for nothing are control characters there.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Reads one byte a character.
pub(super) fn windows_1252(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            0x80..=0x9f => HIGH.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{fffd}'),
            _ => char::from(*byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_of_labs_are_read() {
        assert_eq!(windows_1252(b"T \xb0C, \xb5m, \xc5, \x80"), "T °C, µm, Å, €");
    }
}
