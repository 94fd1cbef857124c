//! The register space of a simulated Modbus device, and what it answers from it. Pure.
//!
//! It only reads: every function that would change the device is refused with exception 01. Registers between those of the
//! profile read as 0 where the profile lets a driver read across gaps (`max_gap`), and are refused otherwise; part of a
//! value that takes several registers is always refused, as Eurotherm and PREVAC do.
//!
//! Source: MODBUS Application Protocol V1.1b3, 6.1 to 6.4 and 7.

use std::collections::BTreeMap;

use crate::model::Outcome;
use crate::profile::{Device, DeviceChannel, Fields, ModbusDevice, Register, Source, Table};

use super::instrument::{Answer, Shown, over_range};

/// The function is unknown here.
const ILLEGAL_FUNCTION: u8 = 1;
/// Nothing is at these addresses, or only part of a value.
const ILLEGAL_ADDRESS: u8 = 2;
/// A request of the wrong length, or too many registers.
const ILLEGAL_VALUE: u8 = 3;
/// The device can't show its value.
const DEVICE_FAILURE: u8 = 4;

/// Whether a function would change the device.
pub(super) fn writes(function: u8) -> bool {
    matches!(function, 5 | 6 | 15 | 16 | 21 | 22 | 23)
}

/// The answer to a request; an exception gives no values.
pub(super) fn answer(device: &Device, modbus: &ModbusDevice, shown: &[Shown], pdu: &[u8]) -> Answer {
    let function = pdu.first().copied().unwrap_or_default();
    match Space::new(device, modbus, shown).read(function, pdu.get(1..).unwrap_or_default()) {
        Ok(answer) => answer,
        Err(code) => exception(function, code),
    }
}

/// An exception answer.
pub(super) fn exception(function: u8, code: u8) -> Answer {
    Answer { bytes: vec![function | 0x80, code], given: Vec::new() }
}

/// Registers and bits; none where the device can't show its value.
type Cells = BTreeMap<(Table, u16), Option<u16>>;

struct Space<'a> {
    device: &'a Device,
    modbus: &'a ModbusDevice,
    shown: &'a [Shown],
}

impl<'a> Space<'a> {
    fn new(device: &'a Device, modbus: &'a ModbusDevice, shown: &'a [Shown]) -> Self {
        Self { device, modbus, shown }
    }

    fn registers(&self) -> impl Iterator<Item = (usize, &DeviceChannel, &Register)> {
        self.device.channels.iter().enumerate().filter_map(|(index, channel)| match &channel.source {
            Source::Register(register) => Some((index, channel, register)),
            Source::Field { .. } => None,
        })
    }

    fn read(&self, function: u8, data: &[u8]) -> Result<Answer, u8> {
        let table = self.table_of(function).ok_or(ILLEGAL_FUNCTION)?;
        let &[a1, a0, c1, c0] = data else { return Err(ILLEGAL_VALUE) };
        let (start, count) = (u16::from_be_bytes([a1, a0]), u16::from_be_bytes([c1, c0]));
        let most = if table.is_bits() { 2_000 } else { self.modbus.max_regs.min(125) };
        if count == 0 || count > most {
            return Err(ILLEGAL_VALUE);
        }
        let end = u32::from(start) + u32::from(count);
        self.check_addresses(table, u32::from(start), end)?;
        let cells = self.cells();
        let last = u16::try_from(end - 1).map_err(|_| ILLEGAL_ADDRESS)?;
        let words: Option<Vec<u16>> = (start..=last).map(|address| word(&cells, table, address)).collect();
        let words = words.ok_or(DEVICE_FAILURE)?;
        let mut bytes = vec![function];
        if table.is_bits() {
            bytes.push(u8::try_from(words.len().div_ceil(8)).map_err(|_| ILLEGAL_VALUE)?);
            bytes.extend(words.chunks(8).map(packed));
        } else {
            bytes.push(u8::try_from(words.len() * 2).map_err(|_| ILLEGAL_VALUE)?);
            bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        Ok(Answer { bytes, given: self.given(&cells, table, u32::from(start), end) })
    }

    /// The table that a function reads. Where a device knows both register functions and has one table, both read it.
    fn table_of(&self, function: u8) -> Option<Table> {
        if !self.modbus.functions.contains(&function) {
            return None;
        }
        let has = |table: Table| self.registers().any(|(_, _, register)| register.table == table);
        match function {
            1 => Some(Table::Coil),
            2 => Some(Table::Discrete),
            3 if !has(Table::Holding) && has(Table::Input) => Some(Table::Input),
            3 => Some(Table::Holding),
            4 if !has(Table::Input) && has(Table::Holding) => Some(Table::Holding),
            4 => Some(Table::Input),
            _ => None,
        }
    }

    fn check_addresses(&self, table: Table, start: u32, end: u32) -> Result<(), u8> {
        let of_table = || self.registers().map(|(_, _, r)| r).filter(|r| r.table == table);
        let holds = |address: u32| of_table().any(|r| (u32::from(r.address)..r.end()).contains(&address));
        let cut = of_table().any(|r| {
            let from = u32::from(r.address);
            from < end && start < r.end() && (from < start || end < r.end())
        });
        if cut || !holds(start) || !holds(end - 1) {
            return Err(ILLEGAL_ADDRESS);
        }
        let mut gap = 0;
        for address in start..end {
            gap = if holds(address) { 0 } else { gap + 1 };
            if gap > u32::from(self.modbus.max_gap) {
                return Err(ILLEGAL_ADDRESS);
            }
        }
        Ok(())
    }

    /// All registers of the profile with what they hold now.
    fn cells(&self) -> Cells {
        let mut fields = Fields::new();
        // A value with a status sets the status too, so it comes after the status' own; what was set by hand comes last.
        // A setting comes first in any case: the unit that somebody chose is the one in which the value is shown.
        let by_rank = |rank: u8| {
            self.device.channels.iter().zip(self.shown).filter(move |(channel, shown)| match rank {
                0 => channel.with.is_empty(),
                1 => !channel.with.is_empty() && !shown.is_by_hand(),
                _ => shown.is_by_hand(),
            })
        };
        for (channel, shown) in (0..3).flat_map(by_rank) {
            shown.put(channel, &mut fields);
        }
        let mut cells = Cells::new();
        for (_, channel, register) in self.registers() {
            let addresses = || register.addresses().map(|address| (register.table, address));
            let mut words: Vec<u16> = addresses().map(|at| cells.get(&at).copied().flatten().unwrap_or(0)).collect();
            let mut written = fields.get(channel.field()).is_some_and(|raw| register.write(raw, &mut words).is_ok());
            if !written {
                let mut instead = Fields::new();
                over_range(channel, &mut instead);
                written = instead.get(channel.field()).is_some_and(|raw| register.write(raw, &mut words).is_ok());
            }
            cells.extend(addresses().zip(words.into_iter().map(|word| written.then_some(word))));
        }
        cells
    }

    /// What a reader gets out of these addresses: the channels that lie in them with all that they depend on.
    fn given(&self, cells: &Cells, table: Table, start: u32, end: u32) -> Vec<(usize, Outcome)> {
        let mut fields = Fields::new();
        let mut inside = Vec::new();
        for (index, channel, register) in self.registers() {
            if register.table != table || u32::from(register.address) < start || register.end() > end {
                continue;
            }
            let words: Option<Vec<u16>> = register.addresses().map(|address| word(cells, table, address)).collect();
            if let Some(Ok(raw)) = words.map(|words| register.read(&words)) {
                fields.set(channel.field(), raw);
                inside.push(index);
            }
        }
        // Settings that are read by a request of their own are what they are now.
        for setting in inside.iter().flat_map(|index| self.device.apart(*index)) {
            let Some((_, channel, register)) = self.registers().find(|(index, ..)| *index == setting) else { continue };
            let words: Option<Vec<u16>> =
                register.addresses().map(|address| word(cells, register.table, address)).collect();
            if let Some(Ok(raw)) = words.map(|words| register.read(&words)) {
                fields.set(channel.field(), raw);
            }
        }
        let here = |channel: &DeviceChannel, index: usize| {
            let apart: Vec<usize> = self.device.apart(index).collect();
            channel.with.iter().all(|other| inside.contains(other) || apart.contains(other))
        };
        inside
            .iter()
            .filter_map(|index| Some((*index, self.device.channels.get(*index).filter(|c| here(c, *index))?)))
            .filter_map(|(index, channel)| {
                Some((index, self.device.evaluate(index, fields.get(channel.field())?, &fields)?))
            })
            .collect()
    }
}

/// What a register holds; 0 between those of the profile, none where the device can't show what it measures.
fn word(cells: &Cells, table: Table, address: u16) -> Option<u16> {
    cells.get(&(table, address)).copied().unwrap_or(Some(0))
}

/// Eight coils in a byte, the first one lowest.
fn packed(coils: &[u16]) -> u8 {
    coils.iter().rev().fold(0, |byte, coil| (byte << 1) | u8::from(*coil != 0))
}
