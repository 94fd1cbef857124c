//! Problems: what is wrong in a document, and where.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::mask::{masked, star};

/// The text of a document and the name it is shown under.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// The path, as the user gave it.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
}

impl Source {
    /// A document with a name.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The same, with stars where a key or token may have been written into it. Positions stay as they are.
    pub fn masked(&self) -> Self {
        Self { name: Arc::clone(&self.name), text: masked(&self.text).into() }
    }

    /// The same, with stars in one more place.
    pub(super) fn starred(&self, span: Range<usize>) -> Self {
        let mut text = self.text.to_string();
        star(&mut text, span);
        Self { name: Arc::clone(&self.name), text: text.into() }
    }

    /// Line and column of a byte, both counted from 1, the column in characters.
    pub fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

impl fmt::Debug for Source {
    /// The text is left out: it may be long, and the name says enough.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name)
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The document can't be used.
    Error,
    /// It can be used, and is probably not what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The document.
    pub source: Source,
    /// The bytes that it is about; empty at the end of a document where something is missing from the whole.
    pub span: Range<usize>,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// How bad it is.
    pub severity: Severity,
}

impl Problem {
    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.source.position(self.span.start).0
    }

    /// The column, counted from 1, in characters.
    pub fn column(&self) -> usize {
        self.source.position(self.span.start).1
    }
}

impl fmt::Display for Problem {
    /// The message, `file:line:column`, the line itself and the hint, over several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let text: &str = &self.source.text;
        let start = text.floor_char_boundary(self.span.start);
        let end = text.ceil_char_boundary(self.span.end).max(start);
        // The excerpt of a long value or a table shows where it begins, not all of it.
        let first_line = text.get(start..end).and_then(|part| part.find('\n')).map_or(end, |length| start + length);
        let snippet = Snippet::source(text)
            .path(&*self.source.name)
            .annotation(AnnotationKind::Primary.span(start..first_line.max(start)));
        let mut group = level.primary_title(&*self.message).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(&**help));
        }
        f.write_str(&Renderer::plain().render(&[group]))
    }
}

/// All that is wrong in a document, or in several that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error. `help` says what to do; empty where there is nothing to add.
    pub fn error(&mut self, source: &Source, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.add(source, span, message.into(), help.into(), Severity::Error);
    }

    /// Adds a warning.
    pub fn warning(
        &mut self,
        source: &Source,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(source, span, message.into(), help.into(), Severity::Warning);
    }

    fn add(&mut self, source: &Source, span: Range<usize>, message: String, help: String, severity: Severity) {
        let help = (!help.is_empty()).then_some(help);
        let problem = Problem { source: source.clone(), span, message, help, severity };
        // One entry may be looked at twice, say a profile's text for each of two uses.
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, others: Self) {
        for problem in others.0 {
            if !self.0.contains(&problem) {
                self.0.push(problem);
            }
        }
    }

    /// Shows another text in place of one, where less is to be seen of it.
    pub(super) fn show_instead(&mut self, of: &Source, shown: &Source) {
        for problem in self.0.iter_mut().filter(|problem| problem.source == *of) {
            problem.source = shown.clone();
        }
    }

    /// Only what makes the document unusable.
    #[must_use]
    pub fn errors(self) -> Self {
        Self(self.0.into_iter().filter(|problem| problem.severity == Severity::Error).collect())
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All of them, by document in the order these came, and by position within.
    pub fn sorted(&self) -> Vec<&Problem> {
        let names: Vec<&Source> = self.0.iter().map(|problem| &problem.source).collect();
        let mut sorted: Vec<&Problem> = self.0.iter().collect();
        sorted.sort_by_key(|problem| (names.iter().position(|name| **name == problem.source), problem.span.start));
        sorted
    }

    /// All of them, as they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    /// Each with its excerpt, and a blank line between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, problem) in self.sorted().into_iter().enumerate() {
            if count > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("a.toml", "ä = 1\nüü = 2\n");
        assert_eq!(source.position(0), (1, 1));
        let second = source.text.find('2').unwrap();
        assert_eq!(source.position(second), (2, 6));
        assert_eq!(source.position(999), (3, 1));
    }

    #[test]
    fn a_problem_shows_file_line_column_and_line() {
        let source = Source::new("lab.toml", "a = 1\n[[instruments]]\nevry = \"1s\"\n");
        let at = source.text.find("evry").unwrap();
        let mut problems = Problems::new();
        problems.error(&source, at..at + 4, "unknown key `evry`", "did you mean `every`?");
        let shown = problems.to_string();
        for part in ["error: unknown key `evry`", "lab.toml:3:1", "evry = \"1s\"", "^^^^", "did you mean `every`?"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn spans_outside_the_text_do_not_panic() {
        let source = Source::new("a", "é\n");
        for span in [0..0, 0..99, 50..60, 3..3, 1..2] {
            let mut problems = Problems::new();
            problems.error(&source, span, "x", "");
            assert!(problems.to_string().contains("error: x"));
        }
    }
}
