//! Embeds the profiles of `devices/` into the program, so that one file is all there is to install.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("devices");
    let mut files = Vec::new();
    find(&root, &mut files)?;
    files.sort();

    let mut code = String::from("&[\n");
    for file in &files {
        let inside = file.strip_prefix(&root)?.to_str().ok_or("a file name under devices/ is not UTF-8")?;
        let inside = inside.replace('\\', "/");
        writeln!(
            code,
            "    ({inside:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/devices/{inside}\"))),"
        )?;
    }
    code.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("profiles.rs"), code)?;

    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=devices");
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}
