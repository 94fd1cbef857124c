//! No platform at the other end: a name that nobody knows, a port that speaks no TLS, a certificate that nobody signed.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::outages_passing::is_not_reached_until_the_next_start;
use super::platform;

/// The port of a server that proves itself with a certificate of its own making. It hears nobody out.
fn self_signed() -> u16 {
    mbe_bridge::atomscale::prepare_tls();
    let fixture = |name: &str| format!("{}/tests/fixtures/self-signed/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let certificate = CertificateDer::from_pem_file(fixture("certificate")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let greeted = connection.complete_io(&mut stream);
            assert!(greeted.is_err(), "somebody trusts a certificate that nobody signed");
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_platform_is_waited_for_and_a_stop_loses_nothing() {
    let plain = platform().await;
    let no_tls = format!("https://127.0.0.1:{}", plain.address().port());
    let untrusted = format!("https://127.0.0.1:{}", self_signed());
    tokio::join!(
        is_not_reached_until_the_next_start("http://no-such-host.invalid", &["dns", "resolve", "lookup"]),
        is_not_reached_until_the_next_start(&no_tls, &["tls", "corrupt", "invalid", "message"]),
        is_not_reached_until_the_next_start(&untrusted, &["certificate"]),
    );
    assert_eq!(plain.requests().total(), 0, "nothing is said in the clear");
}
