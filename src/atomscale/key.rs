//! The API key: it can be sent, and nothing else.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use secrecy::SecretString;

/// The key of an Atomscale account. It neither prints nor lingers: `Debug` shows `[redacted]`, and the memory is wiped.
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// Why a text can't be a key. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// Nothing but white space.
    #[error("the API key is blank; put the platform's key where the configuration says it comes from")]
    Blank,
    /// A character that no HTTP header may hold, such as a line break in the middle.
    #[error("the API key holds a character that no key has; look for a line break or a stray quote in the middle")]
    Unsendable,
}

impl ApiKey {
    /// Takes a key; white space around it (the line end of a key file) is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidApiKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidApiKey::Blank);
        }
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(InvalidApiKey::Unsendable);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// The key as the value of a header that the HTTP library never prints.
    pub(super) fn header(&self) -> Result<HeaderValue, InvalidApiKey> {
        let mut value = HeaderValue::from_str(self.0.expose_secret()).map_err(|_| InvalidApiKey::Unsendable)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The text with every occurrence of the key taken out, for words that come from the other side.
    pub(super) fn redact(&self, text: Vec<u8>) -> Vec<u8> {
        let readable = String::from_utf8_lossy(&text);
        if readable.contains(self.0.expose_secret()) {
            return readable.replace(self.0.expose_secret(), "[redacted]").into_bytes();
        }
        text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_checked() {
        assert!(ApiKey::parse(" abc-123\n").is_ok());
        assert_eq!(ApiKey::parse(" \n").unwrap_err(), InvalidApiKey::Blank);
        assert_eq!(ApiKey::parse("abc\ndef").unwrap_err(), InvalidApiKey::Unsendable);
        assert_eq!(ApiKey::parse("ключ").unwrap_err(), InvalidApiKey::Unsendable);
    }

    #[test]
    fn a_key_never_prints() {
        let key = ApiKey::parse("s3cr3t-key").unwrap();
        assert!(!format!("{key:?} {:?}", key.header().unwrap()).contains("s3cr3t"));
        assert_eq!(key.redact(b"bad key s3cr3t-key!".to_vec()), b"bad key [redacted]!");
        assert_eq!(key.redact(b"bad \xff key".to_vec()), b"bad \xff key");
    }
}
