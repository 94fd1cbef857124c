//! What can go wrong on a line, to be switched while an instrument answers or speaks unasked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::profile::{bytes_of, printable};

/// How often an instrument chatters that was not told how often.
const CHATTER: Duration = Duration::from_secs(1);

/// One disturbance of what an instrument says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No answer. `silence`
    Silence,
    /// The answer begins this much later; requests that come meanwhile are answered after it, in order. `late:300ms`
    Late(Duration),
    /// The answer is spread over at least this time, at even steps. `slow:500ms`
    Slow(Duration),
    /// Every byte by itself, with this pause before it. `split:3ms`
    Split(Duration),
    /// The answer of another unit or address, its checksum right. An instrument whose answers carry no address stays
    /// silent. `wrong-unit`
    WrongUnit,
    /// The checksum is wrong; on Modbus/TCP the protocol identifier, and in a message without a checksum the high bit of its
    /// last character, as a parity error leaves it. `checksum`
    Checksum,
    /// One bit in the middle of the answer is wrong and the checksum is that of the right answer. `bit-flip`
    BitFlip,
    /// The adapter sends every request back, at once and before any answer; `/20` makes no difference to that. `echo`
    Echo,
    /// This many bytes before the answer that belong to nothing. `junk:5`
    Junk(usize),
    /// The answer stops after this many bytes. `truncate:3`
    Truncate(usize),
    /// The answer comes twice. `twice`
    Twice,
    /// The port goes away instead of an answer, and comes back after this time under the same name. `hang-up:2s`
    HangUp(Duration),
    /// Modbus: this exception instead of data. A text instrument says what it says to an unknown command. `exception:2`
    Exception(u8),
    /// Not a word for this time after power-up, which is the simulator's start or the return of a port that went away.
    /// `boot:5s`
    Boot(Duration),
    /// These bytes behind an answer, unasked. Text with control tokens, or bytes in hex. `unasked:#XI1<CR>`,
    /// `unasked:hex 07 05`
    Unasked(Vec<u8>),
    /// These bytes over and over from power-up until the first character arrives. `chatter:0,1.0E-9<CR>@500ms`
    Chatter {
        /// What.
        bytes: Vec<u8>,
        /// How often.
        every: Duration,
    },
    /// A byte that is no text: before this byte of the answer, counted from 0, or else before the answer and in its middle in
    /// turns. `stray`, `stray:3`
    Stray(Option<usize>),
    /// A new value only so often, however often it is asked. `refresh:1s`
    Refresh(Duration),
    /// Requests that come within this time after an answer are not heard. `dead-time:150ms`
    DeadTime(Duration),
    /// The request of this step of a conversation, from 1, is lost. `skip-step:2`
    SkipStep(usize),
}

/// A fault and how often it strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// How often.
    pub when: When,
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every answer, until it is cleared. `late:300ms`
    Always,
    /// The next so many answers. `late:300ms*2`
    Next(u32),
    /// Every n-th answer, until it is cleared; the first strike is the n-th answer from now. `late:300ms/20`
    Every(u32),
}

impl Fault {
    /// This fault for the next `replies` answers.
    pub fn next(self, replies: u32) -> Plan {
        Plan { fault: self, when: When::Next(replies) }
    }

    /// This fault until it is cleared.
    pub fn always(self) -> Plan {
        Plan { fault: self, when: When::Always }
    }

    /// This fault for every n-th answer until it is cleared.
    pub fn every(self, nth: u32) -> Plan {
        Plan { fault: self, when: When::Every(nth) }
    }

    /// Whether it changes what the answer says, or which bytes stand where the answer should.
    pub(super) fn spoils(&self) -> bool {
        match self {
            Self::Silence
            | Self::WrongUnit
            | Self::Checksum
            | Self::BitFlip
            | Self::Truncate(_)
            | Self::HangUp(_)
            | Self::Stray(_)
            | Self::SkipStep(_)
            | Self::Exception(_) => true,
            Self::Late(_)
            | Self::Slow(_)
            | Self::Split(_)
            | Self::Echo
            | Self::Junk(_)
            | Self::Twice
            | Self::Boot(_)
            | Self::Unasked(_)
            | Self::Chatter { .. }
            | Self::Refresh(_)
            | Self::DeadTime(_) => false,
        }
    }

    /// Whether it is how the instrument is, and not something that strikes single answers and could be counted.
    fn is_a_condition(&self) -> bool {
        matches!(self, Self::Boot(_) | Self::Chatter { .. } | Self::Refresh(_) | Self::DeadTime(_))
    }
}

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// An unknown word.
    #[error(
        "unknown fault `{0}`; known are silence, late:TIME, slow:TIME, split:TIME, wrong-unit, checksum, bit-flip, echo, \
         junk:BYTES, stray, truncate:BYTES, twice, hang-up:TIME, exception:CODE, boot:TIME, refresh:TIME, dead-time:TIME, \
         skip-step:NUMBER, unasked:TEXT, chatter:TEXT@TIME; `*3` after it means the next three answers, `/20` every twentieth"
    )]
    Unknown(String),
    /// A word that needs something after a colon, or has something that it can't have.
    #[error("fault `{fault}` takes {takes}, as in `{example}`")]
    Argument {
        /// The word.
        fault: String,
        /// What belongs after the colon.
        takes: &'static str,
        /// A right one.
        example: &'static str,
    },
    /// A count that is none.
    #[error("`{0}` is no count of answers: a whole number from 1")]
    Count(String),
}

impl FromStr for Plan {
    type Err = InvalidFault;

    /// Reads `FAULT[:ARGUMENT][*N|/N]`.
    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let text = text.trim();
        let count = |digits: &str| match digits.trim().parse::<u32>() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(InvalidFault::Count(digits.trim().to_owned())),
        };
        // A text may hold what would otherwise begin a count.
        let is_text = ["unasked:", "chatter:"].iter().any(|word| text.starts_with(word));
        let is_count = |digits: &str| !is_text || (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
        let cut = |sign: char| text.rsplit_once(sign).filter(|(_, digits)| is_count(digits));
        let (fault, when) = if let Some((fault, digits)) = cut('*') {
            (fault, When::Next(count(digits)?))
        } else if let Some((fault, digits)) = cut('/') {
            (fault, When::Every(count(digits)?))
        } else {
            (text, When::Always)
        };
        Ok(Self { fault: fault.parse()?, when })
    }
}

fn time_of(text: &str) -> Option<Duration> {
    text.trim().parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok())
}

/// The bytes of a text with control tokens, or of hex pairs behind `hex `.
fn bytes_in(text: &str) -> Option<Vec<u8>> {
    let bytes = match text.strip_prefix("hex ") {
        Some(pairs) => pairs.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).ok()).collect::<Option<_>>()?,
        None => bytes_of(text).ok()?,
    };
    (!bytes.is_empty()).then_some(bytes)
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (word, argument) = match text.trim().split_once(':') {
            Some((word, argument)) => (word.trim(), Some(argument.trim())),
            None => (text.trim(), None),
        };
        let wrong = |takes, example| InvalidFault::Argument { fault: word.to_owned(), takes, example };
        let time = |example| argument.and_then(time_of).ok_or_else(|| wrong("a time", example));
        let number =
            |takes, example| argument.and_then(|text| text.parse::<usize>().ok()).ok_or_else(|| wrong(takes, example));
        let bytes = |example| number("a number of bytes", example);
        let plain = |fault| if argument.is_none() { Ok(fault) } else { Err(wrong("nothing", "silence")) };
        match word {
            "silence" => plain(Self::Silence),
            "late" => time("late:300ms").map(Self::Late),
            "slow" => time("slow:500ms").map(Self::Slow),
            "split" => time("split:3ms").map(Self::Split),
            "wrong-unit" => plain(Self::WrongUnit),
            "checksum" => plain(Self::Checksum),
            "bit-flip" => plain(Self::BitFlip),
            "echo" => plain(Self::Echo),
            "junk" => bytes("junk:5").map(Self::Junk),
            "truncate" => bytes("truncate:3").map(Self::Truncate),
            "twice" => plain(Self::Twice),
            "hang-up" => time("hang-up:2s").map(Self::HangUp),
            "exception" => argument
                .and_then(|text| text.parse().ok())
                .map(Self::Exception)
                .ok_or_else(|| wrong("a code from 1 to 255", "exception:2")),
            "boot" => time("boot:5s").map(Self::Boot),
            "refresh" => time("refresh:1s").map(Self::Refresh),
            "dead-time" => time("dead-time:150ms").map(Self::DeadTime),
            "skip-step" => match number("the number of a step", "skip-step:2")? {
                0 => Err(wrong("the number of a step", "skip-step:2")),
                step => Ok(Self::SkipStep(step)),
            },
            "stray" if argument.is_none() => Ok(Self::Stray(None)),
            "stray" => number("the place of a byte", "stray:3").map(|place| Self::Stray(Some(place))),
            "unasked" => argument
                .and_then(bytes_in)
                .map(Self::Unasked)
                .ok_or_else(|| wrong("a text or hex bytes", "unasked:#XI1<CR>` or `unasked:hex 07 05")),
            "chatter" => {
                let text = argument.unwrap_or_default();
                let timed = text.rsplit_once('@').and_then(|(text, every)| Some((text, time_of(every)?)));
                let (text, every) = timed.unwrap_or((text, CHATTER));
                bytes_in(text)
                    .filter(|_| !every.is_zero())
                    .map(|bytes| Self::Chatter { bytes, every })
                    .ok_or_else(|| wrong("a text and a time", "chatter:0,1.0E-9<CR>@500ms"))
            }
            _ => Err(InvalidFault::Unknown(word.to_owned())),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("silence"),
            Self::Late(by) => write!(f, "late:{}", Time(*by)),
            Self::Slow(over) => write!(f, "slow:{}", Time(*over)),
            Self::Split(pause) => write!(f, "split:{}", Time(*pause)),
            Self::WrongUnit => f.write_str("wrong-unit"),
            Self::Checksum => f.write_str("checksum"),
            Self::BitFlip => f.write_str("bit-flip"),
            Self::Echo => f.write_str("echo"),
            Self::Junk(bytes) => write!(f, "junk:{bytes}"),
            Self::Truncate(bytes) => write!(f, "truncate:{bytes}"),
            Self::Twice => f.write_str("twice"),
            Self::HangUp(away) => write!(f, "hang-up:{}", Time(*away)),
            Self::Exception(code) => write!(f, "exception:{code}"),
            Self::Boot(time) => write!(f, "boot:{}", Time(*time)),
            Self::Unasked(bytes) => write!(f, "unasked:{}", printable(bytes)),
            Self::Chatter { bytes, every } => write!(f, "chatter:{}@{}", printable(bytes), Time(*every)),
            Self::Stray(None) => f.write_str("stray"),
            Self::Stray(Some(place)) => write!(f, "stray:{place}"),
            Self::Refresh(every) => write!(f, "refresh:{}", Time(*every)),
            Self::DeadTime(time) => write!(f, "dead-time:{}", Time(*time)),
            Self::SkipStep(step) => write!(f, "skip-step:{step}"),
        }
    }
}

/// A time as faults are written.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros % 1000 {
            0 => write!(f, "{}ms", micros / 1000),
            _ => write!(f, "{micros}us"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::Always => write!(f, "{}", self.fault),
            When::Next(replies) => write!(f, "{}*{replies}", self.fault),
            When::Every(nth) => write!(f, "{}/{nth}", self.fault),
        }
    }
}

/// The faults of one instrument that are switched on.
#[derive(Debug, Default)]
pub(super) struct Faults {
    plans: Vec<(Plan, u32)>,
}

impl Faults {
    /// Switches a fault on, beside those that are.
    pub(super) fn add(&mut self, plan: Plan) {
        self.plans.push((plan, 0));
    }

    /// Switches all faults off.
    pub(super) fn clear(&mut self) {
        self.plans.clear();
    }

    /// What is switched on, for people.
    pub(super) fn shown(&self) -> String {
        let shown: Vec<String> = self.plans.iter().map(|(plan, _)| plan.to_string()).collect();
        shown.join(" ")
    }

    /// Whether requests are echoed. Not counted: an echo belongs to the line, not to an answer.
    pub(super) fn echoes(&self) -> bool {
        self.plans.iter().any(|(plan, _)| plan.fault == Fault::Echo)
    }

    /// How long the instrument is silent after power-up.
    pub(super) fn boot(&self) -> Duration {
        self.longest(|fault| if let Fault::Boot(time) = fault { Some(*time) } else { None })
    }

    /// How often there is a new value, where that matters.
    pub(super) fn refresh(&self) -> Duration {
        self.longest(|fault| if let Fault::Refresh(every) = fault { Some(*every) } else { None })
    }

    /// How long the instrument is deaf after an answer.
    pub(super) fn dead_time(&self) -> Duration {
        self.longest(|fault| if let Fault::DeadTime(time) = fault { Some(*time) } else { None })
    }

    fn longest(&self, of: impl Fn(&Fault) -> Option<Duration>) -> Duration {
        self.plans.iter().filter_map(|(plan, _)| of(&plan.fault)).max().unwrap_or_default()
    }

    /// What the instrument says from power-up until the first character arrives, and how often.
    pub(super) fn chatter(&self) -> Option<(&[u8], Duration)> {
        self.plans.iter().find_map(|(plan, _)| match &plan.fault {
            Fault::Chatter { bytes, every } => Some((bytes.as_slice(), *every)),
            _ => None,
        })
    }

    /// The faults that strike this answer, in the order in which they were switched on. `step` is the step of a
    /// conversation that is asked for.
    pub(super) fn strike(&mut self, step: Option<usize>) -> Vec<Fault> {
        let mut struck = Vec::new();
        self.plans.retain_mut(|(plan, seen)| {
            let applies = match plan.fault {
                Fault::SkipStep(number) => step == Some(number),
                _ => !plan.fault.is_a_condition(),
            };
            if !applies {
                return true;
            }
            *seen += 1;
            match plan.when {
                When::Always => struck.push(plan.fault.clone()),
                When::Next(replies) => {
                    struck.push(plan.fault.clone());
                    return *seen < replies;
                }
                When::Every(nth) => {
                    if *seen >= nth {
                        *seen = 0;
                        struck.push(plan.fault.clone());
                    }
                }
            }
            true
        });
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        for text in [
            "silence",
            "late:300ms",
            "slow:500ms",
            "split:3ms",
            "split:250us",
            "wrong-unit",
            "checksum",
            "bit-flip",
            "echo",
            "junk:5",
            "hang-up:2000ms",
            "truncate:3",
            "twice",
            "exception:2",
            "boot:5000ms",
            "unasked:#XI1<CR>",
            "unasked:1*2/<BEL>*3",
            "chatter:a@b<CR>@500ms",
            "stray",
            "stray:3",
            "refresh:1000ms",
            "dead-time:150ms",
            "skip-step:2*1",
            "late:300ms*2",
            "checksum/20",
        ] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
        assert_eq!("unasked:hex 07 05".parse::<Fault>(), Ok(Fault::Unasked(vec![7, 5])));
        assert_eq!("chatter:x".parse::<Fault>().unwrap().to_string(), "chatter:x@1000ms");
        assert_eq!("late: 1.5s * 3".parse::<Plan>(), Ok(Fault::Late(Duration::from_millis(1500)).next(3)));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_cure() {
        let said = |text: &str| text.parse::<Plan>().unwrap_err().to_string();
        assert_eq!(said("late"), "fault `late` takes a time, as in `late:300ms`");
        assert_eq!(said("late:-3s"), "fault `late` takes a time, as in `late:300ms`");
        assert_eq!(said("echo:4"), "fault `echo` takes nothing, as in `silence`");
        assert_eq!(said("exception:256"), "fault `exception` takes a code from 1 to 255, as in `exception:2`");
        assert_eq!(said("skip-step:0"), "fault `skip-step` takes the number of a step, as in `skip-step:2`");
        assert!(said("unasked:").starts_with("fault `unasked` takes a text or hex bytes, as in `unasked:#XI1<CR>`"));
        assert!(said("chatter:x@0s").starts_with("fault `chatter` takes a text and a time"));
        assert_eq!(said("junk:5*0"), "`0` is no count of answers: a whole number from 1");
        assert!(said("lat:3s").starts_with("unknown fault `lat`; known are silence, late:TIME,"));
    }

    #[test]
    fn faults_strike_as_often_as_they_were_told() {
        let mut faults = Faults::default();
        faults.add(Fault::Silence.next(2));
        faults.add(Fault::Checksum.every(3));
        faults.add(Fault::Twice.always());
        let struck: Vec<_> = (0..4).map(|_| faults.strike(None)).collect();
        assert_eq!(struck[0], [Fault::Silence, Fault::Twice]);
        assert_eq!(struck[1], [Fault::Silence, Fault::Twice]);
        assert_eq!(struck[2], [Fault::Checksum, Fault::Twice]);
        assert_eq!(struck[3], [Fault::Twice]);
        faults.add(Fault::SkipStep(2).next(1));
        assert_eq!(faults.strike(Some(1)), [Fault::Twice]);
        assert_eq!(faults.strike(Some(2)), [Fault::Checksum, Fault::Twice, Fault::SkipStep(2)]);
        faults.clear();
        assert!(faults.strike(None).is_empty());
    }
}
