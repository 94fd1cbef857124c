//! Every profile that is shipped: it loads, it passes its vectors, and it is in the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mbe_bridge::document::Source;
use mbe_bridge::profile::json_schema;
use mbe_bridge::profile::{Library, Origin, Profile};

use super::parse;

fn devices() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("devices")
}

fn files() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![devices()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let inside = path.strip_prefix(devices()).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(inside, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn every_shipped_profile_loads_and_passes_its_vectors() {
    let files = files();
    assert!(files.len() >= 3, "the check reads nothing");
    for (path, text) in &files {
        let profile = Profile::parse(&Source::new(path, text), Origin::BuiltIn).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(Path::new(path).file_stem().unwrap().to_str(), Some(&*profile.id), "the file is named for the id");
        let problems = profile.verify();
        assert!(problems.is_empty(), "{problems}");
        assert!(!profile.sources.is_empty() && !profile.models.is_empty());
    }
}

#[test]
fn the_program_holds_what_is_on_disk() {
    let embedded: BTreeMap<String, String> =
        Library::embedded_files().iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    assert_eq!(embedded, files());
    let (library, problems) = Library::embedded();
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(library.iter().count(), files().len(), "two files have the same id");
}

/// A vector that says something else than the profile must be found, whichever side is wrong.
#[test]
fn a_broken_vector_fails() {
    for (path, from, to, expected) in [
        (
            "impac/impac-upp.toml",
            "temperature = 256.3",
            "temperature = 256.4",
            "`temperature` should be 256.4, is 256.3",
        ),
        ("impac/impac-upp.toml", "scale = 0.1", "scale = 0.01", "`temperature` should be 256.3, is 25.63"),
        ("impac/impac-upp.toml", "88880 = \"over_range\", ", "", "should be bad:over_range, is 8888"),
        ("impac/impac-upp.toml", "{t:d5}", "{t:d4}", "should be 256.3, is bad:malformed"),
        ("impac/impac-upp.toml", "{addr}ms\"", "{addr}mw\"", "no poll sends `00ms<CR>` here"),
        ("impac/impac-upp.toml", "\"02563<CR>\"", "\"02563<LF>\"", "is no whole message by the profile's `framing`"),
        ("prevac/prevac-mg15.toml", "50 3C", "50 3D", "the CRC of `01 03 06 30 A4 ED 3F 00 00 50 3D` should be 50 3C"),
        ("prevac/prevac-mg15.toml", "order = \"ABCD\"", "order = \"CDAB\"", "`pressure_1` should be 0.0000000012"),
        ("prevac/prevac-mg15.toml", "address = 0\n", "address = 1\n", "`pressure_1` should be"),
        ("prevac/prevac-mg15.toml", "01 83 03 01 31", "01 84 03 03 01", "does not belong to the request"),
        ("eurotherm/eurotherm-3200.toml", "type = \"i16\"", "type = \"u16\"", "should be -10, is 65526"),
        (
            "eurotherm/eurotherm-3200.toml",
            "expect = { sensor_break",
            "expect = { sensor_brake",
            "no reading of `sensor_brake`",
        ),
    ] {
        let text = files()[path].replacen(from, to, 1);
        assert!(text != files()[path], "{path} does not hold {from}");
        let problems = parse(&text).unwrap().verify().to_string();
        assert!(problems.contains(expected), "{path}, {from} -> {to}:\n{problems}");
    }
}

#[test]
fn a_vector_without_a_source_is_none() {
    let upp = &files()["impac/impac-upp.toml"];
    let text = upp.replace("source = \"worked example from the vendor's UPP manuals listed above (which of them was not noted): 02563 is 256.3\"", "");
    assert!(parse(&text).unwrap().verify().to_string().contains("no `source`"));
    let without = upp.split("[[test]]").next().unwrap();
    assert!(parse(without).unwrap_err().contains("the profile has no `test`"));
}

#[test]
fn a_file_on_disk_replaces_the_embedded_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = files()["impac/impac-upp.toml"].replace("every = \"100ms\"", "every = \"50ms\"");
    fs::create_dir(folder.path().join("mine")).unwrap();
    let path = folder.path().join("mine/impac-upp.toml");
    fs::write(&path, &text).unwrap();
    let (library, problems) = Library::load(&[folder.path().to_owned()]);
    assert!(problems.is_empty(), "{problems}");
    let profile = library.get("impac-upp").unwrap();
    assert_eq!(profile.origin, Origin::Disk(path.clone()));
    assert_eq!(profile.sample().channels[0].every.as_millis(), 50);

    // A broken file is a problem, and the one that it was meant to replace is not used in its place.
    fs::write(&path, text.replace("engine = \"text\"", "engine = \"txt\"")).unwrap();
    let (library, problems) = Library::load(&[folder.path().to_owned()]);
    assert!(problems.to_string().contains("`txt` is not one of the choices"), "{problems}");
    assert!(library.get("impac-upp").is_none() && library.get("prevac-mg15").is_some());

    let (_, problems) = Library::load(&[folder.path().join("nowhere")]);
    assert!(problems.to_string().contains("could not read profiles from"), "{problems}");
}

/// `UPDATE_FIXTURES=1` writes what the types say now.
#[test]
fn the_published_json_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices/profile.schema.json");
    let schema = format!("{:#}\n", json_schema());
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == schema,
        "run `mbe-bridge devices schema > devices/profile.schema.json`"
    );
    let schema = json_schema();
    let channel = &schema["definitions"]["ChannelFile"];
    assert_eq!(channel["additionalProperties"], false, "unknown keys are refused by the schema too");
    assert!(channel["properties"]["type"]["description"].is_string(), "{channel}");
}
