//! The Modbus engine: limits of the device, and where each channel lies.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::document::Open;
use crate::document::Spanned;

use super::super::device::ModbusDevice;
use super::super::register::{Order, Register, RegisterType, Table};
use super::super::schema::{ChannelFile, ProfileFile};
use super::Compiler;

/// Most registers in one request. Source: MODBUS Application Protocol V1.1b3, 6.3.
const MOST_REGISTERS: u16 = 125;

/// A gap of this size costs less than another request: 8 registers are 16 bytes, a request with its silences is more.
const USUAL_GAP: u16 = 8;

const TABLES: &str = "table = \"holding\", \"input\", \"coil\" or \"discrete\"";
const ORDERS: &str = "\"ABCD\", \"CDAB\", \"BADC\" or \"DCBA\"";
const TYPES: &str = "type = \"u16\", \"i16\", \"f32\" and so on";

/// How the addresses and bytes of a profile are meant where a channel says nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbering {
    /// The usual order of bytes.
    order: Order,
    /// What its addresses count from: 0 if they are those of the protocol, 1 if they are register numbers.
    base: u16,
}

pub(super) fn device(file: &ProfileFile, compiler: &mut Compiler<'_>) -> (ModbusDevice, Numbering) {
    let modbus = file.modbus.as_ref().map(|modbus| modbus.get_ref().clone()).unwrap_or_default();
    let mut max_regs = MOST_REGISTERS;
    if let Some(given) = &modbus.max_regs {
        if (1..=MOST_REGISTERS).contains(given.get_ref()) {
            max_regs = *given.get_ref();
        } else {
            compiler.error(given.span(), format!("`max_regs` has to be from 1 to {MOST_REGISTERS}"), "");
        }
    }
    let mut functions = BTreeSet::from([1, 2, 3, 4]);
    if let Some(given) = &modbus.functions {
        functions = given.get_ref().iter().copied().collect();
        if functions.is_empty() || functions.iter().any(|function| !(1..=4).contains(function)) {
            compiler.error(
                given.span(),
                "`functions` has to list some of 1, 2, 3 and 4",
                "the bridge has no function that writes",
            );
        }
    }
    let max_gap = modbus.max_gap.unwrap_or(USUAL_GAP);
    let device = ModbusDevice { max_regs, max_gap, one_per_request: modbus.one_per_request, functions };
    let base = modbus.base.as_ref().and_then(|base| {
        let number = compiler.word16(base)?;
        if number > 1 {
            let help = "1 where the file has register numbers, which begin at 1; 0 for protocol addresses";
            compiler.error(base.span(), "`base` has to be 0 or 1", help);
        }
        Some(number.min(1))
    });
    let order = modbus.order.as_ref().and_then(|order| compiler.word(order, ORDERS));
    (device, Numbering { order: order.unwrap_or_default(), base: base.unwrap_or_default() })
}

/// Where a channel lies. `None` where something essential is missing.
pub(super) fn register(
    path: &str,
    whole: &Range<usize>,
    file: &ChannelFile,
    device: &ModbusDevice,
    numbering: Numbering,
    compiler: &mut Compiler<'_>,
) -> Option<Register> {
    if file.table.is_none() {
        compiler.missing(whole, &format!("{path}.table"), "a Modbus channel has no `table`", TABLES);
    }
    if file.address.is_none() {
        let help = "address = the protocol address, counted from 0 (4xxxx numbers start at 1)";
        compiler.missing(whole, &format!("{path}.address"), "a Modbus channel has no `address`", help);
    }
    let table = file.table.as_ref().and_then(|table| compiler.word(table, TABLES));
    let bits = table.is_some_and(Table::is_bits);
    if file.ty.is_none() && !bits {
        compiler.missing(whole, &format!("{path}.type"), "a Modbus channel has no `type`", TYPES);
    }
    let (table, table_span) = (table?, file.table.as_ref()?.span());
    let (address, address_span) = address(file.address.as_ref()?, numbering.base, compiler)?;
    let ty = match &file.ty {
        Some(ty) => compiler.word(ty, TYPES)?,
        None if bits => RegisterType::Bit,
        None => return None,
    };
    if !device.functions.contains(&table.read_function()) {
        let message = format!(
            "the table `{}` is read by function {}, which `modbus.functions` leaves out",
            table.name(),
            table.read_function()
        );
        compiler.error(table_span, message, "");
    }
    if let Some(given) = file.ty.as_ref().filter(|_| bits && ty != RegisterType::Bit) {
        compiler.error(
            given.span(),
            format!("the cells of the table `{}` are single bits", table.name()),
            "type = \"bit\", or leave it out",
        );
    }
    let order = file.order.as_ref().and_then(|order| compiler.word(order, ORDERS));
    let register = Register {
        table,
        address,
        registers: registers(path, whole, file, ty, compiler)?,
        ty,
        order: order.unwrap_or(numbering.order),
        bit: bit(path, whole, file, table, ty, compiler),
        chars: chars(file, ty, compiler),
    };
    if register.end() > 0x1_0000 {
        compiler.error(address_span, "the value reaches beyond address 65535", "");
    }
    if register.registers > device.max_regs {
        compiler.error(
            whole.clone(),
            format!("the value takes {} registers, and `max_regs` is {}", register.registers, device.max_regs),
            "",
        );
    }
    Some(register)
}

/// The protocol address, and where it stands in the file.
fn address(given: &Spanned<Open<u16>>, base: u16, compiler: &mut Compiler<'_>) -> Option<(u16, Range<usize>)> {
    let number = compiler.word16(given)?;
    let address = number.checked_sub(base);
    if address.is_none() {
        compiler.error(
            given.span(),
            "there is no register number 0",
            "with `base` = 1, the first register is number 1",
        );
    }
    Some((address?, given.span()))
}

fn registers(
    path: &str,
    whole: &Range<usize>,
    file: &ChannelFile,
    ty: RegisterType,
    compiler: &mut Compiler<'_>,
) -> Option<u16> {
    match (ty.registers(), &file.regs) {
        (Some(own), None) => Some(own),
        (Some(own), Some(given)) => {
            if *given.get_ref() != own {
                compiler.error(given.span(), format!("this type takes {own} registers"), "leave `regs` out");
            }
            Some(own)
        }
        (None, Some(given)) if *given.get_ref() > 0 => Some(*given.get_ref()),
        (None, _) => {
            compiler.missing(
                whole,
                &format!("{path}.regs"),
                "a `str` needs `regs`",
                "the number of registers that it takes",
            );
            None
        }
    }
}

fn bit(
    path: &str,
    whole: &Range<usize>,
    file: &ChannelFile,
    table: Table,
    ty: RegisterType,
    compiler: &mut Compiler<'_>,
) -> u8 {
    let wanted = ty == RegisterType::Bit && !table.is_bits();
    match &file.bit {
        Some(bit) if !wanted => compiler.error(bit.span(), "`bit` goes with type = \"bit\" in a register only", ""),
        Some(bit) if *bit.get_ref() > 15 => compiler.error(bit.span(), "a register has the bits 0 to 15", ""),
        Some(bit) => return *bit.get_ref(),
        None if wanted => {
            compiler.missing(whole, &format!("{path}.bit"), "a bit of a register needs `bit`", "0 is the lowest");
        }
        None => {}
    }
    0
}

fn chars(file: &ChannelFile, ty: RegisterType, compiler: &mut Compiler<'_>) -> u8 {
    let chars = file.chars.as_ref();
    if let Some(wrong) = chars.filter(|chars| ty != RegisterType::Str || !(1..=2).contains(chars.get_ref())) {
        compiler.error(wrong.span(), "`chars` goes with type = \"str\" and is 1 or 2", "");
    }
    chars.map_or(2, |chars| *chars.get_ref())
}
