//! `mbe-bridge devices`: the profile library.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::print;
use super::report::{Exit, Failure, Outcome};
use super::table::Table;
use crate::document::Source;
use crate::profile::Alphabet;
use crate::profile::DeviceEngine;
use crate::profile::Library;
use crate::profile::Origin;
use crate::profile::Profile;
use crate::profile::json_schema;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the profiles
    List,
    /// Show what a profile offers, how sure it is, and what to beware of
    Show {
        /// The profile's id
        id: String,
    },
    /// Check a profile file and run its test vectors
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the JSON Schema of profiles, for editors
    Schema,
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        match self.action.unwrap_or(Action::List) {
            Action::List => {
                list(library);
                Ok(Exit::Well)
            }
            Action::Show { id } => show(library, &id),
            Action::Check { file } => check(&file),
            Action::Schema => {
                print(format_args!("{:#}", json_schema()));
                Ok(Exit::Well)
            }
        }
    }
}

fn list(library: &Library) {
    let mut table = Table::new(&["profile", "vendor", "models", "engine", "status"]);
    for profile in library.iter() {
        table.row([
            profile.id.to_string(),
            profile.vendor.clone(),
            shortened(&profile.models.join(", "), 48),
            engine(profile).to_owned(),
            word(profile.status),
        ]);
    }
    print(table);
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}

/// A variant as the profile's TOML spells it.
fn word(variant: impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

fn engine(profile: &Profile) -> &'static str {
    match &profile.sample().engine {
        DeviceEngine::Messages(messages) if messages.alphabet == Alphabet::Bytes => "frame",
        DeviceEngine::Messages(_) => "text",
        DeviceEngine::Modbus(_) => "modbus",
    }
}

fn show(library: &Library, id: &str) -> Outcome {
    let Some(profile) = library.get(id) else {
        let help = crate::document::did_you_mean(id, "profile", library.ids());
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("there is no profile `{id}`")).hint(help));
    };
    print(format_args!("{}: {} ({})", profile.id, profile.vendor, profile.origin));
    print(format_args!("models:  {}", profile.models.join(", ")));
    print(format_args!("engine:  {}, line {}", engine(profile), profile.line));
    print(format_args!("status:  {}", word(profile.status)));
    for (name, param) in &profile.params {
        let default = param.default.as_ref().map_or("to be given".to_owned(), |default| format!("default {default}"));
        let choices =
            if param.choices.is_empty() { String::new() } else { format!(", of {}", param.choices.join(", ")) };
        print(format_args!("param:   {name}: {default}{choices}"));
    }
    for caveat in &profile.caveats {
        print(format_args!("beware:  {caveat}"));
    }
    for source in &profile.sources {
        print(format_args!("source:  {source}"));
    }
    print("");
    let mut table = Table::new(&["channel", "unit", "kind", ">every"]);
    for channel in &profile.sample().channels {
        table.row([
            channel.id.to_string(),
            channel.unit.as_deref().unwrap_or("").to_owned(),
            word(channel.kind),
            format!("{} ms", channel.every.as_millis()),
        ]);
    }
    print(table);
    Ok(Exit::Well)
}

fn check(file: &std::path::Path) -> Outcome {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Exit::Usage, anyhow::Error::new(error).context(format!("could not read `{}`", file.display())))
    })?;
    let wrong = |problems: &dyn std::fmt::Display| Failure::new(Exit::Usage, anyhow::anyhow!("{problems}"));
    let source = Source::new(&file.display().to_string(), &text);
    let profile = Profile::parse(&source, Origin::Disk(file.to_owned())).map_err(|problems| wrong(&problems))?;
    let problems = profile.verify();
    if problems.has_errors() {
        return Err(wrong(&problems));
    }
    print(format_args!("{}: well, its test vectors pass", profile.id));
    Ok(Exit::Well)
}
