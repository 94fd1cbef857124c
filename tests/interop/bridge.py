"""Reads a run file with nothing but sqlite3 and the format documented in src/runs/mod.rs, compares it with what the
registers of field.py held, and writes what the platform must have stored as a file for `vendor.py --expect`.

    bridge.py RUN.sqlite EXPECT.json --seconds 5

Exit code 0 when every value is right; 1 with one line on stderr for each difference.
"""

import argparse
import json
import sqlite3
import struct
import sys
import zlib

from field import CHANNELS, CLOCK_PERIOD

LINKS = ("tcp", "rtu")
# How far a stamp may be from the moment at which pymodbus read its clock: half a tick, half a slow exchange.
CLOCK_TOLERANCE_S = 0.05 + 0.1


def decode(body):
    """The points of a chunk, by channel number, as (time in ns, value)."""
    data, (crc,) = body[:-4], struct.unpack("<I", body[-4:])
    if zlib.crc32(data) != crc:
        raise ValueError("the checksum of a body is wrong")
    version, ticks = struct.unpack_from("<BI", data)
    if version != 1:
        raise ValueError(f"a body of version {version}")
    at = 5
    times = struct.unpack_from(f"<{ticks}q", data, at)
    at += 8 * ticks
    (channels,) = struct.unpack_from("<H", data, at)
    at += 2
    series = {}
    for _ in range(channels):
        channel, marks = struct.unpack_from("<HB", data, at)
        at += 3
        presence = data[at : at + (ticks + 7) // 8]
        at += len(presence)
        present = [tick for tick in range(ticks) if presence[tick // 8] >> tick % 8 & 1]
        values = struct.unpack_from(f"<{len(present)}d", data, at)
        at += 8 * len(present) + (len(present) if marks else 0)
        series[channel] = [(times[tick], value) for tick, value in zip(present, values)]
    return series


def read(path):
    """State of the run, its stream's data_id, and by channel unit and points in reference UTC."""
    run = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    channels = {number: (name, unit) for number, name, unit in run.execute("SELECT number, name, unit FROM channels")}
    points = {name: [] for name, _ in channels.values()}
    rows = run.execute(
        "SELECT body, offset_nanos, state FROM chunks JOIN bodies USING (seq) ORDER BY chunks.seq").fetchall()
    for body, offset, state in rows:
        if state != "confirmed":
            raise ValueError(f"a chunk is {state}, not confirmed")
        for channel, series in decode(body).items():
            points[channels[channel][0]] += [((at + offset) / 1e9, value) for at, value in series]
    (data_id,) = run.execute("SELECT data_id FROM streams").fetchone()
    (state,) = run.execute("SELECT state FROM run").fetchone()
    return state, data_id, {name: (unit, points[name]) for name, unit in channels.values()}


def differences(series, seconds):
    for link in LINKS:
        for name, (_, _, _, _, _, value) in CHANNELS.items():
            channel = f"{link}_{name}"
            if channel not in series:
                yield f"{channel} is missing"
                continue
            unit, points = series[channel]
            if unit != "mbar":
                yield f"{channel}: unit {unit!r}"
            # Ten readings a second; the first and last moments belong to starting and stopping.
            if len(points) < 10 * seconds * 0.8:
                yield f"{channel}: only {len(points)} points in {seconds} s"
            if any(b[0] <= a[0] for a, b in zip(points, points[1:])):
                yield f"{channel}: stamps do not rise"
            if name == "clock":
                yield from clock_differences(channel, points)
            else:
                wrong = sorted({found for _, found in points if found != value})
                if wrong:
                    yield f"{channel}: found {wrong[:5]}, expected {value}"


def clock_differences(channel, points):
    """The register says when it was read, modulo 655.36 s: the stamp has to agree."""
    worst = 0.0
    for at, value in points:
        off = (at - value / 100) % CLOCK_PERIOD
        worst = max(worst, min(off, CLOCK_PERIOD - off))
    if worst > CLOCK_TOLERANCE_S:
        yield f"{channel}: stamps are off by up to {worst:.3f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("expect")
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    state, data_id, series = read(arguments.run)
    wrong = list(differences(series, arguments.seconds))
    if state != "done":
        wrong.append(f"the run is {state}, not done")
    for line in wrong:
        print(line, file=sys.stderr)
    expected = {
        "channels": {name: {"units": unit, "points": points} for name, (unit, points) in series.items()},
        "status": "success",
        "physical_sample": "Interop wafer",
        "tags": ["interop"],
    }
    with open(arguments.expect, "w", encoding="utf-8") as file:
        json.dump(expected, file)
    print(data_id)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
