//! Logs as labs have them, beside the exact text that the program shows of them.
//!
//! Each `tests/fixtures/logs/*/NAME.txt` begins with the command and goes on with its output. `UPDATE_SHOWN=1` writes the
//! outputs anew; look at the difference before it is committed.

use std::path::{Path, PathBuf};

use super::program;

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs").join(folder);
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    found.retain(|path| cfg!(feature = "parquet") || !path.to_string_lossy().ends_with(".parquet.txt"));
    found.sort();
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The words of a command; single quotes hold blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn check(folder: &str, code: i32) {
    let mut wrong = Vec::new();
    for case in cases(folder) {
        let wanted = std::fs::read_to_string(&case).unwrap();
        let command = wanted.lines().next().unwrap().to_owned();
        let words = words(command.strip_prefix("$ mbe-bridge ").unwrap());
        let output = program().args(&words).current_dir(case.parent().unwrap()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let shown = format!("{command}\n{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{shown}");
        if shown != wanted {
            if std::env::var_os("UPDATE_SHOWN").is_some() {
                std::fs::write(&case, &shown).unwrap();
            }
            wrong.push(format!("{}\n--- wanted\n{wanted}\n--- shown\n{shown}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_a_log_is_taken_for_is_shown() {
    check("taken", 0);
}

#[test]
fn a_log_that_could_mean_two_things_is_refused_with_the_line_and_the_way_out() {
    check("refused", 2);
}
