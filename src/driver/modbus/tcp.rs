//! The client for Modbus/TCP: the stock one, dropped after any error.
//!
//! Its transaction numbers make sure that a late reply is noticed, but after one it stays a reply behind for ever. So the
//! connection does not outlive a failed, late or abandoned exchange: while an exchange runs, the client is not in its
//! place, and only a good answer puts it back.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{ProtocolError, Slave};

use crate::link::Limit;
use crate::link::Wire;
use crate::profile::Timing;

use super::super::Error;
use super::{Answer, Read, exception};

/// A connection to a Modbus/TCP device or gateway.
pub(crate) struct TcpBus {
    context: Option<Context>,
    limit: Limit,
    /// When the last answer came, and the gap that its unit wants then.
    last: Option<(Instant, Duration)>,
}

impl TcpBus {
    pub(crate) fn over(wire: Wire) -> Self {
        Self { context: Some(tcp::attach(wire)), limit: Limit::default(), last: None }
    }

    pub(crate) async fn read(&mut self, read: &Read, timing: &Timing) -> Result<Answer, Error> {
        let closed =
            || io::Error::new(io::ErrorKind::NotConnected, "the connection was given up after a failed exchange");
        let mut context = self.context.take().ok_or_else(|| Error::Gone(closed()))?;
        context.set_slave(Slave(read.unit));
        if let Some((answered, gap)) = self.last {
            let ready = answered + gap.max(timing.gap);
            if ready > Instant::now() {
                sleep_until(ready).await;
            }
        }
        let asked = Instant::now();
        // `call`, since the readers of the stock client assert the length of the answer.
        let call = Client::call(&mut context, read.request());
        let called = self.limit.within(asked + timing.reply, call).await;
        let answered = Instant::now();
        let said = match called {
            None => Err(Error::NoReply(timing.reply)),
            Some(Err(error)) => Err(translated(error)),
            Some(Ok(Ok(response))) => read.words(response).map(Ok),
            Some(Ok(Err(code))) => Ok(Err(exception(code))),
        };
        match said {
            Ok(answer) => {
                self.context = Some(context);
                self.last = Some((answered, timing.gap));
                answer.map(|words| Answer { asked, answered, words })
            }
            Err(gone @ Error::Gone(_)) => Err(gone),
            Err(error) => Err(Error::GivenUp(Box::new(error))),
        }
    }
}

impl fmt::Debug for TcpBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpBus").field("open", &self.context.is_some()).finish()
    }
}

fn translated(error: tokio_modbus::Error) -> Error {
    match error {
        tokio_modbus::Error::Protocol(ProtocolError::HeaderMismatch { message, .. }) => {
            Error::Mismatch { what: message }
        }
        tokio_modbus::Error::Protocol(ProtocolError::FunctionCodeMismatch { request, .. }) => {
            Error::Mismatch { what: format!("an answer to another function than {}", request.value()) }
        }
        tokio_modbus::Error::Transport(error) if error.kind() == io::ErrorKind::InvalidData => {
            Error::Mismatch { what: error.to_string() }
        }
        tokio_modbus::Error::Transport(error) => Error::Gone(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::link::Pacer;
    use crate::link::WireSettings;
    use crate::profile::Table;

    use super::*;

    /// Asks for one register and answers with these bytes after a right header.
    fn answered_with(pdu: &[u8]) -> Result<Answer, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let mut bus = TcpBus::over(Wire::new(ours, WireSettings::socket(), Pacer::coarse(), None));
            let read = Read { unit: 1, table: Table::Holding, address: 0, count: 1 };
            let timing = Timing { reply: Duration::from_secs(5), ..Timing::default() };
            let peer = async {
                let mut request = [0; 12];
                theirs.read_exact(&mut request).await.unwrap();
                let length = u16::try_from(pdu.len() + 1).unwrap().to_be_bytes();
                let header = [request[0], request[1], 0, 0, length[0], length[1], 1];
                theirs.write_all(&[&header, pdu].concat()).await.unwrap();
                // Kept open, so that a short answer is not mistaken for a closed connection.
                theirs
            };
            tokio::join!(bus.read(&read, &timing), peer).0
        })
    }

    #[test]
    fn an_answer_of_another_length_is_refused() {
        assert_eq!(answered_with(&[3, 2, 0, 7]).unwrap().words, [7]);
        let refused = answered_with(&[3, 4, 0, 7, 0, 8]).unwrap_err();
        assert!(refused.to_string().contains("2 values where 1 were asked for"), "{refused}");
        assert_eq!(refused.recovery(), super::super::super::Recovery::Reopen);
        let refused = answered_with(&[0x83, 2]).unwrap_err();
        assert!(matches!(refused, Error::Exception { code: 2, .. }), "{refused}");
        // DIAS: out of range. Not in the specification, and an answer nonetheless: the connection is kept.
        let refused = answered_with(&[0x83, 0x13]).unwrap_err();
        assert!(matches!(refused, Error::Exception { code: 0x13, .. }), "{refused}");
        assert_eq!(refused.recovery(), super::super::super::Recovery::SkipReading);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_answer_brings_the_client_down(pdu in prop::collection::vec(any::<u8>(), 0..60), function in 0_u8..=0xFF) {
            let pdu = [vec![function], pdu].concat();
            if let Ok(answer) = answered_with(&pdu) {
                prop_assert_eq!(answer.words.len(), 1);
            }
        }
    }
}
