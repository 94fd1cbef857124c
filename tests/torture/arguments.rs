//! The command line: its own, and what `cargo test` passes to every test.

use std::str::FromStr;

const USAGE: &str = "usage: tests/torture/run [--rounds N] [--seed S] [--jobs J] [--seconds-per-round s] [--report]

  --rounds N             how many rounds (20)
  --seed S               the seed of the first one; the others follow (1)
  --jobs J               how many at once (three for each processor)
  --seconds-per-round s  how long things go wrong in each (4 to 8, by its seed); what follows until all is delivered comes
                         on top
  --report               a table at the end

A round that fails names its seed and the folder that holds its run files, logs, what was said and what the platform has.
`--seed S --rounds 1` with that seed draws the same lab and the same schedule again.";

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) rounds: u64,
    pub(crate) seed: u64,
    pub(crate) jobs: usize,
    pub(crate) seconds: Option<f64>,
    pub(crate) report: bool,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    Rounds(Arguments),
    /// Something to print, and no rounds.
    Words(String),
    /// `cargo test` was asked for tests of another name.
    Nothing,
}

/// Reads a command line without the program's name; an error is to be shown with the usage.
pub(crate) fn read(words: &[String]) -> Result<Wish, String> {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut arguments = Arguments { rounds: 20, seed: 1, jobs: 3 * processors, seconds: None, report: false };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` takes a value\n\n{USAGE}"));
        match word {
            "--rounds" => arguments.rounds = number(word, value()?)?,
            "--seed" => arguments.seed = number(word, value()?)?,
            "--jobs" => arguments.jobs = number::<usize>(word, value()?)?.max(1),
            "--seconds-per-round" => arguments.seconds = Some(number::<f64>(word, value()?)?.clamp(0.5, 3_600.0)),
            "--report" => arguments.report = true,
            "--help" | "-h" => return Ok(Wish::Words(USAGE.to_owned())),
            "--list" => return Ok(Wish::Words("torture: test".to_owned())),
            // Those of the usual harness that make no difference here.
            "--color" | "--format" | "--test-threads" | "--skip" | "--logfile" | "-Z" => drop(value()?),
            "--nocapture" | "--no-capture" | "--show-output" | "--quiet" | "-q" | "--exact" | "--include-ignored" => {}
            "--ignored" => return Ok(Wish::Nothing),
            option if option.starts_with('-') => return Err(format!("there is no option `{option}`\n\n{USAGE}")),
            filter if "torture".contains(filter) => {}
            _ => return Ok(Wish::Nothing),
        }
    }
    Ok(Wish::Rounds(arguments))
}

fn number<T: FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{option}` takes a number, not `{text}`\n\n{USAGE}"))
}
