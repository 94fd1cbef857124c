//! What the links are made of: connectors, drivers and places on the board, from the lab's configuration.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::traces;
use crate::acquire::Budget;
use crate::acquire::Instrument;
use crate::acquire::LinkThread;
use crate::acquire::Plan;
use crate::acquire::Report;
use crate::acquire::Settings;
use crate::acquire::StartError;
use crate::config::Config;
use crate::config::ConfiguredChannel;
use crate::config::InstrumentConfig;
use crate::driver::Driver;
use crate::driver::PollSpec;
use crate::driver::Protocol;
use crate::link::Trace;
use crate::live::Board;
use crate::live::InstrumentLive;
use crate::live::Limits;
use crate::live::LinkLive;
use crate::live::LinkState;
use crate::live::Taps;
use crate::model::{Channel, ChannelIndex, TimeBase, Transport};
use crate::profile::DeviceEngine;

/// The instruments of each link, as numbers in the configuration.
pub(super) fn by_link(config: &Config) -> Vec<Vec<usize>> {
    let mut links = vec![Vec::new(); config.links.len()];
    for (number, instrument) in config.instruments.iter().enumerate() {
        if let Some(link) = links.get_mut(instrument.link) {
            link.push(number);
        }
    }
    links
}

/// Every channel of the configuration; the place in this list is its index everywhere.
pub(super) fn channels(config: &Config) -> Vec<Channel> {
    config.instruments.iter().flat_map(|instrument| &instrument.channels).map(|c| c.channel.clone()).collect()
}

pub(super) fn board(config: &Config, time: TimeBase) -> Board {
    let links = config
        .links
        .iter()
        .map(|link| LinkLive {
            name: Arc::clone(&link.name),
            target: link.transport.to_string(),
            state: LinkState::Opening,
        })
        .collect();
    let instruments = config
        .instruments
        .iter()
        .map(|instrument| {
            InstrumentLive::new(Arc::clone(&instrument.name), instrument.link, Arc::clone(&instrument.device.profile))
        })
        .collect();
    let limited = |configured: &ConfiguredChannel| {
        let limits = Limits { low: configured.limits.low, high: configured.limits.high };
        (configured.channel.clone(), limits)
    };
    let channels = config.instruments.iter().flat_map(|instrument| &instrument.channels).map(limited).collect();
    Board::new(time, links, instruments, channels)
}

/// Starts a thread for every link that has instruments.
pub(super) fn start(
    config: &Arc<Config>,
    time: TimeBase,
    taps: &Arc<Taps>,
    reports: &mpsc::Sender<Report>,
    stop: &CancellationToken,
) -> Result<Vec<LinkThread>, StartError> {
    let mut threads = Vec::new();
    for (link, instruments) in by_link(config).into_iter().enumerate() {
        let (Some(link_config), false) = (config.links.get(link), instruments.is_empty()) else { continue };
        let protocol = protocol(config, &link_config.transport, &instruments);
        let settings = Settings { link, name: Arc::clone(&link_config.name), protocol };
        let (config, taps) = (Arc::clone(config), Arc::clone(taps));
        let plan = move || plan(&config, link, &instruments, traces::trace(&taps, link));
        threads.push(LinkThread::start(settings, time, plan, reports.clone(), stop.clone())?);
    }
    Ok(threads)
}

fn plan(config: &Config, link: usize, instruments: &[usize], trace: Option<Trace>) -> Plan {
    let transport =
        config.links.get(link).map_or_else(|| Transport::Tcp { address: String::new() }, |link| link.transport.clone());
    let firsts: Vec<usize> = config
        .instruments
        .iter()
        .scan(0, |next, instrument| {
            let first = *next;
            *next += instrument.channels.len();
            Some(first)
        })
        .collect();
    let instruments = instruments
        .iter()
        .filter_map(|number| {
            let instrument = config.instruments.get(*number)?;
            let first = *firsts.get(*number)?;
            let mut channels = vec![None; instrument.device.channels.len()];
            for (place, configured) in instrument.channels.iter().enumerate() {
                if let Some(slot) = channels.get_mut(configured.device_channel) {
                    *slot = Some(ChannelIndex(first + place));
                }
            }
            let warm_up = instrument.device.timing.warm_up;
            Some(Instrument { name: Arc::clone(&instrument.name), driver: driver(instrument), channels, warm_up })
        })
        .collect();
    Plan { connector: crate::link::connector(&transport, trace), instruments }
}

fn driver(instrument: &InstrumentConfig) -> Box<dyn Driver> {
    crate::driver::driver(instrument.device.clone(), instrument.unit.unwrap_or(0))
}

fn protocol(config: &Config, transport: &Transport, instruments: &[usize]) -> Protocol {
    let modbus = instruments
        .iter()
        .filter_map(|number| config.instruments.get(*number))
        .any(|instrument| matches!(instrument.device.engine, DeviceEngine::Modbus(_)));
    match (modbus, transport) {
        (false, _) => Protocol::Bytes,
        (true, Transport::ModbusTcp { .. }) => Protocol::ModbusTcp,
        (true, _) => Protocol::ModbusRtu,
    }
}

/// What each link spends its time on.
pub fn budgets(config: &Config) -> Vec<Budget> {
    let links = by_link(config).into_iter().zip(&config.links);
    links
        .map(|(instruments, link)| {
            let line = match &link.transport {
                Transport::Serial { line, .. } => Some(line),
                _ => None,
            };
            let polls: Vec<(Arc<str>, PollSpec)> = instruments
                .iter()
                .filter_map(|number| config.instruments.get(*number))
                .flat_map(|instrument| {
                    let name = Arc::clone(&instrument.name);
                    let polls = driver(instrument).polls().to_vec();
                    polls.into_iter().map(move |poll| (Arc::clone(&name), poll))
                })
                .collect();
            let protocol = protocol(config, &link.transport, &instruments);
            let unasked = instruments.iter().filter_map(|number| config.instruments.get(*number));
            let unasked = unasked.filter(|instrument| driver(instrument).listens()).map(|i| Arc::clone(&i.name));
            Budget::of(&link.name, line, protocol, polls.iter().map(|(name, poll)| (name, poll))).with_unasked(unasked)
        })
        .collect()
}
