//! The text engine: messages, patterns, polls.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::document::DurationText;

use super::super::device::{ConnectStep, Framing, Step, TextDevice, TextPoll};
use super::super::pattern::Pattern;
use super::super::raw::is_name;
use super::super::schema::{FramingFile, PollFile, ProfileFile};
use super::super::text::{message, substitute};
use super::Compiler;

/// The period of a poll that names none.
const USUAL_PERIOD: Duration = Duration::from_secs(1);

/// The fields that polls bring, each with its poll.
pub(super) type FieldsOfPolls = BTreeMap<Arc<str>, usize>;

/// The keys that a step and a message at connecting have in common.
struct StepKeys<'a> {
    whole: Range<usize>,
    path: String,
    send: Option<&'a Spanned<String>>,
    expect: Option<&'a Spanned<String>>,
    regex: Option<&'a Spanned<String>>,
    longest: Option<&'a Spanned<u16>>,
    wait: Option<&'a Spanned<DurationText>>,
}

pub(super) fn device(
    file: &ProfileFile,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Option<(TextDevice, FieldsOfPolls)> {
    let terminator = terminator(file.framing.as_ref(), whole, compiler)?;
    let on_connect = on_connect(file, &terminator, compiler);
    let mut polls = Vec::new();
    let mut fields = FieldsOfPolls::new();
    for (index, poll) in file.poll.iter().enumerate() {
        for numbers in expansions(poll.get_ref(), compiler) {
            let made = one_poll(index, poll, &numbers, &terminator, compiler);
            let names: Vec<_> =
                made.steps.iter().filter_map(|step| step.expect.as_ref()).flat_map(Pattern::names).collect();
            for name in names {
                if fields.insert(Arc::clone(name), polls.len()).is_some() {
                    compiler.error(
                        poll.span(),
                        format!("the field `{name}` comes from two replies"),
                        "name one of them differently",
                    );
                }
            }
            polls.push(made);
        }
    }
    if polls.is_empty() {
        compiler.missing(whole, "poll", "a text profile has no `[[poll]]`", "");
    }
    Some((TextDevice { framing: Framing::Terminator(terminator), on_connect, polls }, fields))
}

fn terminator(
    framing: Option<&Spanned<FramingFile>>,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Option<Vec<u8>> {
    const HELP: &str = "framing = { terminator = \"<CR>\" } says how the end of a reply is told";
    let Some(framing) = framing else {
        compiler.missing(whole, "framing", "a text profile has no `framing`", HELP);
        return None;
    };
    let file = framing.get_ref();
    for (key, value) in [
        ("framing.tail", &file.tail),
        ("framing.start", &file.start),
        ("framing.fixed", &file.fixed),
        ("framing.length", &file.length),
        ("framing.idle", &file.idle),
        ("framing.escape", &file.escape),
        ("framing.checksum", &file.checksum),
    ] {
        compiler.reserved(key, value);
    }
    let Some(terminator) = &file.terminator else {
        compiler.missing(&framing.span(), "framing.terminator", "`framing` has no `terminator`", HELP);
        return None;
    };
    match message(&compiler.substituted(terminator.get_ref())) {
        Ok((bytes, _)) if !bytes.is_empty() => Some(bytes),
        Ok(_) => {
            compiler.error(terminator.span(), "the terminator is empty", HELP);
            None
        }
        Err(error) => {
            compiler.error(terminator.span(), error.to_string(), "");
            None
        }
    }
}

fn on_connect(file: &ProfileFile, terminator: &[u8], compiler: &mut Compiler<'_>) -> Vec<ConnectStep> {
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
            terminator,
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
    terminator: &[u8],
    compiler: &mut Compiler<'_>,
) -> TextPoll {
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
            "instruments that speak unasked can't be read yet: listening comes with a later version",
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
        let step = entry.get_ref();
        let keys = StepKeys {
            whole: entry.span(),
            path: format!("poll[{index}].steps[{place}]"),
            send: step.send.as_ref(),
            expect: step.expect.as_ref(),
            regex: step.regex.as_ref(),
            longest: step.longest.as_ref(),
            wait: step.wait.as_ref(),
        };
        one_step(&keys, numbers, terminator, compiler)
    });
    let steps = steps.collect();
    TextPoll { every: compiler.period(poll.every.as_ref()).unwrap_or(USUAL_PERIOD), steps }
}

fn one_step(
    keys: &StepKeys<'_>,
    numbers: &BTreeMap<String, String>,
    terminator: &[u8],
    compiler: &mut Compiler<'_>,
) -> Step {
    let fill = |compiler: &Compiler<'_>, text: &str| substitute(&compiler.substituted(text), numbers);
    if keys.send.is_none() && keys.expect.is_none() && keys.regex.is_none() {
        let path = format!("{}.send", keys.path);
        compiler.missing(&keys.whole, &path, "a step has neither `send` nor `expect`", "");
    }
    let mut send = None;
    if let Some(text) = keys.send {
        match message(&fill(compiler, text.get_ref())) {
            Ok((mut bytes, ends_itself)) => {
                if !ends_itself {
                    bytes.extend(terminator);
                }
                send = Some(bytes);
            }
            Err(error) => compiler.error(text.span(), error.to_string(), ""),
        }
    }
    let (text, parsed) = match (keys.expect, keys.regex) {
        (None, None) => return Step { send, expect: None, wait: wait(keys) },
        (Some(_), Some(regex)) => {
            compiler.error(regex.span(), "a step has `expect` or `regex`, not both", "");
            return Step { send, expect: None, wait: wait(keys) };
        }
        (Some(expect), None) => {
            if let Some(longest) = keys.longest {
                compiler.error(longest.span(), "`longest` goes with `regex` only; `expect` tells it by itself", "");
            }
            (expect, Pattern::parse(&fill(compiler, expect.get_ref())))
        }
        (None, Some(regex)) => {
            let longest = keys.longest.map_or(0, |longest| usize::from(*longest.get_ref()));
            if longest == 0 {
                compiler.error(
                    regex.span(),
                    "a `regex` needs `longest`",
                    "the bytes of the longest reply: the bus-time budget reckons with it",
                );
            }
            (regex, Pattern::regex(regex.get_ref(), longest))
        }
    };
    let expect = match parsed {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            compiler.error(text.span(), error.to_string(), "");
            None
        }
    };
    Step { send, expect, wait: wait(keys) }
}

fn wait(keys: &StepKeys<'_>) -> Duration {
    keys.wait.map_or(Duration::ZERO, |wait| wait.get_ref().0)
}
