//! Masking: a document as it may be shown, with what looks like a secret starred out.
//!
//! A key or token does not belong into a document, and where somebody puts one there the problem's excerpt must not carry
//! it into a log. This works on the text, so that it also holds where the text is no valid TOML; every masked character
//! becomes as many stars as it has bytes, so that positions stay as they are.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// A key whose name speaks of a secret, with the equals sign after it.
#[expect(clippy::expect_used, reason = "a constant expression, compiled by the tests")]
static SECRET_KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)["'A-Za-z0-9_.-]*(?:key|token|secret|passw)["'A-Za-z0-9_.-]*[ \t]*=[ \t]*"#)
        .expect("a valid expression")
});

/// A value that says where a secret is, inside of a table.
#[expect(clippy::expect_used, reason = "a constant expression, compiled by the tests")]
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?:\benv[ \t]*=[ \t]*["'][A-Z_][A-Z0-9_]*["']|\b(?:file|credential)[ \t]*=[ \t]*["'][^"'\n]*["'])"#)
        .expect("a valid expression")
});

/// Whether a key of this name may hold a secret.
pub(super) fn names_a_secret(key: &str) -> bool {
    SECRET_KEY.is_match(&format!("{key}="))
}

/// The text with stars where a secret may be.
pub(super) fn masked(text: &str) -> String {
    let mut shown = text.to_owned();
    for key in SECRET_KEY.find_iter(text) {
        let rest = text.get(key.end()..).unwrap_or_default();
        let value = key.end()..key.end() + length_of_value(rest);
        let within = text.get(value.clone()).unwrap_or_default();
        if within.starts_with('{') {
            let mut from = value.start;
            for place in PLACE.find_iter(within) {
                star_strings(&mut shown, from..value.start + place.start());
                from = value.start + place.end();
            }
            star_strings(&mut shown, from..value.end);
        } else {
            star(&mut shown, value);
        }
    }
    shown
}

/// How far a value reaches: to the end of its quotes or braces, else to the end of the line.
fn length_of_value(rest: &str) -> usize {
    let line = rest.find('\n').unwrap_or(rest.len());
    for (open, close) in [("\"\"\"", "\"\"\""), ("'''", "'''"), ("{", "}"), ("\"", "\""), ("'", "'")] {
        if let Some(inside) = rest.strip_prefix(open) {
            let end = inside.find(close).map(|end| open.len() + end + close.len());
            let several_lines = open.len() == 3;
            return end.filter(|end| several_lines || *end <= line).unwrap_or(if several_lines {
                rest.len()
            } else {
                line
            });
        }
    }
    line
}

/// Stars out all that is not the shape of a table: names, equals signs, commas and braces stay.
fn star_strings(text: &mut String, range: Range<usize>) {
    let Some(part) = text.get(range.clone()) else { return };
    let mut from = 0;
    let mut found = Vec::new();
    while let Some(equals) = part.get(from..).and_then(|rest| rest.find('=')).map(|at| from + at + 1) {
        let end = part.get(equals..).and_then(|rest| rest.find([',', '}', '='])).map_or(part.len(), |at| equals + at);
        found.push(range.start + equals..range.start + end);
        from = end;
    }
    for value in found {
        star(text, value);
    }
}

pub(super) fn star(text: &mut String, range: Range<usize>) {
    let Some(part) = text.get(range.clone()) else { return };
    let stars: String = part
        .chars()
        .map(|c| if c.is_whitespace() && c.is_ascii() { c.to_string() } else { "*".repeat(c.len_utf8()) })
        .collect();
    text.replace_range(range, &stars);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_starred_and_places_are_not() {
        for (text, shown) in [
            ("api_key = \"sk-é\"\n", "api_key = *******\n"),
            ("api_key = sk-1\nb = 1", "api_key = ****\nb = 1"),
            ("token = 'abc\nx = 2", "token = ****\nx = 2"),
            ("p = { api_key = \"s\", a = 1 }", "p = { api_key = ***, a = 1 }"),
            ("api_key = { env = \"AS_API_KEY\" }", "api_key = { env = \"AS_API_KEY\" }"),
            ("api_key = { env = \"sk-1\" }", "api_key = { env = ****** }"),
            ("api_key = { file = \"/etc/key\" }", "api_key = { file = \"/etc/key\" }"),
            ("api_key = { value = \"sk\" }", "api_key = { value = **** }"),
            ("token = { file = \"/a\", x = \"sk\" }", "token = { file = \"/a\", x = **** }"),
            ("Password = \"\"\"a\nb\"\"\"\nc = 1", "Password = ****\n****\nc = 1"),
            ("name = \"key\"\nevery = \"1s\"", "name = \"key\"\nevery = \"1s\""),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).len(), text.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn positions_stay_and_nothing_panics(text in r#"([a-z]{0,3}|key|token|env|é|[={}"'\n, ]){0,30}"#) {
            let shown = masked(&text);
            proptest::prop_assert_eq!(shown.len(), text.len());
            for (at, _) in text.char_indices() {
                proptest::prop_assert!(shown.is_char_boundary(at));
            }
        }
    }
}
