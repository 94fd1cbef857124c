"""A field of Modbus instruments made of pymodbus, none of it this project's: one server on TCP, one on an RTU port.

    field.py --folder DIR

Prints the address of the TCP server once both can be read, and writes DIR/lab.toml's instruments to DIR/instruments.toml.
The RTU port is DIR/rtu. What the registers hold is in CHANNELS; tests/interop/bridge.py compares with it.
"""

import argparse
import asyncio
import os
import struct
import sys
import threading
import time

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNIT = 7
# Holds hundredths of a second since the epoch, modulo 65536, at the moment of reading.
CLOCK_ADDRESS = 60
CLOCK_PERIOD = 65536 / 100


def words(packed):
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


def ordered(packed, order):
    """The registers of a big-endian value in one of the four usual orders."""
    registers = words(packed)
    if order in ("CDAB", "DCBA"):
        registers.reverse()
    if order in ("BADC", "DCBA"):
        registers = [(word & 0xFF) << 8 | word >> 8 for word in registers]
    return registers


def f32(value):
    """What a 32-bit float can hold of a number."""
    return struct.unpack(">f", struct.pack(">f", value))[0]


# name: (table, address, type, order, registers, what a reader must get)
CHANNELS = {
    "u16": ("holding", 0, "u16", None, [0xBEEF], 48879.0),
    "i16": ("holding", 1, "i16", None, words(struct.pack(">h", -12345)), -12345.0),
    "bcd16": ("holding", 2, "bcd16", None, [0x1234], 1234.0),
    "f16": ("holding", 3, "f16", None, words(struct.pack(">e", 0.375)), 0.375),
    "input_u16": ("input", 5, "u16", None, [321], 321.0),
}
for number, order in enumerate(("ABCD", "CDAB", "BADC", "DCBA")):
    CHANNELS[f"f32_{order}"] = (
        "holding", 10 + 2 * number, "f32", order, ordered(struct.pack(">f", 1.001), order), f32(1.001))
    CHANNELS[f"i32_{order}"] = (
        "holding", 20 + 2 * number, "i32", order, ordered(struct.pack(">i", -123456789), order), -123456789.0)
    CHANNELS[f"u32_{order}"] = (
        "holding", 30 + 2 * number, "u32", order, ordered(struct.pack(">I", 3000000000), order), 3000000000.0)
    CHANNELS[f"f64_{order}"] = (
        "holding", 40 + 4 * number, "f64", order, ordered(struct.pack(">d", 2.5e-10), order), 2.5e-10)
CHANNELS["clock"] = ("holding", CLOCK_ADDRESS, "u16", None, [0], None)


async def tell_time(function_code, start, address, count, registers, set_values):
    """Puts the time into the clock's register whenever holding registers are read."""
    place = CLOCK_ADDRESS - start
    if function_code == 3 and 0 <= place < len(registers):
        registers[place] = int(time.time() * 100) % 65536


def device():
    def block(table):
        data = [
            SimData(address, values=registers, datatype=DataType.REGISTERS)
            for kind, address, _, _, registers, _ in CHANNELS.values()
            if kind == table
        ]
        return sorted(data, key=lambda entry: entry.address)

    bits = [SimData(0, values=[True] * 16, datatype=DataType.BITS)]
    return SimDevice(UNIT, (bits, bits, block("holding"), block("input")), action=tell_time)


def instruments(link):
    """The instrument on this link, as inline TOML for lab.toml."""
    lines = [
        "[[instruments]]",
        f'name = "{link}"',
        f'link = "{link}"',
        f"unit = {UNIT}",
        'every = "100ms"',
        "[instruments.inline]",
        'engine = "modbus"',
    ]
    for name, (table, address, kind, order, _, _) in CHANNELS.items():
        lines += [
            "[[instruments.inline.channel]]",
            f'id = "{name}"',
            f'table = "{table}"',
            f"address = {address}",
            f'type = "{kind}"',
            'unit = "mbar"',
        ]
        if order:
            lines.append(f'order = "{order}"')
    return "\n".join(lines) + "\n"


def crossed_ports(path):
    """Two pseudo-terminals joined like a cable. One end is linked as `path`, the other's name is returned."""
    near, near_end = os.openpty()
    far, far_end = os.openpty()
    os.symlink(os.ttyname(near_end), path)

    def carry(source, target):
        while True:
            os.write(target, os.read(source, 4096))

    for pair in ((near, far), (far, near)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
    for end in (near_end, far_end):
        raw(end)
    return os.ttyname(far_end)


def raw(terminal):
    import tty

    tty.setraw(terminal)


async def serve(folder):
    port = crossed_ports(os.path.join(folder, "rtu"))
    tcp = ModbusTcpServer(device(), address=("127.0.0.1", 0))
    rtu = ModbusSerialServer(device(), framer=FramerType.RTU, port=port, baudrate=115200, parity="N")
    await tcp.serve_forever(background=True)
    await rtu.serve_forever(background=True)
    with open(os.path.join(folder, "instruments.toml"), "w", encoding="utf-8") as file:
        file.write(instruments("tcp") + instruments("rtu"))
    print("%s:%d" % tcp.transport.sockets[0].getsockname()[:2], flush=True)
    await asyncio.Event().wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    asyncio.run(serve(parser.parse_args().folder))


if __name__ == "__main__":
    sys.exit(main())
