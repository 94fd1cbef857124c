//! `mbe-bridge growth-instruments`: the platform's growth instruments, to find the `synth_source_id` of a stream.

use std::io::{BufRead as _, IsTerminal as _};

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::platform::PlatformArguments;
use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::table::Table;
use super::{print, runtime, say};
use crate::atomscale::ApiKey;
use crate::atomscale::Client;
use crate::atomscale::GrowthInstrument;
use crate::atomscale::NewGrowthInstrument;
use crate::atomscale::Platform as _;
use crate::atomscale::PlatformError;
use crate::atomscale::Settings;
use crate::profile::Library;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    platform: PlatformArguments,
    /// As JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the growth instruments with their ids
    List,
    /// Register a growth instrument and print its id
    Create(Create),
    /// Remove a growth instrument
    Delete(Delete),
}

#[derive(Debug, Args)]
struct Create {
    /// The text that people see
    #[arg(long)]
    label: String,
    /// Its name
    #[arg(long)]
    name: String,
    /// What it does
    #[arg(long = "type", value_name = "TYPE")]
    sort: Sort,
    /// Its serial number
    #[arg(long)]
    serial: Option<String>,
}

#[derive(Debug, Args)]
struct Delete {
    /// Its id, as `growth-instruments` lists it
    id: i64,
    /// Without asking
    #[arg(long, short)]
    yes: bool,
}

/// The sorts that the platform knows.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    Mbe,
    Cvd,
    Pvd,
    Sputter,
    Ald,
    Pld,
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::Mbe => "mbe",
            Self::Cvd => "cvd",
            Self::Pvd => "pvd",
            Self::Sputter => "sputter",
            Self::Ald => "ald",
            Self::Pld => "pld",
        }
    }
}

impl Arguments {
    pub(super) fn run(self, library: &Library) -> Outcome {
        let place = self.platform.place(library)?;
        let usual = Settings::new(ApiKey::parse(place.key()?.expose_secret()).or_exit(Exit::Usage)?);
        let client = Client::new(&Settings { endpoint: place.endpoint, ..usual }).or_exit(Exit::Usage)?;
        let json = self.json;
        runtime()?.block_on(async {
            match self.command {
                None | Some(Command::List) => list(&client, json).await,
                Some(Command::Create(command)) => command.run(&client, json).await,
                Some(Command::Delete(command)) => command.run(&client, json).await,
            }
        })
    }
}

async fn listed(client: &Client) -> Result<Vec<GrowthInstrument>, Failure> {
    client.growth_instruments().await.map_err(|error| failed("the growth instruments can't be listed", error))
}

async fn list(client: &Client, json: bool) -> Outcome {
    let mut instruments = listed(client).await?;
    instruments.sort_by_key(|instrument| instrument.synth_source_id);
    if json {
        print(json!(instruments.iter().map(shown).collect::<Vec<_>>()));
        return Ok(Exit::Well);
    }
    if instruments.is_empty() {
        print(
            "the account has no growth instruments; `mbe-bridge growth-instruments create --help` says how to make one",
        );
        return Ok(Exit::Well);
    }
    let mut table = Table::new(&[">synth_source_id", "name", "type", "manufacturer", "model"]);
    for instrument in instruments {
        table.row([
            instrument.synth_source_id.to_string(),
            instrument.name,
            instrument.sort,
            instrument.manufacturer.unwrap_or_default(),
            instrument.model.unwrap_or_default(),
        ]);
    }
    print(table);
    Ok(Exit::Well)
}

/// As scripts read it: the platform's own names.
fn shown(instrument: &GrowthInstrument) -> serde_json::Value {
    json!({
        "synth_source_id": instrument.synth_source_id,
        "source_name": instrument.name,
        "synth_source_type": instrument.sort,
        "source_manufacturer": instrument.manufacturer,
        "source_model": instrument.model,
    })
}

impl Create {
    async fn run(self, client: &Client, json: bool) -> Outcome {
        let new = NewGrowthInstrument {
            label: self.label,
            name: self.name,
            sort: self.sort.word().to_owned(),
            serial_id: self.serial,
        };
        let created = client.create_growth_instrument(&new).await;
        let id = created.map_err(|error| failed("the growth instrument was not registered", error))?;
        if json {
            print(json!({ "synth_source_id": id }));
        } else {
            print(format_args!("growth instrument `{}` has synth_source_id {id}", new.name));
        }
        Ok(Exit::Well)
    }
}

impl Delete {
    async fn run(self, client: &Client, json: bool) -> Outcome {
        let id = self.id;
        let instruments = listed(client).await?;
        let Some(instrument) = instruments.into_iter().find(|instrument| instrument.synth_source_id == id) else {
            let error = anyhow::anyhow!("the account has no growth instrument with the id {id}");
            return Err(Failure::new(Exit::Usage, error).hint("`mbe-bridge growth-instruments` lists them"));
        };
        let name = &instrument.name;
        if !self.yes {
            if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
                let error = anyhow::anyhow!("nobody is there to be asked whether `{name}` ({id}) is to be removed");
                return Err(Failure::new(Exit::Usage, error).hint("`--yes` removes it without asking"));
            }
            say(format_args!("remove growth instrument `{name}` ({id}) from the account? [y/N]"));
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer).or_exit(Exit::Degraded)?;
            if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
                return Err(Failure::new(Exit::Usage, anyhow::anyhow!("nothing was removed, as you said")));
            }
        }
        let deleted = client.delete_growth_instrument(id).await;
        deleted.map_err(|error| failed("the growth instrument was not removed", error))?;
        if json {
            print(json!({ "deleted": id }));
        } else {
            print(format_args!("growth instrument `{name}` ({id}) is removed"));
        }
        Ok(Exit::Well)
    }
}

fn failed(what: &'static str, error: PlatformError) -> Failure {
    let exit = if error.is_transient() { Exit::Unreachable } else { Exit::Refused };
    Failure::new(exit, anyhow::Error::new(error).context(what))
}
