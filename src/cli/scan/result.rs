//! What a scan has found: a table, tables of a lab.toml to paste, or JSON.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::report::{Exit, Failure};
use super::super::starter::{Starter, StarterInstrument, StarterLink, filled_in};
use super::super::table::Table;
use super::super::target::line_keys;
use super::hunt::{Findings, Found, shown};
use super::plan::Way;
use crate::profile::Library;
use crate::profile::Says;

/// What is said at the end.
pub(super) struct Summary<'a> {
    target: &'a str,
    findings: &'a Findings,
    starter: Starter,
    fragment: String,
}

impl<'a> Summary<'a> {
    pub(super) fn new(target: &'a str, way: Way, findings: &'a Findings, library: &Library) -> Result<Self, Failure> {
        let mut starter = starter(target, way, findings, library);
        if !starter.instruments.is_empty() {
            starter = starter
                .slowed_to_fit(library)
                .map_err(|problems| Failure::new(Exit::Degraded, anyhow::anyhow!("{problems}")))?;
        }
        let fragment = if starter.instruments.is_empty() { String::new() } else { starter.toml(library) };
        Ok(Self { target, findings, starter, fragment })
    }

    pub(super) fn text(&self) -> String {
        let findings = self.findings;
        let mut parts = Vec::new();
        if findings.found.is_empty() {
            parts.push(format!(
                "{}: nothing found with {} messages; check power, cable and wiring (A and B swapped?), and that the \
                 instrument's interface is turned on",
                self.target, findings.sent
            ));
        } else {
            let mut table = Table::new(&["found", "how sure", "address", "line", "said"]);
            for found in &findings.found {
                table.row([
                    found.profile.clone().unwrap_or_else(|| "a Modbus unit".to_owned()),
                    word(found),
                    address(found),
                    shown(found.line.as_ref()),
                    found.said.clone(),
                ]);
            }
            parts.push(table.to_string());
        }
        for left_out in &findings.left_out {
            parts.push(format!(
                "left out: `{}` of {}: {} could take it for an order",
                left_out.message, left_out.profile, left_out.danger
            ));
        }
        parts.extend(findings.notes.iter().map(|note| format!("note: {note}")));
        if !self.fragment.is_empty() {
            parts.push(format!("# for lab.toml, {} messages later:\n\n{}", findings.sent, self.fragment.trim_end()));
        }
        parts.join("\n\n")
    }

    pub(super) fn json(&self) -> String {
        let found: Vec<serde_json::Value> = self
            .findings
            .found
            .iter()
            .map(|found| {
                json!({
                    "profile": found.profile,
                    "says": word(found),
                    "unit": found.unit,
                    "params": found.params,
                    "line": found.line.as_ref().map(ToString::to_string),
                    "said": found.said,
                })
            })
            .collect();
        let left_out = self.findings.left_out.iter();
        let left_out: Vec<serde_json::Value> = left_out
            .map(|left_out| {
                json!({ "profile": left_out.profile, "message": left_out.message, "danger": left_out.danger })
            })
            .collect();
        let json = json!({
            "target": self.target,
            "sent": self.findings.sent,
            "found": found,
            "left_out": left_out,
            "notes": self.findings.notes,
            "starter": self.starter,
            "fragment": self.fragment,
        });
        format!("{json:#}")
    }
}

fn word(found: &Found) -> String {
    if found.profile.is_none() {
        return "unknown".to_owned();
    }
    format!("{:?}", found.says).to_lowercase()
}

fn address(found: &Found) -> String {
    let params = found.params.iter().map(|(name, value)| format!("{name} {value}"));
    found.unit.map(|unit| format!("unit {unit}")).into_iter().chain(params).collect::<Vec<_>>().join(", ")
}

/// One link with the best guess for each address; the others stand beside it as comments.
fn starter(target: &str, way: Way, findings: &Findings, library: &Library) -> Starter {
    let mut starter = Starter::default();
    let worth = |found: &Found| (found.profile.is_some(), found.says);
    let mut here: Vec<&Found> = findings.found.iter().collect();
    here.sort_by_key(|found| std::cmp::Reverse(worth(found)));
    let Some(best) = here.first().copied() else { return starter };
    let modbus = best.unit.is_some();
    let kind = match (way, modbus) {
        (Way::Serial, _) => "serial",
        (Way::ModbusTcp, _) => "modbus-tcp",
        (Way::DeviceServer, true) => "rtu-over-tcp",
        (Way::DeviceServer, false) => "tcp",
    };
    let mut line = best.line.clone();
    if let Some(line) = &mut line {
        line.echo |= findings.echo;
    }
    starter.links.push(StarterLink {
        name: "found".to_owned(),
        kind: kind.to_owned(),
        target: target.to_owned(),
        line: line.as_ref().filter(|_| way == Way::Serial).map(line_keys).unwrap_or_default(),
        note: String::new(),
    });
    let mut placed: BTreeSet<String> = BTreeSet::new();
    let sure_of_one = best.says >= Says::Likely && best.profile.is_some();
    for found in here {
        // One instrument at each address; one without an address is alone on its line, and so is one that talks.
        let belongs = found.line == best.line && found.unit.is_some() == modbus;
        let doubtful = !modbus && sure_of_one && found.says < Says::Likely;
        let lonely = !modbus && (found.params.is_empty() || placed.contains(""));
        let aside = !belongs
            || doubtful
            || placed.contains(&address(found))
            || (lonely && !placed.is_empty())
            || (findings.any_unit && !placed.is_empty());
        if !aside {
            placed.insert(address(found));
        }
        let (params, invented) = found
            .profile
            .as_ref()
            .and_then(|id| library.get(id))
            .map(|profile| filled_in(profile, &found.params))
            .unwrap_or_default();
        let mut note = format!("{}: {}", word(found), found.said);
        if aside {
            note = format!("or, instead ({}, {})", shown(found.line.as_ref()), note);
        }
        if !invented.is_empty() {
            note.push_str(&format!("\nCHANGE: params that only you know: {}", invented.join(", ")));
        }
        starter.instruments.push(StarterInstrument {
            name: match (&found.profile, found.unit) {
                (Some(profile), _) => starter.free_name(profile),
                (None, unit) => starter.free_name(&format!("unit_{}", unit.unwrap_or_default())),
            },
            link: "found".to_owned(),
            profile: found.profile.clone(),
            unit: found.unit,
            params,
            every_ms: None,
            note,
            aside,
        });
    }
    starter
}
