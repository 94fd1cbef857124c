//! The engines of messages, text and frame: steps, polls, and what is heard unasked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::document::DurationText;
use crate::document::Spanned;

use super::super::checksum::Checksum;
use super::super::device::{Alphabet, ConnectStep, Listen, MessageDevice, MessagePoll, Step};
use super::super::framing::{End, Framing};
use super::super::pattern::{Pattern, frame_message, text_message};
use super::super::raw::is_name;
use super::super::schema::{ExpectFile, ListenFile, ModeWord, PollFile, ProfileFile, StepFile};
use super::super::text::{TextError, substitute};
use super::Compiler;
use super::framing::{Checksums, framing};

/// The period of a poll that names none.
const USUAL_PERIOD: Duration = Duration::from_secs(1);

/// How long a message may stay away where the profile does not say.
const USUAL_PATIENCE: Duration = Duration::from_secs(5);

/// The fields that messages bring, each with the poll or the unasked message that it comes with.
pub(super) type FieldsOfPolls = BTreeMap<Arc<str>, usize>;

/// The keys that a step and a message at connecting have in common.
struct StepKeys<'a> {
    whole: Range<usize>,
    path: String,
    send: Option<&'a Spanned<String>>,
    expect: Option<&'a Spanned<ExpectFile>>,
    regex: Option<&'a Spanned<String>>,
    longest: Option<&'a Spanned<u16>>,
    wait: Option<&'a Spanned<DurationText>>,
}

/// How messages are written and read.
pub(super) struct Language {
    alphabet: Alphabet,
    pub(super) framing: Framing,
    checksums: Checksums,
}

impl Language {
    /// The language of a profile, as far as its framing can be understood.
    pub(super) fn of(
        file: &ProfileFile,
        alphabet: Alphabet,
        whole: &Range<usize>,
        compiler: &mut Compiler<'_>,
    ) -> Option<Self> {
        let (framing, checksums) = framing(file.framing.as_ref(), alphabet, whole, compiler)?;
        Some(Self { alphabet, framing, checksums })
    }

    /// A message as it goes over the wire.
    fn message(&self, text: &str) -> Result<Vec<u8>, TextError> {
        let (bytes, ends_itself) = match self.alphabet {
            Alphabet::Text => text_message(text, self.checksums.sent)?,
            Alphabet::Bytes => (frame_message(text, self.checksums.sent)?, false),
        };
        if bytes.is_empty() {
            return Err(TextError::Empty);
        }
        Ok(if ends_itself { self.framing.escaped(&bytes) } else { self.framing.wrapped(&bytes) })
    }

    fn pattern(&self, text: &str) -> Result<Pattern, TextError> {
        let checksum: Option<Checksum> = self.checksums.received;
        match self.alphabet {
            Alphabet::Text => Pattern::text(text, checksum),
            Alphabet::Bytes => Pattern::frame(text, checksum),
        }
    }
}

pub(super) fn device(
    file: &ProfileFile,
    alphabet: Alphabet,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Option<(MessageDevice, FieldsOfPolls)> {
    let language = Language::of(file, alphabet, whole, compiler)?;
    let on_connect = on_connect(file, &language, compiler);
    let mut device = MessageDevice {
        alphabet,
        framing: language.framing.clone(),
        on_connect,
        polls: Vec::new(),
        listens: Vec::new(),
    };
    let mut fields = FieldsOfPolls::new();
    if file.mode.as_ref().is_some_and(|mode| *mode.get_ref() == ModeWord::Listen) {
        if let Some(poll) = file.poll.first() {
            compiler.error(
                poll.span(),
                "a profile that listens asks for nothing",
                "say `[[listen]]`, or leave `mode` out",
            );
        }
        for (index, entry) in file.listen.iter().enumerate() {
            if let Some(listen) = one_listen(index, entry, &language, compiler) {
                let earlier = device.listens.iter().map(|listen| &listen.expect);
                refuse_confusion(&language.framing, &listen.expect, earlier, &entry.span(), compiler);
                note_fields(&mut fields, listen.expect.names(), device.listens.len(), &entry.span(), compiler);
                device.listens.push(listen);
            }
        }
        if file.listen.is_empty() {
            compiler.missing(whole, "listen", "a profile that listens has no `[[listen]]`", "");
        }
        return Some((device, fields));
    }
    if let Some(listen) = file.listen.first() {
        compiler.error(listen.span(), "`[[listen]]` goes with `mode = \"listen\"`", "");
    }
    for (index, poll) in file.poll.iter().enumerate() {
        for numbers in expansions(poll.get_ref(), compiler) {
            let made = one_poll(index, poll, &numbers, &language, compiler);
            let mut names: Vec<Arc<str>> = Vec::new();
            for name in made.steps.iter().filter_map(|step| step.expect.as_ref()).flat_map(Pattern::names) {
                names.push(Arc::clone(name));
            }
            note_fields(&mut fields, names.iter(), device.polls.len(), &poll.span(), compiler);
            device.polls.push(made);
        }
    }
    if device.polls.is_empty() {
        compiler.missing(whole, "poll", "the profile has no `[[poll]]`", "");
    }
    Some((device, fields))
}

/// Where only the pattern tells how long a message is, a short one must not look like the beginning of a long one: what is
/// heard would depend on how the bytes happen to arrive.
fn refuse_confusion<'a>(
    framing: &Framing,
    expect: &'a Pattern,
    earlier: impl Iterator<Item = &'a Pattern>,
    span: &Range<usize>,
    compiler: &mut Compiler<'_>,
) {
    let confused = |other: &Pattern| expect.can_be_confused_with(other);
    if framing.end == End::Pattern && (confused(expect) || earlier.into_iter().any(confused)) {
        let help = "let `[framing]` tell the length (`fixed`, `length`), or begin each message with a byte of its own";
        compiler.error(span.clone(), "two messages of different length can begin alike", help);
    }
}

fn note_fields<'a>(
    fields: &mut FieldsOfPolls,
    names: impl Iterator<Item = &'a Arc<str>>,
    source: usize,
    span: &Range<usize>,
    compiler: &mut Compiler<'_>,
) {
    for name in names {
        if fields.insert(Arc::clone(name), source).is_some() {
            let help = "name one of them differently";
            compiler.error(span.clone(), format!("the field `{name}` comes from two messages"), help);
        }
    }
}

fn one_listen(
    index: usize,
    entry: &Spanned<ListenFile>,
    language: &Language,
    compiler: &mut Compiler<'_>,
) -> Option<Listen> {
    let listen = entry.get_ref();
    let Some(expect) = &listen.expect else {
        let path = format!("listen[{index}].expect");
        compiler.missing(&entry.span(), &path, "a `[[listen]]` has no `expect`", "what the message looks like");
        return None;
    };
    let expect = expected(expect, &BTreeMap::new(), language, compiler)?;
    let patience = listen.stale_after.as_ref();
    if let Some(zero) = patience.filter(|patience| patience.get_ref().0.is_zero()) {
        compiler.error(zero.span(), "`stale_after` can't be zero: every reading would be stale at once", "");
    }
    Some(Listen { expect, stale_after: patience.map_or(USUAL_PATIENCE, |patience| patience.get_ref().0) })
}

/// The pattern of one form or several.
fn expected(
    expect: &Spanned<ExpectFile>,
    numbers: &BTreeMap<String, String>,
    language: &Language,
    compiler: &mut Compiler<'_>,
) -> Option<Pattern> {
    let mut made: Option<Pattern> = None;
    for text in expect.get_ref().patterns() {
        match language.pattern(&substitute(&compiler.substituted(text), numbers)) {
            Ok(pattern) => made = Some(made.map_or(pattern.clone(), |made| made.or(pattern))),
            Err(error) => compiler.error(expect.span(), error.to_string(), ""),
        }
    }
    if expect.get_ref().patterns().is_empty() {
        compiler.error(expect.span(), "`expect` is an empty list", "");
    }
    made
}

/// The steps by which `scan` recognises the instrument.
pub(super) fn identify_steps(
    path: &str,
    steps: &[Spanned<StepFile>],
    language: &Language,
    compiler: &mut Compiler<'_>,
) -> Vec<Step> {
    let made = steps.iter().enumerate().map(|(place, entry)| {
        let keys = StepKeys::of(format!("{path}.steps[{place}]"), entry);
        one_step(&keys, &BTreeMap::new(), language, compiler)
    });
    made.collect()
}

impl<'a> StepKeys<'a> {
    fn of(path: String, entry: &'a Spanned<StepFile>) -> Self {
        let step = entry.get_ref();
        Self {
            whole: entry.span(),
            path,
            send: step.send.as_ref(),
            expect: step.expect.as_ref(),
            regex: step.regex.as_ref(),
            longest: step.longest.as_ref(),
            wait: step.wait.as_ref(),
        }
    }
}

fn on_connect(file: &ProfileFile, language: &Language, compiler: &mut Compiler<'_>) -> Vec<ConnectStep> {
    let mut made: Vec<ConnectStep> = Vec::new();
    for (index, entry) in file.on_connect.iter().enumerate() {
        let connect = entry.get_ref();
        let path = format!("on_connect[{index}]");
        let Some(id) = &connect.id else {
            compiler.missing(
                &entry.span(),
                &format!("{path}.id"),
                "a message at connecting has no `id`",
                "the lab's `allow` names it by its id",
            );
            continue;
        };
        if file.on_connect.iter().take(index).any(|other| other.get_ref().id.as_ref() == Some(id)) {
            compiler.error(id.span(), format!("two messages are called `{}`", id.get_ref()), "");
        }
        let step = one_step(
            &StepKeys {
                whole: entry.span(),
                path,
                send: connect.send.as_ref(),
                expect: connect.expect.as_ref(),
                regex: connect.regex.as_ref(),
                longest: connect.longest.as_ref(),
                wait: connect.wait.as_ref(),
            },
            &BTreeMap::new(),
            language,
            compiler,
        );
        if !connect.changes_device || compiler.allow.contains(id.get_ref()) {
            made.push(ConnectStep { id: id.get_ref().as_str().into(), step });
        }
    }
    made
}

/// One set of numbers for each repetition that `for` asks for.
fn expansions(poll: &PollFile, compiler: &mut Compiler<'_>) -> Vec<BTreeMap<String, String>> {
    let mut sets = vec![BTreeMap::new()];
    for (name, numbers) in &poll.numbers {
        if !is_name(name.get_ref()) || compiler.params.contains_key(name.get_ref()) {
            compiler.error(
                name.span(),
                format!("`{}` can't be counted with", name.get_ref()),
                "use a name that is no parameter",
            );
        }
        if numbers.get_ref().is_empty() {
            compiler.error(numbers.span(), "there is nothing to repeat for", "");
        }
        sets = sets
            .iter()
            .flat_map(|set: &BTreeMap<String, String>| {
                numbers.get_ref().iter().map(|number| {
                    let mut set = set.clone();
                    set.insert(name.get_ref().clone(), number.to_string());
                    set
                })
            })
            .collect();
    }
    sets
}

fn one_poll(
    index: usize,
    entry: &Spanned<PollFile>,
    numbers: &BTreeMap<String, String>,
    language: &Language,
    compiler: &mut Compiler<'_>,
) -> MessagePoll {
    let poll = entry.get_ref();
    if poll.steps.is_empty() {
        compiler.missing(
            &entry.span(),
            &format!("poll[{index}].steps"),
            "a poll has no `steps`",
            "steps = [{ send = \"...\", expect = \"...\" }]",
        );
    }
    // What waits in the buffer when a poll begins is of any age: it would be stamped as of now.
    if let Some(first) = poll.steps.first()
        && first.get_ref().send.is_none()
        && (first.get_ref().expect.is_some() || first.get_ref().regex.is_some())
    {
        compiler.error(
            first.span(),
            "a poll has to begin with `send`",
            "for an instrument that speaks unasked say `mode = \"listen\"` and `[[listen]]`",
        );
    }
    let refused =
        poll.changes_device.iter().chain(poll.steps.iter().filter_map(|s| s.get_ref().changes_device.as_ref()));
    for changes in refused {
        compiler.error(
            changes.span(),
            "a poll can't change the device",
            "only messages of `[[on_connect]]` can, and only where the lab's file allows them",
        );
    }
    let steps = poll.steps.iter().enumerate().map(|(place, entry)| {
        let keys = StepKeys::of(format!("poll[{index}].steps[{place}]"), entry);
        one_step(&keys, numbers, language, compiler)
    });
    let steps = steps.collect();
    MessagePoll { every: compiler.period(poll.every.as_ref()).unwrap_or(USUAL_PERIOD), steps }
}

fn one_step(
    keys: &StepKeys<'_>,
    numbers: &BTreeMap<String, String>,
    language: &Language,
    compiler: &mut Compiler<'_>,
) -> Step {
    let fill = |compiler: &Compiler<'_>, text: &str| substitute(&compiler.substituted(text), numbers);
    if keys.send.is_none() && keys.expect.is_none() && keys.regex.is_none() {
        let path = format!("{}.send", keys.path);
        compiler.missing(&keys.whole, &path, "a step has neither `send` nor `expect`", "");
    }
    let mut send = None;
    if let Some(text) = keys.send {
        match language.message(&fill(compiler, text.get_ref())) {
            Ok(message) => send = Some(message),
            Err(error) => compiler.error(text.span(), error.to_string(), ""),
        }
    }
    let expect = match (keys.expect, keys.regex) {
        (None, None) => None,
        (Some(_), Some(regex)) => {
            compiler.error(regex.span(), "a step has `expect` or `regex`, not both", "");
            None
        }
        (Some(expect), None) => {
            if let Some(longest) = keys.longest {
                compiler.error(longest.span(), "`longest` goes with `regex` only; `expect` tells it by itself", "");
            }
            let pattern = expected(expect, numbers, language, compiler);
            if let Some(pattern) = &pattern {
                refuse_confusion(&language.framing, pattern, std::iter::empty(), &expect.span(), compiler);
            }
            pattern
        }
        (None, Some(regex)) => regular(regex, keys.longest, language, compiler),
    };
    Step { send, expect, wait: wait(keys) }
}

fn regular(
    regex: &Spanned<String>,
    longest: Option<&Spanned<u16>>,
    language: &Language,
    compiler: &mut Compiler<'_>,
) -> Option<Pattern> {
    if language.alphabet == Alphabet::Bytes {
        compiler.error(regex.span(), "a frame is described by `expect`, not by a regular expression", "");
        return None;
    }
    let longest = longest.map_or(0, |longest| usize::from(*longest.get_ref()));
    if longest == 0 {
        compiler.error(
            regex.span(),
            "a `regex` needs `longest`",
            "the bytes of the longest reply: the bus-time budget reckons with it",
        );
    }
    match Pattern::regex(regex.get_ref(), longest) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            compiler.error(regex.span(), error.to_string(), "");
            None
        }
    }
}

fn wait(keys: &StepKeys<'_>) -> Duration {
    keys.wait.map_or(Duration::ZERO, |wait| wait.get_ref().0)
}
