//! All rounds: several at once, each in a folder of its own, which is kept if the round fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::{self, Arguments, Wish};
use super::corruptions;
use super::oracle::{self, Totals};
use super::plan::Plan;
use super::report::Report;
use super::round::{self, Played};
use super::witness::Witnesses;

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match arguments::read(&words) {
        Ok(Wish::Rounds(arguments)) => run(&arguments),
        Ok(Wish::Words(words)) => {
            println!("{words}");
            ExitCode::SUCCESS
        }
        Ok(Wish::Nothing) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{words}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let last = arguments.seed.saturating_add(arguments.rounds.saturating_sub(1));
    println!("torture: {} rounds, seeds {} to {last}, {} at once", arguments.rounds, arguments.seed, arguments.jobs);
    let oracle_is_awake = oracle_is_awake();
    let report = Mutex::new(Report::default());
    let next = AtomicU64::new(arguments.seed);
    thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last || seed < arguments.seed || arguments.rounds == 0 {
                        return;
                    }
                    let plan = Plan::drawn(seed, arguments.seconds);
                    let (totals, words) = one(&plan);
                    let mut report = report.lock().unwrap();
                    println!("{words}");
                    report.add(&plan, &totals.unwrap_or_default(), words.contains("FAILED"));
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    if arguments.report {
        println!("\n{}", report.table(begun.elapsed()));
    }
    if report.failed().is_empty() && oracle_is_awake {
        println!("torture: all well in {:.0} s", begun.elapsed().as_secs_f64());
        return ExitCode::SUCCESS;
    }
    println!("torture: FAILED, seeds {:?}", report.failed());
    ExitCode::FAILURE
}

fn folder(seed: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture").join(format!("seed-{seed}"))
}

/// Plays a round in a fresh folder.
fn play(plan: &Plan, folder: &Path) -> Result<Played, String> {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    let played = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(round::play(plan, folder))
    }));
    played.map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default()
    })
}

/// A round with its judgement, and what to print of it.
fn one(plan: &Plan) -> (Option<Totals>, String) {
    let (begun, folder) = (Instant::now(), folder(plan.seed));
    let (totals, complaints) = match play(plan, &folder) {
        Ok(Played { witnesses, mut complaints }) => {
            let judgement = oracle::judge(&witnesses);
            complaints.extend(judgement.words());
            if !complaints.is_empty() {
                keep(&folder, &witnesses, &complaints);
            }
            (Some(judgement.totals), complaints)
        }
        Err(panic) => (None, vec![format!("the round itself broke down: {panic}")]),
    };
    let words = words(plan, totals.as_ref(), begun.elapsed(), &complaints, &folder);
    if complaints.is_empty() {
        fs::remove_dir_all(&folder).unwrap();
    }
    (totals, words)
}

fn words(plan: &Plan, totals: Option<&Totals>, took: Duration, complaints: &[String], folder: &Path) -> String {
    let mut sorts: BTreeMap<String, u32> = BTreeMap::new();
    for sort in plan.actions.iter().filter_map(|(_, action)| action.sort()) {
        *sorts.entry(sort).or_default() += 1;
    }
    let sorts: Vec<String> = sorts.into_iter().map(|(sort, count)| format!("{sort} {count}")).collect();
    let verdict = if complaints.is_empty() { "well" } else { "FAILED" };
    let mut words = format!("seed {}: {verdict} in {:.1} s", plan.seed, took.as_secs_f64());
    if let Some(totals) = totals {
        write!(words, ", {} said, {} recorded, {} uploaded", totals.said, totals.recorded, totals.uploaded).unwrap();
    }
    write!(words, "; {}", sorts.join(", ")).unwrap();
    for complaint in complaints {
        write!(words, "\n    {complaint}").unwrap();
    }
    if !complaints.is_empty() {
        let (seed, folder) = (plan.seed, folder.display());
        write!(words, "\n    again: tests/torture/run --seed {seed} --rounds 1\n    kept:  {folder}").unwrap();
    }
    words
}

/// What the witnesses say, beside the run files and logs, for whoever looks into it.
fn keep(folder: &Path, witnesses: &Witnesses, complaints: &[String]) {
    let time = witnesses.deeds.time;
    let mut said = String::new();
    for one in witnesses.said.iter().flatten() {
        let (heard, sent) = (time.stamp(one.request_received), time.stamp(one.reply_sent));
        let Some(value) = one.outcome.value() else { continue };
        writeln!(said, "{heard:?} {sent:?} {} {} {value:?} {}", one.instrument, one.channel, one.intact).unwrap();
    }
    let mut lives = String::new();
    for life in &witnesses.deeds.lives {
        let at = |at: Instant| format!("{:?}", time.stamp(at));
        writeln!(
            lives,
            "{} to {}, clock {} ns, told {:?}, killed {:?}, code {:?}",
            at(life.begun),
            at(life.ended),
            life.clock_nanos,
            life.told.map(at),
            life.killed.map(at),
            life.code,
        )
        .unwrap();
    }
    fs::write(folder.join("said.txt"), said).unwrap();
    fs::write(folder.join("lives.txt"), lives).unwrap();
    fs::write(folder.join("platform.txt"), format!("{:#?}", witnesses.platform)).unwrap();
    fs::write(folder.join("complaints.txt"), complaints.join("\n")).unwrap();
}

/// Plays a round in which nothing goes wrong, falsifies each witness in turn, and sees that the oracle notices.
fn oracle_is_awake() -> bool {
    let folder = folder(0);
    let witnesses = match play(&Plan::calm(), &folder) {
        Ok(Played { witnesses, complaints }) if complaints.is_empty() => witnesses,
        Ok(Played { complaints, .. }) => {
            println!("the calm round FAILED: {complaints:?}\n    kept:  {}", folder.display());
            return false;
        }
        Err(panic) => {
            println!("the calm round FAILED: {panic}");
            return false;
        }
    };
    let words = oracle::judge(&witnesses).words();
    if !words.is_empty() {
        keep(&folder, &witnesses, &words);
        println!("the calm round FAILED: {words:#?}\n    kept:  {}", folder.display());
        return false;
    }
    let unnoticed = corruptions::unnoticed(&witnesses);
    for what in &unnoticed {
        println!("the oracle FAILED to notice {what}");
    }
    if unnoticed.is_empty() {
        println!("the oracle has noticed each of {} falsifications", corruptions::ALL.len());
        fs::remove_dir_all(&folder).unwrap();
    }
    unnoticed.is_empty()
}
