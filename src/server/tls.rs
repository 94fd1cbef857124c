//! The certificate by which the platform proves itself, and what it offers to clients who take it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The name of HTTP/2 in TLS.
pub(super) const HTTP_2: &[u8] = b"h2";

/// What is offered, the preferred one first.
const OFFERED: [&[u8]; 2] = [HTTP_2, b"http/1.1"];

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate, and of those that vouch for it, itself first.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// The certificate or its key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file holds no certificate that could be read.
    #[error("could not read a certificate from `{}`, expected PEM", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// The file holds no key that could be read.
    #[error("could not read a private key from `{}`, expected PEM without passphrase", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// They do not go together, or are of a kind that is not supported.
    #[error("the certificate `{}` can't be used with the key `{}`", certificate.display(), key.display())]
    Together {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads both files.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let certificates = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| TlsError::Key { file: self.key.clone(), source })?;
        let together =
            |source| TlsError::Together { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(together)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(together)?;
        config.alpn_protocols = OFFERED.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Certificate { file: file.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if certificates.is_empty() { Err(failed(PemError::NoItemsFound)) } else { Ok(certificates) }
}
