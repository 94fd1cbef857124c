//! Secrets: the lab's file says where one is, never what it is. It is read when it is needed, and its value appears in
//! no error.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// The variable that keys of older installations are in.
const OLDER_VARIABLE: (&str, &str) = ("AS_API_KEY", "ATOMSCALE_API_KEY");

/// More than any key has: a file of this size is some other file.
const LONGEST_SECRET: u64 = 16 * 1024;

/// Looks up a variable of the environment. Tests hand in their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A variable of the environment. Where `AS_API_KEY` is not set, `ATOMSCALE_API_KEY` counts.
    Env(String),
    /// A file that nobody but its owner may read.
    File(PathBuf),
    /// A credential of the systemd unit (`LoadCredential=`).
    Credential(String),
}

/// Why a secret could not be read. None of them holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The variable is not set, or empty.
    #[error("the environment variable `{0}` is not set")]
    NotSet(String),
    /// The file can't be read.
    #[error("could not read the key file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Others may read the file.
    #[error("the key file `{}` has mode {mode:04o}; others can read it: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not started by a systemd unit with credentials.
    #[error("there are no credentials: `{0}` needs `LoadCredential={0}:...` in the systemd unit")]
    NoCredentials(String),
    /// Nothing in it.
    #[error("the secret from {0} is empty")]
    Empty(String),
    /// It can't be a secret.
    #[error("the secret from {0} is not one line of printable characters")]
    NotPrintable(String),
}

impl KeySource {
    /// Reads the secret; white space around it is dropped.
    pub fn read(&self, environment: Environment<'_>) -> Result<SecretString, KeyError> {
        let text = match self {
            Self::Env(name) => {
                let older = || if name == OLDER_VARIABLE.0 { environment(OLDER_VARIABLE.1) } else { None };
                environment(name).or_else(older).ok_or_else(|| KeyError::NotSet(name.clone()))?
            }
            Self::File(path) => read_file(path, true)?,
            Self::Credential(name) => {
                let folder =
                    environment("CREDENTIALS_DIRECTORY").ok_or_else(|| KeyError::NoCredentials(name.clone()))?;
                // systemd guards the folder, and grants a service's user access by an ACL that shows as a group's bits.
                read_file(&Path::new(&folder).join(name), false)?
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Empty(self.shown()));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(KeyError::NotPrintable(self.shown()));
        }
        Ok(SecretString::from(text))
    }

    fn shown(&self) -> String {
        match self {
            Self::Env(name) => format!("the environment variable `{name}`"),
            Self::File(path) => format!("`{}`", path.display()),
            Self::Credential(name) => format!("the credential `{name}`"),
        }
    }
}

fn read_file(path: &Path, guard: bool) -> Result<String, KeyError> {
    let unreadable = |error| KeyError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    if guard && let Some(mode) = exposed(&file).map_err(unreadable)? {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(LONGEST_SECRET).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// The mode of the opened file, if it lets anybody but the owner in.
#[cfg(unix)]
fn exposed(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Elsewhere permissions are no bits, and what protects the file is its folder.
#[cfg(not(unix))]
fn exposed(_: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_key_file_is_read_only_if_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "  sk-1\n").unwrap();
        let source = KeySource::File(path.clone());
        for (mode, allowed) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match source.read(&nothing) {
                Ok(key) => assert!(allowed && key.expose_secret() == "sk-1", "{mode:o}"),
                Err(error) => {
                    assert!(!allowed && error.to_string().contains(&format!("mode {mode:04o}")), "{mode:o}: {error}");
                }
            }
        }
        let missing = KeySource::File(folder.path().join("nowhere")).read(&nothing).unwrap_err();
        assert!(missing.to_string().contains("nowhere"));
    }

    #[test]
    fn variables_and_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("atomscale");
        fs::write(&path, "sk-2").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let credentials = folder.path().to_str().unwrap().to_owned();
        let environment = move |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(credentials.clone()),
            "ATOMSCALE_API_KEY" => Some("sk-3".to_owned()),
            "BLANK" => Some(" ".to_owned()),
            "TORN" => Some("sk-4\nsk-5".to_owned()),
            _ => None,
        };
        let read = |source: KeySource| source.read(&environment).map(|key| key.expose_secret().to_owned());
        assert_eq!(read(KeySource::Credential("atomscale".to_owned())).unwrap(), "sk-2");
        assert_eq!(read(KeySource::Env("AS_API_KEY".to_owned())).unwrap(), "sk-3");
        assert!(matches!(read(KeySource::Env("OTHER".to_owned())), Err(KeyError::NotSet(name)) if name == "OTHER"));
        assert!(matches!(read(KeySource::Env("BLANK".to_owned())), Err(KeyError::Empty(_))));
        let torn = read(KeySource::Env("TORN".to_owned())).unwrap_err().to_string();
        assert!(torn.contains("TORN") && !torn.contains("sk-"), "{torn}");
        let credential = KeySource::Credential("atomscale".to_owned());
        assert!(matches!(credential.read(&nothing), Err(KeyError::NoCredentials(_))));
    }
}
