//! The profiles under `devices/`, and what a profile may say.

mod messages;
mod mistakes;
mod registers;
mod shipped;

use mbe_bridge::document::Source;
use mbe_bridge::profile::{Origin, Profile};

const HEAD: &str = "schema = 1\nid = \"x\"\nvendor = \"v\"\nstatus = \"untested\"\nsources = [\"s\"]\n";

fn parse(text: &str) -> Result<Profile, String> {
    Profile::parse(&Source::new("x.toml", text), Origin::BuiltIn).map_err(|problems| problems.to_string())
}

/// A profile with one test vector.
fn with_vector(body: &str, vector: &str) -> Profile {
    parse(&format!("{HEAD}{body}\n[[test]]\nsource = \"made up for this test\"\n{vector}\n"))
        .unwrap_or_else(|p| panic!("{p}"))
}
