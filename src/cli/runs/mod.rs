//! `mbe-bridge runs`: what became of every reading, and what can be done about it.
//!
//! Listing, showing and verifying only read: they work beside a running bridge and on copies of run files.

mod account;
mod list;
mod place;
mod prune;
mod resend;
mod show;
mod verify;

use clap::{Args, Subcommand};

use super::report::Outcome;
use crate::profile::Library;
use place::Place;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// As JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the runs, and files that were set aside
    List,
    /// Show everything that is known of a run
    Show(show::Arguments),
    /// Hold a run file against itself, and against the platform
    Verify(verify::Arguments),
    /// Send again what the platform refused
    Resend(resend::Arguments),
    /// Delete finished runs that the platform has whole and that are old, or in the way
    Prune(prune::Arguments),
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let json = self.json;
        match self.command {
            None | Some(Command::List) => list::run(&self.place.data_dir(library)?, json),
            Some(Command::Show(command)) => command.run(&self.place, library, json),
            Some(Command::Resend(command)) => command.run(&self.place, library, json),
            Some(Command::Prune(command)) => command.run(&self.place, library, json),
            Some(Command::Verify(command)) => command.run(&self.place, library, json),
        }
    }
}
