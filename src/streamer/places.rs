//! Where streams are kept: a folder for each platform and key, and in it a slot for each streamer that is open at a time.
//!
//! `<data_dir>/streamers/<host>_<port>-<key>/<slot>/` is the `data_dir` of a run store of its own, with its own lock.
//! `<key>` is the beginning of the key's SHA-256: it tells accounts apart and gives nothing away.

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest;

/// Streamers that can be open at once.
const MOST_SLOTS: usize = 10_000;

/// The folders of one platform.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// `<data_dir>/streamers`.
    all: PathBuf,
    /// What the names of the platform's folders begin with.
    platform: String,
    /// The folder of this platform and key.
    own: PathBuf,
}

impl Places {
    pub(super) fn new(data_dir: &Path, endpoint: &str, api_key: &str) -> Self {
        let all = data_dir.join("streamers");
        let platform = format!("{}-", name_of(endpoint));
        let digest = digest::digest(&digest::SHA256, api_key.trim().as_bytes());
        let key: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let own = all.join(format!("{platform}{key}"));
        Self { all, platform, own }
    }

    /// Every slot that a streamer may take, by rising number.
    pub(super) fn slots(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..MOST_SLOTS).map(|number| self.own.join(number.to_string()))
    }

    /// The slots that there are of this platform and key, by rising number.
    pub(super) fn own_slots(&self) -> Vec<PathBuf> {
        slots_in(&self.own)
    }

    /// The slots that there are of this platform, whatever the key.
    pub(super) fn all_slots(&self) -> Vec<PathBuf> {
        let accounts = folders(&self.all).into_iter().filter(|account| name(account).starts_with(&self.platform));
        accounts.flat_map(|account| slots_in(&account)).collect()
    }
}

/// The run files of a slot, newest first.
pub(super) fn run_files(slot: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = entries(&slot.join("runs"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
        .collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    files
}

/// The endpoint as the name of a folder: host, port and path, and nothing that a file system may stumble over.
fn name_of(endpoint: &str) -> String {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let place = endpoint.split_once("://").map_or(endpoint, |(_, place)| place);
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c.to_ascii_lowercase() } else { '_' };
    place.chars().map(plain).take(100).collect()
}

fn slots_in(account: &Path) -> Vec<PathBuf> {
    let mut numbered: Vec<(usize, PathBuf)> =
        folders(account).into_iter().filter_map(|slot| Some((name(&slot).parse().ok()?, slot))).collect();
    numbered.sort_unstable();
    numbered.into_iter().map(|(_, slot)| slot).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn folders(of: &Path) -> Vec<PathBuf> {
    entries(of).into_iter().filter(|path| path.is_dir()).collect()
}

/// What is in a folder; nothing if there is no such folder, or it can't be read.
fn entries(of: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(of) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_of_one_platform_and_one_key() {
        let of = |endpoint: &str, key: &str| Places::new(Path::new("/d"), endpoint, key).own;
        assert_eq!(
            of("https://api.atomscale.ai/", "key"),
            Path::new("/d/streamers/api.atomscale.ai-2c70e12b"),
            "the beginning of `printf key | sha256sum`"
        );
        assert_eq!(of("http://127.0.0.1:8731", " key\n"), Path::new("/d/streamers/127.0.0.1_8731-2c70e12b"));
        assert_eq!(of("HTTP://[::1]:80/a/b", "key"), Path::new("/d/streamers/___1__80_a_b-2c70e12b"));
        assert_ne!(of("http://a", "key"), of("http://a", "Key"));
    }

    #[test]
    fn slots_are_found_by_number_and_platform() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path(), "http://a:1", "key");
        let elsewhere = Places::new(folder.path(), "http://a:1", "other key");
        let platform = Places::new(folder.path(), "http://a:10", "key");
        for slot in [
            places.own.join("10"),
            places.own.join("9"),
            places.own.join("x"),
            elsewhere.own.join("0"),
            platform.own.join("0"),
        ] {
            fs::create_dir_all(slot).unwrap();
        }
        assert_eq!(places.own_slots(), [places.own.join("9"), places.own.join("10")]);
        let mut all = places.all_slots();
        all.sort();
        let mut wanted = vec![places.own.join("9"), places.own.join("10"), elsewhere.own.join("0")];
        wanted.sort();
        assert_eq!(all, wanted);
        assert_eq!(places.slots().next(), Some(places.own.join("0")));
    }
}
