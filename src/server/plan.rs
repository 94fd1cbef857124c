//! A fault, and which requests it is for: which calls, how many of them, how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::fault::{duration, shown};
use super::{Call, Fault, InvalidFault};

/// What `only` can name, and the calls it means.
const NAMED: &[(&str, &[Call])] = &[
    ("initialize", &[Call::Initialize]),
    ("chunk", &[Call::Chunk, Call::ChunkMulti]),
    ("single", &[Call::Chunk]),
    ("multi", &[Call::ChunkMulti]),
    ("finalize", &[Call::Finalize]),
    ("read-back", &[Call::ReadBack]),
    ("time", &[Call::Time]),
    ("instruments", &[Call::ListInstruments, Call::CreateInstrument, Call::DeleteInstruments]),
    ("samples", &[Call::ListSamples, Call::CreateSample, Call::LinkSample, Call::TrackSample]),
    ("entries", &[Call::ListEntries]),
    ("projects", &[Call::ListProjects]),
    ("tags", &[Call::ListTags, Call::CreateTag, Call::AttachTags]),
];

/// A fault, and which requests it is for.
///
/// As text: the fault, then any of `only CALL`, `next N`, `for DURATION` and `stored`, as in `hang`, `status:503 for 30s`,
/// `cut-reply only chunk next 3`, `status:504 stored`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// The calls that it hits; empty for every one that it can hit.
    pub only: Vec<Call>,
    /// How many requests it hits; `None` for all.
    pub next: Option<u32>,
    /// How long it lasts; `None` for as long as nothing else is set.
    pub lasting: Option<Duration>,
    /// Whether what a request brings is stored all the same, so that only the answer goes wrong.
    pub stored: bool,
}

impl From<Fault> for Plan {
    fn from(fault: Fault) -> Self {
        Self { fault, ..Self::default() }
    }
}

impl Plan {
    /// Whether it is for requests of this call.
    pub(super) fn hits(&self, call: Call) -> bool {
        if self.only.is_empty() { self.fault.hits(call) } else { self.only.contains(&call) }
    }
}

/// A text is not a fault with what it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// The fault itself is none.
    #[error(transparent)]
    Fault(#[from] InvalidFault),
    /// What follows the fault is not understood.
    #[error("`{text}` can't follow a fault: expected `only CALL`, `next 3`, `for 30s` or `stored`")]
    Clause {
        /// What follows.
        text: String,
    },
    /// `only` names no call.
    #[error("`{text}` is no call: expected {}", names())]
    Call {
        /// What it names.
        text: String,
    },
    /// The fault does not go with what follows it.
    #[error("`{fault}` {why}")]
    Together {
        /// The fault.
        fault: Fault,
        /// Why it does not.
        why: &'static str,
    },
}

fn names() -> String {
    NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl FromStr for Plan {
    type Err = InvalidPlan;

    fn from_str(text: &str) -> Result<Self, InvalidPlan> {
        let mut words = text.split_whitespace();
        let mut plan = Self::from(words.next().unwrap_or_default().parse::<Fault>()?);
        while let Some(word) = words.next() {
            if word == "stored" {
                plan.stored = true;
                continue;
            }
            let value = words.next().unwrap_or_default();
            let wrong = || InvalidPlan::Clause { text: format!("{word} {value}").trim().to_owned() };
            match word {
                "only" => {
                    let named = NAMED.iter().find(|(name, _)| *name == value);
                    let (_, calls) = named.ok_or_else(|| InvalidPlan::Call { text: value.to_owned() })?;
                    plan.only = calls.to_vec();
                }
                "next" => plan.next = Some(value.parse().ok().filter(|next| *next > 0).ok_or_else(wrong)?),
                "for" => plan.lasting = Some(duration(value).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            }
        }
        plan.checked()
    }
}

impl Plan {
    fn checked(self) -> Result<Self, InvalidPlan> {
        let only_some = !self.only.is_empty() || self.next.is_some();
        let why = match &self.fault {
            Fault::None if self != Self::default() => "is the end of every fault: nothing can follow it",
            Fault::Ended(_) if only_some || self.lasting.is_some() => "lasts, and is for streams, not for requests",
            fault if only_some && !fault.is_of_requests() => "is not for single requests: only `for 30s` can follow it",
            fault if self.stored && !fault.may_store() => {
                "stores what it stores: `stored` goes with hang, status and garbage"
            }
            _ => return Ok(self),
        };
        Err(InvalidPlan::Together { fault: self.fault, why })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        if self.stored {
            f.write_str(" stored")?;
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, calls)| *calls == self.only.as_slice()) {
            write!(f, " only {name}")?;
        }
        if let Some(next) = self.next {
            write!(f, " next {next}")?;
        }
        if let Some(lasting) = self.lasting {
            write!(f, " for {}", shown(lasting))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_way_to_text_and_back() {
        for text in [
            "none",
            "hang",
            "down for 1m30s",
            "hang stored next 2",
            "status:503 for 30s",
            "cut-reply only chunk next 3",
            "status:504 stored only finalize next 1 for 500ms",
        ] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
        let plan: Plan = "cut-reply  next 3 only multi".parse().unwrap();
        assert_eq!((plan.only.as_slice(), plan.next), (&[Call::ChunkMulti][..], Some(3)));
    }

    #[test]
    fn what_can_not_follow_is_said() {
        for (text, said) in [
            ("hang 3", "`3` can't follow a fault: expected `only CALL`, `next 3`, `for 30s` or `stored`"),
            ("hang next", "`next` can't follow a fault: expected `only CALL`, `next 3`, `for 30s` or `stored`"),
            ("hang next 0", "`next 0` can't follow a fault: expected `only CALL`, `next 3`, `for 30s` or `stored`"),
            ("hang for 30", "`for 30` can't follow a fault: expected `only CALL`, `next 3`, `for 30s` or `stored`"),
            ("down next 3", "`down` is not for single requests: only `for 30s` can follow it"),
            ("ended:410 for 3s", "`ended:410` lasts, and is for streams, not for requests"),
            ("none for 3s", "`none` is the end of every fault: nothing can follow it"),
            ("cut-reply stored", "`cut-reply` stores what it stores: `stored` goes with hang, status and garbage"),
        ] {
            assert_eq!(text.parse::<Plan>().unwrap_err().to_string(), said);
        }
        let said = "hang only chunks".parse::<Plan>().unwrap_err().to_string();
        assert!(said.starts_with("`chunks` is no call: expected initialize, chunk, "), "{said}");
        assert!("sometimes".parse::<Plan>().unwrap_err().to_string().starts_with("`sometimes` is not a fault: "));
    }
}
