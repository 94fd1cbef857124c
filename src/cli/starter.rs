//! Tables of a lab.toml that the program writes itself: links, and the instruments on them.
//!
//! What is written passes `check`: names differ, and an instrument that its line can't carry at its usual rate is asked
//! less often.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bridge::budgets;
use crate::config;
use crate::document::Problems;
use crate::profile::Library;
use crate::profile::Profile;

/// Links and instruments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Starter {
    pub(super) links: Vec<StarterLink>,
    pub(super) instruments: Vec<StarterInstrument>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StarterLink {
    pub(super) name: String,
    /// `serial`, `tcp`, `rtu-over-tcp` or `modbus-tcp`.
    pub(super) kind: String,
    /// The port or the address.
    pub(super) target: String,
    /// Line settings as `key = value`; empty for those of the profiles.
    pub(super) line: Vec<String>,
    /// What is said about it.
    pub(super) note: String,
}

/// An instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StarterInstrument {
    pub(super) name: String,
    pub(super) link: String,
    /// Its profile; none for a Modbus unit that no profile knows.
    pub(super) profile: Option<String>,
    pub(super) unit: Option<u8>,
    pub(super) params: BTreeMap<String, String>,
    /// A period in milliseconds instead of the profile's.
    pub(super) every_ms: Option<u64>,
    pub(super) note: String,
    /// Whether it is only a suggestion, to be put in place of another.
    pub(super) aside: bool,
}

impl Starter {
    /// A name for an instrument that nobody has yet.
    pub(super) fn free_name(&self, profile: &str) -> String {
        let base: String = profile.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let taken = |name: &str| self.instruments.iter().any(|instrument| instrument.name == name);
        let numbered = (2..).map(|number: u32| format!("{base}_{number}"));
        std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(base)
    }

    /// Slows instruments down until each line can carry its plan. What can't be read as a lab's file is said.
    pub(super) fn slowed_to_fit(mut self, library: &Library) -> Result<Self, Problems> {
        // Rounding up may take a second turn.
        for _ in 0..3 {
            let text = self.toml(library);
            let loaded = config::read(Path::new("lab.toml"), &text, library, &|_| None)?;
            let too_much: Vec<_> = budgets(&loaded.config).into_iter().filter(|budget| !budget.fits()).collect();
            if too_much.is_empty() {
                break;
            }
            for budget in too_much {
                for (row, every) in budget.rows.iter().zip(budget.fastest()) {
                    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
                    for instrument in self.instruments.iter_mut().filter(|i| *i.name == *row.instrument) {
                        instrument.every_ms = Some(instrument.every_ms.unwrap_or_default().max(every));
                    }
                }
            }
        }
        Ok(self)
    }

    /// The tables.
    pub(super) fn toml(&self, library: &Library) -> String {
        let mut text = String::new();
        for link in &self.links {
            note(&mut text, &link.note);
            let key = if link.kind == "serial" { "port" } else { "address" };
            text.push_str(&format!("[links.{}.{}]\n{key} = {}\n", link.name, link.kind, quoted(&link.target)));
            for setting in &link.line {
                text.push_str(&format!("{setting}\n"));
            }
            text.push('\n');
        }
        for instrument in &self.instruments {
            let mut table = String::new();
            instrument.write(&mut table, library);
            if instrument.aside {
                let comment =
                    |line: &str| if line.starts_with('#') { format!("{line}\n") } else { format!("# {line}\n") };
                table = table.lines().map(comment).collect();
            }
            text.push_str(&table);
            text.push('\n');
        }
        text.trim_end().to_owned() + "\n"
    }
}

impl StarterInstrument {
    /// The channels that its profile offers.
    fn offered(&self, library: &Library) -> Vec<Arc<str>> {
        let profile = self.profile.as_ref().and_then(|id| library.get(id));
        profile
            .map(|profile| profile.sample().channels.iter().map(|channel| Arc::clone(&channel.id)).collect())
            .unwrap_or_default()
    }

    fn write(&self, text: &mut String, library: &Library) {
        note(text, &self.note);
        text.push_str(&format!("[[instruments]]\nname = {}\nlink = {}\n", quoted(&self.name), quoted(&self.link)));
        if let Some(profile) = &self.profile {
            text.push_str(&format!("profile = {}\n", quoted(profile)));
        }
        if let Some(unit) = self.unit {
            text.push_str(&format!("unit = {unit}\n"));
        }
        if !self.params.is_empty() {
            let params: Vec<String> =
                self.params.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
            text.push_str(&format!("params = {{ {} }}\n", params.join(", ")));
        }
        if let Some(every) = self.every_ms {
            text.push_str(&format!("every = \"{every}ms\"            # as often as the line can carry\n"));
        }
        let offered = self.offered(library);
        if self.profile.is_none() {
            text.push_str(
                "[instruments.inline]                # `mbe-bridge registers` shows what its registers hold\nengine = \"modbus\"\n\
                 [[instruments.inline.channel]]\nid = \"register_0\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n",
            );
        } else if let Some(first) = offered.first() {
            let all: Vec<&str> = offered.iter().map(|channel| &**channel).collect();
            text.push_str(&format!(
                "# channels.{first} = {{ name = \"...\" }}    # of: {}\n",
                super::screen::cut(&all.join(", "), 70)
            ));
        }
    }
}

/// What a lab has to fill in: the values that are known, and for parameters without a default something that fits, with
/// their names.
pub(super) fn filled_in(
    profile: &Profile,
    known: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut params = known.clone();
    let mut guessed = Vec::new();
    for (name, param) in &profile.params {
        if param.default.is_none() && !params.contains_key(name) {
            params.insert(name.clone(), param.choices.first().cloned().unwrap_or_else(|| "1".to_owned()));
            guessed.push(name.clone());
        }
    }
    (params, guessed)
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn note(text: &mut String, note: &str) {
    for line in note.lines() {
        text.push_str(&format!("# {line}\n"));
    }
}
