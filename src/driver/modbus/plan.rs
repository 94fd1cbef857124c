//! The plan of a Modbus device: which registers are read together, and how often. Pure.
//!
//! Channels of one period are read in as few requests as the device allows: neighbours are joined over gaps of at most
//! `max_gap` registers up to `max_regs`. A value of several registers is never divided, nor a channel from those whose raw
//! values it needs. Settings that are too far away for that ([`Device::apart`]) have blocks of their own, before all others
//! of their poll. Where a device refuses a block, [`Block::split`] halves it until the culprit stands alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::Outcome;
use crate::model::Reading;
use crate::model::Reason;
use crate::profile::Device;
use crate::profile::Fields;
use crate::profile::ModbusDevice;
use crate::profile::Register;
use crate::profile::Source;
use crate::profile::Table;

use super::Read;

/// Registers that are read in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    table: Table,
    /// By address; never empty.
    items: Vec<Item>,
}

/// What can't be divided: a channel with those that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    channel: usize,
    first: u16,
    /// One past the last address.
    end: u32,
    /// Whether there is a reading of it. None of a setting that is only read because others of the poll depend on it.
    told: bool,
}

/// Blocks by period, the shortest period first.
pub(super) fn plan(device: &Device, modbus: &ModbusDevice) -> Vec<(Duration, Vec<Block>)> {
    let mut periods: BTreeMap<Duration, BTreeSet<usize>> = BTreeMap::new();
    for (index, channel) in device.channels.iter().enumerate() {
        periods.entry(channel.every).or_default().insert(index);
    }
    let blocks = |channels: BTreeSet<usize>| {
        let settings: BTreeSet<usize> = channels.iter().flat_map(|index| device.apart(*index)).collect();
        let before = settings.iter().map(|index| (*index, channels.contains(index)));
        let after = channels.difference(&settings).map(|index| (*index, true));
        [joined(device, modbus, before), joined(device, modbus, after)].concat()
    };
    periods.into_iter().map(|(every, channels)| (every, blocks(channels))).collect()
}

/// The blocks for some channels; with each, whether it is told.
fn joined(device: &Device, modbus: &ModbusDevice, channels: impl Iterator<Item = (usize, bool)>) -> Vec<Block> {
    let mut tables: BTreeMap<Table, Vec<Item>> = BTreeMap::new();
    for (table, item) in channels.filter_map(|(index, told)| item(device, index, told)) {
        tables.entry(table).or_default().push(item);
    }
    let blocks = |(table, mut items): (Table, Vec<Item>)| {
        items.sort_by_key(|item| (item.first, item.end));
        joined_in(table, items, modbus)
    };
    tables.into_iter().flat_map(blocks).collect()
}

fn register(device: &Device, channel: usize) -> Option<&Register> {
    match &device.channels.get(channel)?.source {
        Source::Register(register) => Some(register),
        Source::Field { .. } => None,
    }
}

fn item(device: &Device, channel: usize, told: bool) -> Option<(Table, Item)> {
    let own = register(device, channel)?;
    let apart: Vec<usize> = device.apart(channel).collect();
    let needed = device.channels.get(channel)?.with.iter().filter(|other| !apart.contains(other));
    let (first, end) = needed
        .filter_map(|other| register(device, *other))
        .filter(|other| other.table == own.table)
        .fold((own.address, own.end()), |(first, end), other| (first.min(other.address), end.max(other.end())));
    Some((own.table, Item { channel, first, end, told }))
}

fn joined_in(table: Table, items: Vec<Item>, modbus: &ModbusDevice) -> Vec<Block> {
    let (most, gap) = (modbus.most(table), modbus.gap(table));
    let mut blocks: Vec<Block> = Vec::new();
    for item in items {
        match blocks.last_mut() {
            Some(block)
                if !modbus.one_per_request
                    && u32::from(item.first) <= block.end() + gap
                    && item.end.max(block.end()) - u32::from(block.first()) <= most =>
            {
                block.items.push(item);
            }
            _ => blocks.push(Block { table, items: vec![item] }),
        }
    }
    blocks
}

impl Block {
    fn first(&self) -> u16 {
        self.items.iter().map(|item| item.first).min().unwrap_or(0)
    }

    fn end(&self) -> u32 {
        self.items.iter().map(|item| item.end).max().unwrap_or(0)
    }

    /// The request for it.
    pub(super) fn read(&self, unit: u8) -> Read {
        let count = self.end().saturating_sub(u32::from(self.first()));
        Read { unit, table: self.table, address: self.first(), count: u16::try_from(count).unwrap_or(u16::MAX) }
    }

    /// Table, addresses and channels, for people: "holding 40 (`output_power`)", "input 2 to 5 (`pressure_1`)".
    pub(super) fn place(&self, device: &Device) -> String {
        let (table, first, last) = (self.table.name(), self.first(), self.end().saturating_sub(1));
        let addresses = if u32::from(first) == last { first.to_string() } else { format!("{first} to {last}") };
        let channels = self.items.iter().filter_map(|item| device.channels.get(item.channel));
        let ids: Vec<String> = channels.map(|channel| format!("`{}`", channel.id)).collect();
        format!("{table} {addresses} ({})", ids.join(", "))
    }

    /// The channels that it feeds.
    pub(super) fn channels(&self) -> impl Iterator<Item = usize> {
        self.items.iter().filter(|item| item.told).map(|item| item.channel)
    }

    /// The channels that have no value without it: its own, and those that depend on its settings.
    pub(super) fn costs(&self, device: &Device) -> Vec<usize> {
        let is_here = |channel: usize| self.items.iter().any(|item| item.channel == channel);
        let depends = |index: &usize| device.apart(*index).any(is_here);
        let costs: BTreeSet<usize> = self.channels().chain((0..device.channels.len()).filter(depends)).collect();
        costs.into_iter().collect()
    }

    /// Its two halves; none when it can't be divided.
    pub(super) fn split(&self) -> Option<[Self; 2]> {
        let (left, right) = self.items.split_at_checked(self.items.len() / 2)?;
        let half = |items: &[Item]| Self { table: self.table, items: items.to_vec() };
        (!left.is_empty() && !right.is_empty()).then(|| [half(left), half(right)])
    }

    /// The readings that the words of its answer give. `before` are the raw values of the blocks before it in the same
    /// poll; those of its own are added.
    pub(super) fn decode(&self, device: &Device, words: &[u16], before: &mut Fields) -> Vec<Reading> {
        let first = usize::from(self.first());
        let raw = |channel: usize| {
            let register = register(device, channel).filter(|register| register.table == self.table)?;
            let at = usize::from(register.address).checked_sub(first)?;
            register.read(words.get(at..at + usize::from(register.registers))?).ok()
        };
        let mut readings = Vec::new();
        for item in &self.items {
            let Some(channel) = device.channels.get(item.channel) else { continue };
            let mut fields = Fields::new();
            for setting in device.apart(item.channel).filter_map(|setting| device.channels.get(setting)) {
                if let Some(raw) = before.get(setting.field()) {
                    fields.set(setting.field(), raw.clone());
                }
            }
            for other in channel.with.iter().chain([&item.channel]) {
                if let (Some(channel), Some(raw)) = (device.channels.get(*other), raw(*other)) {
                    fields.set(channel.field(), raw);
                }
            }
            let own = fields.get(channel.field()).cloned();
            let outcome = own.as_ref().and_then(|raw| device.evaluate(item.channel, raw, &fields));
            if let Some(raw) = own {
                before.set(channel.field(), raw);
            }
            if item.told {
                let outcome = outcome.unwrap_or(Outcome::Bad(Reason::MALFORMED));
                readings.push(Reading { channel: item.channel, outcome });
            }
        }
        readings
    }

    /// Its channels, all missing for this reason.
    pub(super) fn missing(&self, reason: &Reason) -> Vec<Reading> {
        self.channels().map(|channel| Reading { channel, outcome: Outcome::Bad(reason.clone()) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::model::Kind;
    use crate::profile::Decoding;
    use crate::profile::DeviceChannel;
    use crate::profile::DeviceEngine;
    use crate::profile::Order;
    use crate::profile::RegisterType;
    use crate::profile::Scaling;
    use crate::profile::Timing;

    use super::*;

    fn channel(table: Table, address: u16, registers: u16, every_ms: u64, with: &[usize]) -> DeviceChannel {
        let ty = match (table.is_bits(), registers) {
            (true, _) => RegisterType::Bit,
            (false, 1) => RegisterType::U16,
            (false, 2) => RegisterType::U32,
            (false, _) => RegisterType::U64,
        };
        DeviceChannel {
            id: format!("{}{address}", table.name()).into(),
            unit: None,
            kind: Kind::Gauge,
            every: Duration::from_millis(every_ms),
            optional: false,
            source: Source::Register(Register {
                table,
                address,
                registers,
                ty,
                order: Order::default(),
                bit: 0,
                chars: 2,
            }),
            decoding: Decoding { scaling: Some(Scaling::IDENTITY), ..Decoding::default() },
            with: with.to_vec(),
        }
    }

    fn device(channels: Vec<DeviceChannel>, modbus: ModbusDevice) -> Device {
        let engine = DeviceEngine::Modbus(modbus);
        Device { profile: Arc::from("test"), timing: Timing::default(), engine, channels }
    }

    fn modbus(max_regs: u16, max_gap: u16, one_per_request: bool) -> ModbusDevice {
        ModbusDevice { max_regs, max_gap, one_per_request, functions: [1, 2, 3, 4].into() }
    }

    fn reads(channels: Vec<DeviceChannel>, modbus: &ModbusDevice) -> Vec<(u64, Table, u16, u16)> {
        let device = device(channels, modbus.clone());
        plan(&device, modbus)
            .iter()
            .flat_map(|(every, blocks)| blocks.iter().map(move |block| (every, block.read(1))))
            .map(|(every, read)| (u64::try_from(every.as_millis()).unwrap(), read.table, read.address, read.count))
            .collect()
    }

    #[test]
    fn neighbours_are_joined_over_small_gaps_and_within_the_limit() {
        use Table::{Coil, Holding, Input};
        let channels = || {
            vec![
                channel(Holding, 10, 2, 100, &[]),
                channel(Holding, 0, 2, 100, &[]),
                channel(Holding, 5, 1, 100, &[]),
                channel(Input, 6, 1, 100, &[]),
                channel(Coil, 3, 1, 100, &[]),
                channel(Holding, 12, 4, 1000, &[]),
            ]
        };
        let narrow = reads(channels(), &modbus(125, 0, false));
        assert_eq!(
            narrow,
            [
                (100, Coil, 3, 1),
                (100, Input, 6, 1),
                (100, Holding, 0, 2),
                (100, Holding, 5, 1),
                (100, Holding, 10, 2),
                (1000, Holding, 12, 4)
            ]
        );
        let wide = reads(channels(), &modbus(125, 4, false));
        assert_eq!(wide, [(100, Coil, 3, 1), (100, Input, 6, 1), (100, Holding, 0, 12), (1000, Holding, 12, 4)]);
        let short = reads(channels(), &modbus(6, 4, false));
        assert_eq!(
            short,
            [
                (100, Coil, 3, 1),
                (100, Input, 6, 1),
                (100, Holding, 0, 6),
                (100, Holding, 10, 2),
                (1000, Holding, 12, 4)
            ]
        );
        let alone = reads(channels(), &modbus(125, 4, true));
        assert_eq!(alone.len(), 6);
    }

    #[test]
    fn a_channel_is_read_with_what_it_needs() {
        let status = channel(Table::Input, 9, 1, 1000, &[]);
        let pressure = channel(Table::Input, 2, 2, 100, &[0]);
        let alone = modbus(125, 0, true);
        assert_eq!(reads(vec![status, pressure], &alone), [(100, Table::Input, 2, 8), (1000, Table::Input, 9, 1)]);
    }

    #[test]
    fn words_go_to_their_channels() {
        let modbus = modbus(125, 10, false);
        let device = device(
            vec![channel(Table::Holding, 4, 1, 100, &[]), channel(Table::Holding, 0, 2, 100, &[])],
            modbus.clone(),
        );
        let plan = plan(&device, &modbus);
        let [(_, blocks)] = plan.as_slice() else { panic!("{plan:?}") };
        let mut readings = blocks[0].decode(&device, &[0x0001, 0x0002, 8, 9, 7], &mut Fields::new());
        readings.sort_by_key(|reading| reading.channel);
        assert_eq!(
            readings,
            [
                Reading { channel: 0, outcome: Outcome::good(7.0) },
                Reading { channel: 1, outcome: Outcome::good(65538.0) }
            ]
        );
        let short = blocks[0].decode(&device, &[0x0001, 0x0002], &mut Fields::new());
        assert!(short.contains(&Reading { channel: 0, outcome: Outcome::Bad(Reason::MALFORMED) }), "{short:?}");
    }

    /// A unit at holding 280 and a pressure at input 88 that depends on it, of periods of their own.
    fn far_unit(unit_every_ms: u64) -> Vec<DeviceChannel> {
        let mut unit = channel(Table::Holding, 280, 1, unit_every_ms, &[]);
        unit.kind = Kind::Setting;
        vec![unit, channel(Table::Input, 88, 2, 1000, &[0])]
    }

    #[test]
    fn a_setting_far_away_is_read_before_what_depends_on_it() {
        use Table::{Holding, Input};
        let modbus = modbus(125, 8, false);
        let before = (1000, Holding, 280, 1);
        assert_eq!(
            reads(far_unit(1000), &modbus),
            [before, (1000, Input, 88, 2)],
            "once, if their periods are the same"
        );
        assert_eq!(reads(far_unit(60_000), &modbus), [before, (1000, Input, 88, 2), (60_000, Holding, 280, 1)]);

        let device = device(far_unit(60_000), modbus.clone());
        let plan = plan(&device, &modbus);
        let (setting, pressure) = (&plan[0].1[0], &plan[0].1[1]);
        assert_eq!(setting.channels().count(), 0, "it is told in its own period only");
        assert_eq!((setting.costs(&device), pressure.costs(&device)), (vec![1], vec![1]));
        let words = [0, 5];
        let unknown = Outcome::Bad(Reason::named("unknown_setting"));
        let unread = pressure.decode(&device, &words, &mut Fields::new());
        assert_eq!(unread, [Reading { channel: 1, outcome: unknown }]);
        let mut raw = Fields::new();
        assert_eq!(setting.decode(&device, &[1], &mut raw), []);
        assert_eq!(pressure.decode(&device, &words, &mut raw), [Reading { channel: 1, outcome: Outcome::good(5.0) }]);
    }

    #[test]
    fn a_setting_nearby_goes_along() {
        let mut setting = channel(Table::Input, 98, 1, 1000, &[]);
        setting.kind = Kind::Setting;
        let channels = vec![setting, channel(Table::Input, 88, 2, 1000, &[0])];
        assert_eq!(reads(channels.clone(), &modbus(125, 8, false)), [(1000, Table::Input, 88, 11)]);
        let apart = [(1000, Table::Input, 98, 1), (1000, Table::Input, 88, 2)];
        assert_eq!(reads(channels, &modbus(125, 7, false)), apart, "not over a wider gap than others");
    }

    fn halved_to_the_end(block: &Block) -> Vec<usize> {
        match block.split() {
            Some([left, right]) => [halved_to_the_end(&left), halved_to_the_end(&right)].concat(),
            None => block.channels().collect(),
        }
    }

    /// The longest run of registers in a block that nothing in it needs.
    fn unwanted(block: &Block, device: &Device) -> u32 {
        let read = block.read(1);
        let apart = |index: usize| device.apart(index).collect::<Vec<_>>();
        let needed: Vec<&Register> = block
            .items
            .iter()
            .flat_map(|item| {
                let apart = apart(item.channel);
                let with = device.channels[item.channel].with.iter().copied();
                with.filter(move |other| !apart.contains(other)).chain([item.channel])
            })
            .filter_map(|index| register(device, index))
            .collect();
        let is_needed = |at: u32| needed.iter().any(|r| (u32::from(r.address)..r.end()).contains(&at));
        let (mut run, mut longest) = (0, 0);
        for at in u32::from(read.address)..u32::from(read.address) + u32::from(read.count) {
            run = if is_needed(at) { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        longest
    }

    proptest! {
        #[test]
        fn every_channel_is_read_once_whole_and_within_the_limits(
            places in prop::collection::vec(
                (0_u16..300, prop::sample::select(vec![1_u16, 2, 4]), 0_usize..4, 0_u64..2, 0_usize..8),
                1..40,
            ),
            max_regs in 4_u16..=125,
            max_gap in 0_u16..20,
            one_per_request: bool,
        ) {
            let tables = [Table::Coil, Table::Discrete, Table::Input, Table::Holding];
            let channels: Vec<_> = places
                .iter()
                .map(|(address, registers, table, period, needs)| {
                    let table = tables[*table];
                    let registers = if table.is_bits() { 1 } else { *registers };
                    // The first three are settings, and some of the others depend on them.
                    let with: &[usize] = match needs {
                        0 if places.len() > 3 => &[0],
                        1 if places.len() > 3 => &[1, 2],
                        _ => &[],
                    };
                    channel(table, *address, registers, 100 + period * 900, with)
                })
                .enumerate()
                .map(|(index, channel)| match index {
                    0..3 => DeviceChannel { kind: Kind::Setting, with: Vec::new(), ..channel },
                    _ => channel,
                })
                .collect();
            let modbus = modbus(max_regs, max_gap, one_per_request);
            let device = device(channels, modbus.clone());
            let mut seen = Vec::new();
            for (every, blocks) in plan(&device, &modbus) {
                let mut raw = Fields::new();
                for block in blocks {
                    let read = block.read(1);
                    prop_assert!(read.check().is_ok());
                    prop_assert!(read.table.is_bits() || read.count <= max_regs);
                    for index in block.channels() {
                        let register = register(&device, index).unwrap();
                        prop_assert_eq!(register.table, read.table);
                        prop_assert_eq!(device.channels[index].every, every);
                        prop_assert!(register.address >= read.address);
                        prop_assert!(register.end() <= u32::from(read.address) + u32::from(read.count));
                    }
                    prop_assert!(!one_per_request || block.items.len() == 1);
                    let words = vec![0; usize::from(read.count)];
                    let readings = block.decode(&device, &words, &mut raw);
                    prop_assert!(readings.iter().all(|reading| reading.outcome.value().is_some()), "{:?}", readings);
                    prop_assert!(unwanted(&block, &device) <= modbus.gap(read.table));
                    let halves = halved_to_the_end(&block);
                    prop_assert_eq!(&halves, &block.channels().collect::<Vec<_>>());
                    seen.extend(halves);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..device.channels.len()).collect::<Vec<_>>());
        }
    }
}
