//! The rules of the house that a machine can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms that each room may use, beside `model`, which all may use.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("document", &[]),
    ("profile", &["document"]),
    ("config", &["document", "profile"]),
    ("link", &[]),
    ("driver", &["link", "profile"]),
    ("acquire", &["link", "driver"]),
    ("mux", &[]),
    ("runs", &[]),
    ("upload", &["atomscale"]),
    ("atomscale", &[]),
    ("logfile", &[]),
    ("live", &[]),
    ("web", &["live"]),
    ("sim", &["profile"]),
    ("server", &[]),
    ("delivery", &["runs", "upload", "atomscale"]),
    ("streamer", &["delivery", "runs", "upload", "atomscale"]),
    (
        "bridge",
        &[
            "document",
            "profile",
            "config",
            "link",
            "driver",
            "acquire",
            "mux",
            "runs",
            "upload",
            "atomscale",
            "delivery",
            "live",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "document",
            "profile",
            "config",
            "link",
            "driver",
            "acquire",
            "runs",
            "atomscale",
            "logfile",
            "live",
            "sim",
            "server",
            "streamer",
            "bridge",
        ],
    ),
];

fn rust_files(root: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(root)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in rust_files("src") {
        let room = room_of(&path);
        if room == "lib" || room == "main" {
            continue;
        }
        let allowed = edges.get(room.as_str()).unwrap_or_else(|| panic!("`{room}` is not in the table of edges"));
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let mut rest = line;
            while let Some(at) = rest.find("crate::") {
                rest = &rest[at + "crate::".len()..];
                assert!(
                    !rest.starts_with('{'),
                    "{}:{}: one `use crate::room::...` a line, so that edges can be read",
                    path.display(),
                    number + 1
                );
                let used: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                seen += 1;
                if used != room && used != "model" && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{}:{}: `{room}` uses `{used}`", path.display(), number + 1));
                }
            }
        }
    }
    assert!(seen > 0, "the check reads nothing");
    assert!(wrong.is_empty(), "edges that are not in the table:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_says_what_it_is_for() {
    for path in rust_files("src") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//!") || text.starts_with("#![doc"),
            "{} has no head that says what it is for",
            path.display()
        );
    }
}

#[test]
fn every_room_is_on_the_map() {
    let map = include_str!("../../src/ARCHITECTURE.md");
    for (room, _) in EDGES {
        assert!(map.contains(&format!("| `{room}` |")), "`{room}` has no line in src/ARCHITECTURE.md");
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    let words = ["{", "fn", "impl"].map(|what| format!("{} {what}", ["un", "safe"].concat()));
    for path in rust_files("src") {
        let text = fs::read_to_string(&path).unwrap();
        let found = words.iter().any(|word| text.contains(word));
        assert!(!found || path.ends_with("link/ioctl.rs"), "{} holds what the compiler can't check", path.display());
    }
}

#[test]
fn nothing_is_left_undone() {
    for root in ["src", "tests"] {
        for path in rust_files(root) {
            if path.ends_with("tests/it/tidy.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for word in ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX"] {
                assert!(!text.contains(word), "{} holds `{word}`", path.display());
            }
        }
    }
}
