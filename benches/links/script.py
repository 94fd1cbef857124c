"""The scripts that the benchmark of links compares with: pymodbus and minimalmodbus in a loop, and a poll that sleeps a
period. Each prints one line of JSON.

    script.py pymodbus tcp ADDRESS READS | pymodbus rtu PTY READS | minimalmodbus rtu PTY READS
    script.py slots ADDRESS PERIOD_MS SECONDS
"""

import asyncio
import json
import sys
import time

EXPECTED = [253, 0]


def told(reads, began, processor):
    took = time.perf_counter() - began
    print(json.dumps({"reads": reads, "seconds": took, "processor": time.process_time() - processor}))


async def with_pymodbus(how, place, reads):
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

    if how == "tcp":
        host, _, port = place.rpartition(":")
        client = AsyncModbusTcpClient(host, port=int(port))
    else:
        client = AsyncModbusSerialClient(place, baudrate=115200)
    assert await client.connect(), place
    for read in range(-reads // 10, reads):
        if read == 0:
            began, processor = time.perf_counter(), time.process_time()
        answer = await client.read_holding_registers(0, count=2, device_id=1)
        assert answer.registers == EXPECTED, answer
    told(reads, began, processor)
    client.close()


def with_minimalmodbus(place, reads):
    import minimalmodbus

    instrument = minimalmodbus.Instrument(place, 1)
    instrument.serial.baudrate = 115200
    instrument.serial.timeout = 1
    for read in range(-reads // 10, reads):
        if read == 0:
            began, processor = time.perf_counter(), time.process_time()
        assert instrument.read_registers(0, 2) == EXPECTED
    told(reads, began, processor)


def sleeping_a_period(address, period_ms, seconds):
    """What scripts do: read, then sleep for the period."""
    from pymodbus.client import ModbusTcpClient

    host, _, port = address.rpartition(":")
    client = ModbusTcpClient(host, port=int(port))
    assert client.connect(), address
    period = period_ms / 1e3
    late = []
    first = time.monotonic()
    for number in range(round(seconds / period)):
        # Against the slot that the first poll set.
        late.append((time.monotonic() - (first + number * period)) * 1e6)
        assert client.read_holding_registers(0, count=2, device_id=1).registers == EXPECTED
        time.sleep(period)
    print(json.dumps({"late_us": late, "missed": 0}))


def main():
    match sys.argv[1:]:
        case ["pymodbus", how, place, reads]:
            asyncio.run(with_pymodbus(how, place, int(reads)))
        case ["minimalmodbus", "rtu", place, reads]:
            with_minimalmodbus(place, int(reads))
        case ["slots", address, period_ms, seconds]:
            sleeping_a_period(address, float(period_ms), float(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
