//! Identification: how `scan` recognises an instrument, and what must not be sent while it looks.

use std::collections::BTreeMap;

use crate::model::Outcome;

use super::device::{Device, DeviceEngine};
use super::schema::Says;
use super::{Profile, Raw};

/// One try to recognise an instrument.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The parameters of the try; the lab's `params` if it succeeds.
    pub params: BTreeMap<String, String>,
    /// How much success is worth.
    pub says: Says,
    /// A device with what has to be asked, and nothing else: one poll for messages, the channels to look at for Modbus, and
    /// for a device that speaks unasked all that it says. A poll that is answered as it expects is a success.
    pub device: Device,
    /// What the device's channels must show, by their place, none for one that is only needed by another; empty for devices
    /// with messages of their own.
    pub shows: Vec<Option<Shows>>,
}

/// What a channel must show for an instrument to be recognised.
#[derive(Debug, Clone, PartialEq)]
pub enum Shows {
    /// Any good number.
    Good,
    /// This word, or one that begins so.
    Word {
        /// The word, without the `*`.
        word: String,
        /// Whether more may follow.
        open: bool,
    },
    /// A number from the first to the second.
    Between(f64, f64),
}

impl Shows {
    /// Reads what a profile says: `"good"`, `"DSR 54N*"`, `"0..1"`, `5`.
    pub(super) fn parse(text: &str) -> Self {
        if text == "good" {
            return Self::Good;
        }
        if let Some((low, high)) = text.split_once("..")
            && let (Ok(low), Ok(high)) = (low.trim().parse(), high.trim().parse())
        {
            return Self::Between(low, high);
        }
        if let Ok(number) = text.parse() {
            return Self::Between(number, number);
        }
        match text.strip_suffix('*') {
            Some(word) => Self::Word { word: word.to_owned(), open: true },
            None => Self::Word { word: text.to_owned(), open: false },
        }
    }

    /// Whether a channel shows it. A word has no outcome that is a number, so it is looked for in the raw value.
    pub fn is_shown(&self, outcome: &Outcome, raw: Option<&Raw>) -> bool {
        match self {
            Self::Good => matches!(outcome, Outcome::Value { .. }),
            Self::Between(low, high) => {
                matches!(outcome, Outcome::Value { value, .. } if (*low..=*high).contains(&value.get()))
            }
            Self::Word { word, open } => match raw {
                Some(Raw::Text(text)) => {
                    let text = text.trim_end_matches(['\0', ' ']);
                    if *open { text.starts_with(word.as_str()) } else { text == word }
                }
                _ => false,
            },
        }
    }
}

impl Profile {
    /// How `scan` recognises the instrument. A profile of messages that does not say is tried by its first poll, or by what it
    /// is heard to say; a Modbus profile that does not say can't be told from others.
    pub fn identify(&self) -> &[Probe] {
        &self.probes
    }

    /// Whether such an instrument would take this message for one that changes it. Nothing of the kind is ever polled, and
    /// nothing of the kind is sent on a port where such an instrument could be.
    pub fn would_change(&self, message: &[u8]) -> bool {
        self.writes.iter().any(|write| write.is_match(message))
    }

    /// Every message that is sent without the lab's leave: in polls, at connecting, to recognise the instrument.
    pub fn sends(&self) -> impl Iterator<Item = &[u8]> {
        let changing: Vec<&str> =
            self.messages.iter().filter(|message| message.changes_device).map(|message| message.id.as_str()).collect();
        let devices = std::iter::once(self.sample()).chain(self.probes.iter().map(|probe| &probe.device));
        devices
            .filter_map(|device| match &device.engine {
                DeviceEngine::Messages(device) => Some(device),
                DeviceEngine::Modbus(_) => None,
            })
            .flat_map(move |device| {
                let changing = changing.clone();
                let connects = device
                    .on_connect
                    .iter()
                    .filter(move |connect| !changing.contains(&&*connect.id))
                    .map(|connect| &connect.step);
                connects.chain(device.polls.iter().flat_map(|poll| &poll.steps))
            })
            .filter_map(|step| step.send.as_deref())
    }
}
