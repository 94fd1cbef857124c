"""One measurement of a `TimeseriesStreamer`, the vendor's or ours; `run` beside it starts it and reads what it prints.

    driver.py MODULE CASE.json

The case says what to push; see `Case` in run. Nothing is imported before the module under measurement that it would
import itself, so that the time and the memory of its import are its own.
"""

import importlib
import json
import os
import resource
import struct
import sys
import time


# Opened before anything is measured: later there may be no descriptor left.
STATUS = open("/proc/self/status")


def status(field):
    """A figure of /proc/self/status in KiB."""
    STATUS.seek(0)
    return next(int(line.split()[1]) for line in STATUS if line.startswith(field + ":"))


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Ticks:
    """Another thread of the program, which wants to run each millisecond; the longest that it had to wait."""

    def __init__(self):
        import threading

        self.longest = 0.0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.tick, daemon=True)
        self.thread.start()

    def tick(self):
        before = time.perf_counter()
        while not self.stopped.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - 0.001)
            before = now

    def end(self):
        self.stopped.set()
        self.thread.join()
        return self.longest


def heard(word):
    """Tells `run` how far it is, and waits until it says to go on: no request of the driver's own."""
    print(word, flush=True)
    if not sys.stdin.readline():
        sys.exit("run is gone")


def main():
    module, case = sys.argv[1], json.loads(open(sys.argv[2]).read())
    said = {}

    begun = time.perf_counter()
    streamer_class = importlib.import_module(module).TimeseriesStreamer
    said["import_seconds"] = time.perf_counter() - begun
    said["import_kib"] = status("VmRSS")

    # The floats of every contender come from one file: series after series of stamps' offsets and of values.
    points, chunks, names = case["points"], case["chunks"], case["channels"]
    with open(case["data"], "rb") as file:
        series = lambda: list(struct.unpack(f"<{points}d", file.read(8 * points)))
        axes = [[case["start"] + at for at in series()] for _ in range(chunks)]
        file.seek(case["values_at"])
        pool = [[series() for _ in names] for _ in range(case["pool"])]

    def chunk(index):
        return {
            name: {"timestamps": axes[index], "values": values, "units": unit}
            for (name, unit), values in zip(names, pool[index % len(pool)])
        }

    # From here on the peak is the streamer's.
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before_kib = status("VmRSS")
    ticks = Ticks() if case["ticks"] else None

    streamer = streamer_class(api_key="bench-key", endpoint=case["url"], points_per_chunk=points)
    data_id = streamer.initialize(stream_name="bench")
    if case["hangs"]:
        heard("initialized")
    used, begun = processor(), time.perf_counter()
    for index in range(chunks):
        if case["rate"]:
            left = begun + index / case["rate"] - time.perf_counter()
            if left > 0:
                time.sleep(left)
        streamer.push_multi(data_id, index, channels=chunk(index))
        if index == 0:
            said["first_push_at"] = time.monotonic()
    said["pushed_seconds"] = time.perf_counter() - begun
    if case["hangs"]:
        said["growth_hanging_kib"] = status("VmHWM") - before_kib
        heard("pushed")
    if case["wait"]:
        heard("pushed")
    if case["run"]:
        name, unit = names[0]
        streamer.run(data_id, "run", ((axes[i], pool[i % len(pool)][0]) for i in range(case["run"])), units=unit)
    streamer.finalize(data_id)
    said["seconds"] = time.perf_counter() - begun
    said["processor_seconds"] = processor() - used
    said["growth_kib"] = status("VmHWM") - before_kib
    if ticks:
        said["longest_stop_seconds"] = ticks.end()

    if case["verify"]:
        bits = lambda floats: sum(struct.unpack(f"<{points}Q", struct.pack(f"<{points}d", *floats)))
        said["sum_of_values"] = sum(bits(s["values"]) for i in range(chunks) for s in chunk(i).values()) % 2**64
        said["sum_of_stamps"] = sum(bits(s["timestamps"]) for i in range(chunks) for s in chunk(i).values()) % 2**64
    print(json.dumps(said), flush=True)
    sys.stdin.readline()  # `run` counts connections and descriptors before they are gone
    os._exit(0)


main()
