//! Reading a document: note what does not fit, cut it out, try again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::mask::names_a_secret;
use super::{Problems, Source, did_you_mean, nearest};

/// A document in its shape, and what had to be cut out to get there.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// The text, as it is shown.
    pub source: Source,
    /// What was read; entries that did not fit are absent.
    pub value: T,
    cut: Vec<String>,
    read: bool,
}

impl<T> Document<T> {
    /// Whether a problem with this key (`instruments[1].unit`) was noted, so that its absence is no second problem.
    pub fn was_cut(&self, path: &str) -> bool {
        self.cut.iter().any(|cut| cut == path)
    }

    /// The entries below a table that had to be cut out, by their paths from there.
    pub fn cuts_below(&self, table: &str) -> Vec<String> {
        let below = |cut: &String| cut.strip_prefix(table)?.strip_prefix('.').map(ToOwned::to_owned);
        self.cut.iter().filter_map(below).collect()
    }

    /// Whether the text was no TOML, or fits its shape nowhere: there is no use in looking at the value.
    pub fn nothing_was_read(&self) -> bool {
        !self.read
    }

    /// All entries that had to be cut out, by their paths.
    pub fn cuts(&self) -> &[String] {
        &self.cut
    }
}

/// One step on the way to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Key(String),
    Item(usize),
}

/// Reads a document into a shape whose keys are all optional. After an error of syntax nothing else is looked at, since
/// what follows it may be taken for something that it is not.
pub fn read<T: DeserializeOwned + Default>(source: &Source, problems: &mut Problems) -> Document<T> {
    read_shown(source, None, problems)
}

/// The same for a document that may hold a secret where none belongs: problems, and the [`Document`], show it masked.
pub fn read_masked<T: DeserializeOwned + Default>(source: &Source, problems: &mut Problems) -> Document<T> {
    read_shown(source, Some(source.masked()), problems)
}

fn read_shown<T: DeserializeOwned + Default>(
    source: &Source,
    masked: Option<Source>,
    problems: &mut Problems,
) -> Document<T> {
    let guarded = masked.is_some();
    let mut document = Document {
        source: masked.unwrap_or_else(|| source.clone()),
        value: T::default(),
        cut: Vec::new(),
        read: false,
    };
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        for error in errors {
            problems.error(&document.source, error.span().unwrap_or(0..0), as_fragment(error.message()), "");
        }
        return document;
    }
    let span = root.span();
    let mut root = DeValue::Table(root.into_inner());
    loop {
        match T::deserialize(ValueDeserializer::from(Spanned::new(span.clone(), root.clone()))) {
            Ok(value) => {
                document.value = value;
                document.read = true;
                return document;
            }
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                let (message, help, meant) = in_plain_words(error.message());
                problems.error(&document.source, at.clone(), message, help);
                let Some(path) = find(&root, &at) else { return document };
                if guarded
                    && speaks_of_secrets(error.message())
                    && let Some(value) = span_of(&root, &path)
                {
                    let starred = document.source.starred(value);
                    problems.show_instead(&document.source, &starred);
                    document.source = starred;
                }
                if let Some(meant) = meant {
                    let mut sibling = path.clone();
                    sibling.pop();
                    sibling.push(Place::Key(meant));
                    document.cut.push(shown(&sibling));
                }
                document.cut.push(shown(&path));
                remove(&mut root, &path);
            }
        }
    }
}

/// The smallest entry whose key or value holds the span.
fn find(root: &DeValue<'_>, span: &Range<usize>) -> Option<Vec<Place>> {
    let mut best: Option<(usize, Vec<Place>)> = None;
    let mut way = Vec::new();
    visit(root, &mut way, &mut |entry: &Range<usize>, way: &[Place]| {
        let holds = entry.start <= span.start && span.end <= entry.end;
        // Of equal ones the deeper is meant: `a.b.c = 1` has one span for all its tables.
        if holds && best.as_ref().is_none_or(|(size, _)| entry.len() <= *size) {
            best = Some((entry.len(), way.to_vec()));
        }
    });
    best.map(|(_, way)| way)
}

fn visit(value: &DeValue<'_>, way: &mut Vec<Place>, see: &mut impl FnMut(&Range<usize>, &[Place])) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                way.push(Place::Key(key.get_ref().to_string()));
                see(&key.span(), way);
                see(&value.span(), way);
                visit(value.get_ref(), way, see);
                way.pop();
            }
        }
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                way.push(Place::Item(index));
                see(&value.span(), way);
                visit(value.get_ref(), way, see);
                way.pop();
            }
        }
        _ => {}
    }
}

fn span_of(root: &DeValue<'_>, way: &[Place]) -> Option<Range<usize>> {
    let mut spans = Vec::new();
    visit(root, &mut Vec::new(), &mut |span: &Range<usize>, at: &[Place]| {
        if at == way {
            spans.push(span.clone());
        }
    });
    // The value comes after its key.
    spans.pop()
}

fn remove(value: &mut DeValue<'_>, way: &[Place]) {
    let Some((first, rest)) = way.split_first() else { return };
    match (value, first) {
        (DeValue::Table(table), Place::Key(name)) => {
            if rest.is_empty() {
                *table = std::mem::take(table).into_iter().filter(|(key, _)| key.get_ref() != name).collect();
            } else if let Some((_, inner)) = table.iter_mut().find(|(key, _)| key.get_ref() == name) {
                remove(inner.get_mut(), rest);
            }
        }
        (DeValue::Array(array), Place::Item(index)) if *index < array.len() => {
            if rest.is_empty() {
                let kept =
                    std::mem::replace(array, DeArray::new()).into_iter().enumerate().filter(|(at, _)| at != index);
                *array = kept.map(|(_, item)| item).collect();
            } else if let Some(inner) = array.get_mut(*index) {
                remove(inner.get_mut(), rest);
            }
        }
        _ => {}
    }
}

fn shown(way: &[Place]) -> String {
    let mut path = String::new();
    for place in way {
        match place {
            Place::Key(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Place::Item(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Whether serde complains of an unknown key among whose neighbours is one for a secret: it may be that one, misspelt.
fn speaks_of_secrets(message: &str) -> bool {
    message.starts_with("unknown field") && message.split('`').skip(3).step_by(2).any(names_a_secret)
}

/// Message, help and the key that was meant, from the words of serde.
fn in_plain_words(message: &str) -> (String, String, Option<String>) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let candidates = quoted.iter().skip(1).copied();
    if message.starts_with("unknown field") {
        let word = quoted.first().copied().unwrap_or_default();
        let meant = nearest(word, candidates.clone()).map(ToOwned::to_owned);
        return (format!("unknown key `{word}`"), did_you_mean(word, "known keys", candidates), meant);
    }
    if message.starts_with("unknown variant") {
        let word = quoted.first().copied().unwrap_or_default();
        return (format!("`{word}` is not one of the choices"), did_you_mean(word, "choices", candidates), None);
    }
    for kind in ["invalid type: ", "invalid value: ", "invalid length: "] {
        if let Some((found, expected)) = message.strip_prefix(kind).and_then(|rest| rest.rsplit_once(", expected ")) {
            return (format!("expected {}, found {found}", expected_in_plain_words(expected)), String::new(), None);
        }
    }
    (as_fragment(message), String::new(), None)
}

fn expected_in_plain_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, not negative",
        "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

fn as_fragment(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut chars = message.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Lab {
        run: Option<Inner>,
        links: BTreeMap<Spanned<String>, Spanned<Inner>>,
        instruments: Vec<Spanned<Inner>>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        every: Option<Spanned<u16>>,
        name: Option<String>,
    }

    fn problems_of(text: &str) -> (Document<Lab>, Vec<(usize, usize, String)>) {
        let mut problems = Problems::new();
        let document = read(&Source::new("lab.toml", text), &mut problems);
        let found = problems.sorted().iter().map(|p| (p.line(), p.column(), p.message.clone())).collect();
        (document, found)
    }

    #[test]
    fn every_problem_of_a_document_is_found_at_its_place() {
        let text = "colour = 1\n[run]\nevry = 2\nname = 5\n[links.a]\nevery = \"x\"\nname = \"keep\"\nnmae = 1\n\
                    [[instruments]]\nevery = 70000\n[[instruments]]\nevery = 3\nwhat.ever = true\n";
        let (document, found) = problems_of(text);
        let at: Vec<(usize, usize)> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
        assert_eq!(at, [(1, 1), (3, 1), (4, 8), (6, 9), (8, 1), (10, 9), (13, 1)], "{found:#?}");
        let messages: Vec<&str> = found.iter().map(|(_, _, message)| &**message).collect();
        assert_eq!(
            messages,
            [
                "unknown key `colour`",
                "unknown key `evry`",
                "expected a string, found integer `5`",
                "expected a whole number from 0 to 65535, found string \"x\"",
                "unknown key `nmae`",
                "expected a whole number from 0 to 65535, found integer `70000`",
                "unknown key `what`",
            ]
        );
        // What was right is still there, with its place.
        let (key, link) = document.value.links.first_key_value().unwrap();
        assert_eq!(key.span().start, text.find("a]").unwrap());
        assert_eq!(link.get_ref().name.as_deref(), Some("keep"));
        let second = document.value.instruments.get(1).unwrap();
        assert_eq!(second.get_ref().every.as_ref().map(|every| *every.get_ref()), Some(3));
        assert_eq!(second.span().start, text.rfind("[[instruments]]").unwrap());
        // Neither the wrong value nor the key that a misspelt one was meant to be counts as missing.
        assert!(
            document.was_cut("run.every") && document.was_cut("run.name") && document.was_cut("instruments[0].every")
        );
        assert!(!document.was_cut("instruments[1].every"));
    }

    #[test]
    fn syntax_comes_first() {
        let (_, found) = problems_of("colour = 1\n[run\nevery = 1\n");
        assert_eq!(found.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [2], "{found:?}");
        let (_, found) = problems_of("[run]\nevery = 1\nevery = 2\n");
        assert_eq!(found.first().map(|(line, ..)| *line), Some(3), "{found:?}");
    }

    #[test]
    fn a_table_where_a_value_belongs_is_cut_as_a_whole() {
        let (document, found) = problems_of("run = 3\n[[links]]\nname = \"x\"\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(document.value.run.is_none() && document.value.links.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_or_loop(text in r#"([a-z]{1,5}|every|run|links|instruments|[\[\]={}",.\n 0-9]){0,40}"#) {
            let mut problems = Problems::new();
            read::<Lab>(&Source::new("x", &text), &mut problems);
            problems.to_string();
        }
    }
}
