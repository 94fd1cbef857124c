//! The trace of a link, played back: what was asked then and is asked again is answered as it was then, and what came
//! unasked comes unasked.
//!
//! What came after a request, up to the next one, is its answer, in its pieces and with its delays. The same request asked
//! again gets the next answer that was recorded for it, and after the last one the first again. What came before the
//! first request is said at its times, once somebody listens. What nobody had asked then is not answered now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{TraceLine, Traced};

use super::bench::{Outgoing, Reply};
use super::framing::Request;
use super::message::Known;

/// Bytes of a Modbus/TCP message before the unit: transaction, protocol and length.
const MBAP: usize = 6;

/// Bytes, and how long after their beginning they came.
type Pieces = Vec<(Duration, Vec<u8>)>;

/// A trace, sorted into questions and answers.
#[derive(Debug, Default)]
pub(super) struct Tape {
    answers: BTreeMap<Vec<u8>, Answers>,
    unasked: Arc<Pieces>,
    /// Requests that were answered, or were left unanswered as they were then.
    pub(super) known: u64,
    /// Requests that are not in the trace.
    pub(super) unknown: u64,
}

#[derive(Debug, Default)]
struct Answers {
    recorded: Vec<Pieces>,
    next: usize,
}

impl Tape {
    /// Sorts a trace. `mbap` is one of Modbus/TCP, whose requests are told apart without their transactions.
    pub(super) fn of(lines: &[TraceLine], mbap: bool) -> Self {
        let mut answers: BTreeMap<Vec<u8>, Answers> = BTreeMap::new();
        let mut unasked = Pieces::new();
        let mut asked: Option<(Vec<u8>, crate::model::Stamp)> = None;
        let began = lines.first().map(|line| line.at);
        for line in lines {
            match &line.what {
                Traced::Out(bytes) => {
                    let request = if mbap { bytes.get(MBAP..).unwrap_or_default() } else { bytes }.to_vec();
                    answers.entry(request.clone()).or_default().recorded.push(Pieces::new());
                    asked = Some((request, line.at));
                }
                Traced::In(bytes) => match &asked {
                    Some((request, at)) => {
                        let answer = answers.get_mut(request).and_then(|answers| answers.recorded.last_mut());
                        answer.into_iter().for_each(|pieces| pieces.push((line.at.since(*at), bytes.clone())));
                    }
                    None => unasked.push((began.map_or(Duration::ZERO, |began| line.at.since(began)), bytes.clone())),
                },
                Traced::Event(_) => {}
            }
        }
        Self { answers, unasked: Arc::new(unasked), known: 0, unknown: 0 }
    }

    /// Whether there is nothing in it to play.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.unasked.is_empty()
    }

    /// What came unasked, and when after the beginning.
    pub(super) fn unasked(&self) -> Arc<Pieces> {
        Arc::clone(&self.unasked)
    }

    /// The requests that were asked.
    pub(super) fn requests(&self) -> Vec<Known> {
        self.answers.keys().map(|bytes| Known { bytes: bytes.clone(), stands_alone: true }).collect()
    }

    /// What comes of a request.
    pub(super) fn told(&mut self, request: &[u8]) -> Vec<Reply> {
        let Some(pieces) = self.answers.get_mut(request).and_then(Answers::next) else {
            self.unknown += 1;
            return Vec::new();
        };
        self.known += 1;
        pieces.iter().map(|(delay, bytes)| reply(*delay, bytes.clone())).collect()
    }

    /// What comes of a Modbus/TCP request: the recorded answer under the transaction of now.
    pub(super) fn asked(&mut self, request: &Request) -> Vec<Reply> {
        let mut asked = vec![request.unit];
        asked.extend(&request.pdu);
        let mut replies = self.told(&asked);
        // The header of an answer is in its first piece.
        if let Some(Reply::Bytes(outgoing)) = replies.first_mut() {
            for (byte, now) in outgoing.bytes.iter_mut().zip(request.transaction.to_be_bytes()) {
                *byte = now;
            }
        }
        replies
    }
}

impl Answers {
    fn next(&mut self) -> Option<&Pieces> {
        let place = self.next % self.recorded.len().max(1);
        self.next = place + 1;
        self.recorded.get(place)
    }
}

fn reply(delay: Duration, bytes: Vec<u8>) -> Reply {
    Reply::Bytes(Outgoing { delay, ..Outgoing::unasked(bytes) })
}

/// Plays what came unasked, for one client.
pub(super) struct Player {
    pieces: Arc<Pieces>,
    played: usize,
    began: Option<Instant>,
    /// When somebody may have come to listen.
    look: Instant,
}

impl Player {
    pub(super) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, played: 0, began: None, look: Instant::now() }
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        let (after, _) = self.pieces.get(self.played)?;
        Some(self.began.map_or(self.look, |began| began + *after))
    }

    /// What is due. It begins when somebody listens, who is looked for again after `look`.
    pub(super) fn play(&mut self, now: Instant, listened_to: bool, look: Duration) -> Vec<Outgoing> {
        if self.began.is_none() {
            if !listened_to {
                self.look = now + look;
                return Vec::new();
            }
            self.began = Some(now);
        }
        let mut due = Vec::new();
        while self.next().is_some_and(|next| next <= now)
            && let Some((_, bytes)) = self.pieces.get(self.played)
        {
            self.played += 1;
            due.extend(listened_to.then(|| Outgoing::unasked(bytes.clone())));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape(trace: &str, mbap: bool) -> Tape {
        let lines: Vec<TraceLine> = trace.lines().filter_map(|line| TraceLine::parse(line.trim()).unwrap()).collect();
        Tape::of(&lines, mbap)
    }

    fn said(replies: &[Reply]) -> Vec<(u128, Vec<u8>)> {
        let said = |reply: &Reply| match reply {
            Reply::Bytes(outgoing) => (outgoing.delay.as_millis(), outgoing.bytes.clone()),
            Reply::HangUp(_) => panic!("no hang-up is played"),
        };
        replies.iter().map(said).collect()
    }

    #[test]
    fn a_request_gets_its_answers_in_turn_with_their_delays() {
        let mut tape = tape(
            "2026-11-22T17:30:00.5Z ! opened
             2026-11-22T17:30:01.000Z < 00
             2026-11-22T17:30:01.100Z > 41 0D
             2026-11-22T17:30:01.106Z < 31
             2026-11-22T17:30:01.110Z < 0D
             2026-11-22T17:30:02.000Z > 42 0D
             2026-11-22T17:30:03.000Z > 41 0D
             2026-11-22T17:30:03.020Z < 32 0D",
            false,
        );
        assert_eq!(*tape.unasked(), [(Duration::from_millis(500), vec![0])]);
        let first = [(6, vec![0x31]), (10, vec![0x0D])];
        assert_eq!(said(&tape.told(b"A\r")), first);
        assert_eq!(said(&tape.told(b"A\r")), [(20, vec![0x32, 0x0D])]);
        assert_eq!(said(&tape.told(b"A\r")), first);
        assert_eq!(said(&tape.told(b"B\r")), [], "it was not answered then");
        assert_eq!(said(&tape.told(b"C\r")), []);
        assert_eq!((tape.known, tape.unknown), (4, 1));
    }

    #[test]
    fn modbus_tcp_is_answered_under_the_transaction_of_now() {
        let mut tape = tape(
            "2026-11-22T17:30:01.000Z > 00 01 00 00 00 06 05 03 00 00 00 01
             2026-11-22T17:30:01.004Z < 00 01 00 00 00 05 05 03 02 00 FD",
            true,
        );
        let request = Request { unit: 5, pdu: vec![3, 0, 0, 0, 1], transaction: 0xABCD };
        assert_eq!(said(&tape.asked(&request)), [(4, vec![0xAB, 0xCD, 0, 0, 0, 5, 5, 3, 2, 0, 0xFD])]);
        assert!(said(&tape.asked(&Request { unit: 6, ..request })).is_empty());
    }

    #[test]
    fn what_came_unasked_comes_at_its_times_once_somebody_listens() {
        let tape = tape("2026-11-22T17:30:01.000Z < 31\n2026-11-22T17:30:01.100Z < 32", false);
        let mut player = Player::new(tape.unasked());
        let now = Instant::now();
        let look = Duration::from_millis(10);
        assert!(player.play(now, false, look).is_empty());
        assert_eq!(player.next(), Some(now + look));
        let later = now + Duration::from_secs(5);
        assert_eq!(player.play(later, true, look).len(), 1);
        assert_eq!(player.next(), Some(later + Duration::from_millis(100)));
        assert_eq!(player.play(later + Duration::from_millis(100), true, look).len(), 1);
        assert_eq!(player.next(), None);
    }
}
