//! An instrument behind a socket whose every byte is the test's: for what no simulator made from a profile would do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request as it was heard.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) message: Vec<u8>,
    pub(super) at: Instant,
    /// When the answer before it was out.
    pub(super) after: Option<Instant>,
}

/// The instrument. It serves one connection after the other until it is dropped.
pub(super) struct Peer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Sends `greeting` to whoever connects, and to each message (it ends with one of `ends`) what `answers` makes of it.
    pub(super) fn start(
        greeting: &[u8],
        ends: &'static [&'static str],
        mut answers: impl FnMut(&Asked) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let greeting = greeting.to_vec();
        let (record, stop) = (Arc::clone(&asked), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut after = None;
            for socket in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut socket) = socket else { continue };
                let answer = |message: Vec<u8>, after| {
                    let asked = Asked { message, at: Instant::now(), after };
                    record.lock().unwrap().push(asked.clone());
                    answers(&asked)
                };
                // A client that hangs up is no failure of the instrument.
                drop(serve(&mut socket, &greeting, ends, &stop, &mut after, answer));
            }
        });
        Self { address, asked, stopped, thread: Some(thread) }
    }

    /// An instrument that knows these messages and no others, to which it says nothing.
    pub(super) fn knowing(ends: &'static [&'static str], known: &[(&str, &str)]) -> Self {
        let known: Vec<(Vec<u8>, Vec<u8>)> =
            known.iter().map(|(ask, say)| (ask.as_bytes().to_vec(), say.as_bytes().to_vec())).collect();
        Self::start(b"", ends, move |asked| {
            known.iter().find(|(ask, _)| *ask == asked.message).map(|(_, say)| say.clone()).unwrap_or_default()
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread where it waits for a client.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(
    socket: &mut TcpStream,
    greeting: &[u8],
    ends: &[&str],
    stop: &AtomicBool,
    after: &mut Option<Instant>,
    mut answer: impl FnMut(Vec<u8>, Option<Instant>) -> Vec<u8>,
) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    socket.write_all(greeting)?;
    let mut heard = Vec::new();
    let mut buffer = [0; 256];
    while !stop.load(Ordering::SeqCst) {
        let count = match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        heard.extend(&buffer[..count]);
        if ends.iter().any(|end| heard.ends_with(end.as_bytes())) {
            let said = answer(std::mem::take(&mut heard), *after);
            socket.write_all(&said)?;
            if !said.is_empty() {
                *after = Some(Instant::now());
            }
        }
    }
    Ok(())
}
