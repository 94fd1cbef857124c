//! What is said unasked on a line, and when: the stream of an instrument that speaks by itself, chatter after power-up, and
//! what somebody at the simulator wants to be said.
//!
//! It keeps to a grid of times. What could not be said in time is not said later: an instrument measures anew instead.

use std::io;
use std::time::{Duration, Instant};

use super::bench::{Outgoing, Reply, Spread, Times};
use super::line::{Line, Wire};
use super::pace::{Alarm, Pace};
use super::replay::Player;

/// How far behind its grid a voice may fall before it skips what it has missed.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often somebody who may come to listen is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// Most bytes that go out in one piece where nothing paces them.
const PIECE: usize = 8_192;

/// The times at which a line says something unasked. Each connection has its own.
pub(super) struct Voice {
    talk: Beat,
    chatter: Beat,
    player: Option<Player>,
    prompted: Option<Outgoing>,
}

/// A grid of times that may change or end.
#[derive(Default)]
struct Beat {
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Beat {
    /// Takes note of how often it is now.
    fn keep(&mut self, every: Option<Duration>) {
        if self.every != every {
            self.every = every;
            self.next = every.map(|_| Instant::now());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Goes on to the next time, over those that are too long ago.
    fn advance(&mut self, now: Instant) {
        let (Some(next), Some(every)) = (self.next, self.every) else { return };
        let next = next + every;
        self.next = Some(if now > next + PATIENCE.max(every) { now } else { next });
    }

    /// Nothing is said for a while.
    fn rest(&mut self, now: Instant) {
        self.next = self.every.map(|every| now + every.max(LOOK));
    }
}

impl Voice {
    pub(super) fn new(line: &Line) -> Self {
        let player = line.bench().player();
        Self { talk: Beat::default(), chatter: Beat::default(), player, prompted: None }
    }

    /// When something is to be said next.
    pub(super) fn next(&mut self, line: &Line) -> Option<Instant> {
        let mut bench = line.bench();
        self.talk.keep(bench.talks_every(&line.pace));
        self.chatter.keep(bench.chatters_every());
        if self.prompted.is_none() {
            self.prompted = bench.prompted();
        }
        if self.prompted.is_some() {
            return Some(Instant::now());
        }
        let played = self.player.as_ref().and_then(Player::next);
        self.talk.next.into_iter().chain(self.chatter.next).chain(played).min()
    }

    /// Says what is due, not before `free`. Returns when the line is free again, or for how long the port is to go away.
    pub(super) async fn speak(
        &mut self,
        line: &Line,
        wire: &impl Wire,
        alarm: &Alarm,
        free: Instant,
    ) -> io::Result<Result<Instant, Duration>> {
        let now = Instant::now();
        let listened_to = wire.is_listened_to();
        let mut saying: Vec<Outgoing> = self.prompted.take().into_iter().collect();
        if self.chatter.is_due(now) {
            self.chatter.advance(now);
            saying.extend(line.bench().chatter().filter(|_| listened_to));
        }
        if let Some(player) = &mut self.player {
            saying.extend(player.play(now, listened_to, LOOK));
        }
        if self.talk.is_due(now) {
            if !listened_to {
                self.talk.rest(now);
            } else if let Err(away) = self.talk_up(line, now, &mut saying) {
                return Ok(Err(away));
            }
        }
        let mut free = free.max(now);
        if line.pace == Pace::Unpaced && saying.iter().all(|said| said.delay.is_zero() && said.spread == Spread::None) {
            in_one_piece(line, wire, &saying).await?;
            return Ok(Ok(free));
        }
        for said in &saying {
            free = line.send(wire, alarm, said, None, free.max(now + said.delay)).await?;
        }
        Ok(Ok(free))
    }

    /// Adds the messages that are due: one where the line has a pace, all of them where it has none.
    fn talk_up(&mut self, line: &Line, now: Instant, saying: &mut Vec<Outgoing>) -> Result<(), Duration> {
        let mut bench = line.bench();
        let mut size = 0;
        while self.talk.is_due(now) && size < PIECE {
            self.talk.advance(now);
            for reply in bench.speaks(now) {
                match reply {
                    Reply::HangUp(away) => return Err(away),
                    Reply::Bytes(outgoing) => {
                        size += outgoing.bytes.len();
                        saying.push(outgoing);
                    }
                }
            }
            if line.pace != Pace::Unpaced || size == 0 {
                break;
            }
        }
        Ok(())
    }
}

async fn in_one_piece(line: &Line, wire: &impl Wire, saying: &[Outgoing]) -> io::Result<()> {
    let bytes: Vec<u8> = saying.iter().flat_map(|said| said.bytes.iter().copied()).collect();
    if bytes.is_empty() {
        return Ok(());
    }
    let now = Instant::now();
    let mut values = 0;
    {
        let mut bench = line.bench();
        for said in saying {
            values += said.said.len();
            bench.note(said, Times { request_received: now, first_byte: now, last_byte: now });
        }
    }
    if !wire.utter(&bytes).await? {
        line.bench().record.lost(values);
    }
    Ok(())
}
