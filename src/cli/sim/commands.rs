//! What a running simulator is told on its standard input: one command a line, each answered by one line.

use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::cli::input::{self, Answer};
use crate::model::Reason;
use crate::profile::{Raw, bytes_of};
use crate::sim::Plan;
use crate::sim::SimHandle;

const HELP: &str = "fault [INSTRUMENT] FAULT | clear [INSTRUMENT] | set CHANNEL NUMBER | state CHANNEL REASON | \
                    raw CHANNEL TEXT | release CHANNEL | say TEXT | unplug | replug | status | help | quit";

/// Reads commands until the input ends or somebody wants to quit.
pub(super) fn listen(sim: SimHandle, quit: Arc<Notify>) -> io::Result<()> {
    input::listen(move |line| obey(&sim, line), quit)
}

fn obey(sim: &SimHandle, line: &str) -> Result<Answer, String> {
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let said = match command {
        "fault" => fault(sim, rest)?,
        "clear" => clear(sim, rest)?,
        "set" => {
            let (instrument, channel, value) = channel_and(sim, rest, "a number")?;
            let number = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            sim.set_value(&instrument, &channel, number).map_err(|error| shown(&error))?;
            format!("{instrument}.{channel} shows {number}")
        }
        "state" => {
            let (instrument, channel, reason) = channel_and(sim, rest, "a reason such as over_range")?;
            sim.set_state(&instrument, &channel, &Reason::named(&reason)).map_err(|error| shown(&error))?;
            format!("{instrument}.{channel} is {reason}")
        }
        "raw" => {
            let (instrument, channel, text) = channel_and(sim, rest, "a text or number")?;
            let raw = text.parse::<i128>().map(Raw::Integer).or_else(|_| text.parse().map(Raw::Float));
            sim.set_raw(&instrument, &channel, raw.unwrap_or_else(|_| Raw::text(&text)))
                .map_err(|error| shown(&error))?;
            format!("{instrument}.{channel} carries {text}")
        }
        "release" => {
            let (instrument, channel) = channel(sim, rest)?;
            sim.release(&instrument, &channel).map_err(|error| shown(&error))?;
            format!("{instrument}.{channel} follows its course")
        }
        "say" => {
            let bytes = match rest.strip_prefix("hex ") {
                Some(pairs) => hex(pairs)?,
                None => bytes_of(rest).map_err(|error| shown(&error))?,
            };
            if bytes.is_empty() {
                return Err("say what? a text such as `#XI1<CR>`, or `hex 07 05`".to_owned());
            }
            sim.say(bytes);
            String::new()
        }
        "unplug" => sim.hang_up().map(|()| String::new()).map_err(|error| shown(&error))?,
        "replug" => sim.come_back().map(|()| String::new()).map_err(|error| shown(&error))?,
        "status" => status(sim)?,
        "help" => HELP.to_owned(),
        "quit" => return Ok(Answer::Quit),
        _ => return Err(format!("unknown command `{command}`; known are {HELP}")),
    };
    Ok(Answer::Said(said))
}

/// An error with its causes, in one line.
fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn hex(pairs: &str) -> Result<Vec<u8>, String> {
    let byte = |pair: &str| u8::from_str_radix(pair, 16).map_err(|_| format!("`{pair}` is no byte in hex"));
    pairs.split_whitespace().map(byte).collect()
}

/// The instruments that a command is for: the one that is named first, or all of them; and the rest of the command.
fn addressed<'a>(sim: &SimHandle, rest: &'a str) -> Result<(Vec<Arc<str>>, &'a str), String> {
    let all = sim.instruments();
    if all.is_empty() {
        return Err("a trace is played here; there are no instruments to be told anything".to_owned());
    }
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match all.iter().find(|name| ***name == *first) {
        Some(name) => Ok((vec![Arc::clone(name)], after.trim())),
        None => Ok((all, rest)),
    }
}

fn fault(sim: &SimHandle, rest: &str) -> Result<String, String> {
    let (names, text) = addressed(sim, rest)?;
    let plan: Plan = text.parse().map_err(|error| shown(&error))?;
    for name in &names {
        sim.fault(name, plan.clone()).map_err(|error| shown(&error))?;
    }
    Ok(plan.to_string())
}

fn clear(sim: &SimHandle, rest: &str) -> Result<String, String> {
    let (names, rest) = addressed(sim, rest)?;
    if !rest.is_empty() {
        return Err(format!("no simulated instrument is called `{rest}`"));
    }
    for name in &names {
        sim.clear_faults(name).map_err(|error| shown(&error))?;
    }
    Ok(String::new())
}

/// The instrument and the channel that `CHANNEL` or `INSTRUMENT.CHANNEL` means.
pub(super) fn channel(sim: &SimHandle, text: &str) -> Result<(Arc<str>, Arc<str>), String> {
    let all = sim.instruments();
    let named = text.split_once('.').and_then(|(name, id)| Some((all.iter().find(|other| ***other == *name)?, id)));
    let (candidates, id): (Vec<&Arc<str>>, &str) = match named {
        Some((name, id)) => (vec![name], id),
        None => (all.iter().collect(), text),
    };
    let mut found = Vec::new();
    for name in &candidates {
        let channels = sim.channels(name).map_err(|error| shown(&error))?;
        found
            .extend(channels.into_iter().filter(|channel| **channel == *id).map(|channel| (Arc::clone(name), channel)));
    }
    match (found.pop(), found.pop()) {
        (Some(found), None) => Ok(found),
        (Some((one, _)), Some((other, _))) => {
            Err(format!("`{other}` and `{one}` both have a channel `{id}`; write `{other}.{id}`"))
        }
        (None, _) => {
            let mut known = Vec::new();
            for name in &candidates {
                known.extend(sim.channels(name).map_err(|error| shown(&error))?.iter().map(ToString::to_string));
            }
            Err(format!("there is no channel `{id}`; there are {}", known.join(", ")))
        }
    }
}

fn channel_and(sim: &SimHandle, rest: &str, wanted: &str) -> Result<(Arc<str>, Arc<str>, String), String> {
    let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(|| format!("write a channel and {wanted}"))?;
    let (instrument, channel) = channel(sim, name)?;
    Ok((instrument, channel, value.trim().to_owned()))
}

fn status(sim: &SimHandle) -> Result<String, String> {
    if let Some((known, unknown)) = sim.played() {
        return Ok(format!("{known} requests of the trace, {unknown} others"));
    }
    let mut parts = Vec::new();
    for name in sim.instruments() {
        let polls = sim.polls_seen(&name).map_err(|error| shown(&error))?;
        let spoken = sim.spoken(&name).map_err(|error| shown(&error))?;
        let writes = sim.writes_seen(&name).map_err(|error| shown(&error))?;
        let faults = sim.faults(&name).map_err(|error| shown(&error))?;
        let faults = if faults.is_empty() { "none" } else { &faults };
        parts
            .push(format!("{name}: {polls} requests, {writes} of them writes, {spoken} said unasked, faults {faults}"));
    }
    Ok(parts.join("; "))
}
