//! What a serial driver is asked for by `ioctl`, for want of another way: RS-485 direction, low latency.
//!
//! The only file with `unsafe` in it. Structures and numbers are those of Linux, `include/uapi/linux/serial.h` and
//! `include/uapi/asm-generic/ioctls.h`. On machines that number their requests otherwise (MIPS, PowerPC, SPARC) nothing is
//! asked. None of it has been tried on hardware: pseudo-terminals know neither request.
#![expect(unsafe_code, reason = "no crate offers these two requests safely for a port that is open already")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::ioctl::Updater;
use rustix::ioctl::ioctl;

use crate::model::Rs485;

const IS_ASM_GENERIC: bool = cfg!(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "arm",
    target_arch = "aarch64",
    target_arch = "riscv32",
    target_arch = "riscv64"
));

const TIOCGSERIAL: u32 = 0x541E;
const TIOCSSERIAL: u32 = 0x541F;
const TIOCSRS485: u32 = 0x542F;

const SER_RS485_ENABLED: u32 = 1 << 0;
const SER_RS485_RTS_ON_SEND: u32 = 1 << 1;
const SER_RS485_RTS_AFTER_SEND: u32 = 1 << 2;

const ASYNC_LOW_LATENCY: i32 = 1 << 13;

/// `struct serial_rs485`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SerialRs485 {
    flags: u32,
    delay_rts_before_send: u32,
    delay_rts_after_send: u32,
    rest: [u32; 5],
}

/// `struct serial_struct`. Only `flags` is looked at; the rest goes back as it came.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct SerialStruct {
    kind: i32,
    line: i32,
    port: u32,
    irq: i32,
    flags: i32,
    xmit_fifo_size: i32,
    custom_divisor: i32,
    baud_base: i32,
    close_delay: u16,
    io_type: u8,
    reserved_char: u8,
    hub6: i32,
    closing_wait: u16,
    closing_wait2: u16,
    iomem_base: usize,
    iomem_reg_shift: u16,
    port_high: u32,
    iomap_base: usize,
}

impl SerialRs485 {
    fn of(rs485: &Rs485) -> Self {
        let rts = if rs485.rts_on_send { SER_RS485_RTS_ON_SEND } else { SER_RS485_RTS_AFTER_SEND };
        let millis = |delay: std::time::Duration| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        Self {
            flags: SER_RS485_ENABLED | rts,
            delay_rts_before_send: millis(rs485.delay_before),
            delay_rts_after_send: millis(rs485.delay_after),
            rest: [0; 5],
        }
    }
}

/// Has the port's driver switch the direction of the line.
pub(super) fn set_rs485(port: &impl AsRawFd, rs485: &Rs485) -> io::Result<()> {
    let wanted = SerialRs485::of(rs485);
    let mut set = wanted;
    // SAFETY: the request takes and gives back a `struct serial_rs485`, which this is.
    unsafe { request::<TIOCSRS485, _>(port, &mut set) }?;
    // The driver gives back what it has made of the wish.
    if set.flags & SER_RS485_ENABLED == 0 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the driver took the request and did not switch"));
    }
    if set != wanted {
        tracing::warn!(?wanted, ?set, "the port's driver does not switch the RS-485 line quite as asked");
    }
    Ok(())
}

/// Has the port's driver hand bytes on at once. Needs no right beyond that to open the port.
pub(super) fn set_low_latency(port: &impl AsRawFd) -> io::Result<()> {
    let mut serial = SerialStruct::default();
    // SAFETY: the request fills a `struct serial_struct`, which this is.
    unsafe { request::<TIOCGSERIAL, _>(port, &mut serial) }?;
    if serial.flags & ASYNC_LOW_LATENCY != 0 {
        return Ok(());
    }
    serial.flags |= ASYNC_LOW_LATENCY;
    // SAFETY: the request takes a `struct serial_struct`, which this is, filled by the driver itself.
    unsafe { request::<TIOCSSERIAL, _>(port, &mut serial) }
}

/// # Safety
///
/// The request has to take nothing but a pointer to a `T`, and to leave a valid one.
unsafe fn request<const REQUEST: u32, T>(port: &impl AsRawFd, value: &mut T) -> io::Result<()> {
    if !IS_ASM_GENERIC {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "not known on this kind of machine"));
    }
    // SAFETY: the port is borrowed for as long as this takes, and so stays open.
    let port = unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) };
    // SAFETY: as promised by the caller.
    Ok(unsafe { ioctl(port, Updater::<REQUEST, T>::new(value)) }?)
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};
    use std::time::Duration;

    use tokio_serial::SerialStream;

    use super::*;

    /// ENOTTY: this kind of file knows no such request.
    const NOT_A_TYPEWRITER: i32 = 25;

    #[test]
    fn the_structures_are_those_of_the_kernel() {
        assert_eq!(size_of::<SerialRs485>(), 32);
        let pointer = size_of::<usize>();
        assert_eq!(offset_of!(SerialStruct, flags), 16);
        assert_eq!(offset_of!(SerialStruct, close_delay), 32);
        assert_eq!(offset_of!(SerialStruct, hub6), 36);
        assert_eq!(offset_of!(SerialStruct, iomem_base), if pointer == 8 { 48 } else { 44 });
        assert_eq!(size_of::<SerialStruct>(), if pointer == 8 { 72 } else { 60 });
    }

    #[test]
    fn the_bits_are_those_of_the_kernel() {
        let usual = SerialRs485::of(&Rs485::default());
        assert_eq!(usual, SerialRs485 { flags: 0b011, ..SerialRs485::default() });
        let inverted = SerialRs485::of(&Rs485 {
            rts_on_send: false,
            delay_before: Duration::from_millis(1),
            delay_after: Duration::from_millis(20),
        });
        let expected = SerialRs485 { flags: 0b101, delay_rts_before_send: 1, delay_rts_after_send: 20, rest: [0; 5] };
        assert_eq!(inverted, expected);
    }

    #[tokio::test]
    async fn a_pseudo_terminal_knows_neither() {
        let (_master, slave) = SerialStream::pair().unwrap();
        let refused = set_rs485(&slave, &Rs485::default()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(NOT_A_TYPEWRITER), "{refused}");
        let refused = set_low_latency(&slave).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(NOT_A_TYPEWRITER), "{refused}");
    }
}
