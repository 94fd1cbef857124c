//! The command line: one file for each command, one place for exit codes.
//!
//! Exit codes: 0 well, 1 ran but something was lost or is degraded, 2 usage or configuration, 3 hardware or a running
//! bridge could not be reached, 4 disk, 5 the platform refused.

mod account;
mod check;
mod demo;
mod devices;
mod growth_instruments;
mod init;
mod input;
mod live_table;
mod logging;
mod platform;
mod ports;
mod push;
mod read;
mod registers;
mod report;
mod run;
mod runs;
mod scan;
mod screen;
mod server;
mod signals;
mod sim;
mod starter;
mod status;
mod streams;
mod table;
mod target;
mod trace;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config;
use crate::profile::Library;
use logging::LogArguments;
use report::{Exit, Failure, Outcome};

/// Polls the instruments of a growth chamber, keeps every sample on disk, and streams them to the Atomscale platform
#[derive(Debug, Parser)]
#[command(name = "mbe-bridge", version, max_term_width = 120)]
struct Arguments {
    #[command(flatten)]
    log: LogArguments,
    /// A folder of device profiles that replace or add to the built-in ones
    #[arg(long, value_name = "DIR", global = true)]
    devices: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: simulated instruments, local platform, bridge; no hardware and no account needed
    Demo(demo::Arguments),
    /// Poll, record and stream as lab.toml says, until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// Check lab.toml, its profiles and the bus time they need, without touching hardware
    Check(check::Arguments),
    /// Read the instruments of lab.toml and show values, quality and latency
    Read(read::Arguments),
    /// List the serial ports with stable names, holders and permission problems
    Ports(ports::Arguments),
    /// Find out what is connected to a port: known instruments and Modbus units
    Scan(scan::Arguments),
    /// Write a commented lab.toml to start from
    Init(init::Arguments),
    /// Read Modbus registers once and show every way that they could be meant
    Registers(registers::Arguments),
    /// List the device profiles, show one, or check a profile file
    Devices(devices::Arguments),
    /// Simulate an instrument that speaks the real protocol
    Sim(sim::Arguments),
    /// Run a local platform that speaks the Atomscale API
    Server(server::Arguments),
    /// Ask a running bridge how it is
    Status(status::Arguments),
    /// See what became of every reading: list, show and verify runs, send again what was refused
    Runs(runs::Arguments),
    /// Stream a log that is there already: CSV, TSV or Parquet
    Push(push::Arguments),
    /// List, register and remove the platform's growth instruments, to find a synth_source_id
    GrowthInstruments(growth_instruments::Arguments),
    /// List the streams that programs on this computer have made, and what waits of them
    Streams(streams::Arguments),
    /// Show what goes over a link of a running bridge, byte by byte
    Trace(trace::Arguments),
}

/// Runs the program and says how it ended.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say_error(&failure);
            failure.exit.into()
        }
    }
}

fn dispatch(arguments: Arguments) -> Outcome {
    let usual = match arguments.command {
        Command::Run(_) | Command::Server(_) | Command::Sim(_) => "info",
        // That the times of a file are not corrected by a clock is as it should be.
        Command::Push(_) => "warn,mbe_bridge::atomscale::clock=error",
        _ => "warn",
    };
    arguments.log.start(usual)?;
    let library = || library(&arguments.devices);
    match arguments.command {
        Command::Demo(command) => command.run(&library()),
        Command::Run(command) => command.run(&library()),
        Command::Check(command) => command.run(&library()),
        Command::Read(command) => command.run(&library()),
        Command::Ports(command) => command.run(),
        Command::Scan(command) => command.run(&library()),
        Command::Init(command) => command.run(&library()),
        Command::Registers(command) => command.run(),
        Command::Devices(command) => command.run(&library()),
        Command::Sim(command) => command.run(&library()),
        Command::Server(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Runs(command) => command.run(&library()),
        Command::Push(command) => command.run(&library()),
        Command::GrowthInstruments(command) => command.run(&library()),
        Command::Streams(command) => command.run(&library()),
        Command::Trace(command) => command.run(),
    }
}

/// The built-in profiles, with those of the usual folders and of `--devices` over them. A file that is wrong is said and
/// left out: an instrument that needs it is then refused by name.
fn library(folders: &[PathBuf]) -> Library {
    let (library, problems) = Library::load(folders);
    if !problems.is_empty() {
        say(&problems);
    }
    library
}

/// The lab's configuration; its warnings go to stderr.
fn load(path: &std::path::Path, library: &Library) -> Result<config::Config, Failure> {
    let loaded = config::load(path, library, &config::process_environment)
        .map_err(|problems| Failure::new(Exit::Usage, anyhow::anyhow!("{problems}")))?;
    if !loaded.warnings.is_empty() {
        say(format_args!("{}", loaded.warnings));
    }
    Ok(loaded.config)
}

/// A runtime for commands that talk to something. Two workers are plenty: polling has threads of its own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Degraded, error))
}

/// Prints a line for people or scripts; a reader who has gone away (`| head`) is no error.
fn print(text: impl std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Says something beside the output.
fn say(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Says how far a command is, over what it said before. For people who watch only.
fn progress(text: &str) {
    let mut err = std::io::stderr().lock();
    drop(write!(err, "\r{text}\x1b[K").and_then(|()| err.flush()));
}

fn say_error(failure: &Failure) {
    say(failure);
}
