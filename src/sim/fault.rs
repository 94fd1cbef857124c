//! What can go wrong on a line, to be switched while an instrument answers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One disturbance of an instrument's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer. `silence`
    Silence,
    /// The answer begins this much later; requests that come meanwhile are answered after it, in order. `late:300ms`
    Late(Duration),
    /// The answer is spread over at least this time, at even steps. `slow:500ms`
    Slow(Duration),
    /// Every byte by itself, with this pause before it. `split:3ms`
    Split(Duration),
    /// Modbus: the answer of another unit, its CRC right. A text instrument stays silent: its answers carry no address.
    /// `wrong-unit`
    WrongUnit,
    /// The checksum is wrong; on Modbus/TCP the protocol identifier, and in a text the high bit of its last character, as a
    /// parity error leaves it. `checksum`
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
}

/// A fault and how often it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub(super) fn spoils(self) -> bool {
        match self {
            Self::Silence
            | Self::WrongUnit
            | Self::Checksum
            | Self::BitFlip
            | Self::Truncate(_)
            | Self::HangUp(_)
            | Self::Exception(_) => true,
            Self::Late(_) | Self::Slow(_) | Self::Split(_) | Self::Echo | Self::Junk(_) | Self::Twice => false,
        }
    }
}

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// An unknown word.
    #[error(
        "unknown fault `{0}`; known are silence, late:TIME, slow:TIME, split:TIME, wrong-unit, checksum, bit-flip, echo, \
         junk:BYTES, truncate:BYTES, twice, hang-up:TIME, exception:CODE; `*3` after it means the next three answers, `/20` every twentieth"
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
        let (fault, when) = if let Some((fault, digits)) = text.split_once('*') {
            (fault, When::Next(count(digits)?))
        } else if let Some((fault, digits)) = text.split_once('/') {
            (fault, When::Every(count(digits)?))
        } else {
            (text, When::Always)
        };
        Ok(Self { fault: fault.parse()?, when })
    }
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (word, argument) = match text.trim().split_once(':') {
            Some((word, argument)) => (word.trim(), Some(argument.trim())),
            None => (text.trim(), None),
        };
        let wrong = |takes, example| InvalidFault::Argument { fault: word.to_owned(), takes, example };
        let time = |example| {
            argument
                .and_then(|text| text.parse::<jiff::SignedDuration>().ok())
                .and_then(|time| Duration::try_from(time).ok())
                .ok_or_else(|| wrong("a time", example))
        };
        let bytes = |example| {
            argument.and_then(|text| text.parse::<usize>().ok()).ok_or_else(|| wrong("a number of bytes", example))
        };
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
            _ => Err(InvalidFault::Unknown(word.to_owned())),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |f: &mut fmt::Formatter<'_>, word: &str, time: Duration| {
            let micros = time.as_micros();
            match micros % 1000 {
                0 => write!(f, "{word}:{}ms", micros / 1000),
                _ => write!(f, "{word}:{micros}us"),
            }
        };
        match *self {
            Self::Silence => f.write_str("silence"),
            Self::Late(by) => time(f, "late", by),
            Self::Slow(over) => time(f, "slow", over),
            Self::Split(pause) => time(f, "split", pause),
            Self::WrongUnit => f.write_str("wrong-unit"),
            Self::Checksum => f.write_str("checksum"),
            Self::BitFlip => f.write_str("bit-flip"),
            Self::Echo => f.write_str("echo"),
            Self::Junk(bytes) => write!(f, "junk:{bytes}"),
            Self::Truncate(bytes) => write!(f, "truncate:{bytes}"),
            Self::Twice => f.write_str("twice"),
            Self::HangUp(away) => time(f, "hang-up", away),
            Self::Exception(code) => write!(f, "exception:{code}"),
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

    /// Whether requests are echoed. Not counted: an echo belongs to the line, not to an answer.
    pub(super) fn echoes(&self) -> bool {
        self.plans.iter().any(|(plan, _)| plan.fault == Fault::Echo)
    }

    /// The faults that strike this answer, in the order in which they were switched on.
    pub(super) fn strike(&mut self) -> Vec<Fault> {
        let mut struck = Vec::new();
        self.plans.retain_mut(|(plan, seen)| {
            *seen += 1;
            match plan.when {
                When::Always => struck.push(plan.fault),
                When::Next(replies) => {
                    struck.push(plan.fault);
                    return *seen < replies;
                }
                When::Every(nth) => {
                    if *seen >= nth {
                        *seen = 0;
                        struck.push(plan.fault);
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
            "late:300ms*2",
            "checksum/20",
        ] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
        assert_eq!("late: 1.5s * 3".parse::<Plan>(), Ok(Fault::Late(Duration::from_millis(1500)).next(3)));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_cure() {
        let said = |text: &str| text.parse::<Plan>().unwrap_err().to_string();
        assert_eq!(said("late"), "fault `late` takes a time, as in `late:300ms`");
        assert_eq!(said("late:-3s"), "fault `late` takes a time, as in `late:300ms`");
        assert_eq!(said("echo:4"), "fault `echo` takes nothing, as in `silence`");
        assert_eq!(said("exception:256"), "fault `exception` takes a code from 1 to 255, as in `exception:2`");
        assert_eq!(said("junk:5*0"), "`0` is no count of answers: a whole number from 1");
        assert!(said("lat:3s").starts_with("unknown fault `lat`; known are silence, late:TIME,"));
    }

    #[test]
    fn faults_strike_as_often_as_they_were_told() {
        let mut faults = Faults::default();
        faults.add(Fault::Silence.next(2));
        faults.add(Fault::Checksum.every(3));
        faults.add(Fault::Twice.always());
        let struck: Vec<_> = (0..4).map(|_| faults.strike()).collect();
        assert_eq!(struck[0], [Fault::Silence, Fault::Twice]);
        assert_eq!(struck[1], [Fault::Silence, Fault::Twice]);
        assert_eq!(struck[2], [Fault::Checksum, Fault::Twice]);
        assert_eq!(struck[3], [Fault::Twice]);
        faults.clear();
        assert!(faults.strike().is_empty());
    }
}
