//! The inputs that fuzzing starts from, and those by which it found something, once each: what `fuzz/run` does for long.

use std::fs;
use std::path::Path;

#[expect(
    unreachable_pub,
    reason = "the library of the fuzzing crate, which has the checks; it needs no nightly toolchain"
)]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

#[test]
fn every_input_that_is_kept_is_taken_without_a_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, check) in checks::CHECKS {
        let mut seen = 0;
        let beside: &[&str] = match name {
            "profile" => &["devices"],
            "lab" => &["examples", "tests/fixtures/config"],
            _ => &[],
        };
        let own = format!("fuzz/corpus/{name}");
        let mut folders: Vec<_> =
            beside.iter().copied().chain([own.as_str()]).map(|inside| root.join(inside)).collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    check(&fs::read(&path).unwrap());
                    seen += 1;
                }
            }
        }
        assert!(seen >= 2, "`{name}`: only {seen} inputs");
    }
}

#[test]
fn every_check_has_a_target() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
    let mut found: Vec<String> = fs::read_dir(targets)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut checks: Vec<String> = checks::CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    found.sort();
    checks.sort();
    assert_eq!(found, checks);
}
